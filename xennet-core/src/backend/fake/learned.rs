//! What the kernel in memory has learned, and forgets: connections, stations, neighbours.

use std::net::IpAddr;

use super::Fake;
use crate::step::ForgetStep;

/// A tracked connection, by its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Connection {
    /// Who has begun it.
    pub source: IpAddr,
    /// Where its first packet was sent to.
    pub destination: IpAddr,
    /// Who answers: another one than the destination where NAT has handed it on.
    pub answers: IpAddr,
}

impl Connection {
    /// A connection between these addresses.
    pub const fn new(source: IpAddr, destination: IpAddr, answers: IpAddr) -> Self {
        Connection { source, destination, answers }
    }
}

impl Fake {
    /// Connections that are tracked from now on. None comes by itself: a fake sends no packets.
    #[must_use]
    pub fn with_connections(mut self, connections: impl IntoIterator<Item = Connection>) -> Self {
        self.connections.extend(connections);
        self
    }

    /// The connections that are tracked.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    pub(super) fn forget(&mut self, step: &ForgetStep) {
        match step {
            ForgetStep::Connections { addresses } => {
                let is_one = |address: IpAddr| addresses.iter().any(|n| n.contains(address));
                self.connections.retain(|c| !is_one(c.source) && !is_one(c.answers));
            }
            ForgetStep::Station { bridge, mac, vlan, except } => {
                let links = &self.world.links;
                self.details.stations.retain(|station| {
                    let is_port = links.get(&station.port).is_some_and(|port| port.master == Some(*bridge));
                    let is_it = station.mac == *mac && station.vlan == vlan.map(|vlan| vlan.get());
                    !is_port || !is_it || Some(station.port) == *except
                });
            }
            ForgetStep::Neighbours { link, addresses } => {
                self.details.neighbours.retain(|n| n.link != *link || !addresses.contains(&n.address));
            }
            ForgetStep::Violations { link } => self.details.violations.retain(|counted| counted.link != *link),
        }
    }
}
