//! The situations that are compared, and the differences that are intended.

use std::process::Command;
use std::time::{Duration, Instant};

use xennet_core::step::LinkChange;
use xennet_tests::slower;
use xennet_tests::steps::into;

use super::World;
use crate::rig::{look, mac, name, set};

/// Something to do on a host, twice: once with Xen's script, once with ours.
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    pub(crate) calls: fn(&mut World),
    /// The names of the differences that there are to be, from [`INTENDED`]; ` (upstream)` behind one: only where the
    /// script's firewall function is on.
    pub(crate) intended: &'static [&'static str],
}

/// Differences that are meant: a name, what they look like (`*` for anything; each has to occur, one about a VLAN only where the
/// kernel's bridges have VLANs), and the reason.
pub(crate) const INTENDED: &[(&str, &[&str], &str)] = &[
    ("no-ipv6", &["~ *: addrgenmode usual => none"], "a port of ours makes itself no IPv6 address"),
    (
        "no-ipv6-address",
        &[
            "- ip address add fe80::fcff:ffff:feff:ffff/64 dev vif5.0 scope link",
            "- ip route add fe80::/64 dev vif5.0 *",
        ],
        "so no guest reaches dom0 by the one address that every vif of Xen's has",
    ),
    (
        "guard",
        &[
            "+ nft add table bridge xennet-guard",
            "+ nft add set bridge xennet-guard *",
            "+ nft add chain bridge xennet-guard *",
            "+ nft add rule bridge xennet-guard *",
            "+ nft add element bridge xennet-guard * { \"vif5.0\"*",
            "+ nft add element bridge xennet-guard * { \"vif5.0\" . 00:16:3e:01:02:03 . 192.0.2.6 }",
            // What goes to the bridge itself comes past the guard, too.
            "+ bridge link set dev vif5.0 group_fwd_mask 0xfffd",
        ],
        "who is declared by ip= can send as nobody else: elements of a guard of ours",
    ),
    (
        "rules",
        &["- iptables -A FORWARD *--physdev-is-bridged *-j ACCEPT"],
        "no rules that only accept in a chain of others",
    ),
    (
        "rules-stay",
        &["- iptables -A FORWARD -m physdev --physdev-out vif5.0 --physdev-is-bridged -j ACCEPT", "- iptables *"],
        "no rules outlive the vif",
    ),
    (
        "mtu-path",
        &["- xenstore /local/domain/web0/device/vif/web0/mtu = *", "- xenstore /local/domain/web0*"],
        "the MTU is not told to a domain called web0",
    ),
    (
        "mtu-told",
        &[
            "- xenstore /local/domain/5/device/vif/0/mtu = \"1500\" (n0)",
            "+ xenstore /local/domain/5/device/vif/0/mtu = \"9000\" (n0)",
        ],
        "a guest with vifname= is told its MTU",
    ),
    (
        "mtu-true",
        &[
            "- xenstore /local/domain/5/device/vif/0/mtu = \"*\" (n0)",
            "+ xenstore /local/domain/5/device/vif/0/mtu = \"1500\" (n0)",
        ],
        "the guest is told the MTU that its link has",
    ),
    (
        "reason",
        &[
            "- xenstore */hotplug-error = *",
            "+ xenstore */hotplug-error = \"* (*): *; state: unchanged, nothing was applied; hint: *\" (n0)",
        ],
        "the error says what, in which state everything is, and the way out",
    ),
    (
        "told",
        &[
            "+ xenstore */hotplug-error = \"* (*): *; state: unchanged, nothing was applied; hint: *\" (n0)",
            "- xenstore */hotplug-status = \"\" (n0)",
            "+ xenstore */hotplug-status = \"error\" (n0)",
        ],
        "a failure is told where Xen's script ends without a word",
    ),
    (
        "offline-succeeds",
        &["- call 2: offline vif5.0 exit 1", "+ call 2: offline vif5.0 exit 0"],
        "disconnecting succeeds where the bridge has gone",
    ),
    (
        "offline-works",
        &[
            "~ vif5.0: state up => down",
            "- xenstore */hotplug-error = \"Could not find bridge device xenbr0\" (n0)",
            "- xenstore */hotplug-status = \"error\" (n0)",
            "+ xenstore */hotplug-status = \"connected\" (n0)",
        ],
        "the vif is taken down all the same, and no error is told",
    ),
    (
        "others-link",
        &[
            "~ web0: state down => up",
            "+ ip link set web0 master xenbr0",
            "+ bridge fdb add fe:ff:ff:ff:ff:ff dev web0 local",
            "+ bridge fdb add fe:ff:ff:ff:ff:ff dev web0 vlan 1 local",
            "+ bridge vlan add dev web0 vid 1 pvid untagged",
        ],
        "the link of another domain stays as it is",
    ),
    (
        "early",
        &[
            "- call 1: online vif5.0 exit 0",
            "+ call 1: online vif5.0 exit 1",
            "- ip link add abcdefghijkl *",
            "+ ip link add vif5.0 *",
            "~ g5.0: peer abcdefghijkl => vif5.0",
            "- ip link set abcdefghijkl master xenbr0",
            "- bridge fdb add fe:ff:ff:ff:ff:ff dev abcdefghijkl local",
            "- bridge fdb add fe:ff:ff:ff:ff:ff dev abcdefghijkl vlan 1 local",
            "- bridge vlan add dev abcdefghijkl vid 1 pvid untagged",
            "- xenstore /local/domain/abcdefghijkl*",
        ],
        "a name that is too long for the tap is refused before the vif is touched",
    ),
    ("stays-up", &["~ vif5.0: state down => up"], "a port of somebody else's stays up in its bridge"),
    (
        "no-guess",
        &[
            "- call 1: online vif5.0 exit 0",
            "+ call 1: online vif5.0 exit 1",
            "~ vif5.0: state up => down",
            "- ip link set vif5.0 master br-a",
            "- bridge fdb add fe:ff:ff:ff:ff:ff dev vif5.0 local",
            "- bridge fdb add fe:ff:ff:ff:ff:ff dev vif5.0 vlan 1 local",
            "- bridge vlan add dev vif5.0 vid 1 pvid untagged",
            "+ xenstore */hotplug-error = \"bridge-not-found (4): *several bridges here: br-a, br-b; *\" (n0)",
            "- xenstore */hotplug-status = \"connected\" (n0)",
            "+ xenstore */hotplug-status = \"error\" (n0)",
        ],
        "of several bridges none is guessed",
    ),
];

const VIF: &str = "vif5.0";

fn vif(world: &World, which: &str, nodes: &[(&str, &str)]) {
    let mut all = vec![("mac", "00:16:3e:01:02:03"), ("type", "vif")];
    all.extend_from_slice(nodes);
    world.rig.vif(which, &all);
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

/// A bridge that takes the MAC of its lowest port, as it is where nobody gave it one.
fn follower() {
    ip(&["link", "add", "xenbr0", "type", "bridge", "forward_delay", "0"]);
    // Two commands: in one the link would be up before its mode is set, and have an address from a random MAC.
    ip(&["link", "set", "xenbr0", "addrgenmode", "none"]);
    ip(&["link", "set", "xenbr0", "up"]);
}

/// The guest's end of the vif, and that of a link of nobody's, come up; returns when the kernel has given the latter its IPv6
/// address, which it does some time after the carrier has come. The vif would have one by then, too.
fn carrier(world: &World) {
    world.rig.link("witness0");
    for link in ["witness0", "gwitness0", "g5.0"] {
        set(link, LinkChange::default().with_up(true));
    }
    let start = Instant::now();
    while look().addresses_of(&name("witness0")).count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20) * slower(), "the kernel gives no IPv6 addresses");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Both links changed within one round of the kernel's, but not in a known order.
    std::thread::sleep(Duration::from_millis(200) * slower());
    for link in ["witness0", "gwitness0", "g5.0"] {
        ip(&["address", "flush", "dev", link]);
    }
    world.rig.remove("witness0");
}

/// Vifs come, and some go again. The situations are in parts, so that a slow machine does several of them at the same time, and none
/// of them for too long.
pub(crate) const COMING_AND_GOING: &[Situation] = &[
    Situation {
        name: "a bridge",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "a bridge, and offline again",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6"],
    },
    Situation {
        name: "an mtu node",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("mtu", "1400")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "an mtu node that is no number",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("mtu", "abc")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "an mtu node of 70000",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("mtu", "70000")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "mtu-true", "rules (upstream)"],
    },
    Situation {
        name: "a jumbo bridge, and offline again",
        calls: |w| {
            w.rig.bridge("xenbr0", 9000);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6"],
    },
    Situation {
        name: "a jumbo bridge",
        calls: |w| {
            w.rig.bridge("xenbr0", 9000);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "vifname=",
        calls: |w| {
            w.rig.bridge("xenbr0", 9000);
            vif(w, VIF, &[("bridge", "xenbr0"), ("vifname", "web0")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "mtu-path", "mtu-told", "rules (upstream)"],
    },
    Situation {
        name: "vifname=, and offline again",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("vifname", "web0")]);
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6", "mtu-path"],
    },
    Situation {
        name: "ip=",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("ip", "192.0.2.6")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "guard", "rules (upstream)"],
    },
    Situation {
        name: "ip= with two addresses, twice online, once offline",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("ip", "192.0.2.6 192.0.2.7")]);
            w.call(VIF, "online");
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6", "rules-stay (upstream)"],
    },
    Situation {
        name: "ip=, offline after the link has gone",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("ip", "192.0.2.6")]);
            w.call(VIF, "online");
            w.rig.remove(VIF);
            w.call(VIF, "offline");
        },
        intended: &[],
    },
    Situation {
        name: "twice online",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "two vifs of one domain, and one goes",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            for vif_name in [VIF, "vif5.1"] {
                vif(w, vif_name, &[("bridge", "xenbr0")]);
                w.call(vif_name, "online");
            }
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
];

/// What cannot be done, and taps.
pub(crate) const FAILURES_AND_TAPS: &[Situation] = &[
    Situation {
        name: "a missing bridge",
        calls: |w| {
            vif(w, VIF, &[("bridge", "xenbr7")]);
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["reason", "offline-succeeds"],
    },
    Situation {
        name: "the bridge has gone before offline",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("ip", "192.0.2.6")]);
            w.call(VIF, "online");
            w.rig.remove("xenbr0");
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6", "offline-succeeds", "offline-works", "rules-stay (upstream)"],
    },
    Situation {
        name: "a link that never comes",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            // As long as ours waits.
            w.rig.deadline(1);
            w.rig.nodes(VIF, &[("bridge", "xenbr0"), ("type", "vif")]);
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["told"],
    },
    Situation {
        name: "a taken vifname",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            for which in [VIF, "vif6.0"] {
                vif(w, which, &[("bridge", "xenbr0"), ("vifname", "web0")]);
                w.call(which, "online");
            }
        },
        intended: &["no-ipv6", "reason", "mtu-path", "rules (upstream)"],
    },
    Situation {
        name: "a taken vifname, and offline of who came late",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            for which in [VIF, "vif6.0"] {
                vif(w, which, &[("bridge", "xenbr0"), ("vifname", "web0")]);
                w.call(which, "online");
            }
            w.call("vif6.0", "offline");
        },
        intended: &["no-ipv6", "reason", "mtu-path", "others-link"],
    },
    Situation {
        name: "a vifname of 16 bytes",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("vifname", "abcdefghijklmnop")]);
            w.call(VIF, "online");
        },
        intended: &["reason"],
    },
    Situation {
        name: "a tap",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("type", "vif_ioemu")]);
            w.rig.link("vif5.0-emu");
            w.call(VIF, "online");
            w.call(VIF, "add");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "a tap, and both go",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("type", "vif_ioemu"), ("vifname", "web0")]);
            w.rig.link("vif5.0-emu");
            w.call(VIF, "online");
            w.call(VIF, "add");
            w.call(VIF, "offline");
            w.call(VIF, "remove");
        },
        intended: &["no-ipv6", "mtu-path"],
    },
    Situation {
        name: "a tap with ip=, closed before it is removed",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("type", "vif_ioemu"), ("ip", "192.0.2.6")]);
            w.rig.link("vif5.0-emu");
            w.call(VIF, "online");
            w.call(VIF, "add");
            w.rig.remove("vif5.0-emu");
            w.rig.remove(VIF);
            w.call(VIF, "offline");
            w.call(VIF, "remove");
        },
        intended: &[],
    },
    Situation {
        name: "a vifname that is too long for the tap",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0"), ("type", "vif_ioemu"), ("vifname", "abcdefghijkl")]);
            w.rig.link("vif5.0-emu");
            w.call(VIF, "online");
            w.call(VIF, "add");
        },
        intended: &["early", "reason", "rules (upstream)"],
    },
];

/// Bridges and links that are not as they usually are.
pub(crate) const BRIDGES_AND_LINKS: &[Situation] = &[
    Situation {
        name: "a port of another bridge",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            w.rig.bridge("br-b", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            set(VIF, into("br-b").with_up(true));
            w.call(VIF, "online");
        },
        intended: &["told", "stays-up"],
    },
    Situation {
        name: "xenbr1 is called eth1",
        calls: |w| {
            w.rig.bridge("eth1", 1500);
            vif(w, VIF, &[("bridge", "xenbr1")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "no bridge node, one bridge",
        calls: |w| {
            w.rig.bridge("br-a", 1500);
            vif(w, VIF, &[]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "no bridge node, two bridges",
        calls: |w| {
            w.rig.bridge("br-a", 1500);
            w.rig.bridge("br-b", 1500);
            vif(w, VIF, &[]);
            w.call(VIF, "online");
        },
        intended: &["no-guess", "rules (upstream)"],
    },
    Situation {
        name: "no bridge node, no bridge",
        calls: |w| {
            vif(w, VIF, &[]);
            w.call(VIF, "online");
        },
        intended: &["reason"],
    },
    Situation {
        name: "bridge=lo",
        calls: |w| {
            vif(w, VIF, &[("bridge", "lo")]);
            w.call(VIF, "online");
        },
        intended: &["told", "mtu-true"],
    },
    Situation {
        name: "a guest that is there",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
            carrier(w);
        },
        intended: &["no-ipv6", "no-ipv6-address", "rules (upstream)"],
    },
    Situation {
        name: "a bridge whose MAC is that of its ports",
        calls: |w| {
            follower();
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "a bridge whose MAC was that of its last port",
        calls: |w| {
            follower();
            vif(w, VIF, &[("bridge", "xenbr0")]);
            w.call(VIF, "online");
            w.call(VIF, "offline");
        },
        intended: &["no-ipv6"],
    },
    Situation {
        name: "a vif that has an address",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            ip(&["address", "add", "192.0.2.9/24", "dev", VIF]);
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
    Situation {
        name: "a vif that is up with another MAC",
        calls: |w| {
            w.rig.bridge("xenbr0", 1500);
            vif(w, VIF, &[("bridge", "xenbr0")]);
            set(VIF, LinkChange::default().with_mac(mac(9)).with_up(true));
            w.call(VIF, "online");
        },
        intended: &["no-ipv6", "rules (upstream)"],
    },
];

pub(crate) const PARTS: [&[Situation]; 3] = [COMING_AND_GOING, FAILURES_AND_TAPS, BRIDGES_AND_LINKS];
