//! Conversations: the client and the server with each other, and each with somebody who misbehaves.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::server::{Fault, Server, Settings};
use super::tree::{Caller, Quota};
use super::wire::{self, Kind};
use super::*;
use crate::error::{Errno, Error, ErrorKind};

fn start() -> (Server, Client) {
    let server = Server::start(Settings::default()).unwrap();
    let client = connect(&server);
    (server, client)
}

fn connect(server: &Server) -> Client {
    Client::open(&server.options(), &|_| None).unwrap()
}

/// A client that gives up soon.
fn hasty(server: &Server) -> Client {
    Client::open(&Options { deadline: Duration::from_millis(200), ..server.options() }, &|_| None).unwrap()
}

fn perms(texts: &[&str]) -> Vec<StorePermission> {
    texts.iter().map(|t| wire::permission(t).unwrap()).collect()
}

const SOON: Duration = Duration::from_secs(5);

#[test]
fn every_operation_of_a_store_on_both_kinds() {
    let (server, mut client) = start();
    every_operation(&mut client);
    every_operation(&mut MemoryStore::new(0));
    // And within a transaction.
    client.rm("/a").unwrap();
    client
        .transaction(|t| {
            every_operation(t);
            Ok::<(), StoreError>(())
        })
        .unwrap();
    assert_eq!(server.tree(|t| t.get("/a/x").map(<[u8]>::to_vec)), Some(b"1".to_vec()));
}

fn every_operation(store: &mut dyn Store) {
    assert_eq!(store.read("/a/b").unwrap(), None);
    assert_eq!(store.directory("/a").unwrap(), None);
    assert_eq!(store.permissions("/a").unwrap(), None);
    assert_eq!(store.set_permissions("/a", &perms(&["n0"])).unwrap_err().errno(), Errno::ENOENT);
    store.write("/a/b", b"\0any\xff").unwrap();
    assert_eq!(store.read("/a/b").unwrap().as_deref(), Some(b"\0any\xff".as_slice()));
    assert_eq!(store.read("/a").unwrap().as_deref(), Some(b"".as_slice()));
    store.write("/a/b", b"").unwrap();
    assert_eq!(store.read("/a/b").unwrap().as_deref(), Some(b"".as_slice()));
    store.mkdir("/a/c").unwrap();
    store.mkdir("/a/c").unwrap();
    assert_eq!(store.directory("/a").unwrap(), Some(vec!["b".into(), "c".into()]));
    assert_eq!(store.directory("/a/c").unwrap(), Some(vec![]));
    store.set_permissions("/a/c", &perms(&["n0", "r1", "w2", "b3"])).unwrap();
    assert_eq!(store.permissions("/a/c").unwrap(), Some(perms(&["n0", "r1", "w2", "b3"])));
    store.rm("/a/c").unwrap();
    store.rm("/a/c").unwrap();
    store.rm("/nothing/at/all").unwrap();
    assert_eq!(store.directory("/a").unwrap(), Some(vec!["b".into()]));
    store.write_all(&[("/a/x", b"1"), ("/a/y", b"2")]).unwrap();
    store.write_all(&[]).unwrap();
    assert_eq!(store.read_many(&[]).unwrap(), Vec::<Option<Vec<u8>>>::new());
    assert_eq!(store.read_many(&["/a/y", "/a/z", "/a/x"]).unwrap(), [Some(b"2".to_vec()), None, Some(b"1".to_vec())]);
    // What breaks a rule is not sent at all.
    for bad in ["", "/a b", "/a/", "@introduceDomain", "/a\0b"] {
        let e = store.read(bad).unwrap_err();
        assert_eq!((e.kind(), e.object()), (StoreErrorKind::Invalid, bad));
        assert_eq!(store.write_all(&[("/a/never", b""), (bad, b"")]).unwrap_err().kind(), StoreErrorKind::Invalid);
    }
    assert_eq!(store.read("/a/never").unwrap(), None);
    let e = store.write("/a", &[0; 4096 - 2]).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::Invalid, Errno::E2BIG));
    store.write("/a", &[7; 4096 - 3]).unwrap();
    assert_eq!(store.read("/a").unwrap().map(|v| v.len()), Some(4093));
    assert_eq!(store.set_permissions("/a", &[]).unwrap_err().kind(), StoreErrorKind::Invalid);
    let e = store.rm("/").unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::Refused, Errno::EINVAL));
}

#[test]
fn many_nodes_are_read_with_one_round_trip_a_window() {
    let (server, mut client) = start();
    let paths: Vec<String> = (0..200).map(|n| format!("/{n}")).collect();
    server.tree(|tree| paths.iter().step_by(2).for_each(|p| tree.set(p, &[b'x'; 4000]).unwrap()));
    let names: Vec<&str> = paths.iter().map(String::as_str).collect();
    // Far more than fits into the buffers of a socket.
    let values = client.read_many(&names).unwrap();
    assert_eq!(values.len(), 200);
    for (index, value) in values.iter().enumerate() {
        assert_eq!(value.as_ref().map(Vec::len), (index % 2 == 0).then_some(4000));
    }
    // The same for what is sent.
    let value = [b'y'; 4000];
    let pairs: Vec<(&str, &[u8])> = names.iter().map(|n| (*n, value.as_slice())).collect();
    client.write_all(&pairs).unwrap();
    assert_eq!(server.tree(|tree| tree.get("/199").map(<[u8]>::len)), Some(4000));
}

#[test]
fn a_conversation_is_what_it_should_be() {
    let (server, mut client) = start();
    client.write_all(&[("b/1/hotplug-error", b"text"), ("b/1/hotplug-status", b"error")]).unwrap();
    client.write("b/1/x", b"").unwrap();
    client.read_many(&["b/1/x", "b/1/y"]).unwrap();
    let log: Vec<String> = server
        .log()
        .iter()
        .map(|r| {
            let value = String::from_utf8_lossy(&r.value);
            format!("{}.{} {} {} {value}", r.connection, r.transaction, r.kind.unwrap(), r.path).trim_end().to_owned()
        })
        .collect();
    assert_eq!(
        log,
        [
            "1.0 t start",
            "1.1 write b/1/hotplug-error text",
            "1.1 write b/1/hotplug-status error",
            "1.1 t end T",
            "1.0 write b/1/x",
            "1.0 read b/1/x",
            "1.0 read b/1/y",
        ]
    );
}

#[test]
fn a_list_of_any_length_is_read() {
    let (server, mut client) = start();
    let names: Vec<String> = (0..3000).map(|n| format!("a-rather-long-name-{n}")).collect();
    server.tree(|tree| names.iter().for_each(|n| tree.set(&format!("/d/{n}"), b"").unwrap()));
    assert_eq!(client.directory("/d").unwrap().as_deref(), Some(names.as_slice()));
    // Just around what fits into one message.
    for size in [4094, 4095, 4096, 4097, 4098] {
        server.tree(|tree| {
            tree.rm(Caller::WORLD, "/e").unwrap();
            for (letter, len) in [("x", 1300), ("y", 1300), ("z", size - 2600)] {
                tree.set(&format!("/e/{}", letter.repeat(len - 1)), b"").unwrap();
            }
        });
        let list = client.directory("/e").unwrap().unwrap();
        assert_eq!(list.iter().map(|n| n.len() + 1).collect::<Vec<_>>(), [1300, 1300, size - 2600]);
    }
    // Somebody changes it all the time: told, and not read as a mixture.
    let mut other = connect(&server);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                other.write_all(&[(&format!("/d/new-{n}"), b""), (&format!("/d/also-{n}"), b"")]).unwrap();
            }
        });
        for _ in 0..20 {
            match client.directory("/d") {
                Ok(list) => {
                    let list = list.unwrap();
                    let count = |p: &str| list.iter().filter(|n| n.starts_with(p)).count();
                    assert_eq!(count("new-"), count("also-"));
                }
                Err(e) => assert_eq!(e.errno(), Errno::EAGAIN, "{e}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn transactions_of_many_lose_no_update() {
    const THREADS: u32 = 6;
    const EACH: u32 = 40;
    let (server, mut client) = start();
    client.write("/n", b"0").unwrap();
    let tries = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut client = connect(&server);
                for _ in 0..EACH {
                    client
                        .transaction(|t| {
                            tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            let n: u32 = String::from_utf8(t.read("/n")?.unwrap()).unwrap().parse().unwrap();
                            t.write("/n", (n + 1).to_string().as_bytes())
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(client.read("/n").unwrap().unwrap(), (THREADS * EACH).to_string().as_bytes());
    let tries = tries.into_inner();
    println!("{} increments in {tries} tries", THREADS * EACH);
    assert!(tries >= THREADS * EACH);
}

#[test]
fn a_transaction_whose_work_fails_changes_nothing() {
    let (server, mut client) = start();
    let result: Result<(), Error> = client.transaction(|t| {
        t.write("/a", b"1")?;
        Err(Error::new(ErrorKind::Conflict, "changed my mind"))
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(client.read("/a").unwrap(), None);
    assert_eq!(server.log().iter().filter(|r| r.path == "F").count(), 1);
    // Conflicts are tried again, but not for ever.
    server.set_faults(vec![Fault::Conflicts(3)]);
    server.clear_log();
    client.write_all(&[("/a", b"1"), ("/b", b"2")]).unwrap();
    assert_eq!(server.log().iter().filter(|r| r.path == "T").count(), 4);
    assert_eq!(client.read("/b").unwrap().as_deref(), Some(b"2".as_slice()));
    server.set_faults(vec![Fault::Conflicts(u32::MAX)]);
    let mut client = hasty(&server);
    let begun = Instant::now();
    let e = client.write_all(&[("/a", b"3"), ("/b", b"4")]).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::Refused, Errno::EAGAIN));
    assert!(begun.elapsed() < SOON);
    assert_eq!(client.read("/a").unwrap().as_deref(), Some(b"1".as_slice()), "and it goes on");
    // One refused write undoes all of them.
    server.set_faults(vec![Fault::Refuse { kind: Kind::Write, path: "/b".into(), errno: Errno::ENOSPC }]);
    let e = client.write_all(&[("/a", b"5"), ("/b", b"6"), ("/c", b"7")]).unwrap_err();
    assert_eq!((e.errno(), e.object()), (Errno::ENOSPC, "/b"));
    assert_eq!(client.read_many(&["/a", "/b", "/c"]).unwrap(), [Some(b"1".to_vec()), Some(b"2".to_vec()), None]);
}

#[test]
fn events_come_also_between_questions_and_answers() {
    let (server, mut client) = start();
    client.watch("/w", "t").unwrap();
    assert_eq!(client.watch("/w", "t").unwrap_err().errno(), Errno::EEXIST);
    client.watch("@introduceDomain", "in").unwrap();
    client.write("/w/a", b"1").unwrap();
    client.read("/w/a").unwrap();
    server.tree(|tree| {
        tree.set("/w/b", b"2").unwrap();
        tree.introduce(Caller::WORLD, 7).unwrap();
    });
    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = client.next_event(SOON).unwrap().unwrap();
        seen.push(format!("{} {}", event.path, event.token));
    }
    assert_eq!(seen, ["/w t", "@introduceDomain in", "/w/a t", "/w/b t", "@introduceDomain in"]);
    let begun = Instant::now();
    assert_eq!(client.next_event(Duration::from_millis(50)).unwrap(), None);
    assert!(begun.elapsed() >= Duration::from_millis(40) && begun.elapsed() < SOON);
    // A short wait for events does not shorten the wait for an answer.
    server.set_faults(vec![Fault::Slow(Duration::from_millis(150))]);
    assert_eq!(client.read("/w/a").unwrap().as_deref(), Some(b"1".as_slice()));
    server.set_faults(vec![]);
    client.unwatch("/w", "t").unwrap();
    assert_eq!(client.unwatch("/w", "t").unwrap_err().errno(), Errno::ENOENT);
    client.write("/w/a", b"3").unwrap();
    assert_eq!(client.next_event(Duration::from_millis(20)).unwrap(), None);
    assert_eq!(client.watch("/w", "a\0b").unwrap_err().kind(), StoreErrorKind::Invalid);
    assert_eq!(client.domain_path(12).unwrap(), "/local/domain/12");
}

#[test]
fn a_flood_of_events_is_bounded_and_told() {
    let (server, mut client) = start();
    client.watch("/w", "t").unwrap();
    server.tree(|tree| (0..9000).for_each(|n| tree.set(&format!("/w/{}/{n}", n % 50), b"").unwrap()));
    // The answer to the first may come before the events, that to the second does not.
    client.read("/").unwrap();
    client.read("/").unwrap();
    let e = client.next_event(SOON).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::Overrun, Errno::ENOBUFS));
    let mut count = 0;
    while client.next_event(Duration::from_millis(50)).unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 8192, "what there was room for is still there");
    client.write("/w", b"").unwrap();
    assert!(client.next_event(SOON).unwrap().is_some());
}

#[test]
fn a_guest_is_a_guest() {
    let settings = Settings { domid: 5, quota: Quota::XENSTORED, ..Settings::default() };
    let server = Server::start(settings).unwrap();
    server.tree(|tree| {
        tree.set("/local/domain/5/name", b"web").unwrap();
        tree.set_permissions(Caller::WORLD, "/local/domain/5", &perms(&["n0", "r5"])).unwrap();
        tree.set_permissions(Caller::WORLD, "/local/domain/5/name", &perms(&["n0", "r5"])).unwrap();
        tree.mkdir(Caller::WORLD, "/local/domain/5/data").unwrap();
        tree.set_permissions(Caller::WORLD, "/local/domain/5/data", &perms(&["n5"])).unwrap();
    });
    let mut guest = connect(&server);
    assert_eq!(guest.read("name").unwrap().as_deref(), Some(b"web".as_slice()));
    let e = Error::from(guest.write("name", b"mine").unwrap_err());
    assert_eq!((e.kind(), e.errno(), e.object()), (ErrorKind::Xenstore, Some(Errno::EACCES), Some("name")));
    assert_eq!(guest.read("/local/domain/6/name").unwrap_err().errno(), Errno::EACCES);
    let e = guest.write("data/big", &[0; 3000]).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::Refused, Errno::ENOSPC));
    assert!(e.hint().is_some());
    server.set_domid(0);
    connect(&server).write("/local/domain/5/name", b"theirs").unwrap();
}

#[test]
fn no_server_is_told_with_all_places() {
    let nowhere = |name: &str| (name == "XENSTORED_RUNDIR").then(|| "/nonexistent".into());
    let e = Client::open(&Options::default(), &nowhere).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::NoServer, Errno::ENOENT));
    let text = Error::from(e).report();
    for part in ["/nonexistent/socket: no such object", "/dev/xen/xenbus: ", "/proc/xen/xenbus: ", "hint: is xenstored"]
    {
        assert!(text.contains(part), "{text}");
    }
    // A socket that nobody serves any more.
    let (server, _) = start();
    let path = server.path().to_owned();
    server.set_faults(vec![Fault::Die { after: 0 }]);
    assert!(connect(&server).read("/").is_err());
    let e = Client::open(&server.options(), &|_| None).unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::NoServer, Errno::ECONNREFUSED));
    assert!(path.exists());
    drop(server);
    assert!(!path.exists() && !path.parent().unwrap().exists(), "nothing is left behind");
    let e = Server::start(Settings { path: Some("/nonexistent/socket".into()), ..Settings::default() }).unwrap_err();
    assert_eq!(e.kind(), StoreErrorKind::NoServer);
}

/// Each fault, what the client makes of it, and whether it can be used behind it. None takes long.
#[test]
fn faults_are_told_within_the_deadline() {
    use StoreErrorKind::{Died, Nonsense, Refused, TimedOut};
    let cases: [(Fault, StoreErrorKind, Errno, bool); 6] = [
        (Fault::Silent { after: 1 }, TimedOut, Errno::ETIMEDOUT, false),
        (Fault::Die { after: 1 }, Died, Errno::ECONNRESET, false),
        (Fault::Garbage { after: 1 }, Nonsense, Errno::EPROTO, false),
        (Fault::Truncate { after: 1 }, Died, Errno::ECONNRESET, false),
        (Fault::RefuseNth { after: 1, errno: Errno::EACCES }, Refused, Errno::EACCES, true),
        (Fault::Refuse { kind: Kind::Read, path: "/b".into(), errno: Errno::EIO }, Refused, Errno::EIO, true),
    ];
    for (fault, kind, errno, usable) in cases {
        let server = Server::start(Settings { faults: vec![fault.clone()], ..Settings::default() }).unwrap();
        server.tree(|tree| tree.set("/a", b"1").unwrap());
        let mut client = hasty(&server);
        assert_eq!(client.read("/a").unwrap().as_deref(), Some(b"1".as_slice()), "{fault:?}");
        let begun = Instant::now();
        let e = client.read_many(&["/b", "/a"]).unwrap_err();
        assert_eq!((e.kind(), e.errno()), (kind, errno), "{fault:?}: {e}");
        assert!(begun.elapsed() < SOON, "{fault:?} took {:?}", begun.elapsed());
        match (usable, client.read("/a")) {
            (true, value) => assert_eq!(value.unwrap().as_deref(), Some(b"1".as_slice()), "{fault:?}"),
            (false, Err(e)) => assert_eq!(e.kind(), StoreErrorKind::Unusable, "{fault:?}: {e}"),
            (false, Ok(_)) => panic!("{fault:?} left a client that can be used"),
        }
        if !usable {
            assert_eq!(client.write("/a", b"").unwrap_err().kind(), StoreErrorKind::Unusable);
            assert_eq!(client.next_event(SOON).unwrap_err().kind(), StoreErrorKind::Unusable);
        }
    }
}

#[test]
fn a_server_that_accepts_nobody_or_is_slow() {
    let server = Server::start(Settings { faults: vec![Fault::NoAccept], ..Settings::default() }).unwrap();
    let mut client = hasty(&server);
    let begun = Instant::now();
    assert_eq!(client.read("/").unwrap_err().kind(), StoreErrorKind::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(150) && begun.elapsed() < SOON, "{:?}", begun.elapsed());
    server.set_faults(vec![Fault::Slow(Duration::from_millis(20))]);
    let mut client = hasty(&server);
    let begun = Instant::now();
    for _ in 0..5 {
        client.read("/").unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_millis(100) && begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Together more than the deadline of one.
    let e = client.read_many(&["/"; 16]).unwrap_err();
    assert_eq!(e.kind(), StoreErrorKind::TimedOut);
    // Others are not slowed down by one who waits.
    server.set_faults(vec![]);
    assert!(connect(&server).read("/").is_ok());
}

/// Answers that are wrong in a way that the server never is.
#[test]
fn answers_that_make_no_sense() {
    let message = |kind: Kind, request: u32, body: &[u8]| {
        let mut out = Vec::new();
        assert!(wire::put(&mut out, kind, request, 0, &[body]));
        out
    };
    let raw = |fields: [u32; 4]| fields.iter().flat_map(|f| f.to_ne_bytes()).collect::<Vec<u8>>();
    type Ask = fn(&mut Client) -> Result<(), StoreError>;
    let read: Ask = |c| c.read("/a").map(|_| ());
    let list: Ask = |c| c.directory("/a").map(|_| ());
    let permissions: Ask = |c| c.permissions("/a").map(|_| ());
    let write: Ask = |c| c.write("/a", b"");
    let begin: Ask = |c| c.transaction(|_| Ok(()));
    let cases: Vec<(&str, Vec<u8>, Ask, bool)> = vec![
        ("a giant length", raw([2, 1, 0, u32::MAX]), read, false),
        ("a length of one too many", raw([2, 1, 0, 4097]), read, false),
        ("an unknown type", raw([77, 1, 0, 0]), read, false),
        ("another request's answer", message(Kind::Read, 2, b"x"), read, false),
        ("another transaction's answer", raw([2, 1, 9, 0]), read, false),
        ("the answer to another question", message(Kind::Write, 1, b"OK\0"), read, false),
        ("an error without NUL", message(Kind::Error, 1, b"ENOENT"), read, false),
        ("an event without token", message(Kind::WatchEvent, 0, b"/a\0"), read, false),
        ("an event without NUL", message(Kind::WatchEvent, 0, b"/a\0b"), read, false),
        ("half a header", vec![2, 0, 0], read, false),
        ("nothing", vec![], read, false),
        ("a list without NUL", message(Kind::Directory, 1, b"a\0b"), list, true),
        ("permissions without NUL", message(Kind::GetPerms, 1, b"n0"), permissions, true),
        ("no permissions", message(Kind::GetPerms, 1, b""), permissions, true),
        ("no permission", message(Kind::GetPerms, 1, b"x0\0"), permissions, true),
        ("not OK", message(Kind::Write, 1, b"NO\0"), write, true),
        ("not a number", message(Kind::TransactionStart, 1, b"x\0"), begin, true),
        ("transaction 0", message(Kind::TransactionStart, 1, b"0\0"), begin, true),
    ];
    for (what, bytes, ask, usable) in cases {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::over(ours, SOON).unwrap();
        theirs.write_all(&bytes).unwrap();
        let next = message(Kind::Read, 2, b"next");
        if usable {
            theirs.write_all(&next).unwrap();
        }
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let e = ask(&mut client).unwrap_err();
        let cut = matches!(what, "half a header" | "nothing");
        let kind = if cut { StoreErrorKind::Died } else { StoreErrorKind::Nonsense };
        assert_eq!(e.kind(), kind, "{what}: {e}");
        match client.read("/b") {
            Ok(value) => assert!(usable && value.as_deref() == Some(b"next"), "{what}"),
            Err(e) => assert!(!usable && e.kind() == StoreErrorKind::Unusable, "{what}: {e}"),
        }
    }
    // A refusal with a name that nobody knows is a refusal all the same.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut client = Client::over(ours, SOON).unwrap();
    theirs.write_all(&message(Kind::Error, 1, b"EWHAT\0")).unwrap();
    let e = client.read("/a").unwrap_err();
    assert_eq!((e.kind(), e.errno()), (StoreErrorKind::Refused, Errno::EINVAL));
}

#[test]
fn an_answer_may_drip_but_not_beyond_the_deadline() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut client = Client::over(ours, Duration::from_secs(1)).unwrap();
    let mut answer = Vec::new();
    assert!(wire::put(&mut answer, Kind::Read, 1, 0, &[b"value"]));
    let first = answer.len();
    assert!(wire::put(&mut answer, Kind::Read, 2, 0, &[&[b'x'; 200]]));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (at, byte) in answer.into_iter().enumerate() {
                std::thread::sleep(Duration::from_millis(if at < first { 5 } else { 20 }));
                if theirs.write_all(&[byte]).is_err() {
                    break;
                }
            }
        });
        let begun = Instant::now();
        assert_eq!(client.read("/a").unwrap().as_deref(), Some(b"value".as_slice()));
        let first = begun.elapsed();
        // The second would take four seconds and more.
        let e = client.read("/a").unwrap_err();
        assert_eq!(e.kind(), StoreErrorKind::TimedOut);
        assert!(begun.elapsed() - first < Duration::from_secs(3), "{:?}", begun.elapsed());
        drop(client);
    });
}

#[test]
fn a_server_that_takes_nothing_does_not_block_the_client() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut client = Client::over(ours, Duration::from_millis(100)).unwrap();
    let begun = Instant::now();
    let mut last = None;
    // Nobody reads; at some point the buffers are full, or the answer does not come.
    for _ in 0..3 {
        last = client.write("/a", &[0; 4000]).err();
    }
    assert!(last.is_some() && begun.elapsed() < SOON);
    drop(theirs);
    // Nobody is there any more: an error, not a signal.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut client = Client::over(ours, SOON).unwrap();
    drop(theirs);
    assert_eq!(client.write("/a", b"").unwrap_err().kind(), StoreErrorKind::Died);
}

/// What is no socket is used as a device. A pipe that is open at both ends sends everything back, so that a question comes
/// back as its own answer: the path, with its NUL.
#[test]
fn a_device_is_read_and_written() {
    let (server, _) = start();
    let path = server.path().with_file_name("device");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let options = Options { path: Some(path.clone()), deadline: Duration::from_millis(200) };
    let mut client = Client::open(&options, &|_| None).unwrap();
    let expected = ["/a", "b", "/c"].map(|p| Some(format!("{p}\0").into_bytes()));
    assert_eq!(client.read_many(&["/a", "b", "/c"]).unwrap(), expected);
    let begun = Instant::now();
    assert_eq!(client.next_event(Duration::from_millis(50)).unwrap(), None);
    assert!(begun.elapsed() >= Duration::from_millis(40) && begun.elapsed() < SOON);
    // No device answers so: told at once.
    assert_eq!(client.write("/a", b"OK").unwrap_err().kind(), StoreErrorKind::Nonsense);
    std::fs::remove_file(path).unwrap();
}

/// Clients that break the protocol, stay silent or do not read: others are served as if they were not there.
#[test]
fn hostile_clients_harm_nobody() {
    let (server, mut client) = start();
    client.write("/big", &[b'x'; 4000]).unwrap();
    let raw = |fields: [u32; 4]| fields.iter().flat_map(|f| f.to_ne_bytes()).collect::<Vec<u8>>();
    let call = || UnixStream::connect(server.path()).unwrap();
    // Half a header, and then nothing.
    let mut half = call();
    half.write_all(&[1, 2, 3]).unwrap();
    // A giant length: closed.
    let mut giant = call();
    giant.write_all(&raw([2, 1, 0, 5000])).unwrap();
    giant.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(giant.read(&mut [0; 16]).unwrap(), 0, "closed");
    // An unknown type: refused, and the next request is served.
    let mut unknown = call();
    unknown.write_all(&raw([99, 5, 0, 0])).unwrap();
    unknown.write_all(&raw([16, 6, 0, 0])).unwrap();
    unknown.set_read_timeout(Some(SOON)).unwrap();
    let mut reply = [0; 46];
    unknown.read_exact(&mut reply).unwrap();
    assert_eq!(&reply[16..23], b"ENOSYS\0");
    assert_eq!(wire::Header::read(&reply[23..]).unwrap().request, 6);
    // One that asks and asks and never reads: no more is taken from it, and memory is bounded.
    let mut greedy = call();
    greedy.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut asks = Vec::new();
    for n in 0..1000 {
        assert!(wire::put(&mut asks, Kind::Read, n, 0, &[b"/big\0"]));
    }
    let taken = (0..2000).take_while(|_| greedy.write_all(&asks).is_ok()).count();
    assert!(taken < 100, "{taken} times a thousand requests of 4000 bytes were taken");
    // One that watches and never reads is cut off.
    let mut deaf = call();
    let mut watch = Vec::new();
    assert!(wire::put(&mut watch, Kind::Watch, 1, 0, &[b"/w\0t\0"]));
    deaf.write_all(&watch).unwrap();
    client.write("/w", b"").unwrap();
    for _ in 0..12 {
        server.tree(|tree| (0..12_000).for_each(|n| tree.set(&format!("/w/{}/{n}", n % 200), b"").unwrap()));
        client.read("/big").unwrap();
    }
    let mut all = Vec::new();
    deaf.set_read_timeout(Some(SOON)).unwrap();
    deaf.read_to_end(&mut all).unwrap();
    assert!(all.len() < 4 << 20, "{} bytes were kept for who does not read", all.len());
    assert_eq!(client.read("/big").unwrap().map(|v| v.len()), Some(4000));
    drop((half, greedy));
}
