//! What happens to links is told link by link, in its order, with a descriptor to poll.

use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xennet_core::backend::netlink::{LinkEvent, LinkEventKind, LinkEvents};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_tests::in_netns;
use xennet_tests::steps::{into, name, up};

use super::Kernel;

const SOON: Duration = Duration::from_secs(10);
const NOW: Duration = Duration::ZERO;

fn is_readable(events: &LinkEvents) -> bool {
    poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
}

/// The events that are there, a line each; what is told twice in a row is one line.
fn told(events: &mut LinkEvents) -> Vec<String> {
    let line = |e: LinkEvent| format!("{:?} {} up={} mtu={}", e.event, e.link.unwrap(), e.up, e.mtu);
    let mut lines: Vec<String> = std::iter::from_fn(|| events.next(NOW).unwrap()).map(line).collect();
    lines.dedup();
    lines
}

#[test]
fn links_are_told_of_as_they_come_change_and_go() {
    in_netns("links::links_are_told_of_as_they_come_change_and_go", || {
        let mut kernel = Kernel::open();
        let create = |link: &str, kind| LinkStep::Create { name: name(link), kind, change: LinkChange::default() };
        kernel.apply(Step::Link(create("br0", NewLink::Bridge)));
        let mut events = LinkEvents::listen().unwrap();
        assert!(events.next(NOW).unwrap().is_none() && !is_readable(&events), "what was there before is no event");

        kernel.apply(Step::Link(create("vif5.0", NewLink::Veth { peer: name("g5") })));
        assert!(is_readable(&events));
        let first = events.next(SOON).unwrap().unwrap();
        assert_eq!((first.event, first.up, first.carrier, first.master), (LinkEventKind::Appeared, false, false, None));
        let rest = told(&mut events);
        assert!(rest.iter().any(|l| l.starts_with("Appeared ")), "two links: {rest:?}");

        let set = |change| Step::Link(LinkStep::Set { link: LinkRef::named(name("vif5.0")), change });
        kernel.apply(set(into("br0")));
        let joined: Vec<LinkEvent> = std::iter::from_fn(|| events.next(NOW).unwrap()).collect();
        let port = joined.iter().rfind(|e| e.link == Some(name("vif5.0"))).unwrap();
        assert!(port.event == LinkEventKind::Changed && port.master.is_some(), "{joined:?}");
        kernel.apply(set(up().with_mtu(1400)));
        let lines = told(&mut events);
        assert!(lines.contains(&"Changed vif5.0 up=true mtu=1400".to_owned()), "{lines:?}");

        kernel.apply(Step::Link(LinkStep::Delete { link: LinkRef::named(name("vif5.0")) }));
        let all: Vec<LinkEvent> = std::iter::from_fn(|| events.next(NOW).unwrap()).collect();
        let gone: Vec<_> = all.iter().filter(|e| e.event == LinkEventKind::Gone).filter_map(|e| e.link).collect();
        assert_eq!(gone.len(), 2, "the vif and its other end, each once, though the port has gone, too: {all:?}");
        assert!(gone.contains(&name("vif5.0")) && gone.contains(&name("g5")));
        assert!(!is_readable(&events) && events.next(Duration::from_millis(1)).unwrap().is_none());
    });
}

#[test]
fn where_too_much_happens_at_once_it_is_said_that_something_was_lost() {
    in_netns("links::where_too_much_happens_at_once_it_is_said_that_something_was_lost", || {
        let mut kernel = Kernel::open();
        let mut events = LinkEvents::listen().unwrap();
        let flip = |mtu| LinkStep::Set { link: LinkRef::named(name("lo")), change: up().with_mtu(mtu) };
        for round in 0..400 {
            kernel.apply(Step::Link(flip(1500 + round % 2)));
        }
        let all: Vec<LinkEvent> = std::iter::from_fn(|| events.next(NOW).unwrap()).collect();
        let lost = all.iter().filter(|e| e.event == LinkEventKind::Lost).count();
        assert!(lost == 1 && all.len() > 1, "{lost} of {}", all.len());
        kernel.apply(Step::Link(flip(1600)));
        let next = events.next(SOON).unwrap().unwrap();
        assert_eq!((next.event, next.link, next.mtu), (LinkEventKind::Changed, Some(name("lo")), 1600));
    });
}
