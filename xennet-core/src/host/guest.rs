//! The network configuration for the guest of a vif.

use super::place::network_of;
use super::{Host, joined};
use crate::error::{Error, ErrorKind};
use crate::exec::Subject;
use crate::guest::{GuestConfig, GuestWish};
use crate::model::{Mode, Network, Resolved, Started, VifId, VifSpec};
use crate::plan::Goal;

impl Host {
    /// The configuration for the guest of an attached vif, from its vif line, its network, and its attachment.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if there is no record of the vif; else as [`GuestConfig::attached`].
    pub fn guest_config(&mut self, vif: VifId, wish: &GuestWish) -> Result<GuestConfig, Error> {
        let record = self.records.record(Subject::Vif(vif))?;
        let attached = record.and_then(|entry| match entry.goal {
            Goal::Resolved(Resolved::Attach(a)) => Some((a, entry.text)),
            _ => None,
        });
        let Some((attach, line)) = attached else {
            return Err(Error::new(ErrorKind::Invalid, format!("{vif} is not attached: there is no record of it"))
                .with_object(vif.to_string())
                .with_hint("attach it first, or give its vif line instead of its name"));
        };
        // The line is one that this library wrote; a vif without one is known by its attachment.
        let spec = line.and_then(|line| line.parse::<VifSpec>().ok()).unwrap_or_default().numbered(vif.devid);
        let network = match attach.wish.network {
            Some(name) => self.records.started(&name)?,
            None => None,
        };
        GuestConfig::attached(&spec, &attach.wish.attachment, network.as_ref(), wish)
    }

    /// The configuration for the guest of a vif with this line, before it is attached. The vif's network is a started one, or one of those
    /// in `described`.
    ///
    /// # Errors
    /// As [`GuestConfig::new`], and [`ErrorKind::Invalid`] if the line leaves open which network is meant.
    pub fn guest_config_of(
        &mut self,
        vif: &VifSpec,
        described: &[Network],
        wish: &GuestWish,
    ) -> Result<GuestConfig, Error> {
        let network = self.network_of_guest(vif, described)?;
        GuestConfig::new(vif, network.as_ref(), wish)
    }

    /// The network that a vif line belongs to, by the rules of an attach.
    fn network_of_guest(&self, vif: &VifSpec, described: &[Network]) -> Result<Option<Started>, Error> {
        if let Some(name) = vif.bridge() {
            if let Some(started) = self.records.started(&name)? {
                return Ok(Some(started));
            }
            let is_it = |n: &&Network| n.name() == name || n.bridge().is_some_and(|b| b.name() == name);
            if let Some(network) = described.iter().find(is_it) {
                return Ok(Some(Started::new(network.clone())));
            }
        }
        let mode = Mode::of_vif(vif)?;
        if mode == Mode::Bridge {
            return Ok(None);
        }
        let mut all: Vec<Started> = self.records.all_started()?;
        for network in described {
            if !all.iter().any(|s| s.network.name() == network.name()) {
                all.push(Started::new(network.clone()));
            }
        }
        network_of(mode, all, vif).map_err(|names| {
            let message = "neither bridge= nor ip= says which network the vif belongs to";
            let hint = format!("name one of {}: bridge={}", joined(&names), names[0]);
            Error::new(ErrorKind::Invalid, message).with_object("bridge").with_hint(hint)
        })
    }
}
