//! Who has made a table, by the names of tables and chains.

use crate::snapshot::{NftTable, NftTableId};

/// Names of chains, or how they begin, and who has chains of that name.
const CHAINS: &[(&str, &str)] = &[
    ("DOCKER", "docker"),
    ("ufw", "ufw"),
    ("LIBVIRT_", "libvirt"),
    ("KUBE-", "Kubernetes"),
    ("cali-", "Calico"),
    ("CNI-", "a CNI plugin"),
    ("CILIUM_", "Cilium"),
    ("f2b-", "fail2ban"),
    ("NETAVARK", "podman"),
    ("ts-", "Tailscale"),
    ("shorewall", "Shorewall"),
];

/// The same of tables.
const TABLES: &[(&str, &str)] = &[
    ("xennet", "xennet"),
    ("firewalld", "firewalld"),
    ("libvirt", "libvirt"),
    ("docker", "docker"),
    ("kube-proxy", "Kubernetes"),
    ("netavark", "podman"),
    ("nm-shared", "NetworkManager"),
    ("f2b-", "fail2ban"),
    ("lxd", "LXD"),
    ("incus", "Incus"),
    ("qubes", "Qubes OS"),
];

fn by_name(known: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    known.iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, maker)| *maker)
}

/// Who has made a chain: by its own name, its table's, or those of the other chains of the table.
pub(super) fn of(id: &NftTableId, chain: &str, table: &NftTable) -> String {
    let here = by_name(TABLES, &id.name).or_else(|| by_name(CHAINS, chain));
    let beside = || {
        let makers: std::collections::BTreeSet<&str> =
            crate::gather::set(table.chains.keys().filter_map(|name| by_name(CHAINS, name)));
        match makers.len() {
            0 => None,
            _ => Some(makers.into_iter().collect::<Vec<_>>().join(" and ")),
        }
    };
    here.map(str::to_owned).or_else(beside).unwrap_or_else(|| "another program or an administrator".to_owned())
}
