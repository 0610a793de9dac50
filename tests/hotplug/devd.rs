//! Lives of guests as they were recorded in a driver domain (`fixtures/real-xen/devd-*`), with our program in the script's place: `xl
//! devd` makes the calls there, and the nodes are below the driver domain's own home.

use xennet_core::Recovered;
use xennet_core::exec::Subject;
use xennet_core::xenstore::wire::Kind;
use xennet_tests::in_netns;

use crate::recorded::{Asked, carry_out, command, effects_of, file, nodes_of, requests};
use crate::rig::{Rig, guarded, link, name, run};

/// The driver domain.
const OWN: u16 = 1;
const VIF: &str = "vif2.0";
const NODES: &str = "/local/domain/1/backend/vif/2/0";

/// A driver domain with the guest's link, and the store as the script finds it.
fn begun(rig: &Rig) {
    rig.store.set_domid(OWN);
    let text = file("devd-bridge/xenstore-create.txt");
    let (before, _) = split(&text);
    rig.store.tree(|tree| carry_out(tree, &before));
    rig.link(VIF);
    rig.store.clear_log();
}

/// What was asked before the script, and what from its first question on.
fn split(text: &str) -> (Vec<Asked<'_>>, Vec<Asked<'_>>) {
    let mut before = requests(text);
    let first = before.iter().position(|r| r.path == "backend/vif/2/0/vifname").unwrap();
    let from = before.split_off(first);
    (before, from)
}

/// A recorded call, and whether it ended then as it does now.
fn call(rig: &Rig, recording: &str, number: u32) -> String {
    let got = run(&mut command(rig, &format!("{recording}/calls/{number}")));
    let result = file(&format!("{recording}/calls/{number}/result"));
    assert!(result.contains(&format!("\nrc {}", got.code.unwrap())), "{recording} {number}: {got:?}\n{result}");
    got.stderr
}

fn node(rig: &Rig, which: &str) -> Option<String> {
    rig.node(&format!("{NODES}/{which}"))
}

/// Netback and devd take the vif away, as they were seen to.
fn destroyed(rig: &Rig, recording: &str) {
    let text = file(&format!("{recording}/xenstore-destroy.txt"));
    let all = requests(&text);
    rig.store.tree(|tree| {
        // The guest's nodes belong to its own domain, which is not here.
        carry_out(tree, &all.into_iter().filter(|r| !r.path.starts_with("/local/domain/2/")).collect::<Vec<_>>());
    });
}

#[test]
fn a_guest_of_a_driver_domain_comes_and_goes() {
    in_netns("devd::a_guest_of_a_driver_domain_comes_and_goes", || {
        let rig = Rig::new();
        begun(&rig);
        assert_eq!(call(&rig, "devd-bridge", 1), "");
        let is: Vec<String> = nodes_of(&rig, NODES);
        let was: Vec<String> = effects_of("devd-bridge", "before -> online", &format!("+ xenstore {NODES}"));
        let was: Vec<&String> = was.iter().filter(|fact| !fact.starts_with("/feature-")).collect();
        for fact in &was {
            // Netback's own nodes, and the script, whose name the recording has cut.
            let skipped = ["/multi-queue-max-queues", "/script"].iter().any(|node| fact.starts_with(node));
            assert!(skipped || is.contains(&format!("{NODES}{fact}")), "{fact}\n{is:#?}");
        }
        assert!(was.len() > 10);
        // What the script wrote, in its order.
        let (text, log) = (file("devd-bridge/xenstore-create.txt"), rig.store.log());
        let (_, from) = split(&text);
        let wrote: Vec<(&str, &str)> = from.iter().filter(|r| r.what == "write").map(|r| (r.path, r.rest)).collect();
        let ours = log.iter().filter(|r| r.kind == Some(Kind::Write));
        let ours: Vec<(String, String)> =
            ours.map(|r| (r.path.clone(), String::from_utf8_lossy(&r.value).into_owned())).collect();
        assert_eq!(wrote, ours.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect::<Vec<_>>());
        assert_eq!(link(VIF).unwrap().master, Some(name("xenbr0")));
        assert!(guarded().iter().any(|e| e.contains("00:16:3e:01:02:01 . 10.0.0.2 ")), "{:?}", guarded());

        // The script was called while the link was there; netback took it away afterwards.
        rig.store.clear_log();
        assert_eq!(call(&rig, "devd-bridge", 2), "");
        assert_eq!(rig.store.log().len(), 0, "the store is not even asked");
        assert_eq!((link(VIF).unwrap().master, guarded()), (None, vec![]));
        rig.remove(VIF);
        destroyed(&rig, "devd-bridge");
        assert_eq!(nodes_of(&rig, NODES), [""; 0], "nothing is left, as it was recorded");
        // Another call with the link gone, as libxl makes it elsewhere, finds nothing to do.
        assert_eq!(call(&rig, "devd-bridge", 2), "");
        assert_eq!(rig.state().recorded().unwrap(), []);
    });
}

#[test]
fn a_bridge_that_is_missing_is_told_and_forgotten_when_it_is_there() {
    in_netns("devd::a_bridge_that_is_missing_is_told_and_forgotten_when_it_is_there", || {
        let rig = Rig::new();
        rig.remove("xenbr0");
        begun(&rig);
        let said = call(&rig, "devd-bridge-missing", 1);
        assert!(said.contains("xenbr0"), "{said}");
        // The recording's script wrote both nodes, and so do we, with more words.
        let text = file("devd-bridge-missing/xenstore-create.txt");
        let recorded: Vec<Asked<'_>> = requests(&text).into_iter().filter(|r| r.path.contains("/hotplug-")).collect();
        let told = recorded.iter().find(|r| r.what == "write" && r.path.ends_with("hotplug-error")).unwrap();
        assert_eq!(told.rest, "Could not find bridge device xenbr0");
        assert!(node(&rig, "hotplug-error").is_some_and(|e| e.contains("xenbr0") && e.contains("hint: ")));
        assert_eq!(node(&rig, "hotplug-status").as_deref(), Some("error"));
        assert_eq!((link(VIF).unwrap().master, guarded()), (None, vec![]), "nothing is half done");

        rig.bridge("xenbr0", 1500);
        assert_eq!(call(&rig, "devd-bridge-missing", 2), "");
        assert_eq!((node(&rig, "hotplug-error"), node(&rig, "hotplug-status").as_deref()), (None, Some("connected")));
        assert_eq!(call(&rig, "devd-bridge-missing", 3), "");
        assert_eq!((link(VIF).unwrap().master, guarded()), (None, vec![]));
    });
}

/// `xl devd` was started anew while the guest ran, and made no call when it ended: libxl gave up after 10 s.
#[test]
fn what_a_restarted_devd_has_left_is_cleared() {
    in_netns("devd::what_a_restarted_devd_has_left_is_cleared", || {
        let rig = Rig::new();
        begun(&rig);
        assert_eq!(call(&rig, "devd-devd-restarted", 1), "");
        assert!(!guarded().is_empty());
        destroyed(&rig, "devd-devd-restarted");
        rig.remove(VIF);
        let mut host = xennet_core::Host::netlink().unwrap().with_state_dir(rig.state());
        let planned = host.plan_recover().unwrap();
        let subject: Subject = VIF.parse().unwrap();
        assert_eq!(planned.keys().collect::<Vec<_>>(), [&subject]);
        let recovered = host.recover().unwrap();
        assert!(matches!(recovered[..], [(of, Recovered::Cleared { .. })] if of == subject), "{recovered:?}");
        assert_eq!((guarded(), rig.state().recorded().unwrap()), (vec![], vec![]));
    });
}
