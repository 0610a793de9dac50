//! cloud-init: what its parser of network-config makes of both versions, and its renderers for networkd.

use std::fs;
use std::net::IpAddr;

use serde_json::Value;
use xennet_core::guest::{Format, GuestConfig};
use xennet_tests::StateDir;
use xennet_tests::lease::command;

use crate::seen::{Seen, Told, has_on_link, network_file, told};
use crate::tools::{root, said};

/// Reads files, and prints for each what cloud-init makes of it, a document a line: its own state, and networkd's file.
const SCRIPT: &str = r#"
import json, sys, yaml
from cloudinit.net import network_state, networkd
for path in sys.argv[1:]:
    config = yaml.safe_load(open(path))["network"]
    state = network_state.parse_net_config_data(config)
    made = networkd.Renderer({})._render_content(state)
    print(json.dumps({"state": state._network_state, "networkd": "\n".join(made.values())}, default=str))
"#;

fn all(format: Format, expected: impl Fn(&GuestConfig) -> bool) -> Option<Vec<(Told, Value)>> {
    let root = root(format.name())?;
    let state = StateDir::new();
    let told = told(format, expected);
    let mut paths = Vec::new();
    for (number, told) in told.iter().enumerate() {
        let path = state.path().join(format!("{number}.cfg"));
        fs::write(&path, &told.main().text).unwrap();
        paths.push(path);
    }
    let mut python = command("/usr/bin/python3", &["-W", "ignore", "-c", SCRIPT]);
    let (out, _) = said(python.args(&paths).env("PYTHONPATH", root.join("usr/lib/python3/dist-packages")), "");
    let documents: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), told.len());
    Some(told.into_iter().zip(documents).collect())
}

/// What cloud-init's own state has.
fn state(document: &Value, link: &str) -> Seen {
    let mut seen = Seen::default();
    let state = &document["state"];
    let own = &state["interfaces"][link];
    seen.mtu = own["mtu"].as_u64().map(|n| u32::try_from(n).unwrap());
    for subnet in own["subnets"].as_array().into_iter().flatten() {
        match subnet["type"].as_str().unwrap() {
            "dhcp4" | "dhcp" => seen.auto[0] = true,
            "ipv6_slaac" | "dhcp6" | "ipv6_dhcpv6-stateless" => seen.auto[1] = true,
            _ => {
                let text = format!("{}/{}", subnet["address"].as_str().unwrap(), subnet["prefix"]);
                seen.addresses.insert(text.parse().unwrap());
            }
        }
        seen.gateways.extend(subnet["gateway"].as_str().map(|g| g.parse::<IpAddr>().unwrap()));
        for route in subnet["routes"].as_array().into_iter().flatten() {
            let gateway: IpAddr = route["gateway"].as_str().unwrap().parse().unwrap();
            assert!(route["network"] == "0.0.0.0" || route["network"] == "::", "{route}");
            seen.gateways.insert(gateway);
        }
    }
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|s| s.as_str().unwrap().to_owned()).collect()
    };
    seen.dns = texts(&state["dns"]["nameservers"]).iter().map(|s| s.parse().unwrap()).collect();
    seen.search = texts(&state["dns"]["search"]);
    seen
}

/// Whether cloud-init's own renderers drop the domains.
fn is_dropped(config: &GuestConfig) -> bool {
    config.dns().is_empty() && !config.search().is_empty() && config.addresses().next().is_none()
}

#[test]
fn version_1_is_what_was_meant() {
    let Some(all) = all(Format::CloudInitV1, has_on_link) else { return };
    for (told, document) in all {
        let wanted = Seen::of(&told.case.config);
        told.check(state(&document, &told.link()), &wanted);
        let made = document["networkd"].as_str().unwrap();
        // Of the MTU this renderer makes two lines, and it says nothing of router advertisements where it is to listen.
        let mut seen = network_file(made);
        seen.auto[1] = wanted.auto[1];
        told.check(seen, &wanted);
    }
}

#[test]
fn version_2_is_what_was_meant() {
    let Some(all) = all(Format::CloudInitV2, |_| false) else { return };
    for (told, document) in all {
        let mut wanted = Seen::of(&told.case.config);
        // For netplan alone, which gets the text as it is: see `networkd::netplan`.
        wanted.on_link.clear();
        let auto = std::mem::take(&mut wanted.auto);
        let mut seen = state(&document, &told.link());
        seen.auto = [false, false];
        // Domains without a server are not in its state, but in what it writes.
        if wanted.dns.is_empty() {
            seen.search.clone_from(&wanted.search);
        }
        told.check(seen, &wanted);
        // Only netplan can say that a gateway is on the link.
        if has_on_link(&told.case.config) {
            continue;
        }
        let mut seen = network_file(document["networkd"].as_str().unwrap());
        assert_eq!(seen.auto[0], auto[0], "{document}");
        seen.auto = [false, false];
        if is_dropped(&told.case.config) {
            assert!(told.rendered.notes.iter().any(|note| note.starts_with("search without")));
            wanted.search.clear();
        }
        told.check(seen, &wanted);
    }
}
