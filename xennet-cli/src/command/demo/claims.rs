//! What the demo does and says, and which of its claims hold.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use xennet_core::config::networks;
use xennet_core::document::{self, DemoEvent};
use xennet_core::ipnetwork::IpNetwork;
use xennet_core::plan::Plan;
use xennet_core::snapshot::{Part, Scope, Snapshot};
use xennet_core::{Error, ErrorKind, Guests, Host, Network, Result, VifSpec};

use super::stage::{Stage, id};
use crate::command::host::table;
use crate::output::Output;
use crate::sandbox::Lan;

/// How long a ping waits for an answer that must come. It comes within a millisecond; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a ping waits for an answer that must not come.
const GLIMPSE: Duration = Duration::from_millis(300);

/// How many packets a guest sends where it is counted how many arrive.
const PACKETS: usize = 3;

/// Everything there is, without what changes by itself, and whether the host routes.
fn look(host: &mut Host) -> Result<Snapshot> {
    let routes = "net/ipv4/ip_forward".parse().map(Part::Sysctl);
    let scope = Scope::from_iter([Part::Network].into_iter().chain(routes));
    host.backend().observe(&scope).map_err(|e| {
        Error::new(ErrorKind::Io, "the network cannot be looked at").with_object(e.object).with_errno(e.errno)
    })
}

/// What a ping is expected to give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Answer,
    Silence,
}

/// The demo under way: what it has said, and which of its claims were not true.
pub(super) struct Demo<'a> {
    output: &'a mut Output,
    stage: Stage,
    events: Vec<DemoEvent>,
    broken: Vec<String>,
}

impl<'a> Demo<'a> {
    pub(super) fn new(output: &'a mut Output, stage: Stage) -> Self {
        Demo { output, stage, events: Vec::new(), broken: Vec::new() }
    }

    /// Says something: as text now, as part of the document at the end.
    pub(super) fn say(&mut self, text: &str, event: DemoEvent) -> Result<()> {
        self.events.push(event);
        if self.output.is_json() {
            return Ok(());
        }
        let indent = |l: &str| if l.is_empty() { String::new() } else { format!("  {l}") };
        let indented: Vec<String> = text.lines().map(indent).collect();
        self.output.line(&indented.join("\n"))?;
        // The reader follows while it happens.
        self.output.finish()
    }

    /// What happens next, beside the commands.
    pub(super) fn heading(&mut self, text: &str) -> Result<()> {
        if self.output.is_json() { Ok(()) } else { self.output.line(&format!("\n{text}")) }
    }

    /// The command that does what comes next.
    fn command(&mut self, text: &str) -> Result<()> {
        self.events.push(DemoEvent::Command { command: text.into() });
        self.heading(&format!("$ xennet {text}"))
    }

    /// Says what is the case, and remembers it if it should not be.
    fn claim(&mut self, holds: bool, text: &str) -> Result<()> {
        if !holds {
            self.broken.push(text.to_owned());
        }
        let sign = if holds { "ok" } else { "NOT SO" };
        self.say(&format!("{sign}: {text}"), DemoEvent::Claim { claim: text.into(), holds })
    }

    /// Says what was seen between guests, host and outside, where there is anybody.
    fn seen(&mut self, look: impl FnOnce(&Lan) -> Result<(bool, String)>) -> Result<()> {
        match self.stage.lan().map(look).transpose()? {
            Some((holds, text)) => self.claim(holds, &text),
            None => {
                self.events.push(DemoEvent::Seen { seen: () });
                Ok(())
            }
        }
    }

    /// Begins with one of the modes: what there is before.
    pub(super) fn begin(&mut self, mode: &str, what: &str, host: &mut Host) -> Result<Snapshot> {
        self.events.push(DemoEvent::Mode { mode: mode.into(), is: what.into() });
        self.heading(&format!("=== {mode}: {what} ==="))?;
        look(host)
    }

    /// Starts the network that this file describes.
    pub(super) fn network(&mut self, host: &mut Host, file: &str) -> Result<Network> {
        self.heading("in /etc/xennet/networks.toml:")?;
        self.say(file, DemoEvent::File { file: file.into() })?;
        let read = networks::parse(file)?;
        let network = read.iter().next().cloned().ok_or_else(|| Error::new(ErrorKind::Internal, "no network"))?;
        self.command(&format!("network start {}", network.name()))?;
        let plan = host.plan_start(&network)?;
        self.plan(&plan)?;
        let start = Instant::now();
        let applied = host.start_network(&network)?;
        self.applied(applied.steps, plan.steps().len(), start.elapsed())?;
        Ok(network)
    }

    /// Builds a domain and attaches its vif, as libxl's call does.
    pub(super) fn guest(
        &mut self,
        host: &mut Host,
        domid: u8,
        address: Ipv4Addr,
        gateway: Ipv4Addr,
        rest: &str,
    ) -> Result<()> {
        self.stage.start(domid, of_length(address, 24)?, gateway)?;
        let text = format!("mac={},{rest}", Lan::mac_of(domid));
        let vif: VifSpec = text.parse()?;
        let id = id(domid)?.domid;
        self.command(&format!("attach {domid} {text}"))?;
        let plan = host.plan_attach(id, &vif)?;
        // How that reads is seen at the first one.
        if domid == 1 {
            self.plan(&plan)?;
        } else {
            self.events.push(DemoEvent::Plan(Box::new(plan.clone())));
        }
        let start = Instant::now();
        let (applied, planned) = (host.attach(id, &vif)?.steps, plan.steps().len());
        let time = start.elapsed();
        let again = host.plan_attach(id, &vif)?;
        let text = format!(
            "{applied} of {planned} steps applied and read back in {}; planned again, there is nothing left to do",
            shown(time)
        );
        self.claim(applied == planned && again.is_empty(), &text)
    }

    /// Detaches a domain's vif. The domain is still there.
    pub(super) fn detach(&mut self, host: &mut Host, domid: u8) -> Result<()> {
        let id = id(domid)?;
        self.command(&format!("detach {domid}"))?;
        let planned = host.plan_detach(id.domid, id.devid)?.steps().len();
        let start = Instant::now();
        let applied = host.detach(id.domid, id.devid)?;
        self.applied(applied.steps, planned, start.elapsed())
    }

    pub(super) fn stop(&mut self, host: &mut Host, network: &Network, guests: Guests) -> Result<()> {
        self.command(&format!("network stop {}", network.name()))?;
        let planned = host.plan_stop(&network.name(), guests)?.map_or(0, |plan| plan.steps().len());
        let start = Instant::now();
        let applied = host.stop_network(&network.name(), guests)?;
        self.applied(applied.steps, planned, start.elapsed())
    }

    pub(super) fn show(&mut self, host: &mut Host) -> Result<()> {
        self.command("show")?;
        let shown = host.show()?;
        self.say(&table(&shown), DemoEvent::Shown { shown })
    }

    pub(super) fn status(&mut self, host: &mut Host, network: &Network) -> Result<()> {
        self.command(&format!("network status {}", network.name()))?;
        let status = host.network_status(network)?;
        let text = crate::command::network::table(std::slice::from_ref(&status));
        self.say(&text, DemoEvent::Status { status: Box::new(status) })
    }

    fn plan(&mut self, plan: &Plan) -> Result<()> {
        self.say(&plan.to_string(), DemoEvent::Plan(Box::new(plan.clone())))
    }

    fn applied(&mut self, steps: usize, planned: usize, time: Duration) -> Result<()> {
        self.claim(steps == planned, &format!("{steps} of {planned} steps applied and read back in {}", shown(time)))
    }

    /// A ping of a guest, or of the outside (`None`).
    pub(super) fn ping(&mut self, from: Option<u8>, to: (&str, Ipv4Addr), expected: Expected) -> Result<()> {
        let patience = if expected == Expected::Answer { PATIENCE } else { GLIMPSE };
        self.seen(|lan| {
            let mut answer = lan.ping(from, to.1, patience)?;
            if answer.is_some() {
                // The first answer had to wait for ARP; the second tells how fast the way is.
                answer = lan.ping(from, to.1, patience)?;
            }
            let who = from.map_or_else(|| "the outside".to_owned(), |domid| format!("guest {domid}"));
            let what = match answer {
                Some(time) => format!("it answers in {}", shown(time)),
                None => "no answer".to_owned(),
            };
            let holds = answer.is_some() == (expected == Expected::Answer);
            Ok((holds, format!("{who} pings {} ({}): {what}", to.0, to.1)))
        })
    }

    /// From which address a guest's connection comes.
    pub(super) fn seen_outside(&mut self, domid: u8, wanted: Ipv4Addr, whose: &str) -> Result<()> {
        self.seen(|lan| {
            let seen = lan.seen_outside(domid, PATIENCE)?;
            let text = match seen {
                Some(peer) => format!("guest {domid} connects to the outside, which sees {peer}: {whose}"),
                None => format!("guest {domid} cannot connect to the outside"),
            };
            Ok((seen == Some(IpAddr::V4(wanted)), text))
        })
    }

    /// A connection from outside that a forward hands on to a guest.
    pub(super) fn handed_on(&mut self, to: SocketAddrV4, domid: u8, port: u16) -> Result<()> {
        self.seen(|lan| {
            let seen = lan.seen_inside(to, domid, port, PATIENCE)?;
            let text = match seen {
                Some(peer) => format!(
                    "the outside connects to {to}, and guest {domid} gets it at port {port}, from {peer}: the forward"
                ),
                None => format!("the outside cannot connect to {to}"),
            };
            Ok((seen == Some(IpAddr::V4(Lan::OUTSIDE)), text))
        })
    }

    /// What a guest sends from its own address, and from one that it has only given itself.
    pub(super) fn forged(&mut self, domid: u8, own: Ipv4Addr, other: Ipv4Addr) -> Result<()> {
        let counted = |source: Ipv4Addr, expected: usize, whose: &'static str| {
            move |lan: &Lan| {
                let patience = if expected == 0 { GLIMPSE } else { PATIENCE };
                let arrived = lan.arrive(domid, source, PACKETS, patience)?;
                let text =
                    format!("guest {domid} sends {PACKETS} packets from {source}, {whose}: {arrived} arrive outside");
                Ok((arrived == expected, text))
            }
        };
        self.seen(counted(own, PACKETS, "its own address"))?;
        if let Some(lan) = self.stage.lan() {
            lan.take_address(domid, of_length(other, 24)?)?;
        }
        self.seen(counted(other, 0, "which it was not given"))
    }

    /// The gateway outside gets a route to guests, through the host.
    pub(super) fn route_outside(&mut self, why: &str, to: &str) -> Result<()> {
        let to: IpNetwork =
            to.parse().map_err(|e| Error::new(ErrorKind::Internal, format!("{to} is no network: {e}")))?;
        if let Some(lan) = self.stage.lan() {
            lan.route_outside(to, Lan::HOST)?;
        }
        let command = format!("outside# ip route add {to} via {}", Lan::HOST);
        self.heading(why)?;
        self.say(&command, DemoEvent::Outside { outside: command.clone() })
    }

    /// The proof: all that can be observed, before and after the domains have ended.
    pub(super) fn nothing_left(&mut self, before: &Snapshot, host: &mut Host) -> Result<()> {
        for vif in host.show()?.vifs {
            self.claim(false, &format!("{} is left on record", vif.vif))?;
        }
        for domid in 1..=GUESTS {
            self.stage.stop(domid)?;
        }
        let after = look(host)?;
        let changes: Vec<String> = before.changes(&after).iter().map(ToString::to_string).collect();
        let (old, new) = (before.render(), after.render());
        self.events.push(DemoEvent::Facts { before: old.clone(), after: new });
        if !changes.is_empty() {
            self.say(&changes.join("\n"), DemoEvent::Changes { changes: changes.clone() })?;
        }
        // Our own nft tables stay, without anybody in them: making them anew is what takes long.
        let facts = old.lines().filter(|l| !l.starts_with("nft ")).count();
        self.claim(
            changes.is_empty(),
            &format!("all {facts} facts about this host's network are as they were before, {} differ", changes.len()),
        )
    }

    /// The document, or the last word.
    pub(super) fn end(self, on_kernel: bool) -> Result<()> {
        let Demo { output, events, broken, .. } = self;
        let last = match broken.len() {
            0 => "everything was as claimed".to_owned(),
            n => format!("{n} claims did not hold"),
        };
        output.answer(|| format!("\n{last}"), || document::Demo::new(on_kernel, events, broken.clone()))?;
        if broken.is_empty() {
            return Ok(());
        }
        let message = format!("the demo did not go as claimed: {}", broken.join("; "));
        Err(Error::new(ErrorKind::NotVerified, message).with_object("demo"))
    }
}

/// The domains of the demo have the ids from 1 to this.
const GUESTS: u8 = 4;

fn of_length(address: Ipv4Addr, length: u8) -> Result<IpNetwork> {
    IpNetwork::new(address.into(), length)
        .map_err(|e| Error::new(ErrorKind::Internal, format!("{address}/{length}: {e}")))
}

/// A time for people: microseconds below one millisecond, else milliseconds.
fn shown(time: Duration) -> impl Display {
    match time.as_micros() {
        us @ 0..1000 => format!("{us} us"),
        us => format!("{}.{} ms", us / 1000, us % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use xennet_core::backend::fake::Fake;

    use super::*;

    fn demo(output: &mut Output) -> Demo<'_> {
        Demo::new(output, Stage::Model(Arc::new(Mutex::new(Fake::example()))))
    }

    #[test]
    fn a_claim_that_does_not_hold_is_an_error_at_the_end() {
        let mut output = Output::new(true);
        let mut fine = demo(&mut output);
        fine.claim(true, "water is wet").unwrap();
        assert_eq!(fine.end(false), Ok(()));

        let mut broken = demo(&mut output);
        broken.claim(false, "water is dry").unwrap();
        broken.claim(true, "water is wet").unwrap();
        let error = broken.end(false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotVerified);
        assert!(error.message().contains("water is dry") && !error.message().contains("wet"), "{error}");
    }

    #[test]
    fn what_is_left_behind_is_a_claim_that_does_not_hold() {
        let mut host = Host::fake();
        let before = look(&mut host).unwrap();
        let vif: VifSpec = "bridge=xenbr0".parse().unwrap();
        host.attach(id(1).unwrap().domid, &vif).unwrap();
        let mut output = Output::new(true);
        let mut demo = demo(&mut output);
        demo.nothing_left(&before, &mut host).unwrap();
        assert_eq!(demo.broken.len(), 2, "{:?}", demo.broken);
    }
}
