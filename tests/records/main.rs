//! What earlier versions have remembered: their records are read, and every operation goes on from them.
//!
//! `tests/fixtures/records/N` is a state directory as the versions of format N left it after [`history`]. A new format gets a directory of
//! its own: `XENNET_BLESS=1 cargo test -p xennet-tests --test records`, which writes the present one only. Those of earlier formats are
//! never written again.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use xennet_core::backend::fake::{Fake, Fault};
use xennet_core::config::networks;
use xennet_core::exec::Subject;
use xennet_core::snapshot::Snapshot;
use xennet_core::step::{LinkChange, LinkStep, NewLink, Step};
use xennet_core::{BridgeSpec, DevId, DomId, ErrorKind, Guests, Host, MacAddr, Network, Outcome, exec};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::{Shared, StateDir};

/// What belongs to it was started by the version that wrote the records; forwards have come since the first start.
const NETWORKS: [&str; 2] = [
    r#"
[network.private]
mode = "nat"
subnets = ["10.1.0.0/24", "fd00:1::/64"]
egress = "eth1"
forward = [{ protocol = "tcp", ports = "8080", to = "10.1.0.2", to_port = 80 }]

[network.shared]
mode = "nat"
subnets = ["10.2.0.0/24"]
egress = "eth1"
bridge = "br-shared"

[network.dmz]
mode = "routed"
subnets = ["203.0.113.0/28"]
uplink = "xenbr0"
"#,
    r#"
[network.private]
mode = "nat"
subnets = ["10.1.0.0/24", "fd00:1::/64"]
egress = "eth1"
forward = [
  { protocol = "tcp", ports = "8080", to = "10.1.0.2", to_port = 80 },
  { protocol = "udp", ports = "5000-5010", to = "10.1.0.2", to_port = 6000 },
]
"#,
];

/// It is started by the versions of format 2 and later: who wrote the first one's records had no such network.
const SERVED: &str = r#"
[network.served]
mode = "nat"
subnets = ["10.3.0.0/24", "fd00:3::/64"]
egress = "eth1"
bridge = "br-served"
dhcp = true
dns = true
range = ["10.3.0.100-10.3.0.199"]
domain = "guests.example"
mtu = 1400
"#;

const WEB: &str = "mac=00:16:3e:00:00:01,bridge=xenbr0,ip=192.0.2.11 2001:db8::11,vifname=web0,isolated,mtu=";

fn domid(number: u32) -> DomId {
    DomId::new(number).unwrap()
}

fn described(text: &str) -> Vec<Network> {
    networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report())).iter().cloned().collect()
}

/// The example with a second uplink, and the link that a device model makes.
fn world() -> Shared {
    let mut fake = Fake::example();
    for (link, peer) in [("eth1", "outside"), ("vif1.0-emu", "qemu")] {
        let kind = NewLink::Veth { peer: name(peer) };
        run(&mut fake, Step::Link(LinkStep::Create { name: name(link), kind, change: LinkChange::default() }));
    }
    for link in ["eth1", "outside"] {
        set(&mut fake, link, up());
    }
    Shared::new(fake)
}

fn open(world: &Shared, state: &Path) -> Host {
    Host::with_backend(Box::new(world.clone())).with_state_dir(exec::StateDir::at(state))
}

/// Some of everything that is remembered by versions of this format; one operation is interrupted.
fn history(world: &Shared, state: &Path, format: u32) {
    let mut host = open(world, state);
    let bridge = BridgeSpec::new(name("br-dmz")).with_mac(MacAddr::new([2, 0, 0, 0, 0, 0x21])).unwrap();
    host.ensure_bridge(&bridge).unwrap();
    let mut attach = |number: u32, text: &str| {
        host.attach(domid(number), &text.parse().unwrap()).unwrap_or_else(|e| panic!("{text}: {}", e.report()))
    };
    for mtu in ["1400", "1300"] {
        attach(1, &format!("{WEB}{mtu}"));
    }
    attach(4, "bridge=br-dmz");
    attach(6, "script=vif-route,mac=00:16:3e:00:00:06,ip=198.51.100.6,gatewaydev=xenbr0");
    host.attach_tap(domid(1), &format!("{WEB}1300,type=ioemu").parse().unwrap())
        .unwrap_or_else(|e| panic!("{}", e.report()));
    host.detach(domid(4), DevId::FIRST).unwrap();
    for text in NETWORKS {
        for network in described(text) {
            host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
    }
    let mut attach = |number: u32, text: &str| {
        host.attach(domid(number), &text.parse().unwrap()).unwrap_or_else(|e| panic!("{text}: {}", e.report()))
    };
    attach(2, "mac=00:16:3e:00:00:02,bridge=private,ip=10.1.0.2 fd00:1::2");
    attach(3, "mac=00:16:3e:00:00:03,bridge=dmz,ip=203.0.113.3");
    attach(5, "mac=00:16:3e:00:00:05,bridge=br-shared,ip=10.2.0.5");
    world.change(|fake| fake.set_faults([Fault::CrashAfter { step: 1 }]));
    host.attach(domid(7), &"bridge=xenbr0,mtu=1400".parse().unwrap()).unwrap_err();
    world.change(|fake| fake.set_faults([]));
    if format > 1 {
        // Behind all else, so that links have the numbers that they had before there was this network.
        for network in described(SERVED) {
            host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        let vif = "mac=00:16:3e:00:00:08,bridge=br-served,ip=10.3.0.8".parse().unwrap();
        host.attach(domid(8), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/records")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), target).unwrap();
        } else if path.is_dir() {
            copy(&path, &target);
        } else if path.metadata().unwrap().len() > 0 {
            // Locks are empty.
            fs::copy(&path, &target).unwrap();
            // A checkout gives everybody what git gives; what is remembered is for root alone.
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
}

/// What a host says and does, and what the world is then.
type Told = (Result<String, (ErrorKind, String)>, Snapshot);

/// An operation, by its name.
type Op = (&'static str, Box<dyn Fn(&mut Host) -> xennet_core::Result<String>>);

fn ops() -> Vec<Op> {
    let vif = |number: u32| Subject::Vif(xennet_core::VifId::new(domid(number), DevId::FIRST));
    let tap = Subject::Tap(xennet_core::VifId::new(domid(1), DevId::FIRST));
    let mut ops: Vec<Op> = vec![
        ("show", Box::new(|h| Ok(serde_json::to_string(&h.show()?).unwrap()))),
        ("recover", Box::new(|h| Ok(format!("{:?}", h.recover()?)))),
        ("undo the tap", Box::new(move |h| Ok(format!("{:?}", h.undo(tap)?.done)))),
        ("undo the bridge", Box::new(|h| Ok(format!("{:?}", h.undo(Subject::Bridge(name("br-dmz")))?.done)))),
        ("detach the tap", Box::new(|h| Ok(format!("{:?}", h.detach_tap(domid(1), DevId::FIRST)?.done)))),
        (
            "everything goes",
            Box::new(|h| {
                let mut done = Vec::new();
                h.recover()?;
                for number in 1..=8 {
                    done.extend(h.detach(domid(number), DevId::FIRST)?.done);
                }
                done.extend(h.detach_tap(domid(1), DevId::FIRST)?.done);
                for network in ["private", "shared", "dmz", "served"] {
                    done.extend(h.stop_network(&name(network), Guests::MustHaveGone)?.done);
                }
                Ok(format!("{done:?}"))
            }),
        ),
    ];
    for number in 1..=8 {
        ops.push(("undo", Box::new(move |h| Ok(format!("{number}: {:?}", h.undo(vif(number))?.done)))));
        ops.push((
            "detach",
            Box::new(move |h| Ok(format!("{number}: {:?}", h.detach(domid(number), DevId::FIRST)?.done))),
        ));
        ops.push((
            "attach",
            Box::new(move |h| {
                let text = format!("mac=00:16:3e:00:00:0{number},bridge=br-dmz,ip=192.0.2.2{number}");
                let attached = h.attach(domid(number), &text.parse()?)?;
                Ok(format!("{number}: {:?} {:?}", attached.done, h.undo(vif(number))?.done))
            }),
        ));
    }
    for network in NETWORKS.iter().rev().flat_map(|text| described(text)).chain(described(SERVED)) {
        let network_name = network.name();
        ops.push((
            "status",
            Box::new({
                let network = network.clone();
                move |h| Ok(serde_json::to_string(&h.network_status(&network)?).unwrap())
            }),
        ));
        ops.push(("start", Box::new(move |h| Ok(format!("{:?}", h.start_network(&network)?.done)))));
        ops.push((
            "stop",
            Box::new(move |h| Ok(format!("{:?}", h.stop_network(&network_name, Guests::AreCutOff)?.done))),
        ));
        ops.push((
            "undo a start",
            Box::new(move |h| Ok(format!("{:?}", h.undo(Subject::Network(network_name))?.done))),
        ));
    }
    ops
}

/// The same on a copy of the world and of a state directory.
fn tried(op: &Op, made: &Shared, records: &Path) -> Told {
    let world = Shared::new(made.fake());
    let state = StateDir::new().of_others();
    let dir = state.path().join("copy");
    copy(records, &dir);
    let result = (op.1)(&mut open(&world, &dir)).map_err(|e| {
        let text = e.report().replace(&*dir.to_string_lossy(), "STATE");
        (e.kind(), text)
    });
    (result, world.fake().world().clone())
}

#[test]
fn every_operation_goes_on_from_the_records_of_every_format() {
    let all = fixtures();
    let present = all.join(exec::Entry::FORMAT.to_string());
    if std::env::var_os("XENNET_BLESS").is_some() {
        let state = StateDir::new().of_others();
        history(&world(), state.path(), exec::Entry::FORMAT);
        let _ = fs::remove_dir_all(&present);
        copy(state.path(), &present);
    }
    let mut formats = 0;
    for entry in fs::read_dir(&all).unwrap() {
        let (path, mut good) = (entry.unwrap().path(), 0);
        let (made, state) = (world(), StateDir::new().of_others());
        let format = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        history(&made, state.path(), format);
        for op in ops() {
            let (own, earlier) = (tried(&op, &made, state.path()), tried(&op, &made, &path));
            assert_eq!(own.0, earlier.0, "{}: {}", path.display(), op.0);
            assert_eq!(own.1.changes(&earlier.1), [], "{}: {}", path.display(), op.0);
            good += usize::from(own.0.is_ok());
        }
        assert!(good > 25, "most of it succeeds, not {good}");
        formats += 1;
    }
    assert_eq!(formats, exec::Entry::FORMAT, "a directory for each format: XENNET_BLESS=1 writes the present one");
}

/// A newer version may have written what this one does not know: it is told so, and nothing is touched.
#[test]
fn what_a_newer_version_has_written_is_left_to_it() {
    let made = world();
    let present = fixtures().join(exec::Entry::FORMAT.to_string());
    let number = format!("\"xennet\":{}", exec::Entry::FORMAT);
    for (file, more) in
        [("vif1.0.journal", ""), ("vif1.0.journal", ",\"goal\":7"), ("networks/private.json", ",\"started\":[]")]
    {
        let state = StateDir::new().of_others();
        let dir = state.path().join("copy");
        copy(&present, &dir);
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(text.contains(&number), "{file}");
        let newer = format!("\"xennet\":{}{more}", exec::Entry::FORMAT + 1);
        let text = match more {
            "" => text.replace(&number, &newer),
            _ if file.ends_with(".json") => format!("{{{newer}}}"),
            _ => format!("{{{newer}}}\nok\n"),
        };
        fs::write(dir.join(file), &text).unwrap();
        let mut host = open(&made, &dir);
        let before = made.fake().world().clone();
        let e = match file.starts_with("vif") {
            true => host.detach(domid(1), DevId::FIRST).unwrap_err(),
            false => host.stop_network(&name("private"), Guests::AreCutOff).unwrap_err(),
        };
        assert_eq!((e.kind(), e.outcome()), (ErrorKind::StateUnusable, Some(Outcome::Unchanged)), "{}", e.report());
        assert!(e.message().contains("a newer version of xennet has written this: its format is 3"), "{}", e.report());
        assert!(e.hint().unwrap().contains("install the newer version again"), "{}", e.report());
        assert_eq!(fs::read_to_string(dir.join(file)).unwrap(), text);
        assert_eq!(before.changes(made.fake().world()), []);
    }
}
