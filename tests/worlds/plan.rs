//! Which networks and guests there are.

use xennet_core::config::networks;
use xennet_core::{DevId, DomId, Network, VifId, VifSpec};

use super::Dice;

/// A network that a world may have.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    text: &'static str,
    /// What else the file may say of it, while it is started.
    more: &'static str,
    /// The first three numbers of its guests' addresses.
    prefix: [u8; 3],
    /// The gateway in its guests.
    pub(crate) gateway: &'static str,
    /// The address that the outside sees of a guest, if it is not its own.
    pub(crate) seen: Option<[u8; 4]>,
    pub(crate) length: u8,
}

/// Where dom0 is, and the outside.
pub(crate) const DOM0: [u8; 4] = [192, 0, 2, 1];
pub(crate) const OUTSIDE: [u8; 4] = [192, 0, 2, 254];

/// All share one uplink; some name it, some follow the default route.
pub(crate) const KINDS: [Kind; 5] = [
    Kind {
        name: "lan",
        text: "mode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n",
        more: "",
        prefix: [192, 0, 2],
        gateway: "192.0.2.1",
        seen: None,
        length: 24,
    },
    Kind {
        name: "private",
        text: "mode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\n",
        more: "forward = [{ protocol = \"tcp\", ports = \"8081\", to = \"10.1.0.11\", to_port = 80 }]\n",
        prefix: [10, 1, 0],
        gateway: "10.1.0.254",
        seen: Some(DOM0),
        length: 24,
    },
    Kind {
        name: "shared",
        text: "mode = \"nat\"\nsubnets = [\"10.2.0.0/24\"]\nbridge = \"natbr0\"\ndhcp = true\n",
        more: "forward = [{ protocol = \"tcp\", ports = \"8082-8084\", to = \"10.2.0.11\", to_port = 80 }]\n",
        prefix: [10, 2, 0],
        gateway: "10.2.0.254",
        seen: Some(DOM0),
        length: 24,
    },
    Kind {
        name: "dmz",
        text: "mode = \"routed\"\nsubnets = [\"10.3.0.0/24\"]\n",
        more: "",
        prefix: [10, 3, 0],
        gateway: "10.3.0.254",
        seen: None,
        length: 24,
    },
    Kind {
        name: "named",
        text: "mode = \"nat\"\negress = \"eth0\"\nsubnets = [\"10.4.0.0/24\"]\n\
               forward = [{ protocol = \"tcp\", ports = \"8085\", to = \"10.4.0.11\", to_port = 80 }]\n",
        more: "",
        prefix: [10, 4, 0],
        gateway: "10.4.0.254",
        seen: Some(DOM0),
        length: 24,
    },
];

impl Kind {
    /// As the file describes it; `changed`, with more.
    pub(crate) fn network(&self, changed: bool) -> Network {
        let more = if changed { self.more } else { "" };
        let text = format!("[network.{}]\n{}{more}", self.name, self.text);
        let found = networks::parse(&text).unwrap_or_else(|e| panic!("{}", e.report()));
        found.iter().next().unwrap().clone()
    }

    /// The keys that the file has for it.
    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    pub(crate) fn is_bridge(&self) -> bool {
        self.name == "lan"
    }
}

/// A guest of a network: two each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) kind: usize,
    pub(crate) at: u8,
}

impl Who {
    pub(crate) fn kind(self) -> &'static Kind {
        &KINDS[self.kind]
    }

    pub(crate) fn domid(self) -> DomId {
        DomId::new(u32::try_from(self.kind).unwrap() * 10 + u32::from(self.at)).unwrap()
    }

    pub(crate) fn id(self) -> VifId {
        VifId::new(self.domid(), DevId::FIRST)
    }

    pub(crate) fn address(self) -> [u8; 4] {
        let [a, b, c] = self.kind().prefix;
        [a, b, c, 10 + self.at]
    }

    pub(crate) fn mac(self) -> [u8; 6] {
        [0, 0x16, 0x3e, 0, u8::try_from(self.kind).unwrap(), self.at]
    }

    pub(crate) fn vif(self) -> VifSpec {
        let [.., kind, at] = self.mac();
        let [a, b, c, d] = self.address();
        // Some have a name of their own.
        let name = if self.at == 2 { format!(",vifname=web{kind}") } else { String::new() };
        let text = format!("mac=00:16:3e:00:{kind:02x}:{at:02x},bridge={},ip={a}.{b}.{c}.{d}{name}", self.kind().name);
        text.parse().unwrap()
    }

    /// Under which name its link is to be found when it is attached.
    pub(crate) fn link(self) -> String {
        if self.at == 2 { format!("web{}", self.kind) } else { self.id().to_string() }
    }
}

/// The networks of a world, and their guests.
pub(crate) fn world(dice: &mut Dice) -> (Vec<usize>, Vec<Who>) {
    let mut kinds: Vec<usize> = (0..KINDS.len()).collect();
    let wanted = 2 + dice.below(4);
    while kinds.len() > wanted {
        kinds.remove(dice.below(kinds.len()));
    }
    let guests = kinds.iter().flat_map(|kind| [1, 2].map(|at| Who { kind: *kind, at })).collect();
    (kinds, guests)
}
