//! What bad circumstances get: an error kind of their own, a way out, and a system that is as before.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::{self, Freshness, Subject, observe_for};
use xennet_core::{Attach, Attachment, Errno, Error, ErrorKind, Host, Outcome, Resolved, VifId, plan};
use xennet_tests::{Shared, StateDir, in_netns};

use super::{FIRST, build, domid, kernel, name, on_kernel, spec, whole};

#[test]
fn what_the_system_lacks_is_said_before_anything_is_touched() {
    in_netns("refusals::what_the_system_lacks_is_said_before_anything_is_touched", || {
        build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        let mut host = on_kernel(&state);
        let before = kernel();
        for (dom, text, kind, hint) in [
            (9, "bridge=xenbr0", ErrorKind::LinkNotFound, "netback makes vif9.0"),
            (1, "bridge=nowhere0", ErrorKind::BridgeNotFound, "bridges here: lan0, xenbr0, xenbr1, xenbr2"),
            (1, "bridge=guest1", ErrorKind::NotABridge, "bridges here: lan0, xenbr0"),
            (1, "bridge=xenbr0,vifname=other0", ErrorKind::NameTaken, "choose another vifname"),
            (1, "ip=192.0.2.9", ErrorKind::BridgeNotFound, "name one: bridge=NAME"),
            (1, "bridge=xenbr0,script=vif-openvswitch", ErrorKind::Unsupported, "script=vif-bridge"),
        ] {
            for e in [
                host.plan_attach(domid(dom), &spec(text)).unwrap_err(),
                host.attach(domid(dom), &spec(text)).unwrap_err(),
            ] {
                assert_eq!(e.kind(), kind, "{text}: {}", e.report());
                assert!(e.hint().unwrap().contains(hint), "{text}: {}", e.report());
                whole(&e);
            }
            assert_eq!(before.changes(&kernel()), [], "{text}");
        }
        assert_eq!(
            fs::read_dir(state.path())
                .unwrap()
                .filter(|f| fs::read(f.as_ref().unwrap().path()).unwrap() != b"")
                .count(),
            0
        );
        let e = host.undo(Subject::Vif(VifId::new(domid(1), FIRST))).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NothingToUndo);
        whole(&e);
    });
}

/// Attaches with this state directory on the kernel, has it refused, and shows that nothing happened.
fn refused(dir: &exec::StateDir) -> Error {
    let before = kernel();
    let mut host = Host::netlink().unwrap().with_state_dir(dir.clone()).with_lock_deadline(Duration::from_millis(50));
    let e = host.attach(domid(1), &spec("bridge=xenbr0")).unwrap_err();
    whole(&e);
    assert_eq!(before.changes(&kernel()), [], "{}", e.report());
    // To plan is to look: it takes no room and no lock.
    if e.kind() != ErrorKind::StateUnusable || e.errno() == Some(Errno::EROFS) {
        assert_eq!(host.plan_attach(domid(1), &spec("bridge=xenbr0")).unwrap().steps().len(), 2);
    }
    e
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    in_netns("refusals::a_state_directory_that_cannot_be_used", || {
        build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        // A file where the directory should be, and a place where nobody can make one.
        fs::write(state.path().join("file"), "").unwrap();
        for path in [state.path().join("file"), state.path().join("file/below"), PathBuf::from("/proc/self/xennet")] {
            let e = refused(&exec::StateDir::at(&path));
            assert_eq!(e.kind(), ErrorKind::StateUnusable, "{}: {}", path.display(), e.report());
        }
    });
}

#[test]
fn a_journal_that_cannot_be_read() {
    in_netns("refusals::a_journal_that_cannot_be_read", || {
        build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        let dir = exec::StateDir::at(state.path());
        on_kernel(&state).attach(domid(1), &spec("bridge=xenbr1")).unwrap();
        let file = dir.file(Subject::Vif(VifId::new(domid(1), FIRST)));
        let whole_text = fs::read_to_string(&file).unwrap();
        on_kernel(&state).detach(domid(1), FIRST).unwrap();
        let garbage: [Vec<u8>; 7] = [
            b"garbage\n".to_vec(),
            b"\x00\xff\xfe\n".to_vec(),
            b"{}\n".to_vec(),
            b"ok\n".to_vec(),
            whole_text.replacen("\"xennet\":2", "\"xennet\":3", 1).into_bytes(),
            whole_text.replacen("\"xennet\":2", "\"xennet\":0", 1).into_bytes(),
            [whole_text.as_bytes(), b"back\nback\n"].concat(),
        ];
        for text in garbage {
            fs::write(&file, &text).unwrap();
            let e = refused(&dir);
            assert_eq!(e.kind(), ErrorKind::StateUnusable, "{:?}: {}", String::from_utf8_lossy(&text), e.report());
            assert!(e.object().unwrap().contains("vif1.0.journal"), "{}", e.report());
            assert!(on_kernel(&state).recover().is_err() && on_kernel(&state).show().is_err());
        }
        // Cut short anywhere: never a panic, and never another kind of error.
        for at in 0..whole_text.len() {
            fs::write(&file, &whole_text.as_bytes()[..at]).unwrap();
            if let Err(e) = on_kernel(&state).plan_attach(domid(1), &spec("bridge=xenbr0")) {
                assert_eq!(e.kind(), ErrorKind::StateUnusable, "cut at {at}: {}", e.report());
            }
        }
    });
}

#[test]
fn a_lock_that_is_not_let_go_of() {
    in_netns("refusals::a_lock_that_is_not_let_go_of", || {
        build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        let dir = exec::StateDir::at(state.path());
        let held = dir.hold(Subject::Vif(VifId::new(domid(1), FIRST)), Duration::ZERO).unwrap();
        let e = refused(&dir);
        assert_eq!(e.kind(), ErrorKind::Busy, "{}", e.report());
        assert!(e.hint().unwrap().contains("fuser"), "{}", e.report());
        // Another vif is not concerned.
        on_kernel(&state).attach(domid(2), &spec("bridge=xenbr0")).unwrap();
        drop(held);
        on_kernel(&state).attach(domid(1), &spec("bridge=xenbr0")).unwrap();
    });
}

/// Starts this program again for one inner test, behind `prepare`, in a mount namespace of its own.
fn in_mounts(prepare: &str, inner: &str) {
    let program = std::env::current_exe().unwrap();
    let script = format!("{prepare} && exec \"$0\" --exact {inner} --ignored --nocapture --test-threads=1");
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{inner}: {text}");
}

#[test]
fn a_full_state_directory() {
    in_netns("refusals::a_full_state_directory", || {
        in_mounts("mount -t tmpfs -o size=16k tmpfs /mnt", "refusals::inside_a_full_state_directory");
    });
}

#[test]
#[ignore = "started by a_full_state_directory in a mount namespace of its own"]
fn inside_a_full_state_directory() {
    build(&mut Netlink::open().unwrap());
    let dir = exec::StateDir::at("/mnt/state");
    fs::create_dir(dir.path()).unwrap();
    // Nothing is left, then a little: the first step must not come before the journal is whole.
    let filling = "/mnt/filling";
    let mut size = 64 * 1024;
    while fs::write(filling, vec![b'x'; size]).is_err() {
        size -= 1024;
        assert!(size > 0);
    }
    let e = refused(&dir);
    assert_eq!(e.kind(), ErrorKind::StateFull, "{}", e.report());
    fs::remove_file(filling).unwrap();
    let mut host = Host::netlink().unwrap().with_state_dir(dir);
    host.attach(domid(1), &spec("bridge=xenbr0")).unwrap();
}

/// The lock is kept, and with it the open file: what is written next must stand where the last whole line ends.
#[test]
fn a_full_state_directory_with_a_lock_that_is_kept() {
    in_netns("refusals::a_full_state_directory_with_a_lock_that_is_kept", || {
        in_mounts("mount -t tmpfs -o size=64k tmpfs /mnt", "refusals::inside_a_full_state_directory_with_a_kept_lock");
    });
}

#[test]
#[ignore = "started by a_full_state_directory_with_a_lock_that_is_kept in a mount namespace of its own"]
fn inside_a_full_state_directory_with_a_kept_lock() {
    build(&mut Netlink::open().unwrap());
    let dir = exec::StateDir::at("/mnt/state");
    fs::create_dir(dir.path()).unwrap();
    let subject = Subject::Vif(VifId::new(domid(1), FIRST));
    let journal = || fs::read(dir.file(subject)).unwrap();
    let mut host = Host::netlink().unwrap().with_state_dir(dir.clone()).with_locks_kept();
    let with = |mtu: u32| spec(&format!("bridge=xenbr0,mtu={mtu}"));
    host.attach(domid(1), &with(1300)).unwrap();
    for round in 0..3 {
        // Until the last page has room for a part of the next line.
        let (mut mtu, mut line) = (1301 + round * 50, 0);
        while 4096 - journal().len() % 4096 >= line {
            let before = journal().len();
            host.attach(domid(1), &with(mtu)).unwrap();
            (mtu, line) = (mtu + 1, journal().len().saturating_sub(before + 16));
        }
        let before = journal();
        let mut size = 256 * 1024;
        while fs::write("/mnt/filling", vec![b'x'; size]).is_err() {
            size -= 1024;
            assert!(size > 0);
        }
        let vif = with(mtu);
        for _ in 0..2 {
            let e = host.attach(domid(1), &vif).unwrap_err();
            assert_eq!((e.kind(), e.outcome()), (ErrorKind::StateFull, Some(Outcome::Unchanged)), "{}", e.report());
            assert_eq!(journal(), before, "half a line is cut off");
        }
        fs::remove_file("/mnt/filling").unwrap();
        host.attach(domid(1), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        let after = journal();
        assert!(!after.contains(&0), "{}", String::from_utf8_lossy(&after));
        assert!(dir.record(subject).unwrap().unwrap().text.unwrap().contains(&mtu.to_string()));
    }
}

#[test]
fn a_read_only_state_directory() {
    in_netns("refusals::a_read_only_state_directory", || {
        in_mounts("mount -t tmpfs -o ro,mode=700 tmpfs /mnt", "refusals::inside_a_read_only_state_directory");
    });
}

#[test]
#[ignore = "started by a_read_only_state_directory in a mount namespace of its own"]
fn inside_a_read_only_state_directory() {
    build(&mut Netlink::open().unwrap());
    let e = refused(&exec::StateDir::at("/mnt"));
    assert_eq!((e.kind(), e.errno()), (ErrorKind::StateUnusable, Some(Errno::EROFS)), "{}", e.report());
    let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at("/mnt"));
    assert_eq!(host.show().unwrap().vifs, []);
    assert!(host.plan_detach(domid(1), FIRST).unwrap().is_empty());
}

#[test]
fn settings_that_are_read_only() {
    in_netns("refusals::settings_that_are_read_only", || {
        let prepare = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
        in_mounts(prepare, "refusals::inside_read_only_settings");
    });
}

#[test]
#[ignore = "started by settings_that_are_read_only in a mount namespace of its own"]
fn inside_read_only_settings() {
    build(&mut Netlink::open().unwrap());
    let before = kernel();
    let (id, device) = (VifId::new(domid(1), FIRST), name("vif1.0"));
    let guest = vec!["198.51.100.5/32".parse().unwrap()];
    let source = vec!["192.0.2.2".parse().unwrap()];
    let attachment = Attachment::Routed {
        network: None,
        guest,
        elsewhere: Box::default(),
        source,
        answer_arp: true,
        answer_ndp: None,
        host: None,
        log: xennet_core::PacketLog::Off,
        metric: 2,
    };
    let intent = Resolved::from(Attach::to_bridge(id, device).with_attachment(attachment));
    let mut backend = Netlink::open().unwrap();
    let now = observe_for(&intent, &mut backend).unwrap();
    let plan = plan::plan(&intent, &now).unwrap();
    let mut journal = exec::MemoryJournal::new(Subject::Vif(id), None, None);
    let e = exec::apply(&plan, &mut backend, &mut journal, Freshness::Check)
        .unwrap_err()
        .into_error("cannot attach vif1.0");
    assert_eq!(e.kind(), ErrorKind::ReadOnly, "{}", e.report());
    whole(&e);
    assert!(e.object().unwrap().contains("vif1.0") && e.state().unwrap().starts_with("restored"), "{}", e.report());
    assert_eq!(before.changes(&kernel()), [], "{}", e.report());
}

/// On the fake, so that every place in the plan is reached: whoever lacks the permission learns how to get it.
#[test]
fn no_permission_at_any_step() {
    for (step, errno) in [(0, Errno::EPERM), (1, Errno::EACCES)] {
        let fault = xennet_core::backend::fake::Fault::FailAt { step, errno };
        let shared = Shared::new(super::fake(true).with_faults([fault]));
        let before = shared.fake().into_world();
        let mut host = Host::with_backend(Box::new(shared.clone()));
        let e = host.attach(domid(1), &spec("bridge=xenbr0")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied);
        assert!(e.hint().unwrap().contains("CAP_NET_ADMIN"));
        whole(&e);
        assert_eq!(before.changes(shared.fake().world()), []);
    }
}
