//! Which of the three modes fits a situation, why, and the `networks.toml` that follows.
//!
//! | guests' addresses | others reach guests | mode |
//! |---|---|---|
//! | of the network that is there | yes | bridge; routed, where the uplink carries dom0's MAC alone |
//! | of their own | no, or there is nobody | NAT |
//! | of their own | yes, and the router there can be given a route | routed |
//! | of their own | yes, without that route | NAT, with port forwards |
//!
//! [`Situation::question`] says what is still to be known, so that a face can ask; [`advise`] gives the answer.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::config::networks;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flaw::{beginning, quoted};
use crate::model::{
    BridgeNetwork, BridgeSpec, Egress, IfName, NatNetwork, Network, NetworkMode, RoutedNetwork, Services, Subnet,
    overlap,
};
use crate::version::Version;

/// Where guests' addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Addresses {
    /// From the network that is there: by its DHCP server, or free ones of it, or those that a provider gave out there.
    Lan,
    /// From a subnet of their own.
    Own,
}

/// What is known of a host and of what is wanted. What is `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Situation {
    /// Whether there is a network that dom0 is part of.
    pub lan: Option<bool>,
    /// Where guests' addresses come from; where there is no network, of their own.
    pub addresses: Option<Addresses>,
    /// Whether others in that network may begin connections to guests; where there is no network, nobody does.
    pub reachable: Option<bool>,
    /// Whether that network's router can be given a route to the guests' subnet.
    pub route: Option<bool>,
    /// Whether the uplink carries frames of one MAC alone, dom0's: Wi-Fi does, and many hosters' switches. `None`: of any.
    pub one_mac: Option<bool>,
    /// Whether guests are to be given addresses by DHCP. `None`: no.
    pub dhcp: Option<bool>,
    /// The link towards that network. `None`: `eth0` for a bridge, else wherever the default route points.
    pub uplink: Option<IfName>,
    /// dom0's own address in that network, with the number of the network's bits.
    pub dom0: Option<IpNetwork>,
    /// The guests' own subnets. Empty: one is chosen that is not dom0's.
    pub subnets: Vec<IpNetwork>,
}

setters! { Situation {
    with_lan: lan = impl Into<Option<bool>>;
    with_addresses: addresses = impl Into<Option<Addresses>>;
    with_reachable: reachable = impl Into<Option<bool>>;
    with_route: route = impl Into<Option<bool>>;
    with_one_mac: one_mac = impl Into<Option<bool>>;
    with_dhcp: dhcp = impl Into<Option<bool>>;
    with_uplink: uplink = impl Into<Option<IfName>>;
    with_dom0: dom0 = impl Into<Option<IpNetwork>>;
    with_subnets: subnets = Vec<IpNetwork>;
} }

/// Something that is to be known of a [`Situation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Question {
    /// [`Situation::lan`].
    Lan,
    /// [`Situation::addresses`].
    Addresses,
    /// [`Situation::reachable`].
    Reachable,
    /// [`Situation::route`].
    Route,
    /// [`Situation::one_mac`].
    Macs,
    /// [`Situation::dhcp`].
    Dhcp,
    /// [`Situation::uplink`].
    Uplink,
    /// [`Situation::dom0`].
    Dom0,
    /// [`Situation::subnets`].
    Subnets,
}

impl FromStr for Question {
    type Err = Error;

    /// The question of this name ([`Question::name`]).
    fn from_str(name: &str) -> Result<Self, Error> {
        Question::ALL.iter().copied().find(|question| question.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Question::ALL.iter().map(|question| question.name()).collect();
            Error::new(ErrorKind::Invalid, format!("{} is no question", quoted(name)))
                .with_object(beginning(name))
                .with_hint(format!("the questions are {}", names.join(", ")))
        })
    }
}

impl Question {
    /// Every question, in the order in which they are asked.
    pub const ALL: &'static [Question] = &[
        Question::Lan,
        Question::Addresses,
        Question::Reachable,
        Question::Route,
        Question::Macs,
        Question::Dhcp,
        Question::Uplink,
        Question::Dom0,
        Question::Subnets,
    ];

    /// The option of the command that answers it, without the dashes.
    pub const fn name(self) -> &'static str {
        match self {
            Question::Lan => "lan",
            Question::Addresses => "addresses",
            Question::Reachable => "reachable",
            Question::Route => "route",
            Question::Macs => "macs",
            Question::Dhcp => "dhcp",
            Question::Uplink => "uplink",
            Question::Dom0 => "dom0",
            Question::Subnets => "subnet",
        }
    }

    /// The question.
    pub const fn text(self) -> &'static str {
        match self {
            Question::Lan => "Is there a network already that this host is part of?",
            Question::Addresses => {
                "Where do guests' addresses come from? lan: from that network, by DHCP or by hand; own: from a subnet of their own"
            }
            Question::Reachable => "May others in that network begin connections to guests?",
            Question::Route => "Can that network's router be given a route to the guests' subnet?",
            Question::Macs => {
                "Does the link towards that network carry frames of any MAC (a cable to a switch), or of this host's one alone \
                 (Wi-Fi, many hosters)?"
            }
            Question::Dhcp => "Shall guests get their addresses by DHCP?",
            Question::Uplink => "Which link leads towards that network? Empty: eth0, or where the default route points",
            Question::Dom0 => "This host's address there, for example 192.168.0.3/24? Empty if it does not matter",
            Question::Subnets => "The guests' own subnet, for example 10.0.0.0/24? Empty: a free one",
        }
    }

    /// The words that are answers; none for an answer that is a name or an address, and may be empty.
    pub const fn answers(self) -> &'static [&'static str] {
        match self {
            Question::Lan | Question::Reachable | Question::Route | Question::Dhcp => &["yes", "no"],
            Question::Addresses => &["lan", "own"],
            Question::Macs => &["any", "one"],
            Question::Uplink | Question::Dom0 | Question::Subnets => &[],
        }
    }
}

impl Situation {
    /// Whether a question matters for what is known already.
    fn matters(&self, question: Question) -> bool {
        let there = self.lan == Some(true);
        let own = !there || self.addresses == Some(Addresses::Own);
        match question {
            Question::Lan => true,
            Question::Addresses => there,
            Question::Reachable => there && own,
            Question::Route => there && own && self.reachable == Some(true),
            Question::Macs => there && !own,
            Question::Dhcp | Question::Subnets => own,
            Question::Uplink | Question::Dom0 => there,
        }
    }

    /// The first question that matters and that `asked` does not have yet.
    pub fn question(&self, asked: &[Question]) -> Option<Question> {
        let open = |question: &&Question| !asked.contains(question) && self.matters(**question);
        Question::ALL.iter().find(open).copied()
    }

    /// Takes the answer to a question. An empty one is none where the question has no words for answers.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a text that is no answer.
    pub fn answer(&mut self, question: Question, text: &str) -> Result<()> {
        let wrong = |rule: String| {
            let message = format!("{} cannot be {}", question.name(), quoted(text));
            Error::new(ErrorKind::Invalid, message).with_object(question.name()).with_hint(rule)
        };
        if !question.answers().is_empty() && !question.answers().contains(&text) {
            return Err(wrong(format!("answer {}", question.answers().join(" or "))));
        }
        let network = || {
            let network: Option<IpNetwork> = text.parse().ok().filter(|_| text.contains('/'));
            network.ok_or_else(|| {
                wrong("an address, a slash, and the number of the network's bits: 10.0.0.0/24".to_owned())
            })
        };
        match question {
            Question::Lan => self.lan = Some(text == "yes"),
            Question::Addresses => self.addresses = Some(if text == "lan" { Addresses::Lan } else { Addresses::Own }),
            Question::Reachable => self.reachable = Some(text == "yes"),
            Question::Route => self.route = Some(text == "yes"),
            Question::Macs => self.one_mac = Some(text == "one"),
            Question::Dhcp => self.dhcp = Some(text == "yes"),
            Question::Uplink | Question::Dom0 | Question::Subnets if text.is_empty() => {}
            Question::Uplink => self.uplink = Some(IfName::check(text).map_err(|rule| wrong(rule.to_string()))?),
            Question::Dom0 => self.dom0 = Some(network()?),
            Question::Subnets => {
                let given = network()?;
                if given.ip() != given.network() {
                    return Err(wrong(format!(
                        "the network's own address comes before the slash: {}/{}",
                        given.network(),
                        given.prefix()
                    )));
                }
                self.subnets.push(given);
            }
        }
        Ok(())
    }
}

/// The mode that fits, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Advice {
    version: Version<1>,
    /// The network.
    pub network: Network,
    /// Why: one sentence each.
    pub reasons: Vec<String>,
    /// What is to be done elsewhere, if anything: on the network's router, in guests.
    pub elsewhere: Vec<String>,
    /// The vif spec of a first guest; without its address where only the network that is there knows a free one.
    pub vif: String,
    /// The text of `networks.toml`, with all of the above as comments.
    pub text: String,
}

/// Which mode fits, and why.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a situation of which too little is known, or that contradicts itself: guests with addresses of a
/// network that is not there, or that are not to be seen in the network whose addresses they have; a subnet that is dom0's.
///
/// ```
/// use xennet_core::advise::{Addresses, Situation, advise};
/// let situation = Situation::default().with_lan(true).with_addresses(Addresses::Own).with_reachable(false);
/// let advice = advise(&situation)?;
/// assert_eq!(advice.network.mode_name(), "nat");
/// assert!(advice.text.ends_with("[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n"));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn advise(situation: &Situation) -> Result<Advice> {
    let known = Known::of(situation)?;
    let mut advice = match known.addresses {
        Addresses::Lan if !known.one_mac => bridge(&known)?,
        Addresses::Lan => routed_in_the_lan(&known)?,
        Addresses::Own if known.reachable && known.route => routed(&known)?,
        Addresses::Own => nat(&known)?,
    };
    advice.text = text(&advice)?;
    Ok(advice)
}

/// A situation of which enough is known.
struct Known<'a> {
    lan: bool,
    addresses: Addresses,
    reachable: bool,
    route: bool,
    one_mac: bool,
    dhcp: bool,
    situation: &'a Situation,
}

impl<'a> Known<'a> {
    fn of(situation: &'a Situation) -> Result<Self> {
        let wrong = |object: Question, message: &str, hint: &str| {
            Error::new(ErrorKind::Invalid, message).with_object(object.name()).with_hint(hint)
        };
        let missing = |question: Question| {
            let answers = question.answers().join("|");
            wrong(
                question,
                &format!("it is not known: {}", question.text()),
                &format!("say it: --{} {answers}", question.name()),
            )
        };
        let lan = situation.lan.ok_or_else(|| missing(Question::Lan))?;
        let addresses = match situation.addresses {
            Some(addresses) => addresses,
            None if lan => return Err(missing(Question::Addresses)),
            None => Addresses::Own,
        };
        let own = addresses == Addresses::Own;
        if !own && !lan {
            let message = "guests cannot have addresses of a network that is not there";
            return Err(wrong(Question::Addresses, message, "let them have their own: --addresses own"));
        }
        if !own && situation.reachable == Some(false) {
            let message = "guests with addresses of a network are seen in it";
            return Err(wrong(Question::Reachable, message, "to hide them, let them have their own: --addresses own"));
        }
        let reachable = match situation.reachable {
            Some(reachable) => reachable && lan,
            None if lan && own => return Err(missing(Question::Reachable)),
            None => !own,
        };
        let route = match situation.route {
            Some(route) => route,
            None if own && reachable => return Err(missing(Question::Route)),
            None => false,
        };
        if !own && !situation.subnets.is_empty() {
            let message = "a subnet is for guests with addresses of their own";
            return Err(wrong(Question::Subnets, message, "leave it out, or say --addresses own"));
        }
        if let Some((subnet, dom0)) = situation.dom0.as_ref().and_then(|dom0| {
            situation.subnets.iter().find(|subnet| overlap(**subnet, *dom0)).map(|subnet| (subnet, dom0))
        }) {
            let message =
                format!("{subnet} is not the guests' own: dom0 has {} in it, or beside it in {dom0}", dom0.ip());
            return Err(wrong(Question::Subnets, &message, "leave it out, and a free one is chosen"));
        }
        let one_mac = situation.one_mac.unwrap_or(false);
        Ok(Known { lan, addresses, reachable, route, one_mac, dhcp: situation.dhcp.unwrap_or(false), situation })
    }

    fn outside(&self) -> Egress {
        self.situation.uplink.map_or(Egress::DefaultRoute, Egress::Link)
    }

    /// The guests' subnets: those given, or one that is not dom0's.
    fn subnets(&self) -> Result<Vec<Subnet>> {
        if !self.situation.subnets.is_empty() {
            let given =
                |network: &IpNetwork| Subnet::new(*network).map_err(|e| e.with_object(Question::Subnets.name()));
            return self.situation.subnets.iter().map(given).collect();
        }
        let candidates = ["10.0.0.0/24", "172.20.0.0/24", "192.168.240.0/24"];
        let mut networks = candidates.iter().filter_map(|text| text.parse::<IpNetwork>().ok());
        let dom0 = self.situation.dom0;
        let free = |network: &IpNetwork| dom0.is_none_or(|dom0| !overlap(*network, dom0));
        let network = networks.find(free).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "dom0's network has all subnets that guests are usually given")
                .with_object(Question::Subnets.name())
                .with_hint("name one: --subnet 10.0.0.0/24")
        })?;
        Ok(vec![Subnet::new(network)?])
    }
}

fn advice(name: &str, mode: NetworkMode, vif: String) -> Result<Advice> {
    let network = Network::new(IfName::literal(name), mode)?;
    Ok(Advice { version: Version, network, reasons: Vec::new(), elsewhere: Vec::new(), vif, text: String::new() })
}

fn bridge(known: &Known<'_>) -> Result<Advice> {
    let uplink = known.situation.uplink.unwrap_or(IfName::literal("eth0"));
    // A bridge that was asked for as the uplink is no port.
    let name = if uplink == "xenbr0" { "xenbr1" } else { "xenbr0" };
    let mut network = BridgeNetwork::new(BridgeSpec::new(IfName::literal(name)));
    network.uplink = Some(uplink);
    let mut advice = advice("lan", NetworkMode::Bridge(network), format!("bridge={name}"))?;
    advice
        .reasons
        .push("guests have addresses of the network that is there, and are stations of it like any other".to_owned());
    advice.reasons.push("they are reached from it, and reach it, without any route or translation".to_owned());
    if known.situation.uplink.is_none() {
        advice.reasons.push(format!("no uplink was named: {uplink} is taken"));
    }
    if known.situation.one_mac.is_none() && uplink.as_str().starts_with("wl") {
        advice.reasons.push(format!(
            "{uplink} has the name of a Wi-Fi link: if its access point takes frames of one MAC alone, say so, and guests are routed"
        ));
    }
    if known.dhcp {
        advice.elsewhere.push("DHCP is answered by the server of the network that is there".to_owned());
    }
    Ok(advice)
}

/// Guests have addresses of the network that is there, but no MAC of theirs gets into it.
fn routed_in_the_lan(known: &Known<'_>) -> Result<Advice> {
    let mut network = RoutedNetwork::new();
    network.uplink = known.outside();
    (network.proxy_arp, network.proxy_ndp) = (true, true);
    // Which addresses are free there is not ours to guess.
    let mut advice = advice("lan", NetworkMode::Routed(network), "bridge=lan".to_owned())?;
    advice.reasons.push(
        "the uplink carries frames of dom0's MAC alone, so that guests cannot be stations behind a bridge".to_owned(),
    );
    advice
        .reasons
        .push("dom0 answers ARP and neighbour solicitations for them there, and no route is needed".to_owned());
    advice
        .elsewhere
        .push("to every vif spec add the guest's address, one that is free in that network: ip=ADDRESS".to_owned());
    if known.dhcp {
        advice.elsewhere.push("DHCP of that network does not reach guests: their addresses are set by hand".to_owned());
    }
    Ok(advice)
}

fn routed(known: &Known<'_>) -> Result<Advice> {
    let mut network = RoutedNetwork::new();
    network.uplink = known.outside();
    network.subnets = known.subnets()?;
    network.services = Services { dhcp: known.dhcp, ..Services::default() };
    let subnets = network.subnets.clone();
    let mut advice = advice("guests", NetworkMode::Routed(network), own_vif("guests", &subnets, known.dhcp))?;
    advice.reasons.push("guests have a subnet of their own, and others reach them by their own addresses".to_owned());
    advice.reasons.push("nothing is translated: what guests send has their own address outside".to_owned());
    for subnet in &subnets {
        let v4 = subnet.network().is_ipv4();
        let dom0 = known.situation.dom0.map(|dom0| dom0.ip()).filter(|address| address.is_ipv4() == v4);
        let via = dom0.map_or_else(|| "DOM0".to_owned(), |address| address.to_string());
        let whose = if dom0.is_none() { ", where DOM0 is this host's address there" } else { "" };
        let family = if v4 { "" } else { " -6" };
        advice.elsewhere.push(format!(
            "on the router of that network: ip{family} route add {} via {via}{whose}; without it answers do not come back",
            subnet.network()
        ));
    }
    told_gateways(&mut advice, &subnets, known.dhcp);
    Ok(advice)
}

fn nat(known: &Known<'_>) -> Result<Advice> {
    let mut network = NatNetwork::new();
    network.egress = known.outside();
    network.subnets = known.subnets()?;
    network.services = Services { dhcp: known.dhcp, ..Services::default() };
    let subnets = network.subnets.clone();
    let mut advice = advice("private", NetworkMode::Nat(network), own_vif("private", &subnets, known.dhcp))?;
    advice.reasons.push("guests have a subnet of their own, hidden behind dom0's address".to_owned());
    if !known.lan {
        advice.reasons.push(
            "there is no network that guests could be part of; where dom0 has a way out, they have it, too".to_owned(),
        );
    } else if known.reachable {
        advice.reasons.push(
            "others are to reach them, but without a route on the router there answers would not come back: dom0 hands single \
             ports on"
                .to_owned(),
        );
        let to = subnets.first().map_or_else(|| "10.0.0.1".to_owned(), |subnet| first_address(subnet).to_string());
        advice.elsewhere.push(format!(
            "for each service: forward = [{{ protocol = \"tcp\", ports = 8080, to = \"{to}\", to_port = 80 }}]"
        ));
    } else {
        advice.reasons.push("they reach others, and nobody reaches them".to_owned());
    }
    told_gateways(&mut advice, &subnets, known.dhcp);
    Ok(advice)
}

/// The vif spec of the first guest of a subnet.
fn own_vif(network: &str, subnets: &[Subnet], dhcp: bool) -> String {
    match subnets.first().filter(|_| !dhcp) {
        Some(subnet) => format!("bridge={network},ip={}", first_address(subnet)),
        None => format!("bridge={network}"),
    }
}

fn told_gateways(advice: &mut Advice, subnets: &[Subnet], dhcp: bool) {
    if !dhcp {
        let gateways: Vec<String> = subnets.iter().map(|subnet| subnet.gateway().to_string()).collect();
        advice.elsewhere.push(format!("in each guest: its address, and the gateway {}", gateways.join(" and ")));
    }
}

/// The first address of a subnet that a guest can have.
fn first_address(subnet: &Subnet) -> IpAddr {
    let usable = |address: &IpAddr| *address != subnet.gateway();
    let skip = usize::from(subnet.network().prefix() < if subnet.network().is_ipv4() { 31 } else { 127 });
    subnet.network().iter().skip(skip).find(usable).unwrap_or(subnet.gateway())
}

/// The file's text: what is advised as comments, then the network.
fn text(advice: &Advice) -> Result<String> {
    let mut text = format!("# Advised: mode {}, because\n", advice.network.mode_name());
    for reason in &advice.reasons {
        let _ = writeln!(text, "# - {reason}");
    }
    if !advice.elsewhere.is_empty() {
        text.push_str("# Elsewhere:\n");
        for what in &advice.elsewhere {
            let _ = writeln!(text, "# - {what}");
        }
    }
    let _ = writeln!(text, "# A guest: vif = [ \"{}\" ]", advice.vif);
    text.push_str(&networks::render([&advice.network]));
    // What was given may break a rule of networks that it breaks nowhere else: a subnet that no guest can have.
    networks::parse(&text).map(|_| text)
}

#[cfg(test)]
mod tests;
