//! What a program makes of a guest's file, and what it should.

use std::collections::BTreeSet;
use std::net::IpAddr;

use xennet_core::ErrorKind;
use xennet_core::guest::{Format, GuestConfig, GuestFile, Rendered};
use xennet_core::ipnetwork::IpNetwork;

use crate::random::{Case, cases};

/// What a guest knows, whatever the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) addresses: BTreeSet<IpNetwork>,
    pub(crate) gateways: BTreeSet<IpAddr>,
    /// The gateways that are reached on the link without a prefix.
    pub(crate) on_link: BTreeSet<IpAddr>,
    /// In their order, IPv4 first.
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) mtu: Option<u32>,
    /// Whether IPv4 is asked for by DHCP, and router advertisements are listened to.
    pub(crate) auto: [bool; 2],
}

impl Seen {
    /// What it should be.
    pub(crate) fn of(config: &GuestConfig) -> Self {
        let gateways = [config.ipv4(), config.ipv6()].into_iter().filter_map(|m| m.gateway());
        let mut seen = Seen {
            addresses: config.addresses().copied().collect(),
            gateways: gateways.clone().map(|g| g.address).collect(),
            on_link: gateways.filter(|g| g.on_link).map(|g| g.address).collect(),
            dns: config.dns().to_vec(),
            search: config.search().iter().map(ToString::to_string).collect(),
            mtu: config.mtu().map(|m| m.get()),
            auto: [config.ipv4().is_auto(), config.ipv6().is_auto()],
        };
        seen.sort();
        seen
    }

    /// Name servers of IPv4 first: some forms have a list a family.
    pub(crate) fn sort(&mut self) {
        self.dns.sort_by_key(|a| a.is_ipv6());
    }
}

/// All random vifs in a form, with what each should be.
pub(crate) struct Told {
    pub(crate) case: Case,
    pub(crate) rendered: Rendered,
}

impl Told {
    pub(crate) fn main(&self) -> &GuestFile {
        &self.rendered.files[0]
    }

    /// The name of the interface in the file.
    pub(crate) fn link(&self) -> String {
        match self.case.config.interface() {
            Some(name) => name.to_string(),
            None => format!("eth{}", self.case.config.devid()),
        }
    }

    /// Compares.
    #[track_caller]
    pub(crate) fn check(&self, mut seen: Seen, wanted: &Seen) {
        seen.sort();
        assert!(&seen == wanted, "{}\n{}\nseen:   {seen:?}\nwanted: {wanted:?}", self.case.what, self.main().text);
    }
}

/// All random vifs in a form. What the form cannot say is left out, and has to be `expected` so.
pub(crate) fn told(format: Format, expected: impl Fn(&GuestConfig) -> bool) -> Vec<Told> {
    let mut all = Vec::new();
    for case in cases() {
        match format.render(&case.config) {
            Ok(rendered) => {
                assert!(!expected(&case.config), "{}\n{}", case.what, rendered.files[0].text);
                all.push(Told { case, rendered });
            }
            Err(e) => {
                assert!(e.kind() == ErrorKind::Unsupported && expected(&case.config), "{}\n{}", case.what, e.report())
            }
        }
    }
    assert!(all.len() >= 80, "{}", all.len());
    eprintln!("{format}: {} of 200 vifs, {} that the form cannot say", all.len(), 200 - all.len());
    all
}

/// Whether a gateway is on the link without a prefix.
pub(crate) fn has_on_link(config: &GuestConfig) -> bool {
    [config.ipv4(), config.ipv6()].iter().any(|m| m.gateway().is_some_and(|g| g.on_link))
}

/// The lines of an ini file: the section, the key, the value.
pub(crate) fn ini(text: &str) -> Vec<(String, String, String)> {
    let (mut section, mut number, mut all) = (String::new(), 0, Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            // Two sections of one name are two.
            number += 1;
            section = format!("{name} {number}");
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no key: {line}\n{text}"));
            all.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    all
}

/// What a `.network` file says.
pub(crate) fn network_file(text: &str) -> Seen {
    let mut seen = Seen::default();
    let all = ini(text);
    for (section, key, value) in &all {
        match (section.split(' ').next().unwrap(), key.as_str()) {
            ("Link", "MTUBytes") => seen.mtu = Some(value.parse().unwrap()),
            ("Network", "Address") => drop(seen.addresses.insert(value.parse().unwrap())),
            ("Network", "DNS") => seen.dns.extend(value.split_whitespace().map(|s| s.parse::<IpAddr>().unwrap())),
            ("Address", "Address") => drop(seen.addresses.insert(value.parse().unwrap())),
            ("Network", "Domains") => seen.search.extend(value.split_whitespace().map(str::to_owned)),
            ("Network", "Gateway") => drop(seen.gateways.insert(value.parse().unwrap())),
            ("Network", "DHCP") => {
                seen.auto[0] = matches!(value.as_str(), "ipv4" | "yes");
                seen.auto[1] |= value == "yes";
            }
            ("Network", "IPv6AcceptRA") => seen.auto[1] |= matches!(value.as_str(), "yes" | "true"),
            ("Route", "Gateway") => {
                let gateway: IpAddr = value.parse().unwrap();
                seen.gateways.insert(gateway);
                let of =
                    |wanted: &str| all.iter().find(|(s, k, _)| s == section && k == wanted).map(|(.., v)| v.as_str());
                if matches!(of("GatewayOnLink"), Some("yes" | "true")) {
                    seen.on_link.insert(gateway);
                }
                assert!(matches!(of("Destination"), None | Some("0.0.0.0/0" | "::/0")), "{text}");
            }
            _ => {}
        }
    }
    seen
}
