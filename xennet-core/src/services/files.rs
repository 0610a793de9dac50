//! The files of a network's services: written whole or not at all, readable by a dnsmasq that is not root.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Account, Client, Place};
use crate::budget::Budget;
use crate::error::Error;
use crate::exec::lock::{self, Locked};
use crate::private::{self, Holds, Use, unusable};

const LOCK: &str = "lock";
/// Who holds the lock may be waiting for a dnsmasq to end and for another one to start.
const PATIENCE: Duration = Duration::from_secs(15);

/// The lock of a network's services; goes with this value.
#[derive(Debug)]
pub(super) struct Lock {
    _locked: Locked,
}

/// Makes the network's directory and takes its lock.
pub(super) fn hold(dir: &Path, budget: Budget) -> Result<Lock, Error> {
    loop {
        make_dir(dir)?;
        let path = dir.join(LOCK);
        if let Some(lock) = take(&path, budget)? {
            return Ok(lock);
        }
    }
}

/// Takes the lock of a network that has a directory.
pub(super) fn hold_existing(dir: &Path, budget: Budget) -> Result<Option<Lock>, Error> {
    loop {
        // Without a directory there is nothing that could be locked.
        if !dir.is_dir() {
            return Ok(None);
        }
        if let Some(lock) = take(&dir.join(LOCK), budget)? {
            return Ok(Some(lock));
        }
    }
}

/// The lock, unless whoever held it has removed it with the directory.
fn take(path: &Path, budget: Budget) -> Result<Option<Lock>, Error> {
    let Some((file, _)) = private::open(path, Use::Lock)? else { return Ok(None) };
    let locked = lock::take(file, path, budget.left().min(PATIENCE))?;
    let links = locked.metadata().map_err(|e| unusable(path, "cannot be read", &e))?.nlink();
    Ok((links > 0).then_some(Lock { _locked: locked }))
}

/// Makes a network's directory, which everybody can read, with the one above it, which is root's services' own.
fn make_dir(dir: &Path) -> Result<(), Error> {
    if let Some(above) = dir.parent() {
        match rustix::process::geteuid().is_root() {
            true => private::make_open_dir(above)?,
            false => private::make_dir(above, Holds::OursOnly)?,
        }
    }
    private::make_open_dir(dir)
}

/// Puts a text in the place of a file, if it is not there already. Says what was there before.
pub(super) fn put(path: &Path, text: &str) -> Result<Put, Error> {
    let before = read(path)?;
    if before.as_deref() == Some(text) {
        return Ok(Put::Same);
    }
    draft(path, text)?.publish()?;
    Ok(if before.is_some() { Put::Other } else { Put::New })
}

/// Writes the text that shall take the place of a file, whole, under a name of its own.
pub(super) fn draft(path: &Path, text: &str) -> Result<Draft, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // dnsmasq overlooks files that begin with a dot, and looks when one gets its name.
    let draft = Draft { whole: path.with_file_name(format!(".{name}.{}", std::process::id())), path: path.to_owned() };
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o644).open(&draft.whole)?;
        // Whatever the caller's umask is.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|e| unusable(path, "cannot be written", &e))?;
    Ok(draft)
}

/// A text that is written, and not yet in its place. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    whole: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Puts it in its place. On tmpfs that takes no room.
    pub(super) fn publish(self) -> Result<(), Error> {
        fs::rename(&self.whole, &self.path).map_err(|e| unusable(&self.path, "cannot be written", &e))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // An unpublished draft is removed. A published one no longer has this name.
        let _ = fs::remove_file(&self.whole);
    }
}

/// What [`put`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The same text.
    Same,
    /// Nothing.
    New,
    /// Another text.
    Other,
}

/// A file, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        // What is not UTF-8 is not ours, and not equal to anything of ours.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unusable(path, "cannot be read", &e)),
    }
}

/// Removes a file; false if there was none.
pub(super) fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(unusable(path, "cannot be removed", &e)),
    }
}

/// Removes the network's directory with all that is in it, and the one above it if it was the last.
pub(super) fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unusable(dir, "cannot be removed", &e)),
        _ => {}
    }
    if let Some(above) = dir.parent().filter(|above| !above.ends_with("networks")) {
        // Other networks' may be in it; an empty one that stays does no harm.
        let _ = fs::remove_dir(above);
    }
    Ok(())
}

/// The leases that keep dnsmasq from giving a guest its addresses: those that another one has not given back. Every lease of
/// an IPv6 address is one, since it belongs to a system's own identifier, which another system on the same MAC does not know.
pub(super) fn in_the_way(leases: &str, client: &Client, addresses: &[IpAddr]) -> bool {
    let mac = client.mac.to_string();
    leases.lines().any(|line| {
        let Some((holder, address)) = lease(line) else { return false };
        addresses.contains(&address) && (address.is_ipv6() || !holder.eq_ignore_ascii_case(&mac))
    })
}

/// The same without the leases of these addresses.
pub(super) fn without(leases: &str, addresses: &[IpAddr]) -> String {
    let stays = |line: &&str| lease(line).is_none_or(|(_, address)| !addresses.contains(&address));
    leases.lines().filter(stays).map(|line| format!("{line}\n")).collect()
}

/// Holder and address of a line of dnsmasq's file of leases: time, MAC (IPv4) or number (IPv6), address, name, identifier.
fn lease(line: &str) -> Option<(&str, IpAddr)> {
    let mut words = line.split(' ');
    let (_time, holder, address) = (words.next()?, words.next()?, words.next()?);
    Some((holder, address.parse().ok()?))
}

/// Whom a dnsmasq can run as that reads files here; and the directory that keeps it from becoming another user than root.
pub(super) fn account(place: &Path) -> (Account, Option<PathBuf>) {
    if !rustix::process::geteuid().is_root() {
        return (Account::Default, None);
    }
    let says = |path: &str| fs::read_to_string(path).unwrap_or_default();
    // In a user namespace that an ordinary user made there is nobody but root, who is that user.
    if says("/proc/self/setgroups").trim() == "deny" {
        return (Account::Root, None);
    }
    let closed = |dir: &&Path| fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o001 == 0);
    if let Some(closed) = place.ancestors().find(closed) {
        return (Account::Root, Some(closed.to_owned()));
    }
    (not_root(&says("/etc/passwd")), None)
}

/// Whom a dnsmasq becomes.
fn not_root(users: &str) -> Account {
    let known = |name: &str| users.lines().any(|line| line.split(':').next() == Some(name));
    ["dnsmasq", "nobody"].into_iter().find(|name| known(name)).map_or(Account::Default, Account::User)
}

/// The directories that dnsmasq watches.
pub(super) fn make_all(place: &Place<'_>) -> Result<(), Error> {
    for dir in [place.dir.to_owned(), place.hosts(), place.names()] {
        private::make_open_dir(&dir)?;
    }
    Ok(())
}

/// An absolute path: dnsmasq works in `/`.
pub(super) fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    std::path::absolute(&path).map_err(|e| unusable(&path, "has no absolute path", &e))
}
