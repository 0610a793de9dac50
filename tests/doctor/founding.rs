//! The set-ups of Xen's old documentation: each listing that it tells the reader to check is a fact whose loss is found.
//!
//! That document has `ifconfig`, `iptables -L` and `route` of a working host in each mode, "compare by eye". Here each line of them is taken
//! away in turn.

use xennet_core::config::networks;
use xennet_core::doctor::{self, Code, Finding, Level};
use xennet_core::recording::{Described, Taken};
use xennet_core::{DomId, Host, exec};
use xennet_tests::lease::soon;
use xennet_tests::{StateDir, in_netns};

use crate::world::{forwards, sh, told};

struct Founding {
    networks: &'static str,
    guest: &'static str,
}

/// `vif = [ 'ip=192.168.0.6' ]`, dom0 at 192.168.0.3.
const BRIDGE: Founding = Founding {
    networks: "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\nuplink_name = \"peth0\"\n",
    guest: "bridge=xenbr0,ip=192.168.0.6",
};

/// The guest at 10.0.0.1, dom0 at 10.0.0.128 on its vif.
const NAT: Founding = Founding { networks: "[network.private]\nmode = \"nat\"\n", guest: "bridge=private,ip=10.0.0.1" };

/// The guest at 10.0.0.1, seen outside; dom0's own address on its vif, and proxy ARP.
const ROUTED: Founding = Founding {
    networks: "[network.public]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/24\"]\nproxy_arp = true\n",
    guest: "bridge=public,ip=10.0.0.1",
};

/// Takes each of these away from a host of its own, and expects it found.
fn listed(test: &str, of: &Founding, lines: &[(&str, Code)]) {
    in_netns(&format!("founding::{test}"), || {
        sh("ip link set lo up
            ip link add eth0 address 00:50:8b:dc:f7:2b type veth peer name wire
            ip link set eth0 up; ip link set wire up
            ip address add 192.168.0.3/24 dev eth0; ip route add default via 192.168.0.1
            ip link add vif1.0 address fe:ff:ff:ff:ff:ff type veth peer name guest1; ip link set guest1 up");
        let state = StateDir::new();
        let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        for network in networks::parse(of.networks).unwrap().iter() {
            host.start_network(network).unwrap();
        }
        host.attach(DomId::new(1).unwrap(), &format!("mac=00:16:3e:00:00:01,{}", of.guest).parse().unwrap()).unwrap();
        soon("every port forwards", forwards);
        let mut examined = || -> Vec<Finding> {
            let described = Described::new("networks.toml", of.networks);
            let store = Err("there is none here".into());
            doctor::examine(&host.record(Taken::default(), Some(described), store))
        };
        let well = examined();
        assert!(well.iter().all(|f| f.level() == Level::Note), "{}", told(&well));
        let mut missed = String::new();
        for (loss, code) in lines {
            sh(loss);
            let found = examined();
            if !found.iter().any(|f| f.code == *code) {
                missed.push_str(&format!("== {loss}: {code} is not found\n{}\n", told(&found)));
            }
            // The next line is taken from the same host, put right.
            for _ in 0..8 {
                let Some(fix) = examined().into_iter().find(|f| f.level() == Level::Error).and_then(|f| f.fix) else {
                    break;
                };
                let plan = fix.request.as_ref().and_then(|request| host_plan(&state, request));
                if plan.is_none() {
                    sh(&fix.command);
                }
            }
            soon("every port forwards", forwards);
        }
        assert!(missed.is_empty(), "{missed}");
    });
}

/// Carries out what a finding asks for, by a host of its own, as another process does.
fn host_plan(state: &StateDir, request: &xennet_core::Request) -> Option<()> {
    let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
    let plan = host.plan_request(request).ok().filter(|plan| !plan.is_empty())?;
    host.apply(&plan).unwrap();
    Some(())
}

#[test]
fn the_bridges_listings() {
    listed(
        "the_bridges_listings",
        &BRIDGE,
        &[
            ("ip link set vif1.0 down", Code::VifDown),
            ("ip link set vif1.0 nomaster", Code::VifOutside),
            ("ip link set peth0 down", Code::UplinkDown),
            ("ip link set peth0 nomaster", Code::UplinkLost),
            // ACCEPT all -- 192.168.0.6 anywhere PHYSDEV match --physdev-in vif1.0
            ("nft flush set bridge xennet-guard host4", Code::VifLacks),
            ("ip link set xenbr0 down", Code::BridgeDown),
        ],
    );
}

#[test]
fn nats_listings() {
    listed(
        "nats_listings",
        &NAT,
        &[
            // vif1.0 inet addr:10.0.0.128 Mask:255.255.255.255
            ("ip address flush dev vif1.0 scope global", Code::VifLacks),
            // 10.0.0.1 0.0.0.0 255.255.255.255 UH vif1.0
            ("ip route del 10.0.0.1", Code::VifLacks),
            // MASQUERADE in POSTROUTING, as a set
            ("nft flush set inet xennet masq4", Code::VifLacks),
            ("sysctl -qw net.ipv4.ip_forward=0", Code::ForwardingOff),
            ("ip link set vif1.0 down", Code::VifDown),
        ],
    );
}

#[test]
fn the_routed_listings() {
    listed(
        "the_routed_listings",
        &ROUTED,
        &[
            // vif1.0 has dom0's address
            ("ip address flush dev vif1.0 scope global", Code::VifLacks),
            ("ip route del 10.0.0.1", Code::VifLacks),
            // echo 1 > /proc/sys/net/ipv4/conf/eth0/proxy_arp
            ("sysctl -qw net.ipv4.conf.eth0.proxy_arp=0", Code::NetworkDamaged),
            ("sysctl -qw net.ipv4.ip_forward=0", Code::ForwardingOff),
            ("ip link set vif1.0 down", Code::VifDown),
        ],
    );
}
