//! What no program here takes as it is: the kernel's `ip=`, read by the two generators that read it in an initramfs; FreeBSD's
//! variables, read by a shell; Windows' commands, read word by word.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use xennet_core::guest::{Format, GuestConfig, Method};
use xennet_core::ipnetwork::IpNetwork;
use xennet_tests::StateDir;
use xennet_tests::lease::command;

use crate::seen::{Seen, has_on_link, ini, network_file, told};
use crate::tools::{missing, root, said, unpacked};

/// What `ip=` cannot say at all.
fn is_beyond_the_kernel(config: &GuestConfig) -> bool {
    config.ipv4() == &Method::Off || config.ipv4().gateway().is_some_and(|g| g.on_link)
}

/// What `ip=` says of it: the first address, and two name servers.
fn of_the_kernel(config: &GuestConfig) -> Seen {
    let mut wanted = Seen::of(config);
    wanted.addresses = config.ipv4().addresses().first().copied().into_iter().collect();
    wanted.gateways = config.ipv4().gateway().map(|g| g.address).into_iter().collect();
    wanted.on_link.clear();
    wanted.dns.retain(|a| a.is_ipv4() && !config.ipv4().is_auto());
    wanted.dns.truncate(2);
    wanted.search.clear();
    wanted.mtu = None;
    wanted.auto[1] = false;
    wanted
}

#[test]
fn networkds_generator_reads_the_kernels_parameter() {
    let program = "/lib/systemd/systemd-network-generator";
    if !fs::exists(program).unwrap() {
        return missing("kernel", "systemd-network-generator; as root: apt-get install systemd");
    }
    let state = StateDir::new();
    for (number, told) in told(Format::Kernel, is_beyond_the_kernel).into_iter().enumerate() {
        let guest = state.path().join(number.to_string());
        let mut generator = command(program, &["--root", guest.to_str().unwrap(), "--", told.main().text.trim()]);
        said(&mut generator, &told.main().text);
        let made = fs::read_dir(guest.join("run/systemd/network")).unwrap();
        let texts: Vec<String> = made.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        told.check(network_file(&texts.concat()), &of_the_kernel(&told.case.config));
    }
}

#[test]
fn networkmanagers_generator_reads_the_kernels_parameter() {
    let Some(root) = root("nm-initrd-generator") else { return };
    for told in told(Format::Kernel, is_beyond_the_kernel) {
        let mut generator = unpacked(&root, "usr/lib/NetworkManager/nm-initrd-generator");
        let (made, _) = said(generator.args(["-s", "--", told.main().text.trim()]), &told.main().text);
        let (_, connection) = made.split_once("*** Connection").unwrap();
        let (_, connection) = connection.split_once('\n').unwrap();
        let mut seen = Seen::default();
        for (section, key, value) in ini(connection) {
            match (section.split(' ').next().unwrap(), key.as_str()) {
                ("ipv4", "method") => seen.auto[0] = value == "auto",
                ("ipv4", "address1") => {
                    let (address, gateway) =
                        value.split_once(',').map_or((value.as_str(), None), |(a, g)| (a, Some(g)));
                    seen.addresses.insert(address.parse().unwrap());
                    seen.gateways.extend(gateway.map(|g| g.parse::<IpAddr>().unwrap()));
                }
                ("ipv4", "gateway") => drop(seen.gateways.insert(value.parse().unwrap())),
                ("ipv4" | "ipv6", "dns") => {
                    seen.dns.extend(value.split(';').filter(|s| !s.is_empty()).map(|s| s.parse::<IpAddr>().unwrap()));
                }
                _ => {}
            }
        }
        told.check(seen, &of_the_kernel(&told.case.config));
    }
}

/// What a shell has of FreeBSD's variables.
#[test]
fn a_shell_reads_freebsds_variables() {
    let state = StateDir::new();
    let path = state.path().join("rc.conf.local");
    for told in told(Format::FreeBsd, |_| false) {
        fs::write(&path, &told.main().text).unwrap();
        let mut sh = Command::new("/bin/sh");
        sh.args(["-eu", "-c", ". \"$1\"; set", "sh"]).arg(&path).env_clear();
        let (out, _) = said(&mut sh, &told.main().text);
        let mut seen = Seen::default();
        for line in out.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim_matches('\'');
            let words: Vec<&str> = value.split(' ').collect();
            let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
            if name.starts_with("ifconfig_") {
                if let (Some(ip), Some(mask)) = (after("inet"), after("netmask")) {
                    let network = IpNetwork::with_netmask(ip.parse().unwrap(), mask.parse().unwrap());
                    seen.addresses.insert(network.unwrap());
                }
                if let (Some(ip), Some(length)) = (after("inet6"), after("prefixlen")) {
                    seen.addresses.insert(format!("{ip}/{length}").parse().unwrap());
                }
                seen.mtu = after("mtu").map(|n| n.parse().unwrap()).or(seen.mtu);
                seen.auto[0] |= words.contains(&"SYNCDHCP");
                seen.auto[1] |= words.contains(&"accept_rtadv");
            } else if name.ends_with("defaultrouter") {
                seen.gateways.insert(value.split('%').next().unwrap().parse().unwrap());
            } else if name.ends_with("route_xennetall") {
                seen.gateways.insert(words[1].parse().unwrap());
            } else if name.ends_with("route_xennetgw") {
                seen.on_link.insert(words[1].parse().unwrap());
            }
        }
        for line in told.rendered.files.get(1).map(|file| file.text.as_str()).unwrap_or_default().lines() {
            match line.split_once(' ').unwrap() {
                ("nameserver", server) => seen.dns.push(server.parse().unwrap()),
                (_, domains) => seen.search.extend(domains.split(' ').map(str::to_owned)),
            }
        }
        told.check(seen, &Seen::of(&told.case.config));
    }
}

#[test]
fn windows_commands_say_what_was_meant() {
    for told in told(Format::Netsh, |_| false) {
        let mut seen = Seen::default();
        assert!(told.main().text.ends_with("\r\n") && !told.main().text.replace("\r\n", "").contains(['\r', '\n']));
        // A name with a blank in it would be two words.
        let text = told.main().text.replace("\"Ethernet ", "\"Ethernet_");
        for line in text.lines().filter(|line| line.starts_with("netsh ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let of = |key: &str| words.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
            match (words[3], words[4]) {
                ("set", "address") if of("source") == Some("dhcp") => seen.auto[0] = true,
                ("set" | "add", "address") if words[2] == "ipv4" => {
                    let (ip, mask) = (of("address").unwrap().parse().unwrap(), of("mask").unwrap().parse().unwrap());
                    seen.addresses.insert(IpNetwork::with_netmask(ip, mask).unwrap());
                    seen.gateways.extend(of("gateway").map(|g| g.parse::<IpAddr>().unwrap()));
                }
                ("add", "address") => drop(seen.addresses.insert(words[6].parse().unwrap())),
                ("add", "route") => match words[5] {
                    "0.0.0.0/0" | "::/0" => drop(seen.gateways.insert(words[7].parse().unwrap())),
                    beside => drop(seen.on_link.insert(beside.parse::<IpNetwork>().unwrap().ip())),
                },
                ("set" | "add", "dnsservers") => seen.dns.push(of("address").unwrap().parse().unwrap()),
                ("set", "subinterface") => seen.mtu = of("mtu").map(|n| n.parse().unwrap()),
                ("set", "interface") => seen.auto[1] = of("routerdiscovery") == Some("enabled"),
                other => panic!("{other:?}"),
            }
        }
        let mut wanted = Seen::of(&told.case.config);
        // It is in the notes.
        let is_told = told.rendered.notes.iter().any(|note| note.contains("Set-DnsClientGlobalSetting"));
        assert_eq!(is_told, !std::mem::take(&mut wanted.search).is_empty());
        told.check(seen, &wanted);
    }
    assert!(told(Format::CloudInitV1, has_on_link).len() < 200, "some gateways are on the link");
}
