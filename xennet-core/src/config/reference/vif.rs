//! The keys of a vif line.

/// A key of a vif line, and what it does in each mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VifKey {
    /// Its name.
    pub name: &'static str,
    /// Whether it has a value. A key without one is a flag.
    pub has_value: bool,
    /// The key as it may stand in a vif line.
    pub example: &'static str,
    /// What holds where it is left out.
    pub absent: &'static str,
    /// Who knows it: xl, or xennet alone.
    pub by: &'static str,
    /// What it does where the vif is a port of a bridge, also of a NAT network's private bridge.
    pub bridge: &'static str,
    /// What it does on a link of its own in NAT mode.
    pub nat: &'static str,
    /// What it does in routed mode.
    pub routed: &'static str,
}

const XL: &str = "xl";
const XENNET: &str = "xennet";

impl VifKey {
    const fn new(name: &'static str, example: &'static str, absent: &'static str, what: &'static str) -> Self {
        VifKey { name, has_value: true, example, absent, by: XL, bridge: what, nat: what, routed: what }
    }

    const fn flag(self) -> Self {
        VifKey { has_value: false, ..self }
    }

    const fn by(self, by: &'static str) -> Self {
        VifKey { by, ..self }
    }

    const fn behind(self, what: &'static str) -> Self {
        VifKey { nat: what, routed: what, ..self }
    }

    const fn routed(self, what: &'static str) -> Self {
        VifKey { routed: what, ..self }
    }
}

const REFUSED: &str = "Refused: it is about a port of a bridge.";
const TOOLSTACK: &str = "No effect in xennet. The toolstack and the device model use it.";
const COLO: &str = "No effect in xennet. The toolstack uses it for COLO.";

/// Every key of a vif line but `colo_*`, which xennet carries as they are.
pub const VIF_KEYS: &[VifKey] = &[
    VifKey::new("mac", "mac=00:16:3e:01:02:03", "the toolstack generates one", "The MAC address of the guest. A filtered guest sends from it, and from those of `macs=`.")
        .behind("The MAC address of the guest, also for DHCP. Packets are filtered by their IP source, not by their MAC."),
    VifKey::new("bridge", "bridge=xenbr0", "the only bridge of this host; xl writes xenbr0", "The bridge, or the name of a started network.")
        .behind("The name of a started network. With `script=vif-nat` or `script=vif-route` another name is ignored, with a note."),
    VifKey::new("gatewaydev", "gatewaydev=eth0", "the network's `source`, or the link of the default route", "No effect.")
        .routed("The link whose address dom0 has on the vif, unless the network has `source`."),
    VifKey::new("netdev", "netdev=eth0", "as gatewaydev", "The older name of `gatewaydev`. A note says so."),
    VifKey::new("type", "type=ioemu", "as the toolstack decides: vif, or ioemu for a new HVM guest", "With `ioemu` the guest also has an emulated card, whose tap is connected as the vif is."),
    VifKey::new("model", "model=e1000", "rtl8139", TOOLSTACK),
    VifKey::new("vifname", "vifname=web0", "vif, the domain id, a dot, and the index: vif5.0", "The name of the link in the backend domain. The tap is called the same with `-emu` behind it."),
    VifKey::new("script", "script=vif-bridge", "vif-bridge", "`vif-bridge` or no script: bridge mode.")
        .behind("`vif-nat`: the started NAT network whose subnet has the address of the guest, or the only one.")
        .routed("`vif-route`: the started routed network whose subnet has the address of the guest, or the only one."),
    VifKey::new("ip", "ip=192.0.2.5 2001:db8::5", "the guest is not filtered", "The guest sends from these addresses only: IPv4, ARP and IPv6. Several are separated by blanks.")
        .behind("The addresses of the guest. Without it: the address that Xen's `vif-nat` computes, 10.x.y.1. dom0 routes to them; the guest sends from them only.")
        .routed("The addresses of the guest. dom0 routes to them; the guest sends from them only. Without it nothing is routed to the guest."),
    VifKey::new("backend", "backend=net-vm", "dom0", "The domain of the backend, for the toolstack. xennet connects the vif in the domain in which it runs."),
    VifKey::new("rate", "rate=10Mb/s", "no limit", "No effect in xennet: netback limits what the guest sends, by the node `rate`. xennet checks the value."),
    VifKey::new("devid", "devid=1", "the place in the list, from 0", "The index of the vif in its domain."),
    VifKey::new("mtu", "mtu=1400", "that of the bridge", "The MTU of the vif in bytes. The guest is told it by xenstore.")
        .behind("The MTU of the vif in bytes. The guest is told it by xenstore. Without it: the network's `mtu`, or 1500."),
    VifKey::new("vlan", "vlan=10p/20", "VLAN 1, where the bridge filters by VLAN", "The VLANs of the port; the bridge must filter by VLAN. Needs Linux 5.6.")
        .by("xl from Xen 4.19")
        .behind(REFUSED),
    VifKey::new("forwarddev", "forwarddev=eth1", "none", COLO),
    VifKey::new("accel", "accel=x", "none", "No effect, also in xl. A note says so."),
    VifKey::new("trusted", "trusted", "trusted", "Whether the guest's driver trusts the backend. No effect in xennet.").flag(),
    VifKey::new("untrusted", "untrusted", "trusted", "The driver of the guest does not trust the backend. No effect in xennet.").flag(),
    VifKey::new("isolated", "isolated", "as the network says", "The guest reaches the uplink and dom0, and no other isolated port.")
        .flag()
        .by(XENNET)
        .behind("Refused. The network's `isolated` does the same."),
    VifKey::new("policy", "policy=strict", "the network's `policy`; or strict with `ip=`, off without", "How what the guest sends is filtered: `off`, `mac`, `strict` or `disabled`.")
        .by(XENNET)
        .behind("Refused, except `strict`, which holds in any case: the guest sends from its own addresses only."),
    VifKey::new(
        "log",
        "log=kernel",
        "the network's `log`, or off",
        "Where packets that the guest may not send are logged: `kernel`, `nflog` (group 30830) or `off`.",
    )
    .by(XENNET),
    VifKey::new("macs", "macs=00:16:3e:00:00:07", "none", "Further MAC addresses from which the guest sends. Several are separated by blanks.")
        .by(XENNET)
        .behind(REFUSED),
    VifKey::new("prefix", "prefix=198.51.100.0/28", "none", "Whole networks from which the guest sends, besides the addresses of `ip=`.")
        .by(XENNET)
        .behind("Whole networks that dom0 routes to the guest, and from which it sends."),
];
