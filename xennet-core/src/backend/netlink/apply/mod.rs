//! Changing: one step, one message, one answer.

mod forget;
mod ip;
mod link;
mod port;

use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;

use super::Netlink;
use super::observe::is_number;
use super::refusal::Refusal;
use super::sysctl;
use super::wire::{self, CREATE, EXCL};
use crate::backend::BackendError;
use crate::error::Errno;
use crate::model::IfName;
use crate::step::{LinkRef, Step};

/// Applies one step.
pub(super) fn apply(netlink: &mut Netlink, step: &Step) -> Result<(), BackendError> {
    let done = match step {
        Step::Link(step) => link::apply(netlink, step),
        Step::Port(step) => port::apply(netlink, step),
        Step::Addr(step) => ip::address(netlink, step),
        Step::Route(step) => ip::route(netlink, step),
        Step::Rule(step) => ip::rule(netlink, step),
        Step::Neigh(step) => ip::neighbour(netlink, step),
        Step::Sysctl(step) => {
            sysctl::check(netlink.namespace.as_ref()).map_err(|e| e.about(sysctl::path(&step.key)))?;
            return sysctl::write(&step.key, &step.value);
        }
        Step::Nft(transaction) => return netlink.nft()?.apply(transaction),
        Step::Forget(step) => return forget::apply(netlink, step),
        Step::Store(_) => Err(Refusal::new(Errno::EOPNOTSUPP).with_message("this backend has no xenstore")),
    };
    done.map_err(|refusal| refusal.about(step.object()))
}

impl Netlink {
    /// Sends one message of rtnetlink's and waits for the answer.
    fn send(&mut self, flags: u16, message: &Rtnl) -> Result<(), Refusal> {
        wire::encode(&mut self.out, flags, message);
        self.route.request(&mut self.out)
    }

    /// Makes something that must not exist yet.
    fn create(&mut self, message: &Rtnl) -> Result<(), Refusal> {
        self.send(CREATE | EXCL, message)
    }

    /// The number of the link that a step means.
    fn number_of(&mut self, link: &LinkRef) -> Result<u32, Refusal> {
        match link.index {
            // 0 would mean "by name" to the kernel, and the only name in a message is a new one.
            Some(index) if is_number(index) => Ok(index),
            Some(_) => Err(Refusal::new(Errno::ENODEV)),
            None => self.number_by_name(&link.name),
        }
    }

    /// The number of the link of this name.
    fn number_by_name(&mut self, name: &IfName) -> Result<u32, Refusal> {
        self.index_of(name)?.ok_or_else(|| Refusal::new(Errno::ENODEV).with_message(format!("there is no link {name}")))
    }
}
