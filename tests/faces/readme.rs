//! The README's transcript works as typed.

use std::path::Path;
use std::process::Command;

use xennet_core::backend::fake::Fake;
use xennet_core::snapshot::Address;
use xennet_core::step::{AddrStep, LinkRef, LinkStep, NewMaster, Step};
use xennet_tests::steps::{name, run, set, up};

/// The lines of the first `console` block.
fn transcript(readme: &str) -> (usize, Vec<&str>) {
    let start = readme.find("```console\n").expect("the README has a transcript") + "```console\n".len();
    let end = start + readme[start..].find("\n```").expect("the transcript ends");
    (start, readme[start..end].lines().collect())
}

/// Types the commands in one shell each and compares; `XENNET_BLESS=1` writes what they print into the README.
#[test]
fn the_transcript_is_what_the_commands_print() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let Ok(readme) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("XENNET_BIN").is_some(), "{} cannot be read", path.display());
        eprintln!("skipped: the sources are not here");
        return;
    };
    let (start, lines) = transcript(&readme);
    let state = xennet_tests::StateDir::new();
    let program = super::command::program();
    let place = Path::new(&program).parent().unwrap();
    let path_variable = format!("{}:{}", place.display(), std::env::var("PATH").unwrap_or_default());
    let mut printed = String::new();
    for line in lines.iter().filter_map(|l| l.strip_prefix("$ ")) {
        printed.push_str(&format!("$ {line}\n"));
        // Building it and finding it is what the test program has done already.
        if line.starts_with("cargo ") || line.starts_with("export ") {
            continue;
        }
        assert!(line.starts_with("xennet --backend fake "), "the README types something else: {line}");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{line} 2>&1")).env("PATH", &path_variable).env("XENNET_STATE_DIR", state.path());
        printed.push_str(&String::from_utf8(shell.output().unwrap().stdout).unwrap());
    }
    let written = lines.join("\n") + "\n";
    if std::env::var_os("XENNET_BLESS").is_some() {
        let new = format!("{}{}{}", &readme[..start], printed, &readme[start + written.len()..]);
        std::fs::write(&path, new).unwrap();
    } else {
        assert_eq!(written, printed, "XENNET_BLESS=1 rewrites it");
    }
}

/// What guests are told, typed where each network of the README has a file of its own.
#[test]
fn what_it_tells_guests_is_what_the_command_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let Ok(readme) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: the sources are not here");
        return;
    };
    let (_, section) = readme.split_once("### Inside the guest\n").expect("the README has this section");
    let (_, lines) = transcript(section);
    let state = xennet_tests::StateDir::new();
    for text in readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()) {
        let read = xennet_core::config::networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
        let name = read.iter().next().unwrap().name();
        std::fs::write(state.path().join(format!("{name}.toml")), text).unwrap();
    }
    let mut printed = String::new();
    for line in lines.iter().filter_map(|l| l.strip_prefix("$ ")) {
        let arguments = line.strip_prefix("xennet ").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("\"$0\" {arguments} 2>&1")]).arg(super::command::program());
        shell.current_dir(state.path()).env("XENNET_STATE_DIR", state.path().join("state"));
        printed.push_str(&format!("$ {line}\n{}", String::from_utf8(shell.output().unwrap().stdout).unwrap()));
    }
    assert_eq!(lines.join("\n") + "\n", printed);
}

/// The networks that the README describes are ones that the command takes.
#[test]
fn its_networks_can_be_started() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let Ok(readme) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: the sources are not here");
        return;
    };
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let modes: Vec<&str> = blocks
        .iter()
        .map(|text| {
            let read = xennet_core::config::networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
            let network = read.iter().next().unwrap();
            let mut host = xennet_core::Host::with_backend(Box::new(picture()));
            host.start_network(network).unwrap_or_else(|e| panic!("{text}\n{}", e.report()));
            network.mode_name()
        })
        .collect();
    assert_eq!(modes, ["bridge", "nat", "routed"]);
}

/// The host of the README's picture: `eth0` with 192.168.0.3.
fn picture() -> Fake {
    let mut fake = Fake::example();
    let leaves = up().with_master(NewMaster::None);
    set(&mut fake, "eth0", leaves);
    run(&mut fake, Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr0")) }));
    run(&mut fake, Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.168.0.3/24".parse().unwrap()))));
    fake
}
