//! `xennet picture`: the drawings of Xen's old documentation, one of each mode, and what the command does with its options.
//!
//! The drawings are kept in `examples/pictures`: `XENNET_BLESS=1` writes them anew.

use std::fs;
use std::path::PathBuf;

use xennet_core::backend::fake::{Fake, Netback};
use xennet_core::config::networks;
use xennet_core::recording::Taken;
use xennet_core::snapshot::{Address, Route};
use xennet_core::step::{AddrStep, RouteStep, Step};
use xennet_core::{DomId, Host, MacAddr};
use xennet_tests::StateDir;
use xennet_tests::steps::{card, name, run as step, set, up};

use crate::command::{Run, run, run_with_input};

/// The networks of the founding document, and the guests that they have there.
const DRAWINGS: [(&str, &str, &[&str]); 3] = [
    (
        "bridge",
        "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\n",
        &[
            "mac=00:16:3e:5a:32:da,bridge=xenbr0,ip=192.168.0.6",
            "mac=00:16:3e:02:00:41,bridge=xenbr0,ip=192.168.0.7",
            "mac=00:16:3e:07:d2:0e,bridge=xenbr0",
        ],
    ),
    (
        "nat",
        "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\negress = \"eth0\"\n",
        &["mac=00:16:3e:5a:32:da,bridge=private,ip=10.0.0.1", "mac=00:16:3e:02:00:41,bridge=private,ip=10.0.0.2"],
    ),
    (
        "routed",
        "[network.guests]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/24\"]\nuplink = \"eth0\"\n",
        &["mac=00:16:3e:5a:32:da,bridge=guests,ip=10.0.0.1", "mac=00:16:3e:02:00:41,bridge=guests,ip=10.0.0.2"],
    ),
];

/// The host of the founding document with one of its networks, in a file.
fn recorded(state: &StateDir, which: &str) -> String {
    let (_, text, guests) = DRAWINGS.into_iter().find(|(mode, ..)| *mode == which).unwrap();
    let mut fake = Fake::empty().with_netback(Netback::Plays);
    fake.add_hardware(name("eth0"), card(MacAddr::new([0x00, 0x50, 0x8b, 0xdc, 0xf7, 0x2b])));
    set(&mut fake, "eth0", up());
    step(&mut fake, Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.168.0.3/24".parse().unwrap()))));
    let gateway = Some("192.168.0.1".parse().unwrap());
    let default = Route::to("0.0.0.0/0".parse().unwrap(), name("eth0")).with_gateway(gateway);
    step(&mut fake, Step::Route(RouteStep::Add(default)));
    let mut host = Host::with_backend(Box::new(fake));
    for network in networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report())).iter() {
        host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    for (domid, line) in (1..).zip(guests) {
        let (domid, line) = (DomId::new(domid).unwrap(), line.parse().unwrap());
        host.attach(domid, &line).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let taken = Taken::default().with_at(1_795_600_800).with_host("dom0");
    let mut recording = host.record(taken, None, Err("there is none here".into()));
    // A fake has no xenstore; the names are those of the founding document.
    recording.unseen.clear();
    for domid in 1..=guests.len() {
        let path = format!("/local/domain/{domid}/name").parse().unwrap();
        recording.store.insert(path, format!("vm{domid:02}"));
    }
    let file = state.path().join(format!("{which}.json"));
    fs::write(&file, recording.to_json()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn picture(arguments: &[&str]) -> Run {
    run([&["picture"], arguments].concat())
}

#[track_caller]
fn drawn(arguments: &[&str]) -> String {
    let done = picture(arguments);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    done.stdout
}

#[test]
fn the_drawings_of_the_three_modes_are_as_the_command_makes_them() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/pictures");
    let state = StateDir::new();
    for (mode, ..) in DRAWINGS {
        let file = recorded(&state, mode);
        for (form, suffix) in [("--svg", "svg"), ("--text", "txt"), ("--mermaid", "mmd"), ("--dot", "dot")] {
            let made = drawn(&["--from", &file, form]);
            let kept = dir.join(format!("{mode}.{suffix}"));
            if std::env::var_os("XENNET_BLESS").is_some_and(|v| v == "1") {
                fs::create_dir_all(&dir).unwrap();
                fs::write(&kept, &made).unwrap();
            }
            let known = fs::read_to_string(&kept).unwrap_or_else(|e| panic!("{}: {e}", kept.display()));
            assert_eq!(made, known, "{}: XENNET_BLESS=1 writes it", kept.display());
        }
    }
}

#[test]
fn each_drawing_has_what_the_old_ones_show() {
    let state = StateDir::new();
    let text = |mode| drawn(&["--from", &recorded(&state, mode)]);
    let has = |text: &str, all: &[&str]| all.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
    has(&text("bridge"), &["gateway 192.168.0.1", "eth0", "xenbr0", "192.168.0.3/24", "vif1.0", "vm01", "192.168.0.6"]);
    has(&text("nat"), &["192.168.0.3/24", "NAT", "10.0.0.254", "10.0.0.1", "gate"]);
    has(&text("routed"), &["routed", "10.0.0.1", "ip route add 10.0.0.0/24 via 192.168.0.3"]);
    for mode in ["bridge", "nat", "routed"] {
        assert!(text(mode).lines().all(|line| line.chars().count() <= 100));
    }
}

#[test]
fn a_png_is_a_picture_of_the_size_that_the_svg_has() {
    let state = StateDir::new();
    let file = recorded(&state, "bridge");
    let png = state.path().join("picture.png");
    let done = picture(&["--from", &file, "--png", "--output", png.to_str().unwrap()]);
    if cfg!(not(feature = "png")) {
        assert!(done.code != 0 && done.stderr.contains("--svg"), "{done:?}");
        return;
    }
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "", ""), "{done:?}");
    let bytes = fs::read(&png).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let svg = drawn(&["--from", &file, "--svg"]);
    let size = format!("width=\"{}\" height=\"{}\"", number(16) / 2, number(20) / 2);
    assert!(svg.contains(&size), "{size}: {svg}");
    // Text is drawn, and not left out for want of fonts: a picture without it is far smaller.
    assert!(bytes.len() > 20_000, "{}", bytes.len());
}

#[test]
fn a_plan_and_a_description_are_drawn_too() {
    let state = StateDir::new();
    let dir = state.path().join("state");
    let fake = |more: &[&str]| run([&["--backend", "fake", "--state-dir", dir.to_str().unwrap()], more].concat());
    let plan = fake(&["--json", "plan", "attach", "5", "mac=00:16:3e:00:00:05,bridge=xenbr0,ip=192.0.2.5"]);
    let file = state.path().join("plan.json");
    fs::write(&file, &plan.stdout).unwrap();
    let drawn = fake(&["picture", "--plan", file.to_str().unwrap()]);
    assert_eq!(drawn.code, 0, "{drawn:?}");
    assert!(drawn.stdout.contains("+ vif5.0") && drawn.stdout.contains("192.0.2.5"), "{drawn:?}");
    let svg = fake(&["picture", "--svg", "--plan", file.to_str().unwrap()]);
    assert!(svg.stdout.contains(" added\""), "{svg:?}");

    let text = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n";
    let read = run_with_input(&["picture", "--described", "-"], text.as_bytes());
    assert!(read.code == 0 && read.stdout.contains("guests with bridge=private"), "{read:?}");
    let wrong = run_with_input(&["picture", "--described", "-"], b"[network.private]\nmode = \"gnat\"\n");
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

#[test]
fn the_model_is_a_document_and_two_forms_at_once_are_refused() {
    let state = StateDir::new();
    let file = recorded(&state, "nat");
    let document = run(["--json", "picture", "--from", &file]).json();
    let port = &document["hubs"][0]["ports"][0];
    assert_eq!((&port["guest"]["name"], &port["filter"]), (&"vm01".into(), &"gate".into()));
    assert_eq!(document["uplinks"][0]["gateways"][0], "192.168.0.1");
    for wrong in [
        &["--json", "picture", "--svg"][..],
        &["picture", "--svg", "--dot"],
        &["picture", "--described", "--from", "x"],
    ] {
        assert_eq!(run(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn this_host_is_drawn_as_its_recording() {
    let state = StateDir::new();
    let dir = state.path().join("state");
    let fake = |more: &[&str]| run([&["--backend", "fake", "--state-dir", dir.to_str().unwrap()], more].concat());
    assert_eq!(fake(&["attach", "5", "mac=00:16:3e:00:00:05,bridge=xenbr0,ip=192.0.2.5"]).code, 0);
    let file = state.path().join("host.json");
    assert_eq!(fake(&["record", file.to_str().unwrap()]).code, 0);
    // A model of the kernel has no xenstore, which a recording says.
    let mut recording: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    recording["unseen"] = serde_json::json!([]);
    fs::write(&file, recording.to_string()).unwrap();
    let without_time = |run: Run| {
        assert_eq!(run.code, 0, "{run:?}");
        run.stdout.lines().filter(|line| !line.contains("Z · xennet")).map(str::to_owned).collect::<Vec<_>>()
    };
    for form in ["--text", "--svg", "--dot", "--mermaid"] {
        let live = without_time(fake(&["picture", form, "--counters"]));
        let read = without_time(picture(&[form, "--counters", "--from", file.to_str().unwrap()]));
        assert_eq!(live, read);
        assert!(live.iter().any(|line| line.contains("vif5.0")));
    }
}
