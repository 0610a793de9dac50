//! Telling a network's dnsmasq about its guests.

use super::Host;
use super::records::Records;
use crate::error::{Error, ErrorKind};
use crate::exec::{Entry, StateDir, Subject};
use crate::model::{IfName, Network, Resolved, Started, VifId, VifSpec};
use crate::plan::Goal;
use crate::services::{self, Client};

impl Host {
    /// The directory in which a network's services look for its guests, if they are served at all: of a rehearsal nobody is.
    pub(super) fn served_in(&self, network: &Network) -> Option<&StateDir> {
        match &self.records {
            Records::Dir(dir) if services::wanted(network) && self.backend.capabilities().programs => Some(dir),
            _ => None,
        }
    }

    /// A guest comes, or is otherwise than it was. Without a MAC nobody can be told of it.
    pub(super) fn tell_of_guest(&self, started: &Started, id: VifId, vif: &VifSpec) -> Result<(), Error> {
        let (Some(dir), Some(mac)) = (self.served_in(&started.network), vif.mac()) else { return Ok(()) };
        let addresses = vif.ip().iter().map(|n| n.ip()).collect();
        let client = Client { mac: mac.into(), addresses, name: None };
        services::guest(dir, started, id, &client, self.budget)
    }

    /// A guest goes.
    pub(super) fn forget_guest(&self, network: &IfName, id: VifId) -> Result<(), Error> {
        match &self.records {
            Records::Dir(dir) => services::no_guest(dir, network, id, self.budget),
            Records::Memory(_) => Ok(()),
        }
    }

    /// A network's services begin, and have forgotten whom they knew. A listing of the vifs.
    pub(super) fn tell_of_all_guests(&self, started: &Started) -> Result<(), Error> {
        if self.served_in(&started.network).is_none() {
            return Ok(());
        }
        for (subject, entry) in self.records.all()? {
            let Subject::Vif(id) = subject else { continue };
            if network_of(&entry) != Some(started.network.name()) {
                continue;
            }
            let Some(text) = entry.text.as_deref() else { continue };
            let vif = text.parse::<VifSpec>().map_err(|e| {
                let message = format!("{subject}: the vif line \"{text}\" that is recorded of it cannot be read");
                Error::new(ErrorKind::StateUnusable, format!("{message}: {e}"))
                    .with_object(subject.to_string())
                    .with_hint(format!("attach {id} anew: without that line its guest would get no address"))
            })?;
            self.tell_of_guest(started, id, &vif)?;
        }
        Ok(())
    }
}

/// The network that a vif belongs to, by its record.
pub(super) fn network_of(entry: &Entry) -> Option<IfName> {
    match &entry.goal {
        Goal::Resolved(Resolved::Attach(a)) => a.wish.network,
        _ => None,
    }
}
