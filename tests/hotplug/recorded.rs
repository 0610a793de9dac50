//! A guest's life as it was recorded under a real Xen (`fixtures/real-xen`), in each mode, with our program in the script's place:
//! the store is filled by the recorded requests of libxl and netback, the calls are the recorded ones, and what is different
//! afterwards has to be what was recorded, but for differences that are named here.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use xennet_core::plan::ROUTE_PROTOCOL;
use xennet_core::snapshot::{Route, StorePermission};
use xennet_core::xenstore::tree::{Caller, Tree};
use xennet_core::xenstore::wire::Kind;
use xennet_tests::in_netns;

use crate::rig::{Rig, gated, guarded, link, look, name, outside, run, setting, tests_file};

const VIF: &str = "vif1.0";

pub(crate) fn file(name: &str) -> String {
    tests_file(&format!("fixtures/real-xen/{name}"))
}

/// One request of a recording: who, what, and the rest of the line.
pub(crate) struct Asked<'a> {
    connection: &'a str,
    pub(crate) what: &'a str,
    pub(crate) path: &'a str,
    pub(crate) rest: &'a str,
}

impl Asked<'_> {
    /// Who asked.
    pub(crate) fn connection(&self) -> &str {
        self.connection
    }
}

/// The requests of a recording, in order.
pub(crate) fn requests(text: &str) -> Vec<Asked<'_>> {
    let asked = text.lines().filter_map(|line| {
        let (_, line) = line.split_once("] ")?;
        let (connection, line) = line.trim_start().split_once(' ')?;
        let (what, line) = line.trim_start().split_once(' ')?;
        let (path, rest) = line.trim_start().split_once(' ').unwrap_or((line.trim(), ""));
        // `A7.4`: the fourth transaction of connection 7.
        Some(Asked { connection: connection.split('.').next()?, what, path, rest })
    });
    asked.collect()
}

/// Does what libxl (`A…`) and netback (`D0`, in a driver domain `D1`) asked for.
pub(crate) fn carry_out(tree: &mut Tree, asked: &[Asked<'_>]) {
    let callers = [0, 1].map(|domid| Caller::of(tree.connect(domid)));
    for request in asked {
        let caller = callers[usize::from(request.connection.ends_with("D1"))];
        match request.what {
            "write" => tree.write(caller, request.path, request.rest.as_bytes()).unwrap(),
            "mkdir" => tree.mkdir(caller, request.path).unwrap(),
            // What is not there was removed already.
            "rm" => drop(tree.rm(caller, request.path)),
            "setperms" => {
                let list: Vec<StorePermission> = request.rest.split_whitespace().map(permission).collect();
                tree.set_permissions(caller, request.path, &list).unwrap();
            }
            // A transaction that another one came before is put together with that: how xenstored does it.
            "coalesce" | "conflict" | "endconn" => {}
            "read" | "directory" | "watch" | "unwatch" | "w" | "t" | "commit" => {}
            other => panic!("{other} {}: a kind of request that this test does not know", request.path),
        }
    }
}

/// `n1`, `r0`.
fn permission(text: &str) -> StorePermission {
    let (letter, domid) = text.split_at(1);
    let (read, write) = (matches!(letter, "r" | "b"), matches!(letter, "w" | "b"));
    StorePermission { domid: domid.parse().unwrap(), read, write }
}

/// A recorded call: its arguments and its environment, and where to find our xenstored and settings.
pub(crate) fn command(rig: &Rig, call: &str) -> Command {
    let (argv, environ) = (file(&format!("{call}/argv")), file(&format!("{call}/environ")));
    let argv: Vec<&str> = argv.lines().collect();
    let script = argv[0].rsplit('/').next().unwrap();
    let mut command = Command::new(rig.path("scripts").join(script));
    command.arg0(argv[0]).args(&argv[1..]).env_clear().envs(environ.lines().filter_map(|l| l.split_once('=')));
    let usual = rig.script(script);
    let ours = usual.get_envs().filter(|(name, _)| *name == "XENSTORED_PATH" || *name == "XENNET_HOTPLUG_CONFIG");
    command.envs(ours.filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The lines of a mode's `effects.txt` below a heading that begin so, without the beginning.
pub(crate) fn effects_of(mode: &str, heading: &str, beginning: &str) -> Vec<String> {
    let text = file(&format!("{mode}/effects.txt"));
    let lines = text.lines().skip_while(|l| *l != format!("== {heading}")).skip(1).take_while(|l| !l.starts_with("=="));
    lines.filter_map(|l| l.strip_prefix(beginning)).map(str::to_owned).collect()
}

fn effects(heading: &str, beginning: &str) -> Vec<String> {
    effects_of("bridge", heading, beginning)
}

/// The store's nodes of vifs, as `effects.txt` writes them.
fn nodes(rig: &Rig) -> Vec<String> {
    nodes_of(rig, "/vif/")
}

/// Those whose path has this in it.
pub(crate) fn nodes_of(rig: &Rig, part: &str) -> Vec<String> {
    let nodes = rig.store.tree(|tree| tree.nodes());
    let lines = nodes.iter().filter(|(path, _)| path.as_str().contains(part)).map(|(path, node)| {
        let permissions: Vec<String> = node.permissions.iter().map(ToString::to_string).collect();
        let value = String::from_utf8_lossy(&node.value).replace("/etc/xen/scripts-upstream/", ".../");
        format!("{path} = \"{value}\"   ({})", permissions.join(","))
    });
    lines.collect()
}

/// A fact of `ip route` as `effects.txt` writes it.
fn route_fact(route: &Route) -> String {
    let mut text = format!("type=unicast dst={} dev={VIF}", route.destination.ip());
    text.extend(route.source.map(|source| format!(" prefsrc={source}")));
    if route.metric != 0 {
        text.push_str(&format!(" metric={}", route.metric));
    }
    text
}

/// The other two scripts: the store, the address and the route that were recorded, but for what is named here.
fn routed(mode: &str) {
    let rig = Rig::bare();
    outside(&rig, "eth0", "192.0.2.1/24");
    let (create, destroy) =
        (file(&format!("{mode}/xenstore-create.txt")), file(&format!("{mode}/xenstore-destroy.txt")));
    let (create, destroy) = (requests(&create), requests(&destroy));
    let first = |all: &[Asked<'_>]| all.iter().position(|r| r.path == "backend/vif/1/0/vifname").unwrap();
    rig.link(VIF);
    rig.store.tree(|tree| carry_out(tree, &create[..first(&create)]));
    rig.store.clear_log();
    let got = run(&mut command(&rig, &format!("{mode}/calls/1")));
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    assert!(got.stderr.lines().all(|l| l.contains("note: no ") && l.contains("network is started")), "{}", got.stderr);
    assert_eq!(nodes(&rig), effects_of(mode, "before -> online", "+ xenstore "));
    // Xen's script writes the status and no MTU.
    assert_eq!(rig.writes(), ["/local/domain/1/device/vif/0/mtu = 1500", "backend/vif/1/0/hotplug-status = connected"]);

    let now = look();
    let address = effects_of(mode, "before -> online", &format!("+ addr {VIF} "));
    let ours: Vec<String> = now.addresses_of(&name(VIF)).map(|a| a.address.to_string()).collect();
    // The recorded one may have a broadcast address, which nobody needs of a single address.
    assert_eq!(ours, address.iter().map(|a| a.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>());
    let recorded = effects_of(mode, "before -> online", "+ route ");
    let recorded = recorded.iter().find(|r| r.starts_with("type=unicast")).unwrap();
    let route = now.routes.iter().find(|r| r.link == Some(name(VIF)) && r.protocol == ROUTE_PROTOCOL).unwrap();
    // That of vif-nat has no metric: there the emulated twin had no route, and needed none below.
    let expected = if recorded.contains(" metric=") {
        recorded.replace(" scope=link protocol=boot table=main linkdown", "")
    } else {
        recorded.replace(" scope=link protocol=boot table=main linkdown", " metric=2")
    };
    assert_eq!((route_fact(route), route.scope, route.table), (expected, 253, Route::MAIN));
    let vif = &now.links[&name(VIF)];
    assert_eq!((vif.up, vif.master, vif.mtu), (true, None, 1500));
    let proxy = effects_of(mode, "before -> online", "+ sysctl ipv4/conf/vif1.0/");
    assert_eq!((proxy, setting("net/ipv4/conf/vif1.0/proxy_arp").as_deref()), (vec!["proxy_arp=1".into()], Some("1")));
    // Where the script puts four rules that cannot match (they are for bridged frames), ours has two elements that do.
    assert_eq!(effects_of(mode, "before -> online", "+ iptables filter -A ").len(), 4);
    assert_eq!(gated(), ["links { \"vif1.0\" }", "src4 { \"vif1.0\" . 10.0.0.2 }"]);

    let (before, after) = destroy.split_at(first(&destroy));
    rig.store.tree(|tree| carry_out(tree, before));
    rig.remove(VIF);
    rig.store.clear_log();
    let kept = nodes(&rig);
    let got = run(&mut command(&rig, &format!("{mode}/calls/2")));
    assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""));
    assert_eq!((nodes(&rig), rig.store.log().len()), (kept, 0), "the store is not even asked");
    assert_eq!(gated(), [""; 0]);
    rig.store.tree(|tree| carry_out(tree, after));
    assert_eq!(nodes(&rig), [""; 0]);
    assert_eq!(rig.state().recorded().unwrap(), []);
}

#[test]
fn a_guest_in_nat_mode_comes_and_goes() {
    in_netns("recorded::a_guest_in_nat_mode_comes_and_goes", || routed("nat"));
}

#[test]
fn a_routed_guest_comes_and_goes() {
    in_netns("recorded::a_routed_guest_comes_and_goes", || routed("route"));
}

#[test]
fn a_guest_comes_and_goes() {
    in_netns("recorded::a_guest_comes_and_goes", || {
        let rig = Rig::new();
        let (create, destroy) = (file("bridge/xenstore-create.txt"), file("bridge/xenstore-destroy.txt"));
        let (create, destroy) = (requests(&create), requests(&destroy));
        // The script is who reads `vifname` first; the connections that asked nothing before are its.
        let first = |all: &[Asked<'_>]| all.iter().position(|r| r.path == "backend/vif/1/0/vifname").unwrap();
        let (before, from) = create.split_at(first(&create));
        let scripts: Vec<&Asked<'_>> = from
            .iter()
            .filter(|r| r.connection != "D0" && !before.iter().any(|b| b.connection == r.connection))
            .collect();
        rig.link(VIF);
        rig.store.tree(|tree| carry_out(tree, before));
        rig.store.clear_log();

        let got = run(&mut command(&rig, "bridge/calls/1"));
        assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""));
        assert!(file("bridge/calls/1/result").contains("\nrc 0"));
        assert_eq!(
            nodes(&rig),
            effects("before -> online", "+ xenstore "),
            "nodes, values and permissions, one by one"
        );
        conversation(&rig, &scripts);
        rules();
        link_facts();

        // Netback takes its link away before the script is called again.
        let (before, after) = destroy.split_at(first(&destroy));
        rig.store.tree(|tree| carry_out(tree, before));
        assert_eq!(rig.status(VIF), None, "netback has removed it");
        rig.remove(VIF);
        rig.store.clear_log();
        let kept = nodes(&rig);
        let got = run(&mut command(&rig, "bridge/calls/2"));
        assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""));
        assert!(file("bridge/calls/2/result").contains("\nrc 0"));
        assert_eq!((nodes(&rig), rig.store.log().len()), (kept, 0), "the store is not even asked");
        assert_eq!(guarded(), [""; 0]);
        assert_eq!(link(VIF), None);
        let libxl: Vec<Asked<'_>> = after.iter().map(|r| Asked { ..*r }).collect();
        rig.store.tree(|tree| carry_out(tree, &libxl));
        assert_eq!(effects("before -> offline", "+"), [""; 0]);
        assert_eq!(nodes(&rig), [""; 0], "nothing is left, as it was recorded");
        assert_eq!(rig.state().recorded().unwrap(), []);
    });
}

/// Ours says what the script said, in its order, and reads what it read. (It reads more: all that it may need, at once.)
fn conversation(rig: &Rig, scripts: &[&Asked<'_>]) {
    let log = rig.store.log();
    let recorded = |what: &str| {
        let asked = scripts.iter().filter(|r| r.what == what);
        asked.map(|r| (r.path.to_owned(), r.rest.to_owned())).collect::<Vec<_>>()
    };
    let ours = |kind: Kind| {
        let asked = log.iter().filter(|r| r.kind == Some(kind));
        asked.map(|r| (r.path.clone(), String::from_utf8_lossy(&r.value).into_owned())).collect::<Vec<_>>()
    };
    assert_eq!(recorded("write").len(), 2);
    assert_eq!(ours(Kind::Write), recorded("write"));
    let extra = ["prefix", "mac", "macs", "policy", "log", "vlan", "isolated", "type", "hotplug-error"];
    let mut read: Vec<String> = ours(Kind::Read).into_iter().map(|(path, _)| path).collect();
    for (path, _) in recorded("read") {
        assert!(read.contains(&path), "{path} is read by Xen's script");
        read.retain(|p| *p != path);
    }
    read.sort();
    let mut extra = extra.map(|name| format!("backend/vif/1/0/{name}"));
    extra.sort();
    assert_eq!(read, extra, "what ours reads besides");
    let other = log.iter().filter(|r| !matches!(r.kind, Some(Kind::Read | Kind::Write)));
    assert_eq!(other.count(), 0, "nothing else is asked");
}

/// Where Xen's script puts four rules into a chain of others, ours has elements of its guard, for the same address.
fn rules() {
    let theirs = effects("before -> online", "+ iptables ");
    assert_eq!(theirs.len(), 4);
    assert!(theirs[3].contains("-s 10.0.0.2/32"));
    let ours = guarded();
    let address = ours.iter().any(|e| e.contains("\"vif1.0\" . 00:16:3e:00:00:02 . 10.0.0.2 "));
    assert!(address && ours.iter().all(|e| e.contains("\"vif1.0\"")), "{ours:#?}");
    if let Ok(output) = Command::new("iptables").args(["-w", "-S", "FORWARD"]).output() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.lines().all(|line| line.starts_with("-P")), "{text}");
    }
}

/// What is other than it was recorded, and why.
const OTHER: [(&str, &str, &str); 6] = [
    ("linkinfo.info_slave_data.cost", "2", "the vif is a veth here, which is 10 Gbit/s fast"),
    ("linkinfo.info_slave_data.group_fwd_mask", "0xfffd", "what goes to the bridge itself comes past the guard, too"),
    ("inet6_addr_gen_mode", "none", "a port of ours makes itself no IPv6 address"),
    ("qdisc", "noqueue", "the vif is a veth here, which has no queue"),
    ("flags", "NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN", "the vif is a veth here, whose other end is down"),
    ("operstate", "LOWERLAYERDOWN", "the vif is a veth here, whose other end is down"),
];

/// Every fact of the link that was recorded holds, but for those of [`OTHER`].
fn link_facts() {
    let output = Command::new("ip").args(["-d", "-j", "link", "show", "dev", VIF]).output();
    let Ok(output) = output else {
        assert!(std::env::var_os("CI").is_none(), "ip is missing, and CI is set");
        eprintln!("skipped: what `ip` tells of the link; missing ip (package iproute2)");
        return;
    };
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut is = BTreeMap::new();
    flatten("", &all[0], &mut is);
    let mut other = 0;
    let facts = effects("before -> online", "+ link vif1.0.");
    assert!(facts.len() > 30);
    for fact in facts {
        let (key, was) = fact.split_once('=').unwrap();
        let is = is.get(key).map_or("missing", String::as_str);
        match OTHER.iter().find(|(k, ..)| *k == key) {
            Some((_, expected, why)) => {
                other += 1;
                assert_eq!((is, is != was), (*expected, true), "{key}: {why}");
            }
            None => assert_eq!(is, was, "{key}"),
        }
    }
    assert_eq!(other, OTHER.len());
}

/// The facts in a document, as `effects.txt` writes them.
fn flatten(key: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&key, value, out);
            }
            return;
        }
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    out.insert(key.to_owned(), text);
}

/// The scripts are told apart by their name alone: what libxl says to them is the same.
#[test]
fn every_script_is_called_alike() {
    for call in ["1", "2"] {
        let of = |mode: &str| {
            let read = |name: &str| file(&format!("{mode}/calls/{call}/{name}"));
            (read("argv") + &read("environ")).replace(&format!("vif-{mode}"), "vif-MODE")
        };
        assert_eq!(of("bridge"), of("nat"));
        assert_eq!(of("bridge"), of("route"));
    }
}
