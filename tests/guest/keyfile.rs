//! NetworkManager: what its own library reads of a keyfile (`nmcli --offline`).

use std::fs::File;
use std::net::IpAddr;

use xennet_core::guest::Format;
use xennet_tests::StateDir;

use crate::seen::{Seen, ini, told};
use crate::tools::{root, said, unpacked};

#[test]
fn nmcli_reads_what_was_meant() {
    let Some(root) = root("nmcli") else { return };
    let state = StateDir::new();
    for told in told(Format::NetworkManager, |_| false) {
        let path = state.path().join("keyfile");
        std::fs::write(&path, &told.main().text).unwrap();
        // What nmcli prints is what its library has read, written anew.
        let mut nmcli = unpacked(&root, "usr/bin/nmcli");
        nmcli.args(["--offline", "connection", "modify", "connection.autoconnect", "yes"]);
        let (made, _) = said(nmcli.stdin(File::open(&path).unwrap()), &told.main().text);
        let mut seen = Seen::default();
        for (section, key, value) in ini(&made) {
            let is_ipv4 = section.starts_with("ipv4");
            match (section.split(' ').next().unwrap(), key.as_str()) {
                ("ethernet", "mtu") => seen.mtu = Some(value.parse().unwrap()),
                ("ipv4" | "ipv6", "method") => seen.auto[usize::from(!is_ipv4)] = value == "auto",
                ("ipv4" | "ipv6", "dns") => {
                    let servers = value.split(';').filter(|s| !s.is_empty());
                    seen.dns.extend(servers.map(|s| s.parse::<IpAddr>().unwrap()));
                }
                ("ipv4" | "ipv6", "dns-search") => {
                    seen.search.extend(value.split(';').filter(|s| !s.is_empty()).map(str::to_owned));
                }
                ("ipv4" | "ipv6", "gateway") => drop(seen.gateways.insert(value.parse().unwrap())),
                ("ipv4" | "ipv6", key) if key.starts_with("address") && !key.contains('-') => {
                    // The first one may have the gateway behind it.
                    let (address, gateway) =
                        value.split_once(',').map_or((value.as_str(), None), |(a, g)| (a, Some(g)));
                    seen.addresses.insert(address.parse().unwrap());
                    seen.gateways.extend(gateway.map(|g| g.parse::<IpAddr>().unwrap()));
                }
                ("connection", "interface-name") => assert_eq!(value, told.link()),
                _ => {}
            }
        }
        let mut wanted = Seen::of(&told.case.config);
        // NetworkManager finds that out by itself.
        wanted.on_link.clear();
        told.check(seen, &wanted);
    }
}
