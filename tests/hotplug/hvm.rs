//! Lives of HVM guests as they were recorded under a real Xen (`fixtures/real-xen/hvm-*`), with our program in the script's place: the
//! device model's tap comes and goes beside the vif, by calls of its own.

use xennet_core::snapshot::Route;
use xennet_tests::in_netns;

use crate::recorded::{Asked, carry_out, command, effects_of, file, nodes_of, requests};
use crate::rig::{Rig, gated, guarded, link, look, name, outside, run};

const VIF: &str = "vif1.0";
/// As the device model makes it.
const TAP: &str = "vif1.0-emu";

/// What is asked before each of two calls, which both begin with a question for the vif's name, and after them. What Xen's scripts asked
/// and wrote is left out: ours does that itself.
fn around_calls(text: &str) -> [Vec<Asked<'_>>; 3] {
    let all = requests(text);
    let is_first = |r: &&Asked<'_>| r.what == "read" && r.path.ends_with("backend/vif/1/0/vifname");
    let scripts: Vec<usize> = all.iter().enumerate().filter(|(_, r)| is_first(r)).map(|(at, _)| at).collect();
    let [first, second] = scripts[..] else { panic!("two calls, and these are {scripts:?}") };
    let known: Vec<String> = all[..first].iter().map(|r| r.connection().to_owned()).collect();
    let (mut before, mut between, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for (at, request) in all.into_iter().enumerate() {
        match at {
            _ if !known.iter().any(|k| k == request.connection()) => {}
            at if at < first => before.push(request),
            at if at < second => between.push(request),
            _ => after.push(request),
        }
    }
    [before, between, after]
}

fn call(rig: &Rig, mode: &str, number: u32) -> String {
    let got = run(&mut command(rig, &format!("{mode}/calls/{number}")));
    assert!(file(&format!("{mode}/calls/{number}/result")).contains("\nrc 0"));
    assert_eq!(got.code, Some(0), "{mode} {number}: {}", got.stderr);
    got.stderr
}

/// The nodes of vifs, but for the script's, whose name the recording has cut.
fn nodes(all: Vec<String>) -> Vec<String> {
    all.into_iter().filter(|n| !n.contains("/script = ")).collect()
}

/// From the first call to the last. `online` sees what there is when both are connected.
fn life(rig: &Rig, mode: &str, links: [&str; 2], online: impl FnOnce()) {
    let (create, destroy) =
        (file(&format!("{mode}/xenstore-create.txt")), file(&format!("{mode}/xenstore-destroy.txt")));
    let [before, between, after] = around_calls(&create);
    rig.link(VIF);
    rig.store.tree(|tree| carry_out(tree, &before));
    let first = call(rig, mode, 1);
    rig.link(TAP);
    rig.store.tree(|tree| carry_out(tree, &between));
    let second = call(rig, mode, 2);
    for text in [first, second] {
        assert!(text.lines().all(|l| l.contains("note: no ") && l.contains("network is started")), "{text}");
    }
    rig.store.tree(|tree| carry_out(tree, &after));

    // Xen's script writes a node for a domain named as the vif, if it is renamed. Nobody reads that.
    let mut recorded = nodes(effects_of(mode, "before -> online", "+ xenstore "));
    recorded.retain(|node| !node.starts_with("/local/domain/web0/"));
    assert_eq!(nodes(nodes_of(rig, "/vif/")), recorded);
    let now = look();
    for which in links {
        let facts = effects_of(mode, "before -> online", &format!("+ link {which}."));
        let is = |fact: &str| facts.iter().any(|f| f == fact);
        let link = &now.links[&name(which)];
        assert!(is(&format!("mtu={}", link.mtu)), "{which}");
        let master = link.master.map(|m| format!("master={m}"));
        assert_eq!(master.is_none(), !facts.iter().any(|f| f.starts_with("master=")), "{which}");
        assert!(master.is_none_or(|master| is(&master)) && link.up, "{which}");
    }
    online();

    // netback takes the vif away before its call, and the tap goes with the device model.
    let [before, between, after] = around_calls(&destroy);
    rig.store.tree(|tree| carry_out(tree, &before));
    rig.remove(links[0]);
    assert_eq!(call(rig, mode, 3), "");
    rig.store.tree(|tree| carry_out(tree, &between));
    assert_eq!(link(links[1]).map(|l| l.up), Some(true), "the tap has a call of its own");
    rig.remove(links[1]);
    assert_eq!(call(rig, mode, 4), "");
    rig.store.tree(|tree| carry_out(tree, &after));
    assert_eq!(nodes_of(rig, "/vif/"), [""; 0], "nothing is left");
    assert_eq!((guarded(), gated()), (vec![], vec![]));
    assert_eq!(rig.state().recorded().unwrap(), []);
}

/// The guest's routes, by link and metric.
fn routes() -> Vec<(String, u32)> {
    let all = look().routes;
    let to_guest = |r: &&Route| r.destination.to_string() == "10.0.0.2/32";
    all.iter().filter(to_guest).map(|r| (r.link.unwrap().to_string(), r.metric)).collect()
}

/// The recorded ones.
fn recorded_routes(mode: &str) -> Vec<(String, u32)> {
    let all = effects_of(mode, "before -> online", "+ route type=unicast dst=10.0.0.2 dev=");
    let metric = |text: &str| text.split(" metric=").nth(1)?.split(' ').next()?.parse().ok();
    all.iter().map(|r| (r.split(' ').next().unwrap().to_owned(), metric(r).unwrap_or(0))).collect()
}

#[test]
fn a_guest_on_a_bridge_with_a_name_of_its_own() {
    in_netns("hvm::a_guest_on_a_bridge_with_a_name_of_its_own", || {
        let rig = Rig::new();
        life(&rig, "hvm-bridge", ["web0", "web0-emu"], || {
            assert_eq!((link(VIF), link(TAP)), (None, None), "both have the name that the config gives");
            // Where the script puts four rules for each of them, ours has elements of both.
            assert_eq!(effects_of("hvm-bridge", "before -> online", "+ iptables filter -A ").len(), 8);
            for which in ["web0", "web0-emu"] {
                let address = format!("\"{which}\" . 00:16:3e:00:00:02 . 10.0.0.2 ");
                assert!(guarded().iter().any(|e| e.contains(&address)), "{which}: {:?}", guarded());
            }
        });
    });
}

#[test]
fn a_routed_guest() {
    in_netns("hvm::a_routed_guest", || {
        let rig = Rig::bare();
        outside(&rig, "eth0", "192.0.2.1/24");
        life(&rig, "hvm-route", [VIF, TAP], || {
            let mut recorded = recorded_routes("hvm-route");
            recorded.sort();
            let mut ours = routes();
            ours.sort();
            assert_eq!(ours, recorded, "the tap is preferred, until the guest unplugs it");
            let sources = ["\"vif1.0\" . 10.0.0.2", "\"vif1.0-emu\" . 10.0.0.2"];
            assert!(sources.iter().all(|s| gated().iter().any(|g| g.contains(s))), "{:?}", gated());
        });
    });
}

#[test]
fn a_hidden_guest() {
    in_netns("hvm::a_hidden_guest", || {
        let rig = Rig::bare();
        outside(&rig, "eth0", "192.0.2.1/24");
        life(&rig, "hvm-nat", [VIF, TAP], || {
            // Xen's vif-nat leaves the tap as it is, without a route: the guest is not reached before it has drivers of its own.
            assert_eq!(recorded_routes("hvm-nat"), [(VIF.to_owned(), 0)]);
            let mut ours = routes();
            ours.sort();
            assert_eq!(ours, [(VIF.to_owned(), 2), (TAP.to_owned(), 1)]);
        });
    });
}
