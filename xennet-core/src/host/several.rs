//! Several networks: in which order they are started and stopped, and which are tried again.

use super::Host;
use crate::error::{Error, ErrorKind};
use crate::model::{IfName, Network, Started};

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

    /// Stops several networks, each by `stop`: these, or all that are started. A network that leaves through a bridge is stopped before
    /// that bridge. If one cannot be stopped, the others are stopped all the same. Returns the failures, in their order.
    ///
    /// # Errors
    /// As [`started_networks`](Self::started_networks).
    pub fn stop_networks(
        &mut self,
        names: Option<&[IfName]>,
        mut stop: impl FnMut(&mut Host, &IfName) -> Result<(), Error>,
    ) -> Result<Vec<(IfName, Error)>, Error> {
        let mut order = self.in_order_of_stop()?;
        if let Some(names) = names {
            let mut names = names.to_vec();
            // One that is not started is in nobody's way.
            names.sort_by_key(|name| order.iter().position(|started| started == name));
            order = names;
        }
        Ok(order.into_iter().filter_map(|name| Some((name, stop(self, &name).err()?))).collect())
    }

    /// The networks that are started, in the order in which they can be stopped: a network that leaves through a bridge before that
    /// bridge.
    ///
    /// # Errors
    /// As [`started_networks`](Self::started_networks).
    pub fn started_in_order_of_stop(&self) -> Result<Vec<Started>, Error> {
        let (bridges, others): (Vec<_>, Vec<_>) =
            self.started_networks()?.into_iter().partition(|started| started.network.is_bridge());
        Ok([others, bridges].concat())
    }

    /// Their names.
    ///
    /// # Errors
    /// As [`started_networks`](Self::started_networks).
    pub fn in_order_of_stop(&self) -> Result<Vec<IfName>, Error> {
        Ok(self.started_in_order_of_stop()?.iter().map(|started| started.network.name()).collect())
    }
}
