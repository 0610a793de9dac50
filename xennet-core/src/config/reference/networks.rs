//! The keys of networks.toml, in the order in which messages list them: `mode`, and the others by the alphabet.

use super::Absent::{Means, Refused, Value};
use super::Kind::{Flag, Number, Tables, Text, TextOrNumber, Texts, Words};
use super::{Absent, Key, Kind};

/// The modes of networks.
pub(in crate::config) const MODES: &[&str] = &["bridge", "nat", "routed"];

const BRIDGE: &[&str] = &["bridge"];
const NAT: &[&str] = &["nat"];
const ROUTED: &[&str] = &["routed"];
const BEHIND: &[&str] = &["nat", "routed"];

const LINK: &str = "a link's name";
const ADDRESS: &str = "an address";
const NETWORK_OR_ADDRESS: &str = "a network or an address";

const POLICIES: Kind = Words(&["off", "mac", "strict", "disabled"]);
const BY_ADDRESSES: Absent = Means("by the vif line: with `ip=` as strict, without it as off");
const POLICY: &str = "How guests whose vif lines have no `policy=` are filtered. In NAT mode it needs `bridge`.";
const RESERVED: &str =
    "Guests with policy `mac` use these addresses only if their vif lines declare them. In NAT mode it needs `bridge`.";

/// The keys of a network.
pub(in crate::config) const NETWORK: &[Key] = &[
    Key::new("mode", Words(MODES), Refused, "\"bridge\"", "How guests reach the outside: as stations of the LAN (bridge), behind dom0's address (nat), or with addresses of their own to which dom0 routes (routed).")
        .of(MODES),
    Key::new(
        "accept_in",
        Texts("family, table and chain of nftables"),
        Means("no rule in another firewall"),
        "[\"inet filter forward\"]",
        "Chains of other firewalls. Starting the network puts rules there that accept its packets; stopping it removes them. Needs `subnets`.",
    )
    .of(BEHIND)
    .changes(),
    Key::new("any_vif", Flag, Value("false"), "true", "A guest with several vifs in the network may send from the address of any of them through each of them. In NAT mode not with `bridge`.")
        .of(BEHIND),
    Key::new("bridge", Text(LINK), Means("the name of the network"), "\"xenbr0\"", "The name of the bridge whose ports the guests are.")
        .of(BRIDGE),
    Key::new("bridge", Text(LINK), Means("each guest has a link of its own"), "\"natbr0\"", "The guests share a private bridge of this name.")
        .of(NAT),
    Key::new("dhcp", Flag, Value("false"), "true", "A dnsmasq of the network tells guests their addresses by DHCP. Needs `subnets` and the program dnsmasq.")
        .of(BEHIND)
        .changes(),
    Key::new("dns", Flag, Value("false"), "true", "A dnsmasq of the network answers the guests' DNS queries. Needs `subnets` and the program dnsmasq.")
        .of(BEHIND)
        .changes(),
    Key::new("domain", Text("a DNS domain"), Means("no domain"), "\"guests.example\"", "The DNS domain that guests are told. Needs `dhcp` or `dns`.")
        .of(BEHIND)
        .beside("dhcp = true")
        .changes(),
    Key::new("egress", Text(LINK), Means("the link of the default route"), "\"eth0\"", "The link through which guests reach the outside, and whose address they get there.")
        .of(NAT),
    Key::new(
        "forward",
        Tables,
        Means("nobody outside reaches a guest"),
        "[{ protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.1\", to_port = 80 }]",
        "Ports of dom0's addresses that lead to a guest.",
    )
    .of(NAT)
    .changes(),
    Key::new("forward_delay", Number(0, 30), Means("0; 15 with `stp`"), "4", "Seconds for which a new port of the bridge listens before it forwards. With `stp` at least 2.")
        .of(BRIDGE),
    Key::new("gateways", Texts(ADDRESS), Means("the last address of an IPv4 subnet, the first one of an IPv6 subnet"), "[\"10.0.0.1\"]", "dom0's addresses in the subnets: the gateways of the guests. At most one for each subnet.")
        .of(BEHIND),
    Key::new("host", Words(&["open", "services", "closed"]), Value("\"open\""), "\"services\"", "What guests reach of dom0 itself: all (open); ICMP, and DHCP and DNS if the network has them (services); nothing but neighbour discovery (closed).")
        .of(BEHIND),
    Key::new("isolated", Flag, Value("false"), "true", "Guests reach dom0 and the outside, and no other guest of the network.")
        .of(MODES),
    Key::new("lan", Words(&["open", "closed"]), Value("\"open\""), "\"closed\"", "Whether guests reach the stations of the LAN behind the egress. Needs `subnets`.")
        .of(BEHIND),
    Key::new(
        "log",
        Words(&["off", "kernel", "nflog"]),
        Value("\"off\""),
        "\"kernel\"",
        "Where packets that guests may not send are logged: in the kernel's log (kernel), or by nfnetlink_log, group 30830 (nflog). It holds for guests whose vif lines have no `log=`.",
    )
    .of(MODES),
    Key::new("mac", Text("a MAC address"), Means("that of the uplink; without an uplink, one made from this machine's identity"), "\"02:00:00:00:00:01\"", "The MAC address of the bridge.")
        .of(BRIDGE),
    Key::new("metric", Number(1, u32::MAX), Value("2"), "5", "The metric of the routes to guests.")
        .of(ROUTED),
    Key::new("mtu", Number(68, 65517), Means("that of the uplink; without an uplink, that of its smallest port"), "1400", "The MTU of the bridge, in bytes.")
        .of(BRIDGE),
    Key::new("mtu", Number(68, 65517), Means("as netback makes the vif: 1500"), "1400", "The MTU in bytes of vifs whose vif lines have no `mtu=`.")
        .of(BEHIND),
    Key::new("policy", POLICIES, BY_ADDRESSES, "\"strict\"", POLICY)
        .of(BRIDGE),
    Key::new("policy", POLICIES, BY_ADDRESSES, "\"strict\"", POLICY)
        .of(NAT)
        .beside("bridge = \"natbr0\""),
    Key::new("proxy_arp", Flag, Value("false"), "true", "dom0 answers ARP requests for its guests on the uplink, so the router outside needs no route.")
        .of(ROUTED),
    Key::new("proxy_ndp", Flag, Value("false"), "true", "dom0 answers neighbour solicitations (IPv6) for its guests on the uplink, so the router outside needs no route.")
        .of(ROUTED),
    Key::new("range", Texts("first and last address"), Means("every address that is not a guest's"), "[\"10.0.0.100-10.0.0.199\"]", "The addresses that DHCP gives to guests whose vif lines have no `ip=`. Needs `dhcp`.")
        .of(BEHIND)
        .beside("dhcp = true")
        .changes(),
    Key::new("reachable_from", Texts(NETWORK_OR_ADDRESS), Means("guests of other networks reach none"), "[\"10.3.0.0/24\"]", "Guests of other networks with these addresses may connect to guests of this network. Hosts outside may not.")
        .of(NAT),
    Key::new("reserved", Texts(NETWORK_OR_ADDRESS), Means("no address is reserved"), "[\"192.0.2.0/28\"]", RESERVED)
        .of(BRIDGE),
    Key::new("reserved", Texts(NETWORK_OR_ADDRESS), Means("no address is reserved"), "[\"10.0.0.0/28\"]", RESERVED)
        .of(NAT)
        .beside("bridge = \"natbr0\""),
    Key::new("source", Texts(ADDRESS), Means("the first addresses of the uplink"), "[\"192.168.0.3\"]", "dom0's addresses on the guests' links.")
        .of(ROUTED),
    Key::new("stp", Flag, Value("false"), "true", "The bridge takes part in the spanning tree protocol.")
        .of(BRIDGE),
    Key::new("subnets", Texts("a network"), Means("guests have the addresses of their vif lines, from anywhere"), "[\"10.0.0.0/24\", \"fd00:1::/64\"]", "The networks that the guests' addresses are from.")
        .of(BEHIND)
        .changes(),
    Key::new("uplink", Text(LINK), Means("guests reach each other and dom0 only"), "\"eth0\"", "The link to the outside. It becomes a port of the bridge, and its addresses and routes move there.")
        .of(BRIDGE),
    Key::new("uplink", Text(LINK), Means("the link of the default route"), "\"eth0\"", "The link through which guests reach the outside.")
        .of(ROUTED),
    Key::new("uplink_name", Text(LINK), Means("the uplink keeps its name"), "\"peth0\"", "The name of the uplink while the network is started. Before Linux 6.2 the uplink goes down for a moment to get it.")
        .of(BRIDGE)
        .beside("uplink = \"eth0\""),
    Key::new("vlan_filtering", Flag, Means("as the bridge is; a new one does not filter"), "true", "The bridge filters by VLAN, for guests with `vlan=`. New ports are in VLAN 1 only.")
        .of(BRIDGE),
    Key::new("whole_subnets", Flag, Value("false"), "true", "Guests may have every IPv4 address of the subnets, including the first, the last and the gateway's. Their gateway is then dom0's `source`.")
        .of(ROUTED),
];

/// The keys of one port forward.
pub(in crate::config) const FORWARD: &[Key] = &[
    Key::new("protocol", Words(&["tcp", "udp"]), Refused, "\"tcp\"", "The protocol."),
    Key::new(
        "ports",
        TextOrNumber("a port, or the first and the last one"),
        Refused,
        "\"8080-8089\"",
        "The ports of dom0.",
    ),
    Key::new("to", Text(ADDRESS), Refused, "\"10.0.0.1\"", "The address of the guest."),
    Key::new(
        "to_port",
        Number(1, 65535),
        Means("the first one of `ports`"),
        "80",
        "The port of the guest; for several `ports`, the first one.",
    ),
];
