//! Telling a network's dnsmasqs which guests come and go.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::daemon::{Record, argument, end_process, index, launch, record};
use super::files::{self, Put};
use super::process;
use super::program::{find, places};
use super::{Client, Part, Place, dir_of, file_of, place_of, text};
use crate::budget::Budget;
use crate::error::{Error, ErrorKind};
use crate::exec::StateDir;
use crate::model::{IfName, Started, VifId};

/// With less time than this a dnsmasq that runs is not ended to be started anew.
const RESTART: Duration = Duration::from_millis(300);

/// A guest's vif has come, or is otherwise than it was. Its files are written, and a dnsmasq that runs takes note of them;
/// one that does not yet run will read them. The same again does nothing.
///
/// No process is started, with one exception: where dnsmasq has given one of the addresses to somebody who has not given it
/// back (a guest that was destroyed; with IPv6 also the system that this guest ran before a reboot), it would not give it to
/// this one for up to half a day. It knows no other way to forget a lease than to end, so it is started anew without that one,
/// which takes some hundredths of a second, and is done only where there is time to start it anew.
///
/// # Errors
/// As [`start`](super::start) where that has to be done; [`ErrorKind::Busy`] where there is no time, and with
/// [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`] for the files.
pub fn guest(dir: &StateDir, started: &Started, id: VifId, client: &Client, budget: Budget) -> Result<(), Error> {
    let (hosts, names) = (text::host_line(started, client), text::names(started, client));
    if hosts.is_none() && names.is_none() {
        return no_guest(dir, &started.network.name(), id, budget);
    }
    let path = files::absolute(dir_of(dir, &started.network.name()))?;
    let place = place_of(&path, super::Account::Default);
    let _lock = files::hold(&path, budget)?;
    let (mut changed, mut stale) = (false, false);
    let host = place.hosts().join(file_of(id));
    let known = files::read(&host)?;
    for (dir, wanted) in [(place.hosts(), &hosts), (place.names(), &names)] {
        let file = dir.join(file_of(id));
        match wanted {
            Some(text) => {
                if !dir.is_dir() {
                    files::make_all(&place)?;
                }
                let put = files::put(&file, text)?;
                changed |= put != Put::Same;
                stale |= put == Put::Other;
            }
            None => stale |= files::remove(&file)?,
        }
    }
    if changed
        && hosts.is_some()
        && let Err(e) = forget_leases(&place, started, client, budget)
    {
        // Otherwise the next call would find the guest's file unchanged, and not remove the lease.
        let back = match known {
            Some(text) => files::put(&host, &text).map(|_| ()),
            None => files::remove(&host).map(|_| ()),
        };
        let _ = back.and_then(|()| forget_files(&place));
        return Err(e);
    }
    if stale {
        forget_files(&place)?;
    }
    Ok(())
}

/// A guest's vif has gone. Its files are removed, and a dnsmasq that runs is told to forget what stood in them. One that was
/// not known is a success.
///
/// # Errors
/// [`ErrorKind::Busy`], [`ErrorKind::StateUnusable`] for the files; [`ErrorKind::Denied`] if dnsmasq may not be told.
pub fn no_guest(dir: &StateDir, network: &IfName, id: VifId, budget: Budget) -> Result<(), Error> {
    let path = files::absolute(dir_of(dir, network))?;
    let Some(_lock) = files::hold_existing(&path, budget)? else { return Ok(()) };
    let place = place_of(&path, super::Account::Default);
    let (host, name) =
        (files::remove(&place.hosts().join(file_of(id)))?, files::remove(&place.names().join(file_of(id)))?);
    if host || name { forget_files(&place) } else { Ok(()) }
}

/// Tells those that run to forget files that are not there any more. dnsmasq notices by itself only what is added: it would
/// refuse the next guest with an address that it still knows.
fn forget_files(place: &Place<'_>) -> Result<(), Error> {
    for part in Part::ALL {
        if let Some(process) = record(place, part)?.and_then(|r| r.process) {
            // One that has ended meanwhile has forgotten, too.
            process::signal(&process, |pid| process::has_argument(pid, &argument(place, part)), Signal::HUP)?;
        }
    }
    Ok(())
}

/// Sees to it that nobody else's lease keeps a guest from its addresses.
fn forget_leases(place: &Place<'_>, started: &Started, client: &Client, budget: Budget) -> Result<(), Error> {
    let addresses = text::addresses(&started.network, client);
    let file = place.leases();
    let Some(leases) = files::read(&file)?.filter(|text| files::in_the_way(text, client, &addresses)) else {
        return Ok(());
    };
    let mut served = None;
    for part in [Part::Bridge, Part::Dhcp] {
        if let Some(record) = record(place, part)?.filter(|r| r.process.is_some()) {
            served = Some((part, record));
            break;
        }
    }
    // A disk without room shows before anything is ended.
    let fresh = files::draft(&file, &files::without(&leases, &addresses))?;
    let Some((part, record)) = served else { return fresh.publish() };
    if budget.left() < RESTART {
        let name = started.network.name();
        let message = format!(
            "network {name}: its dnsmasq has leased the address to another guest, and no time is left to restart it"
        );
        return Err(Error::new(ErrorKind::Busy, message)
            .with_object(name.as_str())
            .as_before("dnsmasq runs as before")
            .with_hint("try again"));
    }
    let (config, program, bridge) = told(place, part, record, started)?;
    if !end_process(place, part, budget)? {
        return fresh.publish();
    }
    // From here on the dnsmasq is started whatever fails: all other guests of the network depend on it.
    let replaced = files::read(&file).and_then(|now| match now {
        // Leases that it gave since the first look.
        Some(now) if now != leases => {
            // Both have the same name.
            drop(fresh);
            files::draft(&file, &files::without(&now, &addresses))
        }
        _ => Ok(fresh),
    });
    let replaced = replaced.and_then(files::Draft::publish);
    let launched = launch(place, part, config, &program, bridge, budget);
    match (replaced, launched) {
        (Ok(()), launched) => launched,
        (Err(e), Ok(())) => Err(e.as_before("dnsmasq was restarted, with the leases as before")),
        (Err(e), Err(more)) => Err(e.incomplete(more.to_string())),
    }
}

/// Configuration, program and bridge of a dnsmasq that runs, to start it once more. Where the record does not say, its files do.
fn told(
    place: &Place<'_>,
    part: Part,
    record: Record,
    started: &Started,
) -> Result<(String, PathBuf, Option<u32>), Error> {
    let Record { config, program, bridge, .. } = record;
    if !config.is_empty() && !program.as_os_str().is_empty() {
        return Ok((config, program, bridge));
    }
    let config = files::read(&place.config(part))?.unwrap_or(config);
    Ok((config, find(places(), &started.network.name())?, index(started)?))
}
