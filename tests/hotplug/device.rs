//! xenstored behind the kernel's device, as in a driver domain: one request at a time, and none is mixed up with another.

use std::time::Duration;

use xennet_core::Errno;
use xennet_core::xenstore::server::{Server, Settings};
use xennet_core::xenstore::{Client, Options, Store as _, StoreError, StoreErrorKind};
use xennet_tests::in_netns;

use crate::rig::{Rig, guarded, link, name, run};
use crate::xenbus::Xenbus;

/// How many calls on one client.
const CALLS: usize = 10_000;

/// Names of different lengths, and of the same.
const NAMES: [&str; 6] = ["mac", "mtu", "vlan", "type", "bridge", "hotplug-error"];

/// A xenstored with nodes whose values are their paths, a device before it, and a client that has opened the device.
fn opened() -> (Server, Xenbus, Client) {
    let server = Server::start(Settings::default()).unwrap();
    server.tree(|tree| {
        for path in (0..50).flat_map(|n| NAMES.map(|name| format!("/{n}/{name}"))) {
            tree.set(&path, path.as_bytes()).unwrap();
        }
    });
    let device = Xenbus::before(server.path());
    let options = Options::default().with_path(device.path().to_owned()).with_deadline(Duration::from_secs(20));
    let client = Client::open(&options, &|_| None).unwrap();
    (server, device, client)
}

#[test]
fn ten_thousand_calls_are_not_mixed_up_by_a_late_device() {
    let (server, device, mut client) = opened();
    let mut wrong = Vec::new();
    for call in 0..CALLS {
        let (n, first) = (call % 50, call % (NAMES.len() - 1));
        let paths = [first, first + 1].map(|at| format!("/{n}/{}", NAMES[at]));
        let read = client.read_many(&[&paths[0], &paths[1]]);
        let expected = paths.clone().map(|path| Some(path.into_bytes()));
        if read.as_deref().ok() != Some(&expected[..]) {
            wrong.push(format!("call {call}: {paths:?}: {read:?}"));
            if read.is_err_and(|e| e.kind() != StoreErrorKind::Refused) {
                break;
            }
        }
    }
    let (requests, overwritten) = (device.requests(), device.overwritten());
    println!("{CALLS} calls, {requests} requests, {overwritten} overwritten, {} wrong", wrong.len());
    assert_eq!((wrong.len(), overwritten), (0, 0), "the first: {:#?}", &wrong[..wrong.len().min(3)]);
    assert_eq!((requests, server.log().len()), (2 * CALLS, 2 * CALLS));
}

#[test]
fn transactions_listings_and_watches_go_through_the_device() {
    let (server, device, mut client) = opened();
    for n in 0..100 {
        let (error, status) = (format!("no bridge: {n}"), format!("error{n}"));
        client.write_all(&[("/b/hotplug-error", error.as_bytes()), ("/b/hotplug-status", status.as_bytes())]).unwrap();
        let now = server.tree(|t| ["error", "status"].map(|w| t.get(&format!("/b/hotplug-{w}")).unwrap().to_vec()));
        assert_eq!(now, [error.into_bytes(), status.into_bytes()]);
    }
    client.watch("/w", "first").unwrap();
    client.watch("/w", "second").unwrap();
    client.write("/w/a", b"1").unwrap();
    let mut events: Vec<String> = Vec::new();
    while let Some(event) = client.next_event(Duration::from_secs(if events.len() < 4 { 20 } else { 0 })).unwrap() {
        events.push(format!("{} {}", event.path, event.token));
    }
    events.sort();
    assert_eq!(events, ["/w first", "/w second", "/w/a first", "/w/a second"]);
    // A list that does not fit into one message comes in parts.
    let names: Vec<String> = (0..500).map(|n| format!("a-child-with-a-name-{n:03}")).collect();
    server.tree(|tree| names.iter().for_each(|n| tree.set(&format!("/d/{n}"), b"").unwrap()));
    assert_eq!(client.directory("/d").unwrap(), Some(names));
    let kept = client.transaction(|t| {
        t.write("/b/hotplug-status", b"never")?;
        let read = t.read_many(&["/b/hotplug-status", "/b/hotplug-error"])?;
        Err::<(), StoreError>(StoreError::refused(Errno::EIO, "read", format!("{read:?}")))
    });
    assert!(
        kept.is_err() && server.tree(|t| t.get("/b/hotplug-status").map(<[u8]>::to_vec)) == Some(b"error99".into())
    );
    assert_eq!(device.overwritten(), 0);
}

/// The device's buffer is for the header, too.
#[test]
fn what_the_device_cannot_take_is_refused_before_it_is_sent() {
    let (_server, device, mut client) = opened();
    let longest = 4096 - 16 - "/0/mac\0".len();
    let e = client.write("/0/mac", &vec![b'x'; longest + 1]).unwrap_err();
    assert_eq!((e.kind(), e.errno(), device.requests()), (StoreErrorKind::Invalid, Errno::E2BIG, 0));
    assert!(e.reason().contains("at most 4080 bytes here, this one has 4081"), "{e}");
    client.write("/0/mac", &vec![b'x'; longest]).unwrap();
    assert_eq!(client.read("/0/mac").unwrap().map(|v| v.len()), Some(longest));
}

/// The program itself, whose place to look is the device: every node is read as it stands, the reason of a failure is written
/// whole, and on success it goes.
#[test]
fn calls_by_way_of_the_device_do_what_they_do_by_way_of_the_socket() {
    in_netns("device::calls_by_way_of_the_device_do_what_they_do_by_way_of_the_socket", || {
        let rig = Rig::new();
        let device = Xenbus::before(rig.store.path());
        let call = |verb: &str| run(rig.command("vif5.0", verb).env("XENSTORED_PATH", device.path()));
        let nodes =
            [("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6 2001:db8::6"), ("vifname", "web0"), ("mtu", "1400")];
        rig.vif("vif5.0", &nodes);
        for _ in 0..10 {
            rig.nodes("vif5.0", &[("bridge", "xenbr9")]);
            let got = call("online");
            assert_eq!(got.code, Some(1), "{}", got.stderr);
            let told = rig.error("vif5.0").unwrap();
            assert!(told.starts_with("bridge-not-found (4): ") && told.contains("bridges here: xenbr0"), "{told}");
            assert_eq!(rig.status("vif5.0").as_deref(), Some("error"));
            rig.nodes("vif5.0", &[("bridge", "xenbr0")]);
            let got = call("online");
            assert_eq!(got.code, Some(0), "{}", got.stderr);
            assert_eq!((rig.status("vif5.0").as_deref(), rig.error("vif5.0")), (Some("connected"), None));
            let web = link("web0").unwrap();
            assert_eq!((web.master, web.mtu, guarded().len()), (Some(name("xenbr0")), 1400, 7));
            assert_eq!(rig.node("/local/domain/5/device/vif/0/mtu").as_deref(), Some("1400"));
            assert_eq!(call("offline").code, Some(0));
            assert_eq!(guarded(), [""; 0]);
        }
        assert!(device.requests() > 200, "{}", device.requests());
        assert_eq!(device.overwritten(), 0);
    });
}
