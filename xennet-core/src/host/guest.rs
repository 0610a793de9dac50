//! What the guest of a vif has to be told.

use super::{Host, joined};
use crate::error::{Error, ErrorKind};
use crate::exec::Subject;
use crate::guest::{GuestConfig, GuestWish};
use crate::model::{IfName, Network, NetworkMode, Resolved, Started, VifId, VifSpec};
use crate::plan::Goal;

impl Host {
    /// What the guest of an attached vif has to be told: by its vif line, its network, and how it is attached.
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
                .with_hint("attach it first, or give its vif line in the place of its name"));
        };
        // The line is one that this library wrote; a vif without one is known by its attachment.
        let spec = line.and_then(|line| line.parse::<VifSpec>().ok()).unwrap_or_default().numbered(vif.devid);
        let network = match attach.wish.network {
            Some(name) => self.records.started(&name)?,
            None => None,
        };
        GuestConfig::attached(&spec, &attach.wish.attachment, network.as_ref(), wish)
    }

    /// What the guest of a vif will have to be told that has this vif line: by the network that it belongs to, started or, of those in
    /// `described`, not started yet.
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
        let Some(is_of_mode) = mode_of(vif) else { return Ok(None) };
        let mut all: Vec<Started> = self.records.all_started()?;
        for network in described {
            if !all.iter().any(|s| s.network.name() == network.name()) {
                all.push(Started::new(network.clone()));
            }
        }
        all.retain(|s| is_of_mode(s.network.mode()));
        let has = |s: &Started| vif.ip().iter().any(|n| s.network.subnet_of(n.ip()).is_some());
        if let Some(at) = all.iter().position(has) {
            return Ok(Some(all.swap_remove(at)));
        }
        if all.len() > 1 {
            let names: Vec<IfName> = all.iter().map(|s| s.network.name()).collect();
            let message = "the vif line says neither by bridge= nor by ip= to which network it belongs";
            return Err(Error::new(ErrorKind::Invalid, message).with_object("bridge").with_hint(format!(
                "name one of {}: bridge={}",
                joined(&names),
                names[0]
            )));
        }
        Ok(all.pop())
    }
}

/// The mode that `script=` asks for, where a network of it need not be named.
fn mode_of(vif: &VifSpec) -> Option<fn(&NetworkMode) -> bool> {
    let name = vif.script()?.as_str().rsplit('/').next().unwrap_or_default();
    match name.strip_prefix("xennet-").unwrap_or(name) {
        "vif-nat" => Some(|mode| matches!(mode, NetworkMode::Nat(_))),
        "vif-route" => Some(|mode| matches!(mode, NetworkMode::Routed(_))),
        _ => None,
    }
}
