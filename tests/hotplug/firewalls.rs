//! Another firewall that drops what guests send: frames do not arrive, and a call, the log and `show` say whose doing that is.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use xennet_cli::sandbox::{Guest, GuestSpec};
use xennet_core::{DomId, Host, VifId, VifSpec};
use xennet_tests::in_netns;

use crate::rig::{Rig, nat_network, outside, program, routed_network};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// The folder of br_netfilter's settings: of the namespace, and there only if the module is.
const FOLDER: &str = "/proc/sys/net/bridge";

/// As Docker leaves it.
const DROPS: &str = "table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }";

fn nft(rules: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft: install nftables");
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

fn filters(which: &str, value: &str) {
    std::fs::write(format!("{FOLDER}/bridge-nf-call-{which}"), value).unwrap();
}

/// A guest at its end of a vif, and the vif's nodes, with `ip=` or without.
fn guest(rig: &Rig, domid: u8, declares: bool) -> Guest {
    let address = Ipv4Addr::new(192, 0, 2, domid);
    let id = VifId::from_vif_name(&format!("vif{domid}.0")).unwrap();
    let mac = xennet_core::MacAddr::new([0, 0x16, 0x3e, 0, 0, domid]);
    let guest = Guest::new(&GuestSpec { id, mac, addresses: vec![format!("{address}/24").parse().unwrap()] }).unwrap();
    let (mac, address) = (mac.to_string(), address.to_string());
    let nodes = [("bridge", "xenbr0"), ("mac", mac.as_str()), ("ip", address.as_str())];
    rig.nodes(&id.to_string(), if declares { &nodes } else { &nodes[..2] });
    guest
}

/// What a call says besides, of firewalls.
fn notes(stderr: &str) -> Vec<String> {
    let of_firewall = |l: &str| l.split_once(": note: ").map(|(_, n)| n.to_owned()).filter(|n| n.contains("firewall"));
    stderr.lines().filter_map(of_firewall).collect()
}

/// What the command prints of a rig, both streams.
fn command(rig: &Rig, arguments: &[&str]) -> String {
    let mut command = Command::new(program());
    command.arg("--state-dir").arg(rig.path("state")).args(arguments);
    let got = command.env("XENNET_HOTPLUG_CONFIG", rig.path("hotplug.toml")).output().unwrap();
    assert!(got.status.success(), "{got:?}");
    String::from_utf8(got.stdout).unwrap() + &String::from_utf8(got.stderr).unwrap()
}

fn expected(vif: &str, setting: &str, off: &str) -> String {
    format!(
        "another firewall (nft list chain ip filter FORWARD) drops what no rule of it accepts: that goes for frames on xenbr0, too, \
         as {setting} is on; the guest of {vif} reaches nobody unless a rule accepts it, or: {off}"
    )
}

#[test]
fn frames_that_another_firewall_drops() {
    in_netns("firewalls::frames_that_another_firewall_drops", || {
        if !std::path::Path::new(FOLDER).is_dir() {
            eprintln!("skipped: br_netfilter is not loaded");
            return;
        }
        let sysctl = |vif: &str| {
            expected(vif, "net.bridge.bridge-nf-call-iptables", "sysctl -w net.bridge.bridge-nf-call-iptables=0")
        };
        for declares in [true, false] {
            let rig = Rig::new();
            filters("iptables", "1");
            let (one, _two) = (guest(&rig, 5, declares), guest(&rig, 6, declares));
            let reaches = |patience| one.ping(Ipv4Addr::new(192, 0, 2, 6), patience).unwrap().is_some();
            for vif in ["vif5.0", "vif6.0"] {
                assert_eq!(notes(&rig.ok(vif, "online").stderr), [""; 0], "nobody else has a firewall");
            }
            assert!(reaches(LONG));

            nft(DROPS);
            assert!(!reaches(SHORT), "it drops them");
            let again = rig.ok("vif5.0", "online");
            assert_eq!(notes(&again.stderr), [sysctl("vif5.0")], "{declares}: {}", again.stderr);
            assert_eq!(rig.status("vif5.0").as_deref(), Some("connected"), "a rule may let it pass, all the same");
            assert!(command(&rig, &["log", "--last", "1"]).contains(&sysctl("vif5.0")));
            let shown = command(&rig, &["show"]);
            assert!(shown.contains(&sysctl("vif5.0")) && shown.contains(&sysctl("vif6.0")), "{shown}");
            rig.ok("vif6.0", "offline");
            assert!(!command(&rig, &["show"]).contains(&sysctl("vif6.0")), "it is not there any more");
            assert_eq!(notes(&rig.ok("vif6.0", "online").stderr), [sysctl("vif6.0")], "at the first time, too");

            // What is about IPv6 is in the way of whoever has not declared anything else.
            nft(
                "flush ruleset; table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }",
            );
            assert_eq!(notes(&rig.ok("vif5.0", "online").stderr).len(), usize::from(!declares));
            assert!(reaches(LONG));

            nft(&format!("flush ruleset; {DROPS}"));
            filters("iptables", "0");
            assert!(reaches(LONG), "frames are bridged, and pass by it");
            assert_eq!(notes(&rig.ok("vif5.0", "online").stderr), [""; 0]);
            // A bridge has a setting of its own.
            let bridge = ["link", "set", "xenbr0", "type", "bridge", "nf_call_iptables", "1"];
            assert!(Command::new("ip").args(bridge).status().unwrap().success());
            assert!(!reaches(SHORT));
            let own =
                expected("vif5.0", "nf_call_iptables of xenbr0", "ip link set xenbr0 type bridge nf_call_iptables 0");
            assert_eq!(notes(&rig.ok("vif5.0", "online").stderr), std::slice::from_ref(&own));
            assert!(command(&rig, &["show"]).contains(&own));

            // Rules of bridges are for frames, whatever br_netfilter does.
            nft(
                "flush ruleset; table bridge filter { chain FORWARD { type filter hook forward priority -200; policy drop; }; }",
            );
            let of_bridge = "another firewall (nft list chain bridge filter FORWARD) drops what no rule of it accepts: the guest of \
                             vif5.0 reaches nobody unless it accepts what comes from and goes to xenbr0";
            assert!(!reaches(SHORT));
            assert_eq!(notes(&rig.ok("vif5.0", "online").stderr), [of_bridge]);
            nft("flush ruleset");
            for vif in ["vif5.0", "vif6.0", "xenbr0"] {
                rig.remove(vif);
            }
        }
    });
}

#[test]
fn packets_that_another_firewall_drops() {
    in_netns("firewalls::packets_that_another_firewall_drops", || {
        let rig = Rig::bare();
        outside(&rig, "eth0", "192.0.2.1/24");
        rig.started(&nat_network("lan"));
        rig.started(&routed_network("dmz"));
        for (script, vif, network, ip) in
            [("vif-nat", "vif5.0", "lan", "10.1.0.5"), ("vif-route", "vif6.0", "dmz", "10.1.0.6")]
        {
            rig.vif(vif, &[("bridge", network), ("ip", ip)]);
            assert_eq!(notes(&rig.ok_of(script, vif, "online").stderr), [""; 0]);
            nft("table inet filter { chain forward { type filter hook forward priority 0; policy drop; }; }
                 table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }");
            let said = format!(
                "another firewall (nft list chain inet filter forward) drops what no rule of it accepts: the guest of {vif} reaches \
                 nobody unless it accepts what comes from and goes to {vif}"
            );
            assert_eq!(
                notes(&rig.ok_of(script, vif, "online").stderr),
                std::slice::from_ref(&said),
                "and it has no IPv6"
            );
            assert!(command(&rig, &["show"]).contains(&said));
            nft("delete table inet filter; delete table ip6 filter");
        }
    });
}

/// The library says the same of a rehearsal.
#[test]
fn frames_that_another_firewall_would_drop() {
    use xennet_core::backend::fake::Fake;
    use xennet_core::snapshot::{NftBase, NftChain, NftChainKind, NftFamily, NftHook, NftPolicy, NftTable, NftTableId};

    let mut fake = Fake::example();
    let kind = NftChainKind::Filter;
    let base = Some(NftBase::new(kind, NftHook::Forward, 0, NftPolicy::Drop));
    let chains = [("FORWARD".to_owned(), NftChain::default().with_base(base))].into();
    let table = NftTable::default().with_chains(chains);
    fake.world_mut().nft.insert(NftTableId::new(NftFamily::Ip, "filter"), table);
    let key: xennet_core::snapshot::SysctlKey = "net/bridge/bridge-nf-call-iptables".parse().unwrap();
    fake.world_mut().sysctls.insert(&key, "1");
    let mut host = Host::with_backend(Box::new(fake));
    for (domid, line) in
        [(5, "mac=00:16:3e:00:00:05,bridge=xenbr0"), (6, "mac=00:16:3e:00:00:06,bridge=xenbr0,ip=192.0.2.6")]
    {
        let (id, vif): (_, VifSpec) = (DomId::new(domid).unwrap(), line.parse().unwrap());
        let off = "sysctl -w net.bridge.bridge-nf-call-iptables=0";
        let said = expected(&format!("vif{domid}.0"), "net.bridge.bridge-nf-call-iptables", off);
        assert_eq!(host.plan_attach(id, &vif).unwrap().notes(), std::slice::from_ref(&said));
        assert_eq!(host.attach(id, &vif).unwrap().notes, std::slice::from_ref(&said));
        assert_eq!(host.show().unwrap().vifs.last().unwrap().obstacles, [said]);
    }
}
