//! Starting and ending a network's dnsmasqs.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::files;
use super::process::{self, Process};
use super::program::{Ended, find, places, run};
use super::{Daemon, Outcome, Part, Place, dir_of, hearing, place_of, text};
use crate::budget::Budget;
use crate::error::{Error, ErrorKind};
use crate::exec::{Entry, StateDir};
use crate::model::{IfName, Started};

/// How long dnsmasq may take to check its configuration, and to start: it takes hundredths of a second.
pub(super) const START: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(10) };
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
/// How long one is waited for that was told to start and did not in time.
const LATE: Duration = Duration::from_millis(500);

/// What is remembered of a dnsmasq that was started. Another version may have written it, so every field has a default. Where a default
/// is not what is wanted, [`start`] restarts the dnsmasq.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub(super) struct Record {
    /// The format of this document, by the numbers of [`Entry::FORMAT`]; 0 where it was written without one.
    xennet: u32,
    /// Its process; `None` in a record that was read if it does not run.
    #[serde(flatten)]
    pub(super) process: Option<Process>,
    /// The program it was started from.
    pub(super) program: PathBuf,
    /// What it was told.
    pub(super) config: String,
    /// The bridge that it hears alone, by its number: one that is made anew under the same name is another one to it.
    pub(super) bridge: Option<u32>,
}

impl Record {
    /// A text that cannot be read, or that a newer version has written, says nothing.
    fn of(text: &str) -> Self {
        crate::read::json(text).ok().filter(|r: &Record| r.xennet <= Entry::FORMAT).unwrap_or_default()
    }
}

/// Starts the dnsmasqs that a network needs, or makes those that run do what it needs now; guests that were told before stay
/// known. When this returns, their sockets are open. All that is waited for ends within the budget, as in the other functions here.
///
/// # Errors
/// [`ErrorKind::Unsupported`] without dnsmasq on this machine (the hint names the package), with one that does not know what
/// it is told, and for IPv6 subnets larger than a /64; [`ErrorKind::Conflict`] if an address it is to answer at is taken;
/// [`ErrorKind::Denied`] if it lacks a permission; [`ErrorKind::Invalid`] as [`config`](super::config);
/// [`ErrorKind::Internal`] if it does not start for another reason, with its own words; [`ErrorKind::Busy`],
/// [`ErrorKind::StateFull`] and [`ErrorKind::StateUnusable`] for the files. After an error what ran as it should still runs;
/// what was to run otherwise may be ended, and the error says so. A record that cannot be read, as of another version, is no error: its
/// dnsmasq is found by its files, and restarted.
pub fn start(dir: &StateDir, started: &Started, budget: Budget) -> Result<Outcome, Error> {
    let path = files::absolute(dir_of(dir, &started.network.name()))?;
    if !super::wanted(&started.network) {
        stop(dir, &started.network.name(), budget)?;
        return Ok(Outcome::NotWanted);
    }
    let place = place_of(&path, super::Account::Default);
    // What cannot be is refused before anything is made.
    text::config(started, &place)?;
    let program = find(places(), &started.network.name())?;
    stop_in(&files::absolute(dir.former_network_dir(&started.network.name()))?, &path, budget)?;
    let _lock = files::hold(&path, budget)?;
    files::make_all(&place)?;
    // Who can read there is known when it is there.
    let place = place_of(&path, files::account(&path).0);
    let wanted = text::config(started, &place)?;
    let bridge = index(started)?;
    let unwanted: Vec<Part> = Part::ALL.into_iter().filter(|part| wanted.iter().all(|(p, _)| p != part)).collect();
    let mut fresh = Vec::new();
    for (part, config) in wanted {
        let before = record(&place, part)?;
        let pid = before.as_ref().and_then(|b| b.process.as_ref()).map(|p| p.pid);
        let hears = match hearing::obstacle(&config, pid) {
            Some(hearing::Obstacle::Taken { address, protocol }) => {
                return Err(taken(&started.network.name(), address, protocol));
            }
            // It looks again when an address comes, or when it starts.
            Some(hearing::Obstacle::Unheard { .. }) => false,
            None => true,
        };
        if !hears || before.is_none_or(|b| b.config != config || b.bridge != bridge || b.process.is_none()) {
            // All of them, before one that runs is ended.
            check(&place, part, &config, &program, budget)?;
            fresh.push((part, config));
        }
    }
    let mut ran = false;
    for part in unwanted.into_iter().chain(fresh.iter().map(|(part, _)| *part)) {
        ran |= end(&place, part, budget)?;
    }
    let outcome = match (ran, fresh.is_empty()) {
        (true, _) => Outcome::Restarted,
        (false, true) => Outcome::Unchanged,
        (false, false) => Outcome::Started,
    };
    for (part, config) in fresh {
        launch(&place, part, config, &program, bridge, budget)?;
    }
    Ok(outcome)
}

/// Ends a network's dnsmasqs, and removes all their files, those of guests and leases included. Only processes that
/// [`start`] started are ended: number and start time must fit what is remembered, or the number what dnsmasq has written; and the command
/// line must name the configuration. False if there was nothing.
///
/// # Errors
/// [`ErrorKind::Denied`] if a process may not be ended, [`ErrorKind::Busy`] if it does not end although it was killed;
/// [`ErrorKind::StateUnusable`] for the files.
pub fn stop(dir: &StateDir, network: &IfName, budget: Budget) -> Result<bool, Error> {
    let path = files::absolute(dir_of(dir, network))?;
    let former = stop_in(&files::absolute(dir.former_network_dir(network))?, &path, budget)?;
    Ok(stop_all_in(&path, budget)? || former)
}

/// Ends what an earlier version has started, whose files were elsewhere.
fn stop_in(former: &Path, now: &Path, budget: Budget) -> Result<bool, Error> {
    if former == now { Ok(false) } else { stop_all_in(former, budget) }
}

/// Ends a network's dnsmasqs as [`stop`] does, and keeps all their files: [`start`] goes on with the same guests and leases. False if
/// none ran.
///
/// # Errors
/// As [`stop`].
pub fn pause(dir: &StateDir, network: &IfName, budget: Budget) -> Result<bool, Error> {
    let (path, former) = (files::absolute(dir_of(dir, network))?, files::absolute(dir.former_network_dir(network))?);
    let mut ran = false;
    for path in [Some(&path), Some(&former).filter(|former| **former != path)].into_iter().flatten() {
        let Some(_lock) = files::hold_existing(path, budget)? else { continue };
        for part in Part::ALL {
            ran |= end_process(&place_of(path, super::Account::Default), part, budget)?;
        }
    }
    Ok(ran)
}

fn stop_all_in(path: &Path, budget: Budget) -> Result<bool, Error> {
    let Some(_lock) = files::hold_existing(path, budget)? else { return Ok(false) };
    let place = place_of(path, super::Account::Default);
    for part in Part::ALL {
        end(&place, part, budget)?;
    }
    files::remove_dir(path)?;
    Ok(true)
}

/// The note that a network's dnsmasq runs as root; `None` if it runs as another user.
///
/// # Errors
/// [`ErrorKind::StateUnusable`] where the directory has no absolute path.
pub fn remark(dir: &StateDir, network: &IfName) -> Result<Option<String>, Error> {
    let path = files::absolute(dir_of(dir, network))?;
    let (_, closed) = files::account(&path);
    Ok(closed.map(|closed| {
        format!(
            "network {network}: its dnsmasq runs as root, because no other user can enter {}; with a state directory below /run \
             it does not",
            closed.display()
        )
    }))
}

/// The dnsmasqs that were started for a network, which of them run, and which cannot answer. Starts no process and takes no lock.
///
/// # Errors
/// [`ErrorKind::StateUnusable`] if what is written down cannot be read.
pub fn status(dir: &StateDir, network: &IfName) -> Result<Vec<Daemon>, Error> {
    let path = files::absolute(dir_of(dir, network))?;
    let place = place_of(&path, super::Account::Default);
    let mut all = Vec::new();
    for part in Part::ALL {
        if let Some(record) = record(&place, part)? {
            let pid = record.process.map(|p| p.pid);
            let unheard = pid.and_then(|pid| hearing::obstacle(&record.config, Some(pid))).map(|o| o.to_string());
            all.push(Daemon { part, pid, unheard });
        }
    }
    Ok(all)
}

fn record_file(place: &Place<'_>, part: Part) -> PathBuf {
    place.dir.join(format!("{}.json", part.name()))
}

/// What is known of a part that was started. One that runs is found without a record, too: the caller that started it may have been killed
/// before it wrote the record, or have had no room for it.
pub(super) fn record(place: &Place<'_>, part: Part) -> Result<Option<Record>, Error> {
    let text = files::read(&record_file(place, part))?;
    let mut record = text.as_deref().map(Record::of).unwrap_or_default();
    let process =
        record.process.take().filter(|p| process::is_alive(p) && is_ours(p.pid, place, part, &record.program));
    record.process = match process {
        Some(process) => Some(process),
        None => by_number(place, part)?,
    };
    Ok((text.is_some() || record.process.is_some()).then_some(record))
}

/// The process whose number dnsmasq has written, if it was started with this part's configuration.
fn by_number(place: &Place<'_>, part: Part) -> Result<Option<Process>, Error> {
    let process = number(place, part)?.and_then(Process::of);
    Ok(process.filter(|p| process::has_argument(p.pid, &argument(place, part))))
}

/// The argument that a dnsmasq of ours has.
pub(super) fn argument(place: &Place<'_>, part: Part) -> Vec<u8> {
    [b"--conf-file=", place.config(part).as_os_str().as_bytes()].concat()
}

/// Whether a process is the dnsmasq of this part, by its program and by what it was started with.
fn is_ours(pid: u32, place: &Place<'_>, part: Part, program: &Path) -> bool {
    process::has_argument(pid, &argument(place, part)) && process::runs(pid, program)
}

/// Ends a part if it runs, and removes its files. False if it did not run.
fn end(place: &Place<'_>, part: Part, budget: Budget) -> Result<bool, Error> {
    let ran = end_process(place, part, budget)?;
    for file in [record_file(place, part), place.pid(part), place.config(part)] {
        files::remove(&file)?;
    }
    Ok(ran)
}

/// Ends a part if it runs, and leaves all its files. False if it did not run.
pub(super) fn end_process(place: &Place<'_>, part: Part, budget: Budget) -> Result<bool, Error> {
    let Some(process) = record(place, part)?.and_then(|record| record.process) else { return Ok(false) };
    let ours = |pid| process::has_argument(pid, &argument(place, part));
    process::end(&process, ours, END, budget)
        .map_err(|e| e.with_object(place.config(part).display().to_string()).as_before("the files are unchanged"))
}

/// The number of the network's private bridge, if it has one and it is there.
pub(super) fn index(started: &Started) -> Result<Option<u32>, Error> {
    let Some(bridge) = started.network.bridge() else { return Ok(None) };
    number_of_link(&bridge.name())
}

#[cfg(feature = "netlink")]
fn number_of_link(link: &IfName) -> Result<Option<u32>, Error> {
    use crate::backend::Backend as _;
    use crate::snapshot::{Part, Scope};
    let seen =
        crate::backend::netlink::Netlink::open()?.observe(&Scope::none().with(Part::Link(*link))).map_err(|e| {
            Error::new(ErrorKind::Io, format!("bridge {link} cannot be looked at"))
                .with_object(link.as_str())
                .with_errno(e.errno)
        })?;
    Ok(seen.links.get(link).map(|found| found.index))
}

/// Without the kernel's backend there is no bridge of the kernel's.
#[cfg(not(feature = "netlink"))]
fn number_of_link(_: &IfName) -> Result<Option<u32>, Error> {
    Ok(None)
}

/// The number that a dnsmasq has written.
fn number(place: &Place<'_>, part: Part) -> Result<Option<u32>, Error> {
    Ok(files::read(&place.pid(part))?.and_then(|text| text.trim().parse().ok()))
}

/// Asks dnsmasq what it thinks of a configuration, before one that runs is ended for it.
fn check(place: &Place<'_>, part: Part, config: &str, program: &Path, budget: Budget) -> Result<(), Error> {
    let draft = place.dir.join(format!("{}.draft", part.name()));
    files::put(&draft, config)?;
    let ran = run(program, &draft, &["--test"], budget.at_most(START));
    let removed = files::remove(&draft);
    let (status, said) = ran?;
    removed?;
    match status {
        Ended::As(status) if status.success() => Ok(()),
        // Its words are all that there is.
        Ended::Unseen if said.contains("syntax check OK") => Ok(()),
        ended => Err(failed(place, "does not take its configuration", ended, &said, program, START)),
    }
}

/// Starts a part, waits until it serves, and writes down that it does.
pub(super) fn launch(
    place: &Place<'_>,
    part: Part,
    config: String,
    program: &Path,
    bridge: Option<u32>,
    budget: Budget,
) -> Result<(), Error> {
    let time = budget.left().min(START);
    let file = place.config(part);
    files::put(&file, &config)?;
    // A number from before would be another's.
    files::remove(&place.pid(part))?;
    // What is started here ends when the daemon that it leaves behind has opened its sockets and given up root, or when
    // that has failed: it waits for a word of its.
    let (ended, said) = run(program, &file, &[], Budget::of(time))?;
    let number = number(place, part)?;
    let process = number.and_then(Process::of).filter(|p| is_ours(p.pid, place, part, program));
    let succeeded = match (ended, &process) {
        (Ended::As(status), _) => status.success(),
        // The daemon has written down its number. If it has said something as well it may be about to end.
        (Ended::Unseen, Some(process)) => said.is_empty() || !process::ends(process, SOON),
        _ => false,
    };
    match process {
        Some(process) if succeeded => {
            let record =
                Record { xennet: Entry::FORMAT, process: Some(process), program: program.to_owned(), config, bridge };
            let text = serde_json::to_string(&record).map_err(|e| {
                Error::new(ErrorKind::Internal, format!("{}: cannot be written as JSON: {e}", file.display()))
            })?;
            let put = files::put(&record_file(place, part), &text);
            put.map(|_| ()).map_err(|e| e.incomplete("dnsmasq runs, but its record could not be written"))
        }
        _ => {
            // One that came too late to be waited for.
            let kept = end(place, part, Budget::of(LATE))
                // To be looked at by whoever reads the hint.
                .and_then(|_| files::put(&file, &config));
            let e = failed(place, "did not start", ended, &said, program, time);
            let program = program.display();
            Err(match kept {
                Ok(_) => e.incomplete(format!("{program} does not run; its configuration is in {}", file.display())),
                Err(more) => e.incomplete(format!("{program} does not run; {more}")),
            })
        }
    }
}

fn failed(place: &Place<'_>, how: &str, ended: Ended, said: &str, program: &Path, time: Duration) -> Error {
    let network = place.dir.file_stem().unwrap_or_default().to_string_lossy();
    let status = match ended {
        Ended::As(status) => status.code().map_or_else(|| status.to_string(), |code| format!("status {code}")),
        Ended::Unseen => "its exit status is lost: this program ignores SIGCHLD, or waits for every child".to_owned(),
        Ended::Late => format!("not done after {} ms", time.as_millis()),
    };
    let program = program.display();
    // Its words are the only difference that it makes.
    let (kind, hint) = if said.contains("Address already in use") {
        (ErrorKind::Conflict, PORT_TAKEN.to_owned())
    } else if said.contains("ermission denied") || said.contains("not permitted") || said.contains("capability") {
        let place = place.dir.display();
        let hint = format!(
            "run it as root; if that was root, AppArmor may confine dnsmasq (aa-status): let it use {place}/ in \
             /etc/apparmor.d/local/usr.sbin.dnsmasq"
        );
        (ErrorKind::Denied, hint)
    } else if how.contains("configuration") {
        (ErrorKind::Unsupported, format!("dnsmasq 2.81 or later is needed: {program} --version"))
    } else {
        (ErrorKind::Internal, format!("see what it logs: {program} --no-daemon --log-facility=- --conf-file=FILE"))
    };
    let said = if said.is_empty() { "it said nothing".into() } else { format!("it said \"{said}\"") };
    Error::new(kind, format!("dnsmasq of network {network} {how} ({status}): {said}"))
        .with_object(network)
        .with_hint(hint)
}

/// The way out where another program has a port.
const PORT_TAKEN: &str = "see who has the port: ss -lnptu 'sport = :53 or sport = :67 or sport = :547'; one that listens at all \
                          addresses has to be told its own (a dnsmasq: bind-dynamic and interface=)";

/// A gateway's address has a port 53 that is another program's. dnsmasq says nothing about an address that comes later.
fn taken(network: &IfName, address: IpAddr, protocol: &str) -> Error {
    let message = format!(
        "dnsmasq of network {network} cannot answer at {address}: another program has {protocol} port 53 there or at all addresses: \
         Address already in use"
    );
    Error::new(ErrorKind::Conflict, message)
        .with_object(network.as_str())
        .as_before("no dnsmasq was started or ended")
        .with_hint(PORT_TAKEN)
}

/// How long a daemon that has complained may take to end.
const SOON: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Account;
    use super::super::again::ignoring_children;
    use super::*;
    use crate::error::Errno;

    /// A directory with a program in the place of dnsmasq.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, script: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xennet-services-{}-{name}.d", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            let program = path.join("dnsmasq");
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
            Fake(path)
        }

        fn program(&self) -> PathBuf {
            self.0.join("dnsmasq")
        }

        fn check(&self) -> Result<(), Error> {
            check(&place_of(&self.0, Account::Default), Part::Dhcp, "port=0\n", &self.program(), Budget::unlimited())
        }

        fn launch(&self) -> Result<(), Error> {
            let place = place_of(&self.0, Account::Default);
            launch(&place, Part::Dhcp, "port=0\n".into(), &self.program(), None, Budget::unlimited())
        }

        fn files(&self) -> Vec<String> {
            let mut names: Vec<_> =
                fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_it_refuses_is_told_in_its_words_and_nothing_is_left() {
        let old = Fake::new("old", "printf '\\ndnsmasq: bad option at line 7 of x\\033[2J\\n' >&2; exit 1");
        let error = old.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            error.message().ends_with(
                "does not take its configuration (status 1): it said \"bad option at line 7 of x\u{fffd}[2J\""
            )
        );
        assert!(error.hint().unwrap().starts_with("dnsmasq 2.81 or later"), "{error:?}");
        assert_eq!(old.files(), ["dnsmasq"]);
        let silent = Fake::new("silent", "kill -9 $$");
        assert!(silent.check().unwrap_err().message().ends_with("(signal: 9 (SIGKILL)): it said nothing"));
        let fine = Fake::new("fine", "[ \"$2\" = --test ] && [ \"${1%/dhcp.draft}\" != \"$1\" ] && [ -z \"$HOME\" ]");
        fine.check().unwrap();
    }

    #[test]
    fn what_nobody_saw_end_is_judged_by_its_words_and_its_files() {
        ignoring_children(
            "services::daemon::tests::what_nobody_saw_end_is_judged_by_its_words_and_its_files",
            each_is_judged_by_its_words_and_its_files,
        );
    }

    fn each_is_judged_by_its_words_and_its_files() {
        Fake::new("ok", "echo 'dnsmasq: syntax check OK.' >&2").check().unwrap();
        let old = Fake::new("unseen", "echo 'dnsmasq: bad option at line 7 of x' >&2; exit 1").check().unwrap_err();
        assert!(old.kind() == ErrorKind::Unsupported && old.message().contains("SIGCHLD"), "{old:?}");
        for (name, script, words) in [
            ("u-dies", "echo dnsmasq: oh no >&2; exit 5", "it said \"oh no\""),
            ("u-liar", "exit 0", "it said nothing"),
            ("u-hangs", "echo wait; sleep 100", "(not done after 500 ms): it said \"wait\""),
        ] {
            let fake = Fake::new(name, script);
            let error = fake.launch().unwrap_err();
            assert!(error.message().ends_with(words), "{error}");
            assert_eq!(fake.files(), ["dhcp.conf", "dnsmasq"], "{name}");
        }
    }

    #[test]
    fn one_that_does_not_start_is_no_success() {
        for (name, script, kind, words) in [
            ("dies", "echo dnsmasq: oh no >&2; exit 5", ErrorKind::Internal, "(status 5): it said \"oh no\""),
            ("taken", "echo 'dnsmasq: x: Address already in use'; exit 2", ErrorKind::Conflict, "already in use\""),
            ("confined", "echo 'dnsmasq: cannot read x: Permission denied'; exit 3", ErrorKind::Denied, "denied\""),
            ("liar", "exit 0", ErrorKind::Internal, "(status 0): it said nothing"),
            ("hangs", "echo wait; sleep 100", ErrorKind::Internal, "(not done after 500 ms): it said \"wait\""),
        ] {
            let fake = Fake::new(name, script);
            let error = fake.launch().unwrap_err();
            assert_eq!(error.kind(), kind, "{name}");
            assert!(error.message().ends_with(words), "{error}");
            assert!(error.hint().is_some() && error.state().unwrap().contains("does not run"), "{error:?}");
            assert_eq!(fake.files(), ["dhcp.conf", "dnsmasq"], "{name}");
        }
        let missing = Fake::new("missing", "");
        fs::remove_file(missing.program()).unwrap();
        assert_eq!(missing.launch().unwrap_err().errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn a_program_that_cannot_be_run_is_passed_over() {
        let fake = Fake::new("mode", "");
        let network = "lan".parse().unwrap();
        assert_eq!(find(vec!["/nonexistent".into(), fake.0.clone()], &network).unwrap(), fake.program());
        fs::set_permissions(fake.program(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(find(vec![fake.0.clone()], &network).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
