//! The started networks, in the state directory: one small file each, by its name, which a hotplug call reads.
//!
//! No listing of the directory grows with the number of vifs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Entry;
use super::lock::{self, Locked};
use super::state::{StateDir, check_format, read};
use crate::error::{Error, ErrorKind};
use crate::model::{IfName, NetworkMode, Started};
use crate::private::{self, Holds, Use, unusable};

/// Their directory, within the state directory.
pub(super) const NETWORKS: &str = "networks";

/// The bridge of a private network: guests may name that one, too, and the network is found by it.
pub(crate) fn other_name(started: &Started) -> Option<IfName> {
    match started.network.mode() {
        NetworkMode::Bridge(_) => None,
        _ => started.network.bridge().map(|b| b.name()).filter(|b| *b != started.network.name()),
    }
}

/// Makes another name for a file beside it, unless it is there.
fn link(file: &Path, other: &Path) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default();
    match std::os::unix::fs::symlink(name, other) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(path, "cannot be removed", &e)),
        _ => Ok(()),
    }
}

/// The network that a file in the networks' directory is about.
fn network_of(file: &str) -> Option<IfName> {
    IfName::check(file.strip_suffix(".json")?).ok()
}

/// A network's file.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    xennet: u32,
    started: Option<Started>,
}

/// The same to be written.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct StartedFile<'a> {
    xennet: u32,
    started: &'a Started,
}

/// The lock of all networks ([`StateDir::hold_networks_unless`]).
#[derive(Debug)]
pub(crate) struct HeldNetworks(#[expect(dead_code, reason = "its end gives the lock back")] Locked);

impl StateDir {
    /// The network of this name, or with a private bridge of this name, if it is started: one file that is opened and read, or is not there.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the file is there and cannot be read.
    pub fn started(&self, name: &IfName) -> Result<Option<Started>, Error> {
        self.check()?;
        self.read_network(self.network_file(name))
    }

    /// The same of one that is started, or was until its stop was begun: how it was before it was started is not forgotten before
    /// the stop is carried out.
    pub(crate) fn started_or_stopping(&self, name: &IfName) -> Result<Option<Started>, Error> {
        match self.started(name)? {
            Some(started) => Ok(Some(started)),
            None => self.read_network(self.stopping_file(name)),
        }
    }

    fn read_network(&self, mut path: PathBuf) -> Result<Option<Started>, Error> {
        // The one name that may be a link is that of a private bridge; it leads to a network's file beside it.
        if let Some(network) = fs::read_link(&path).ok().as_deref().and_then(Path::to_str).and_then(network_of) {
            path = self.network_file(&network);
        }
        let Some(text) = private::read(&path)? else { return Ok(None) };
        let file: File = read(&path, &text)?;
        // In the first format the file was the network itself.
        let Some(started) = file.started else { return read(&path, &text).map(Some) };
        check_format(&path, file.xennet)?;
        Ok(Some(started))
    }

    /// All networks that are started, by their names. Lists the networks' directory, and no vif's.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the directory or a file in it cannot be read.
    pub fn all_started(&self) -> Result<Vec<Started>, Error> {
        self.check()?;
        let dir = self.path().join(NETWORKS);
        let listing = match fs::read_dir(&dir) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable(&dir, "cannot be read", &e)),
        };
        let mut names = BTreeSet::new();
        for entry in listing {
            let entry = entry.map_err(|e| unusable(&dir, "cannot be read", &e))?;
            // Another name of a network is a link.
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                continue;
            }
            let name = entry.file_name();
            names.extend(name.to_str().and_then(network_of));
        }
        let mut all = Vec::new();
        for name in names {
            // One that was stopped since the listing is not started.
            all.extend(self.started(&name)?);
        }
        Ok(all)
    }

    /// Writes down that a network is started, or that it is so otherwise than before; the file appears whole or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`].
    pub fn set_started(&self, started: &Started) -> Result<(), Error> {
        self.check()?;
        let path = self.network_file(&started.network.name());
        self.make_networks()?;
        let text = serde_json::to_vec(&StartedFile { xennet: Entry::FORMAT, started }).map_err(|e| {
            Error::new(ErrorKind::Internal, format!("{}: cannot be written as JSON: {e}", path.display()))
        })?;
        private::replace(&path, &text)?;
        remove(&self.stopping_file(&started.network.name()))?;
        match other_name(started) {
            Some(bridge) => {
                link(&path, &self.network_file(&bridge)).map_err(|e| unusable(&path, "cannot be written", &e))
            }
            None => Ok(()),
        }
    }

    /// Writes down that a network is not started any more. One that was not is a success.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub(crate) fn set_stopped(&self, name: &IfName) -> Result<(), Error> {
        self.forget_other_name(name)?;
        remove(&self.network_file(name))?;
        remove(&private::draft(&self.network_file(name)))?;
        remove(&self.stopping_file(name))
    }

    /// Keeps a network from being found, before its stop is written down; what is known of it stays until it is stopped.
    pub(crate) fn set_stopping(&self, name: &IfName) -> Result<(), Error> {
        self.forget_other_name(name)?;
        let path = self.network_file(name);
        match fs::rename(&path, self.stopping_file(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(&path, "cannot be renamed", &e)),
            _ => Ok(()),
        }
    }

    fn forget_other_name(&self, name: &IfName) -> Result<(), Error> {
        // One that cannot be read has no other name that could be known.
        let other = self.started(name).ok().flatten().as_ref().and_then(other_name);
        other.map_or(Ok(()), |bridge| remove(&self.network_file(&bridge)))
    }

    /// The networks that have a journal, by their names. Lists the directory, and opens no file.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the directory cannot be read.
    pub(crate) fn journalled_networks(&self) -> Result<Vec<IfName>, Error> {
        let listing = match fs::read_dir(self.path()) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable(self.path(), "cannot be read", &e)),
        };
        let mut names = BTreeSet::new();
        for entry in listing {
            let name = entry.map_err(|e| unusable(self.path(), "cannot be read", &e))?.file_name();
            let name = name.to_str().and_then(|n| n.strip_prefix("network-")?.strip_suffix(".journal"));
            names.extend(name.and_then(|n| IfName::check(n).ok()));
        }
        Ok(names.into_iter().collect())
    }

    /// Where a network's services keep their files. A dnsmasq that root starts becomes another user, to whom the state directory is
    /// closed: its files are beside that (`/run/xennet-services/NAME.d`). For other users they are in the state directory, under a
    /// name that ends otherwise than a started network's file.
    pub(crate) fn network_dir(&self, name: &IfName) -> PathBuf {
        match self.path().file_name() {
            Some(own) if rustix::process::geteuid().is_root() => {
                let mut beside = own.to_owned();
                beside.push("-services");
                self.path().with_file_name(beside).join(format!("{name}.d"))
            }
            _ => self.former_network_dir(name),
        }
    }

    /// Where earlier versions kept the files of every user's services.
    pub(crate) fn former_network_dir(&self, name: &IfName) -> PathBuf {
        self.path().join(NETWORKS).join(format!("{name}.d"))
    }

    /// Takes the lock of all networks: settings that several of them share are looked at and changed by one at a time. It goes with
    /// the value. The wait is given up as soon as `interrupted` says so, which is asked every now and then.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`].
    pub(crate) fn hold_networks_unless(
        &self,
        deadline: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<HeldNetworks, Error> {
        self.check()?;
        let path = self.path().join(NETWORKS).join("lock");
        loop {
            self.make_networks()?;
            // Somebody may be removing the directory.
            let Some((file, _)) = private::open(&path, Use::Lock)? else { continue };
            return lock::take_unless(file, &path, deadline, interrupted).map(HeldNetworks);
        }
    }

    /// Makes the directory of the networks.
    pub(super) fn make_networks(&self) -> Result<(), Error> {
        private::make_dir(self.path(), Holds::Maybe)?;
        private::make_dir(&self.path().join(NETWORKS), Holds::OursOnly)
    }

    fn stopping_file(&self, name: &IfName) -> PathBuf {
        self.path().join(NETWORKS).join(format!("{name}.stopping"))
    }

    fn network_file(&self, name: &IfName) -> PathBuf {
        self.path().join(NETWORKS).join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NatNetwork, Network};

    #[test]
    fn a_started_network_is_found_by_name_and_in_the_list_until_it_is_stopped() {
        let place = std::env::temp_dir().join(format!("xennet-networks-{}", std::process::id()));
        let dir = StateDir::at(&place);
        let (a, b): (IfName, IfName) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!((dir.started(&a).unwrap(), dir.all_started().unwrap()), (None, Vec::new()));
        let network = |name| Started::new(Network::new(name, NetworkMode::Nat(NatNetwork::new())).unwrap());
        let otherwise = Started { outside: Some("eth0".parse().unwrap()), ..network(a) };
        for started in [network(b), network(a), otherwise.clone()] {
            dir.set_started(&started).unwrap();
            assert_eq!(dir.started(&started.network.name()).unwrap(), Some(started));
        }
        assert_eq!(dir.all_started().unwrap(), [otherwise, network(b)]);
        dir.set_stopped(&a).unwrap();
        dir.set_stopped(&a).unwrap();
        assert_eq!(dir.all_started().unwrap(), [network(b)]);
        fs::write(place.join("networks/a.json"), "{").unwrap();
        for e in [dir.started(&a).unwrap_err(), dir.all_started().unwrap_err()] {
            assert_eq!(e.kind(), ErrorKind::StateUnusable);
        }
        assert_eq!(dir.recorded().unwrap(), []);
        fs::remove_dir_all(&place).unwrap();
    }
}
