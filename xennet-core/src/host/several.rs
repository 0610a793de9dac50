//! Several networks: in which order they are started and stopped, and which are tried again.

use super::Host;
use crate::error::{Error, ErrorKind};
use crate::model::{IfName, Network};

impl Host {
    /// Starts several networks, each by `start`: bridges first, since others may leave through them. If one cannot be started, the
    /// others are started all the same. One that another network stands in the way of ([`ErrorKind::Conflict`]) is tried again while
    /// others come through: they may give up the port or subnet that it needs. Returns the failures that remain, in their order.
    ///
    /// ```
    /// use xennet_core::config::networks;
    /// use xennet_core::Host;
    ///
    /// let networks = networks::parse("[network.a]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n")?;
    /// let networks: Vec<_> = networks.iter().cloned().collect();
    /// let mut host = Host::fake();
    /// let failures = host.start_networks(&networks, |host, network| {
    ///     let applied = host.start_network(network)?;
    ///     println!("network {}: {} steps", network.name(), applied.steps);
    ///     Ok(())
    /// });
    /// assert!(failures.is_empty());
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn start_networks(
        &mut self,
        networks: &[Network],
        mut start: impl FnMut(&mut Host, &Network) -> Result<(), Error>,
    ) -> Vec<(IfName, Error)> {
        let (bridges, others): (Vec<&Network>, Vec<&Network>) = networks.iter().partition(|n| n.is_bridge());
        let mut left = [bridges, others].concat();
        let mut failures = Vec::new();
        while !left.is_empty() {
            let mut refused = Vec::new();
            for network in &left {
                if let Err(e) = start(self, network) {
                    refused.push((*network, e));
                }
            }
            let some_came_through = refused.len() < left.len();
            left.clear();
            for (network, e) in refused {
                if some_came_through && e.kind() == ErrorKind::Conflict {
                    left.push(network);
                } else {
                    failures.push((network.name(), e));
                }
            }
        }
        failures
    }

    /// The networks that are started, in the order in which they can be stopped: what leaves through a bridge before it.
    ///
    /// # Errors
    /// As [`started_networks`](Self::started_networks).
    pub fn in_order_of_stop(&self) -> Result<Vec<IfName>, Error> {
        let started = self.started_networks()?;
        let (bridges, others): (Vec<_>, Vec<_>) = started.iter().partition(|s| s.network.is_bridge());
        Ok(others.into_iter().chain(bridges).map(|s| s.network.name()).collect())
    }
}
