//! The interfaces file, by ifupdown and ifupdown-ng: the commands that each would run. Debian's busybox has an ifup without IPv4, so what
//! busybox makes of Alpine's form is not tried here.

use std::net::IpAddr;

use xennet_core::guest::Format;
use xennet_core::ipnetwork::IpNetwork;
use xennet_tests::StateDir;

use crate::seen::{Seen, Told, told};
use crate::tools::{ng, root, said, unpacked};

/// Reads the commands of `ip` that would be run for an interface.
fn commands(text: &str, link: &str, seen: &mut Seen) {
    let mut beside = Vec::new();
    for line in text.lines().map(str::trim) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.first() != Some(&"ip") {
            seen.auto[0] |= ["dhclient", "udhcpc", "dhcpcd"].iter().any(|client| words.contains(client));
            continue;
        }
        words.retain(|word| !matches!(*word, "-4" | "-6" | "nodad"));
        let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
        match words.get(1..3) {
            Some(["addr" | "address", "add"]) => {
                assert_eq!(after("dev"), Some(link), "{line}");
                seen.addresses.insert(network(words[3]));
            }
            Some(["route", "add" | "replace" | "append"]) => {
                assert_eq!(after("dev"), Some(link), "{line}");
                if words[3] == "default" {
                    let gateway: IpAddr = after("via").unwrap().parse().unwrap();
                    seen.gateways.insert(gateway);
                } else if after("via").is_none() {
                    beside.push(network(words[3]).ip());
                }
            }
            Some(["link", _]) => seen.mtu = after("mtu").map(|n| n.parse().unwrap()).or(seen.mtu),
            _ => {}
        }
    }
    seen.on_link.extend(beside.into_iter().filter(|a| seen.gateways.contains(a)));
}

/// An address with the length of its prefix or its mask.
fn network(text: &str) -> IpNetwork {
    match text.split_once('/') {
        Some((ip, mask)) if mask.contains('.') => {
            IpNetwork::with_netmask(ip.parse().unwrap(), mask.parse().unwrap()).unwrap()
        }
        _ => text.parse().unwrap(),
    }
}

fn written(state: &StateDir, told: &Told) -> String {
    let path = state.path().join("interfaces");
    // No guest has it at this path here.
    let text = told.main().text.replace("\nsource /etc/network/interfaces.d/*\n", "\n");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The name servers, where a file of their own has them.
fn resolv_conf(told: &Told, seen: &mut Seen) {
    let text = told.rendered.files.get(1).map(|file| file.text.as_str()).unwrap_or_default();
    for line in text.lines() {
        match line.split_once(' ').unwrap() {
            ("nameserver", server) => seen.dns.push(server.parse().unwrap()),
            (_, domains) => seen.search.extend(domains.split(' ').map(str::to_owned)),
        }
    }
}

#[test]
fn ifupdown_sets_up_what_was_meant() {
    let Some(root) = root("ifupdown") else { return };
    let state = StateDir::new();
    for told in told(Format::Ifupdown, |_| false) {
        let (file, link) = (written(&state, &told), told.link());
        let arguments = ["--interfaces", &file, "--state-dir", state.path().to_str().unwrap(), &link];
        let (_, run) =
            said(unpacked(&root, "sbin/ifup").args(["--no-act", "--verbose"]).args(arguments), &told.main().text);
        let mut seen = Seen::default();
        commands(&run, &link, &mut seen);
        let (query, _) = said(unpacked(&root, "sbin/ifquery").args(arguments), &told.main().text);
        for line in query.lines() {
            match line.split_once(": ") {
                Some(("dns-nameservers", servers)) => {
                    seen.dns.extend(servers.split(' ').map(|s| s.parse::<IpAddr>().unwrap()))
                }
                Some(("dns-search", domains)) => seen.search.extend(domains.split(' ').map(str::to_owned)),
                _ => {}
            }
        }
        seen.auto[1] = run.contains(".autoconf=1");
        told.check(seen, &Seen::of(&told.case.config));
    }
}

#[test]
fn ifupdown_ng_reads_what_was_meant() {
    let Some(ng) = ng("ifupdown-ng") else { return };
    let state = StateDir::new();
    for told in told(Format::Alpine, |_| false) {
        let (file, link) = (written(&state, &told), told.link());
        let (out, _) = said(unpacked(&ng, "sbin/ifquery").args(["-i", &file, &link]), &told.main().text);
        let mut seen = Seen::default();
        let mut ups = String::new();
        for line in out.lines().map(str::trim) {
            match line.split_once(' ') {
                Some(("address", address)) => drop(seen.addresses.insert(network(address))),
                Some(("gateway", gateway)) => drop(seen.gateways.insert(gateway.parse().unwrap())),
                Some(("mtu", mtu)) => seen.mtu = Some(mtu.parse().unwrap()),
                Some(("up" | "pre-up", command)) => ups += &format!("{command}\n"),
                Some(("use", "dhcp")) => seen.auto[0] = true,
                _ => {}
            }
        }
        commands(&ups, &link, &mut seen);
        resolv_conf(&told, &mut seen);
        let mut wanted = Seen::of(&told.case.config);
        // That the guest listens to router advertisements is its kernel's own doing.
        wanted.auto[1] = false;
        told.check(seen, &wanted);
    }
}
