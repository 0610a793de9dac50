//! What the command says of itself, and what wrong usage gets.

use std::fs::OpenOptions;
use std::process::Stdio;

use xennet_core::ErrorKind;

use crate::command::{finish, run, xennet};

#[test]
fn help_and_version_are_answers() {
    let version = run(["--version"]);
    assert_eq!((version.code, version.stdout.as_str()), (0, concat!("xennet ", env!("CARGO_PKG_VERSION"), "\n")));
    let help = run(["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for kind in ErrorKind::ALL {
        assert!(help.stdout.contains(&format!("{:>4}  {}\n", kind.number(), kind.meaning())), "{kind}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_nothing_on_standard_output() {
    let cases: &[&[&str]] =
        &[&[], &["nonsense"], &["--nonsense"], &["man", "--backend", "x"], &["completions", "tcsh"]];
    for arguments in cases {
        let got = run(*arguments);
        assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!got.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_a_document_where_documents_are_asked_for() {
    let got = run(["--json", "atach"]);
    assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{got:?}");
    let [error] = &got.json_lines()[..] else { panic!("{got:?}") };
    let text = error.to_string();
    assert!(text.contains("unrecognized subcommand 'atach'") && text.contains("'attach'"), "{text}");
    assert!(!run(["atach"]).stderr.starts_with('{'));
}

#[test]
fn arguments_that_are_no_text_are_wrong_usage() {
    use std::os::unix::ffi::OsStrExt;
    let got = run([std::ffi::OsStr::from_bytes(b"man"), std::ffi::OsStr::from_bytes(b"\xff")]);
    assert_eq!((got.code, got.stdout.as_str()), (2, ""));
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let man = run(["man"]).stdout;
    assert!(man.starts_with(".ie") && man.contains("\n.TH XENNET 1 "));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let got = run(["completions", shell]);
        assert_eq!(got.code, 0);
        for command in commands() {
            assert!(got.stdout.contains(&command), "{command} in {shell}");
        }
        assert!(got.stdout.contains("network") && !got.stdout.contains("guard"), "a hidden command in {shell}");
    }
    for command in commands() {
        assert!(man.contains(&format!("xennet\\-{}", command.replace('-', "\\-"))), "{command} in the manual page");
        let page = run(["man", &command]).stdout;
        let heading = format!("\n.TH XENNET-{} 1 ", command.to_uppercase());
        let version = format!(" \"xennet {}\"\n", env!("CARGO_PKG_VERSION"));
        assert!(page.contains(&heading) && page.contains(&version), "{heading}{version}");
    }
}

/// `man` and `mandoc` are asked where they are; neither has anything to warn of.
#[test]
fn every_manual_page_is_written_and_is_one() {
    let place = xennet_tests::StateDir::new();
    let dir = place.path().join("man");
    let got = run(["man", "--dir", dir.to_str().unwrap()]);
    assert_eq!((got.code, got.stderr.as_str()), (0, ""), "{got:?}");
    let files: Vec<&str> = got.stdout.lines().collect();
    for page in ["man1/xennet.1", "man1/xennet-network-start.1", "man5/networks.toml.5", "man5/hotplug.toml.5"] {
        assert!(files.iter().any(|file| file.ends_with(page)), "{page}");
    }
    assert!(files.iter().any(|file| file.ends_with("man8/xennet-hotplug.8")) && files.len() > 40);
    let reader = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).args(&files).env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        match command.output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(if program == "man" { &output.stderr } else { &output.stdout });
                assert_eq!(said, "", "{program}");
            }
            Err(_) => eprintln!("skipped: there is no {program}"),
        }
    };
    reader("man", &["--warnings", "-l"]);
    reader("mandoc", &["-T", "lint", "-W", "warning"]);
    // One page is what --dir writes.
    let one = std::fs::read_to_string(dir.join("man5/networks.toml.5")).unwrap();
    assert_eq!(run(["man", "networks.toml"]).stdout, one);
    let full = run(["man", "--dir", "/dev/null/x"]);
    assert_eq!(full.code, i32::from(ErrorKind::Io.number()), "{full:?}");
}

#[test]
fn an_unknown_manual_page_is_refused_with_the_known_ones() {
    let got = run(["--json", "man", "nonsense"]);
    assert_eq!((got.code, got.stdout.as_str()), (2, ""));
    let error = &got.json_lines()[0];
    assert_eq!((error["kind"].as_str(), error["code"].as_u64()), (Some("invalid"), Some(2)));
    assert!(error["hint"].as_str().unwrap().contains("completions"));
    let got = run(["--json", "man", "parse", "vif", "nonsense"]);
    assert_eq!(got.json_lines()[0]["hint"], "vif has no commands below it: leave this word out");
}

#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_none_to_talk_about() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [&["man"][..], &["--version"], &["--help"], &["help", "parse"], &["attach", "-h"]] {
        let got = finish(xennet().args(arguments).stdout(full.try_clone().unwrap()));
        assert_eq!(got.code, i32::from(ErrorKind::Io.number()), "{arguments:?}");
        assert!(got.stderr.starts_with("error: standard output cannot be written\n  kernel: ENOSPC"), "{got:?}");
    }

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let got = finish(xennet().arg("man").stdout(Stdio::from(writer)));
    assert_eq!((got.code, got.stderr.as_str()), (i32::from(ErrorKind::Io.number()), ""));
}

#[test]
fn the_schema_of_every_document_is_printed() {
    use xennet_core::document::ALL;

    let list = run(["schema"]).stdout;
    let names: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ALL.iter().map(|document| document.name).collect::<Vec<_>>());
    assert_eq!(run(["--json", "schema"]).json()["schemas"].as_array().unwrap().len(), ALL.len());
    for document in ALL {
        let schema = run(["schema", document.name]).json();
        assert_eq!(schema["$id"], document.id());
    }
    let e = run(["--json", "schema", "plna"]);
    assert_eq!((e.code, e.stdout.as_str()), (i32::from(ErrorKind::Invalid.number()), ""));
    assert_eq!(e.json_lines()[0]["object"], "plna");
}

/// The commands by which documents are found in tests are there.
#[test]
fn the_table_of_documents_names_commands() {
    for command in xennet_core::document::ALL.iter().flat_map(|document| document.commands) {
        let words = command.split(' ').chain(["--help"]);
        assert_eq!(run(words).code, 0, "{command}");
    }
}

/// The names of the commands, from the help.
fn commands() -> Vec<String> {
    let help = run(["--help"]).stdout;
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let names: Vec<String> = listed.filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.iter().any(|n| n == "completions"), "{help}");
    names
}
