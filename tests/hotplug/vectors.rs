//! The calls that libxl makes, replayed (`hotplug-calls.json`): exactly its arguments and its environment, in its order, in a
//! world as netback, libxl and the device model have made it by then.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use xennet_core::xenstore::tree::Caller;
use xennet_tests::{NetNs, in_netns};

use crate::rig::{Rig, guarded, link, program, run, tests_file};

const VIF: &str = "vif7.0";
const TAP: &str = "vif7.0-emu";

pub(crate) fn cases(file: &str) -> Vec<Value> {
    let text: Value = serde_json::from_str(&tests_file(&format!("vectors/{file}"))).unwrap();
    text["cases"].as_array().unwrap().clone()
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The call as it is written down: every argument, the program's name included, and every variable.
fn command(rig: &Rig, call: &Value) -> Command {
    let argv: Vec<&str> = call["argv"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let mut command = rig.script("vif-bridge");
    command.arg0(argv[0]).args(&argv[1..]);
    for recorded in ["script", "XENBUS_TYPE", "XENBUS_BASE_PATH", "netdev"] {
        command.env_remove(recorded);
    }
    for (variable, value) in call["env"].as_object().unwrap() {
        command.env(variable, value.as_str().unwrap());
    }
    command
}

/// One case; what is there when the first call comes depends on the guest and the event.
fn replay(case: &Value, tap_is_gone: bool) {
    let (guest, event) = (text(case, "guest"), text(case, "event"));
    let calls = case["calls"].as_array().unwrap();
    let what = format!("{guest}: {event}");
    let rig = Rig::new();
    let hvm = guest.starts_with("HVM type=ioemu");
    let mut nodes = vec![("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")];
    nodes.push(("script", "/etc/xen/scripts/vif-bridge"));
    nodes.push(("type", if hvm { "vif_ioemu" } else { "vif" }));
    let mut device = VIF;
    match guest {
        "any, gatewaydev=eth3" => nodes.push(("gatewaydev", "eth3")),
        "any, vifname=web0" => {
            nodes.push(("vifname", "web0"));
            device = "web0";
        }
        _ => {}
    }
    if event.ends_with("first call fails") {
        nodes[0].1 = "xenbr7";
    }
    rig.vif(VIF, &nodes);
    let emulated = hvm && guest.ends_with("device model in dom0");
    if emulated {
        rig.link(TAP);
    }
    if event == "detach" {
        rig.ok(VIF, "online");
        if emulated {
            rig.ok(VIF, "add");
            if tap_is_gone {
                rig.remove(TAP);
            }
        }
        as_netback_goes(&rig);
        rig.writes();
    }
    for call in calls {
        let verb = call["argv"][1].as_str().unwrap();
        let code = call["exit"].as_i64().unwrap_or(0);
        if verb == "offline" && event != "detach" {
            as_netback_goes(&rig);
        }
        let got = run(&mut command(&rig, call));
        assert_eq!(got.code.map(i64::from), Some(code), "{what}: {verb}: {}", got.stderr);
        let writes = rig.writes();
        match (verb, code) {
            ("online", 0) => {
                assert_eq!(
                    writes,
                    ["/local/domain/7/device/vif/0/mtu = 1500", "backend/vif/7/0/hotplug-status = connected"],
                    "{what}"
                );
                let port = link(device).unwrap();
                assert_eq!(port.master.map(|m| m.to_string()).as_deref(), Some("xenbr0"), "{what}");
                assert!(port.up, "{what}");
            }
            ("online", _) => {
                let words: Vec<&str> = writes.iter().map(|w| w.split(" = ").next().unwrap()).collect();
                assert_eq!(words, ["backend/vif/7/0/hotplug-error", "backend/vif/7/0/hotplug-status"], "{what}");
                assert!(writes[1].ends_with(" = error"), "{what}: {writes:?}");
            }
            _ => assert_eq!(writes, [""; 0], "{what}: {verb}"),
        }
        if verb == "add" {
            assert!(link(TAP).is_some_and(|tap| tap.up && tap.master.is_some()), "{what}");
        }
    }
    match event {
        "detach" => {
            assert_eq!(guarded(), [""; 0], "{what}: nothing is left of it");
            // Of a tap that is still there it is remembered how it was before.
            let taps = usize::from(link(TAP).is_some());
            assert_eq!(rig.state().recorded().unwrap().len(), taps, "{what}: nothing else is remembered");
            assert!(link(TAP).is_none_or(|tap| tap.master.is_none() && !tap.up), "{what}");
        }
        "attach" if calls.is_empty() => assert!(link(VIF).is_some_and(|vif| !vif.up), "{what}"),
        "attach" => assert!(!guarded().is_empty(), "{what}"),
        _ => assert_eq!(guarded(), [""; 0], "{what}"),
    }
}

/// What netback does before libxl makes the offline call.
fn as_netback_goes(rig: &Rig) {
    rig.remove(VIF);
    let gone = "/local/domain/0/backend/vif/7/0/hotplug-status";
    rig.store.tree(|tree| {
        let dom0 = Caller::of(tree.connect(0));
        tree.rm(dom0, gone).unwrap();
        tree.set("/local/domain/0/backend/vif/7/0/state", b"6").unwrap();
        tree.set("/local/domain/0/backend/vif/7/0/online", b"0").unwrap();
    });
}

#[test]
fn the_calls_of_libxl() {
    in_netns("vectors::the_calls_of_libxl", || {
        let cases = cases("hotplug-calls.json");
        assert_eq!(cases.len(), 9);
        for case in &cases {
            // The device model may have closed its tap by the time of the call, or not yet.
            for tap_is_gone in [false, true] {
                NetNs::new().unwrap().run(|| replay(case, tap_is_gone)).unwrap();
            }
        }
    });
}

/// The three names by which the program is a script.
#[test]
fn every_name_of_the_program_does_the_same() {
    in_netns("vectors::every_name_of_the_program_does_the_same", || {
        let rig = Rig::new();
        rig.vif(VIF, &[("bridge", "xenbr0")]);
        let mut direct = Command::new(program());
        direct.args(["hotplug", "vif-bridge"]);
        for mut command in [rig.script("vif-bridge"), rig.script("xennet-vif-bridge"), direct] {
            command.args(["online", "type_if=vif"]).env_clear();
            let call = rig.command(VIF, "online");
            command.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
            assert_eq!(run(&mut command).code, Some(0));
            assert_eq!(rig.writes().len(), 2);
            assert_eq!(rig.status(VIF).as_deref(), Some("connected"));
            assert!(link(VIF).unwrap().up);
            rig.ok(VIF, "offline");
        }
    });
}
