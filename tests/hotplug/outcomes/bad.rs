//! The situations that are the same for every script: calls that mean nothing, and surroundings that fail.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use xennet_core::exec::Subject;
use xennet_core::model::TypeIf;
use xennet_core::xenstore::server::Fault;
use xennet_core::xenstore::wire::Kind;
use xennet_core::{Errno, VifId};

use super::Verdict::{self, Better, Same};
use super::{Seen, call, make};
use crate::rig::{Rig, link, look};

const NODES: [(&str, &str); 1] = [("bridge", "xenbr0")];
const MTU: &str = "/local/domain/8/device/vif/0/mtu";
const STATUS: &str = "/local/domain/0/backend/vif/8/0/hotplug-status";
const VIF: &str = "vif8.0";

fn host() -> Rig {
    let rig = Rig::new();
    rig.vif(VIF, &NODES);
    rig
}

/// What comes of a situation; `None`: none of those here.
pub(super) fn judge(seen: &Seen) -> Option<Verdict> {
    if seen.script != "any" {
        return None;
    }
    Some(match seen.situation.as_str() {
        "wrong pairing" => {
            let pairs: Vec<&str> = seen.command.split(" / ").collect();
            assert_eq!(pairs.len(), 4);
            let rig = host();
            let before = look();
            for pair in pairs {
                let mut command = rig.script("vif-bridge");
                command.args(pair.split(' ')).env("XENBUS_PATH", "backend/vif/8/0");
                command.env("vif", VIF).env("INTERFACE", "vif8.0-emu");
                seen.same(&make(&rig, VIF, &mut command));
                assert_eq!(rig.store.log(), [], "{pair}: the store is not even asked");
            }
            assert_eq!(before.changes(&look()), []);
            Same
        }
        "unknown command" | "unknown type" => {
            let rig = host();
            let before = look();
            let mut command = rig.script("vif-bridge");
            command.args(seen.command.split(' ')).env("XENBUS_PATH", "backend/vif/8/0").env("vif", VIF);
            let got = make(&rig, VIF, &mut command);
            seen.same(&got);
            assert_eq!(before.changes(&look()), []);
            let word = if seen.command == "frob" { "\"frob\" is no verb" } else { "type_if=zzz" };
            assert!(got.run.stderr.contains(word), "{}", got.run.stderr);
            Same
        }
        "vif or XENBUS_PATH unset" => {
            let rig = host();
            let before = look();
            let got = make(&rig, VIF, rig.command(VIF, "online").env_remove("XENBUS_PATH"));
            seen.same(&got);
            assert!(got.run.stderr.contains("XENBUS_PATH is not set"), "{}", got.run.stderr);
            let got = make(&rig, VIF, rig.command(VIF, "online").env_remove("vif"));
            got.told(&["vif is not set"]);
            assert_eq!(before.changes(&look()), []);
            Better("where the vif's directory is known, the reason stands there")
        }
        "/var/log/xen missing" => {
            seen.exit_was(1);
            let rig = host();
            rig.settings("log_file = \"/dev/null/xen/xen-hotplug.log\"\n");
            call(&rig, VIF, "online").is(0, &[(MTU, "1500"), (STATUS, "connected")]);
            assert!(link(VIF).unwrap().up);
            Better("a log that cannot be written is no reason for a guest to go without network")
        }
        "xenstore-write fails at the end" => {
            // Every write, and only the last one.
            for path in ["", "backend/vif/8/0/hotplug-status"] {
                let rig = host();
                let before = look();
                let errno = Errno::EIO;
                rig.store.set_faults(vec![Fault::Refuse { kind: Kind::Write, path: path.into(), errno }]);
                let got = call(&rig, VIF, "online");
                assert_eq!(got.run.code, Some(1));
                seen.exit_was(1);
                assert_eq!(rig.status(VIF).as_deref(), Some(""), "as in what was seen");
                assert_eq!(before.changes(&look()), [], "{path}");
                assert!(got.run.stderr.contains("state: restored"), "{}", got.run.stderr);
                rig.store.set_faults(Vec::new());
                rig.remove(VIF);
                rig.remove("xenbr0");
            }
            Better("what was done is taken back, and said where the toolstack's user sees it")
        }
        "a vif-post.d hook returns non-zero" => {
            seen.exit_was(1);
            let rig = host();
            let hook = rig.path("hooks/50-site.hook");
            std::fs::write(&hook, "#!/bin/sh\necho no thanks\nexit 3\n").unwrap();
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
            let before = look();
            let got = call(&rig, VIF, "online");
            got.told(&["hook-failed", "50-site.hook", "status 3", "no thanks"]);
            assert_eq!(before.changes(&look()), []);
            Better("the reason names the hook and what it said, and the vif is put back")
        }
        "lock held by another process for 6 s" => {
            // Held by this process; shorter, so that the test is.
            let rig = host();
            let subject = Subject::of(VifId::from_vif_name(VIF).unwrap(), TypeIf::Vif);
            let held = rig.state().hold(subject, Duration::ZERO).unwrap();
            let (start, short) = (Instant::now(), Duration::from_millis(600));
            let got = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(short);
                    drop(held);
                });
                call(&rig, VIF, "online")
            });
            // What was seen was seen of a script that tells no MTU.
            seen.exit_was(0);
            got.is(0, &[(MTU, "1500"), (STATUS, "connected")]);
            assert!(start.elapsed() >= short);
            rig.ok(VIF, "offline");
            let deadline = rig.deadline(1);
            let _held = rig.state().hold(subject, Duration::ZERO).unwrap();
            let start = Instant::now();
            call(&rig, VIF, "online").told(&["busy", "another process has held this lock", "fuser"]);
            assert!(start.elapsed() < deadline * 3);
            Better("it waits, but no longer than the deadline, and then says whom to look for")
        }
        _ => return None,
    })
}
