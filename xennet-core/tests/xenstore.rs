//! The tools of Xen against our server: what they write we read, and the other way round.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xennet_core::xenstore::server::{Fault, Server, Settings};
use xennet_core::xenstore::tree::Caller;
use xennet_core::xenstore::wire::Kind;
use xennet_core::xenstore::{Client, Store};
use xennet_core::{Errno, snapshot::StorePermission};

/// Whether the tools of Xen are here. Where everything must be tested, they must.
fn tools() -> bool {
    let there = Command::new("xenstore-write").stderr(Stdio::null()).stdout(Stdio::null()).status().is_ok();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "xenstore-utils is missing");
        println!("skipped: no xenstore-write here; as root: apt-get install xenstore-utils");
    }
    there
}

fn tool(server: &Server, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args).env("XENSTORED_PATH", server.path()).env("LC_ALL", "C");
    command
}

/// Standard output and whether it succeeded.
fn run(server: &Server, name: &str, args: &[&str]) -> (String, bool) {
    let output = tool(server, name, args).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn good(server: &Server, name: &str, args: &[&str]) -> String {
    let output = tool(server, name, args).output().unwrap();
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn start() -> (Server, Client) {
    let server = Server::start(Settings::default()).unwrap();
    let client = Client::open(&server.options(), &|_| None).unwrap();
    (server, client)
}

#[test]
fn what_the_tools_write_we_read() {
    if !tools() {
        return;
    }
    let (server, mut client) = start();
    let base = "/local/domain/0/backend/vif/1/0";
    // As the hotplug scripts do: one command, two values, one transaction; a relative path.
    good(
        &server,
        "xenstore-write",
        &["backend/vif/1/0/hotplug-status", "connected", "backend/vif/1/0/mac", "00:16:3e:00:00:01"],
    );
    let path = |name: &str| format!("{base}/{name}");
    let values = client.read_many(&[&path("hotplug-status"), &path("mac")]).unwrap();
    assert_eq!(values, [Some(b"connected".to_vec()), Some(b"00:16:3e:00:00:01".to_vec())]);
    let kinds: Vec<Kind> = server.log().iter().filter_map(|r| r.kind).collect();
    assert_eq!(kinds[..4], [Kind::TransactionStart, Kind::Write, Kind::Write, Kind::TransactionEnd]);
    // Bytes that are no text: the tool unescapes what it reads.
    good(&server, "xenstore-write", &["/bytes", "a\\x01\\\\b"]);
    assert_eq!(client.read("/bytes").unwrap().as_deref(), Some(b"a\x01\\b".as_slice()));
    good(&server, "xenstore-chmod", &[base, "n0", "r1", "b7"]);
    let permission = |domid, read, write| StorePermission { domid, read, write };
    let expected = vec![permission(0, false, false), permission(1, true, false), permission(7, true, true)];
    assert_eq!(client.permissions(base).unwrap(), Some(expected));
    good(&server, "xenstore-rm", &[&path("mac")]);
    assert_eq!(client.directory(base).unwrap(), Some(vec!["hotplug-status".into()]));
    good(&server, "xenstore-rm", &["-t", &path("hotplug-status")]);
    assert_eq!(client.directory("/").unwrap(), Some(vec!["bytes".into()]), "with all that was empty above");
    // A conflict is tried again.
    server.set_faults(vec![Fault::Conflicts(2)]);
    server.clear_log();
    good(&server, "xenstore-write", &["/a", "1", "/b", "2"]);
    assert_eq!(server.log().iter().filter(|r| r.kind == Some(Kind::TransactionStart)).count(), 3);
}

#[test]
fn what_we_write_the_tools_read() {
    if !tools() {
        return;
    }
    let (server, mut client) = start();
    client
        .write_all(&[
            ("/vif/mac", b"00:16:3e:00:00:01"),
            ("/vif/odd", b"a\0\n\xff\\"),
            ("/vif/empty", b""),
            ("/vif/sub/x", b"1"),
        ])
        .unwrap();
    let permissions =
        [(5, true, false), (7, false, true)].map(|(domid, read, write)| StorePermission { domid, read, write });
    client.set_permissions("/vif/mac", &permissions).unwrap();
    assert_eq!(good(&server, "xenstore-read", &["/vif/mac"]), "00:16:3e:00:00:01\n");
    assert_eq!(good(&server, "xenstore-read", &["/vif/odd"]), "a\\000\\n\\xff\\\\\n");
    assert_eq!(good(&server, "xenstore-read", &["/vif/empty"]), "\n");
    assert!(!run(&server, "xenstore-read", &["/vif/none"]).1);
    assert_eq!(good(&server, "xenstore-list", &["/vif"]), "mac\nodd\nempty\nsub\n");
    assert!(run(&server, "xenstore-exists", &["/vif/sub"]).1);
    assert!(!run(&server, "xenstore-exists", &["/vif/sub/y"]).1);
    let shown = good(&server, "xenstore-ls", &["-f", "-p", "/vif"]);
    let lines: Vec<String> = shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "/vif/mac = \"00:16:3e:00:00:01\" (r5,w7)",
            "/vif/odd = \"a\\000\\n\\xff\\\\\" (n0)",
            "/vif/empty = \"\" (n0)",
            "/vif/sub = \"\" (n0)",
            "/vif/sub/x = \"1\" (n0)",
        ]
    );
    // A list that is too long for one message, as libxenstore reads it.
    let names: Vec<String> = (0..800).map(|n| format!("a-name-of-some-length-{n}")).collect();
    server.tree(|tree| names.iter().for_each(|n| tree.set(&format!("/many/{n}"), b"").unwrap()));
    assert_eq!(good(&server, "xenstore-list", &["/many"]), names.join("\n") + "\n");
    assert!(server.log().iter().any(|r| r.kind == Some(Kind::DirectoryPart)));
    assert_eq!(client.directory("/many").unwrap(), Some(names));
}

#[test]
fn the_tools_are_told_of_changes_and_refusals() {
    if !tools() {
        return;
    }
    let (server, mut client) = start();
    let mut watch =
        tool(&server, "xenstore-watch", &["-n", "4", "/vif", "backend/vif"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    assert_eq!(lines.next().as_deref(), Some("/vif"));
    assert_eq!(lines.next().as_deref(), Some("backend/vif"));
    client.write("/vif/a/b", b"1").unwrap();
    assert_eq!(lines.next().as_deref(), Some("/vif/a/b"));
    server.tree(|tree| tree.set("/local/domain/0/backend/vif/1", b"").unwrap());
    assert_eq!(lines.next().as_deref(), Some("backend/vif/1"));
    assert!(watch.wait().unwrap().success());

    server.set_faults(vec![Fault::Refuse { kind: Kind::Write, path: "/vif".into(), errno: Errno::ENOSPC }]);
    let output = tool(&server, "xenstore-write", &["/vif/c", "1"]).output().unwrap();
    assert!(!output.status.success());
    // A guest sees what a guest may see.
    server.set_faults(vec![]);
    server.set_domid(5);
    assert!(!run(&server, "xenstore-read", &["/vif/a/b"]).1);
    server.tree(|tree| {
        let mine = StorePermission { domid: 5, read: false, write: false };
        tree.mkdir(Caller::WORLD, "/local/domain/5").unwrap();
        tree.set_permissions(Caller::WORLD, "/local/domain/5", &[mine]).unwrap();
    });
    good(&server, "xenstore-write", &["device/vif/0/state", "1"]);
    assert_eq!(server.tree(|t| t.get("/local/domain/5/device/vif/0/state").map(<[u8]>::to_vec)), Some(b"1".to_vec()));
}

/// What a hotplug call costs: ten nodes read at once, against our own server. Run with `--release -- --nocapture`.
#[test]
fn ten_nodes_are_read_quickly() {
    const ROUNDS: u32 = 200;
    let (server, mut client) = start();
    let paths: Vec<String> = (0..10).map(|n| format!("/local/domain/0/backend/vif/1/0/node{n}")).collect();
    server.tree(|tree| paths.iter().for_each(|p| tree.set(p, b"a value").unwrap()));
    let names: Vec<&str> = paths.iter().map(String::as_str).collect();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        assert!(client.read_many(&names).unwrap().iter().all(Option::is_some));
    }
    let each = begun.elapsed() / ROUNDS;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        Client::open(&server.options(), &|_| None).unwrap().read("/").unwrap();
    }
    println!("ten nodes: {each:?}; connecting and one node: {:?}", begun.elapsed() / ROUNDS);
    assert!(each < Duration::from_millis(20), "{each:?}");
}

#[test]
fn nodes_of_vifs_are_recorded_and_what_a_guest_writes_is_bounded() {
    let server = Server::start(Default::default()).unwrap();
    let mut store = Client::open(&server.options(), &|_| None).unwrap();
    let long = "x".repeat(2000);
    for (path, value) in [
        ("/local/domain/5/name", "web01"),
        ("/local/domain/0/backend/vif/5/0/bridge", "xenbr0"),
        ("/local/domain/0/backend/vif/5/0/frontend", "/local/domain/9/device/vif/0"),
        ("/local/domain/0/backend/vif/5/0/hotplug-status", "connected"),
        ("/local/domain/5/device/vif/0/state", "4"),
        ("/local/domain/5/device/vif/0/mac", &long),
        ("/local/domain/5/device/vif/0/anything", "of the guest's"),
        ("/local/domain/9/device/vif/0/state", "1"),
    ] {
        store.write(path, value.as_bytes()).unwrap();
    }
    store.write("/local/domain/0/backend/vif/5/0/odd", b"a\xffb").unwrap();
    let recording = xennet_core::Host::fake().record(xennet_core::recording::Taken::default(), None, Ok(&mut store));
    assert_eq!(recording.unseen, []);
    let node = |path: &str| recording.store.get(&path.parse().unwrap()).map(String::as_str);
    assert_eq!(recording.domain_name(xennet_core::DomId::new(5).unwrap()), Some("web01"));
    assert_eq!(node("/local/domain/0/backend/vif/5/0/bridge"), Some("xenbr0"));
    assert_eq!(node("/local/domain/0/backend/vif/5/0/odd"), Some("a\\xffb"));
    assert_eq!(node("/local/domain/5/device/vif/0/state"), Some("4"));
    assert_eq!(node("/local/domain/5/device/vif/0/mac").map(str::len), Some(256));
    assert_eq!(node("/local/domain/5/device/vif/0/anything"), None);
    assert_eq!(
        node("/local/domain/9/device/vif/0/state"),
        None,
        "a path that a guest could have written is not followed"
    );
    let anonymous = recording.anonymous([7; 16]).unwrap();
    assert_eq!(anonymous.domain_name(xennet_core::DomId::new(5).unwrap()), Some("domain-5"));
}
