//! The table of findings: one row for each kind. The command's output, the JSON document, C, Python and the reference page come from it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::json_text;
use crate::version::Version;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Some guest does not have the network that it was promised.
    Error,
    /// It works now, and something will break it or slows it down.
    Warning,
    /// Good to know. Nothing has to be done.
    Note,
}

impl Level {
    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

macro_rules! table {
    ($($name:ident $code:literal $level:ident $title:literal $meaning:literal;)*) => {
        /// A kind of finding. Its code is never given to another kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every kind, in the order of the codes.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code: `XN0101`.
            pub const fn code(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// How bad it is.
            pub const fn level(self) -> Level {
                match self { $(Code::$name => Level::$level,)* }
            }

            /// What it is, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What it means for guests, and what to do about it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning,)* }
            }
        }
    };
}

// Causes have lower numbers than what follows from them: of two findings of one level the one with the lower code comes first.
table! {
    // 01: what the rest stands on.
    DescriptionUnreadable "XN0101" Error "The networks file cannot be read"
        "No network can be started or changed before its error is corrected. Started networks go on as they are.";
    Interrupted "XN0102" Warning "An operation was interrupted"
        "A call was killed in the middle of its work. `xennet recover` finishes it, or puts the earlier state back.";
    Unconfirmed "XN0103" Warning "A start waits for its confirmation"
        "The start is undone when its time is over. `xennet confirm` keeps it.";
    BridgeMissing "XN0104" Error "A bridge is missing"
        "Guests that name it have no network. Either the bridge was never made, or somebody has removed it.";
    NotABridge "XN0105" Error "A link with a bridge's name is no bridge"
        "Guests name this link as their bridge, and it is a link of another kind. Rename one of the two.";
    BridgeDown "XN0106" Error "A bridge is down"
        "A bridge that is down forwards no frame, whatever its ports are.";
    NameCollision "XN0107" Error "Two vifs want one name"
        "A link's name belongs to one link. The second guest with this `vifname` is refused, and has no network.";

    // 02: the way out.
    UplinkMissing "XN0201" Error "The uplink of a network is missing"
        "Guests reach each other and this host, and nobody outside. The card has gone, or was renamed.";
    UplinkLost "XN0202" Error "The uplink is no port of its bridge"
        "Somebody has taken the uplink out of the bridge: guests reach nobody outside.";
    UplinkDown "XN0203" Error "The uplink is down"
        "Nothing leaves through a link that is down.";
    UplinkWithoutCarrier "XN0204" Error "The uplink has no carrier"
        "The cable is not plugged in, or the switch port is off. The link is up, and carries nothing.";
    PortBlocked "XN0205" Error "A bridge port does not forward"
        "The spanning tree keeps this port closed, or its forward delay runs still.";
    ForwardDelay "XN0206" Warning "The bridge lets new ports wait"
        "With the spanning tree on, each new port is silent for twice the forward delay. A guest that asks for an address by DHCP in that time \
         gets none.";
    TwoUplinks "XN0207" Warning "A bridge has two uplinks, and no spanning tree"
        "If both lead to the same network, frames run in a circle. Put a bond under the bridge, or turn the spanning tree on.";
    NoDefaultRoute "XN0208" Error "This host has no default route"
        "Guests of NAT and routed networks reach nobody behind this host's own networks.";
    GatewaySilent "XN0209" Error "The gateway does not answer"
        "The host asks for its gateway's hardware address, and nobody answers: the gateway is off, or the cable leads elsewhere.";
    AddressOnPort "XN0210" Warning "A bridge port has an address"
        "What comes in by a port goes to the bridge, so an address on the port is not reached. It belongs on the bridge.";
    MultipleDefaultRoutes "XN0211" Note "There are two default routes of one metric"
        "Which of them is taken is not decided by you. Give one of them a higher metric.";

    // 03: settings.
    ReversePath "XN0301" Error "Reverse path filtering drops guests' packets"
        "The kernel drops packets whose sender it would not reach through the link they came in by.";
    Ipv6Disabled "XN0302" Error "IPv6 is switched off on a link that needs it"
        "disable_ipv6 keeps the kernel from having IPv6 addresses and routes there.";
    RouterAdvertisementsLost "XN0303" Warning "The IPv6 default route will run out"
        "A host that routes ignores router advertisements unless accept_ra is 2: the default route that one brought is not renewed.";
    SnoopingWithoutQuerier "XN0304" Note "The bridge tracks multicast groups, and nobody asks for them"
        "The kernel floods all multicast while nobody asks. Once a router or switch asks, guests that do not answer lose IPv6 after \
         minutes: their neighbours are not found any more.";
    VlanEnds "XN0305" Error "A VLAN ends at the bridge"
        "The uplink is not in this VLAN, so guests in it reach nobody outside.";
    RouteRefuses "XN0306" Error "A route or a rule drops guests' packets"
        "A blackhole, unreachable or prohibit entry covers their addresses.";

    // 04: addresses.
    MacTwice "XN0401" Error "Two guests have one MAC address"
        "A bridge delivers to the port where it saw the address last: both guests lose packets. Give one of them another MAC.";
    MacOfHost "XN0402" Error "A guest has a MAC address of this host"
        "Frames for the guest are taken by this host. Give the guest another MAC.";
    MacUnusable "XN0403" Error "A guest's MAC address cannot be one"
        "A station's address is no group address and not all zeros: switches drop its frames.";
    MacElsewhere "XN0404" Warning "A guest's MAC address was seen behind another port"
        "Another machine has this address, or frames run in a circle.";
    BackendMac "XN0405" Warning "A vif has not the usual backend MAC"
        "A bridge without a MAC of its own takes the lowest of its ports. fe:ff:ff:ff:ff:ff keeps vifs from being that.";
    AddressTwice "XN0406" Error "Two guests have one address"
        "Answers reach one of them, or each a part. Give one of them another address.";
    AddressOfHost "XN0407" Error "A guest has an address of this host"
        "What is sent to this address is taken by this host.";
    AddressOfGateway "XN0408" Error "A guest has the gateway's address"
        "The gateway and the guest answer for one address: hosts on this network lose their way out.";
    AddressElsewhere "XN0409" Error "A guest's address is answered by another machine"
        "This host has learned another hardware address for it: somebody else on the network has this address.";
    AddressDuplicate "XN0410" Error "An address of this host is used by another machine"
        "Duplicate address detection has found another station with it, so the kernel does not use it.";
    AddressOutside "XN0411" Warning "A guest's address is in no subnet of its network"
        "The network does not route it, and its other guests do not know the way to it.";

    // 05: what is ours, and what was taken of it.
    GuardDamaged "XN0501" Error "The guard is not whole"
        "Guests with `ip=` may send from others' addresses, or nothing at all. Another program has changed its rules.";
    GateDamaged "XN0502" Error "The gate is not whole"
        "NAT, forwards and source checks of NAT and routed guests depend on it. Another program has changed its rules.";
    TableOfOthers "XN0503" Error "Another program has a table with our name"
        "xennet does not change a table that it has not made. Rename that one, or delete it.";
    NetworkDamaged "XN0504" Error "A started network lacks something"
        "Something that its start made has gone. `xennet network start` puts it back.";
    ForwardingOff "XN0505" Error "This host does not route"
        "Packets of NAT and routed guests are dropped: forwarding is off.";
    VifOutside "XN0506" Error "A vif is not on its bridge"
        "The guest sends into nowhere. Another program has moved the vif, or its hotplug call never came.";
    VifDown "XN0507" Error "A vif is down"
        "Nothing goes through a link that is down.";
    VifLacks "XN0508" Error "A vif lacks something"
        "Its guest does not have the network that it was promised. `xennet recover` puts it back.";
    RouteElsewhere "XN0509" Error "The route to a guest leads elsewhere"
        "Packets for its address leave through another link.";
    RecordOfGone "XN0510" Warning "A record is of a domain that has gone"
        "Its vif went without a call. `xennet recover` removes what is left of it.";
    ElementOfGone "XN0511" Warning "Our tables know a link that nobody has"
        "An element is left of a vif that has gone. It does no harm until another guest gets that name.";
    UpstreamRoute "XN0512" Note "The outside needs a route to a routed network"
        "Without it, packets of the guests leave and answers never come. Where the gateway has it, nothing has to be done.";
    StartedOtherwise "XN0513" Note "A network is described otherwise than it was started"
        "Starting it again takes the description over.";
    PacketsDropped "XN0514" Error "Packets of a guest are dropped"
        "No other check says why; a trace has the place: a setting, a route, a port or a rule.";

    // 06: domains and xenstore.
    HotplugFailed "XN0601" Error "The hotplug call of a vif failed"
        "The toolstack gives the domain up, or it runs without this interface. The reason is in xenstore.";
    HotplugMissing "XN0602" Error "The hotplug call of a vif never answered"
        "netback waits for `hotplug-status`. The script did not run, was killed, or is not the one that the node names.";
    VifWithoutLink "XN0603" Error "xenstore has a connected vif, and the kernel has no such link"
        "The two disagree. Detach the interface and attach it again (`xl network-detach`, `xl network-attach`).";
    LinkWithoutNode "XN0604" Warning "The kernel has a vif of which xenstore knows nothing"
        "Its domain has ended without being cleaned up, or the link is not netback's.";
    FrontendNotConnected "XN0605" Warning "A guest's driver has not connected"
        "The guest has not booted so far, has no driver for this interface, or has switched it off.";
    DomainNameTwice "XN0606" Warning "Two domains have one name"
        "Commands that take a name cannot tell them apart.";
    ScriptMissing "XN0607" Error "The hotplug script of a vif is not there"
        "The toolstack cannot connect the next guest that names it.";
    ScriptOfOldXen "XN0608" Warning "A script calls a function that newer Xen does not have"
        "It fails after the next upgrade of Xen.";
    HookBroken "XN0609" Warning "A hook cannot run"
        "Hotplug calls report it each time.";

    // 07: MTU.
    MtuOfPort "XN0701" Error "A port's MTU is smaller than its bridge's"
        "The bridge drops frames that are too large for the port, and tells nobody.";
    MtuOfUplink "XN0702" Error "The uplink's MTU is smaller than that of guests"
        "Large packets of guests get lost at the uplink.";
    MtuOfLower "XN0703" Error "The link below has a smaller MTU"
        "A VLAN or a bond carries no larger frames than the link that it sits on.";
    MtuOfFrontend "XN0704" Warning "A guest was told another MTU"
        "The guest sends packets of the size that it was told.";

    // 08: other programs.
    ForeignDrop "XN0801" Error "Another firewall drops guests' packets"
        "What another table drops, no rule of ours can let pass. Add a rule there that accepts guests.";
    ForeignUnjudged "XN0802" Note "Another firewall has rules that cannot be judged"
        "Whether they drop guests' packets is not known. `xennet trace` shows which rule it is.";
    LegacyTables "XN0803" Note "The kernel has tables of iptables-legacy"
        "Their rules are not looked at. `iptables-legacy -L -v` lists them.";
    ForeignMasquerade "XN0804" Warning "Another table hides the guests of a routed network"
        "Routed guests are meant to be seen with their own addresses.";
    ManagerTakesLinks "XN0805" Warning "Another program manages guests' links"
        "It can take vifs off their bridge, give them addresses, or change their MAC.";
    AddressOnVif "XN0806" Warning "Somebody has given a vif an address"
        "A vif on a bridge needs none. A network manager has taken it for a link of its own.";
    ConntrackFull "XN0807" Error "The table of tracked connections is nearly full"
        "New connections are dropped when it is full. Raise net.netfilter.nf_conntrack_max.";
    NeighbourTableSmall "XN0808" Warning "The neighbour table is small for so many guests"
        "With more stations than gc_thresh3 the kernel forgets some, and drops packets for them.";

    // 09: services, and what is beside.
    DnsmasqDead "XN0901" Error "dnsmasq does not run"
        "Guests get neither addresses nor names. `xennet network start` starts it again.";
    DnsmasqUnheard "XN0902" Error "dnsmasq does not hear its guests"
        "Another program has its port, or it listens elsewhere.";
    ChecksumErrors "XN0903" Warning "This host receives packets with wrong checksums"
        "Guests leave checksums to the card that is not there. A DHCP server that looks at raw packets drops such requests.";
    LinkErrors "XN0904" Note "A link has counted errors"
        "Damaged cables, duplex, or a driver at its limit.";
    ModulesMissing "XN0905" Note "Calls ask the kernel for modules that it does not have"
        "Each such call starts a modprobe, which takes longer than the call.";
    NotSeen "XN0906" Note "Something could not be looked at"
        "What it would have told is not in this report. Ask as root, or on the host itself.";
}

impl Code {
    /// The number in the code: 104 of `XN0104`.
    pub fn number(self) -> u16 {
        self.code().trim_start_matches("XN").parse().unwrap_or_default()
    }

    /// The name as a constant of C and Python: `BRIDGE_MISSING`.
    pub fn constant(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }

    /// The reference page of all kinds, as Markdown.
    pub fn page() -> String {
        let mut page = String::from(
            "# What `xennet doctor` finds\n\nMade of the table in the library: `XENNET_BLESS=1 cargo test -p xennet-cli --test faces page`. A code is \
             never given to another kind.\n\n| code | level | what | what it means |\n|---|---|---|---|\n",
        );
        for code in Code::ALL {
            page.push_str(&format!("| {code} | {} | {} | {} |\n", code.level(), code.title(), code.meaning()));
        }
        page
    }

    /// All kinds as a JSON document: `{"version":1,"codes":[{"code","name","level","title","meaning"}]}`.
    pub fn document() -> String {
        let row = |code: &Code| Row {
            code: *code,
            name: code.constant(),
            level: code.level(),
            title: code.title(),
            meaning: code.meaning(),
        };
        json_text(&Codes { version: Version, codes: Code::ALL.iter().map(row).collect() })
    }
}

/// All kinds of findings.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Codes {
    version: Version<{ super::VERSION }>,
    /// In the order of the codes.
    codes: Vec<Row>,
}

/// One kind of findings.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Row {
    /// The code, never given to another kind.
    code: Code,
    /// The name of its constant in C and Python.
    name: String,
    /// How bad it is.
    level: Level,
    /// What it is, in a few words.
    title: &'static str,
    /// What it means.
    meaning: &'static str,
}

/// Codes that no finding has any more. They are not given to another kind.
pub const RETIRED: &[&str] = &[];

crate::schema::written_as_words!(Code, "Code", Code::ALL.iter().map(|c| c.code()).collect());

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_each_is_given_once() {
        let codes: Vec<&str> = Code::ALL.iter().map(|c| c.code()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        for code in &codes {
            let digits = code.strip_prefix("XN").unwrap();
            assert!(digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()), "{code}");
            assert!(!RETIRED.contains(code), "{code} is retired");
        }
        assert_eq!((Code::BridgeMissing.number(), Code::BridgeMissing.constant()), (104, "BRIDGE_MISSING".into()));
        assert!(codes.len() >= 45, "{}", codes.len());
    }

    #[test]
    fn every_row_says_what_it_is_and_what_it_means() {
        for code in Code::ALL {
            assert!(!code.title().ends_with('.') && code.title().len() < 80, "{code}");
            assert!(code.meaning().ends_with('.') && code.meaning().len() > 30, "{code}");
        }
    }
}
