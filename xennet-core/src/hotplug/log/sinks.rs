//! Writing: each place once, without waiting, and never with an error that anybody has to handle.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, sendto, socket_with,
};

use super::{CallRecord, Outcome, printable};
use crate::error::{Errno, Error};
use crate::hotplug::settings::Settings;
use crate::private::{self, Holds, Use, json_line};

/// The name of the list of calls in the state directory.
pub(super) const CALLS: &str = "calls.log";
/// The name of the list before it.
pub(super) const OLD_CALLS: &str = "calls.log.1";
/// A longer list becomes the old one.
pub(super) const LONG: u64 = 1024 * 1024;
/// How much of a text is sent to the journal or to syslog, in bytes: a datagram has a limit, and a reader, too.
const LONGEST: usize = 16 * 1024;
/// The number of the facility "daemon" (`syslog(3)`, `LOG_DAEMON` is this shifted by three).
const DAEMON: u8 = 3;

/// Where calls are told. Each place that is `None` is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sinks {
    /// The state directory, for the list of calls; made where it is missing.
    pub state_dir: Option<PathBuf>,
    /// The log that administrators know; its directory is made where it is missing.
    pub log_file: Option<PathBuf>,
    /// The socket of the journal.
    pub journal: Option<PathBuf>,
    /// The socket of syslog, for where there is no journal.
    pub syslog: Option<PathBuf>,
}

setters! { Sinks {
    with_state_dir: state_dir = impl Into<Option<PathBuf>>;
    with_log_file: log_file = impl Into<Option<PathBuf>>;
    with_journal: journal = impl Into<Option<PathBuf>>;
    with_syslog: syslog = impl Into<Option<PathBuf>>;
} }

/// A call that has said that it begins. Gone without a last word, it stays in the list as one that never ended.
#[derive(Debug, Default)]
pub struct Begun {
    /// The list of calls, still open.
    list: Option<File>,
}

/// A place that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unwritten {
    /// The file or the socket.
    pub place: PathBuf,
    /// Why.
    pub errno: Errno,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unwritten { place, errno } = self;
        match errno.text() {
            Some(text) => write!(f, "{} could not be written: {errno} ({text})", place.display()),
            None => write!(f, "{} could not be written: {errno}", place.display()),
        }
    }
}

impl Sinks {
    /// The socket of systemd's journal.
    pub(crate) const JOURNAL: &'static str = "/run/systemd/journal/socket";
    /// The socket of syslog.
    pub(crate) const SYSLOG: &'static str = "/dev/log";

    /// The places that the settings name.
    pub fn of(settings: &Settings) -> Self {
        Sinks {
            state_dir: Some(settings.state_dir.clone()),
            log_file: settings.log_file.clone(),
            journal: settings.syslog.then(|| Sinks::JOURNAL.into()),
            syslog: settings.syslog.then(|| Sinks::SYSLOG.into()),
        }
    }

    /// Says in the list of calls that this one begins. That is two system calls, of which the [end](Self::end) is spared one.
    pub fn begin(&self, call: &CallRecord) -> Begun {
        // A list that cannot be written is told of at the end.
        Begun { list: self.state_dir.as_ref().and_then(|dir| begin(dir, call).ok()) }
    }

    /// Reports a call whose begin was not reported. As [`end`](Self::end).
    pub fn tell(&self, call: &CallRecord) -> Vec<Unwritten> {
        self.end(Begun::default(), call)
    }

    /// Tells a call to every place; gives those that could not be written. Never waits: a log that is full or dead gets
    /// nothing.
    ///
    /// With everything in place that is nine system calls: look, write, close for the list; open, write, close for the
    /// log; socket, send, close for the journal.
    pub fn end(&self, begun: Begun, call: &CallRecord) -> Vec<Unwritten> {
        let mut unwritten = Vec::new();
        let mut note = |place: &Path, result: io::Result<()>| {
            if let Err(e) = result {
                unwritten.push(Unwritten { place: place.to_owned(), errno: Errno::from_io(&e) });
            }
        };
        let lines = call.lines();
        if let Some(dir) = &self.state_dir {
            note(&dir.join(CALLS), list(dir, call, begun));
        }
        if let Some(path) = &self.log_file {
            note(path, log(path, call, &lines));
        }
        if let Some((place, result)) = self.send(call, &lines) {
            note(place, result);
        }
        unwritten
    }

    /// To the journal if there is one, else to syslog.
    fn send(&self, call: &CallRecord, lines: &[String]) -> Option<(&Path, io::Result<()>)> {
        let places = [self.journal.as_deref(), self.syslog.as_deref()];
        let last = places.into_iter().flatten().next_back()?;
        let socket = match datagram_socket() {
            Ok(socket) => socket,
            Err(e) => return Some((last, Err(e))),
        };
        if let Some(journal) = &self.journal {
            let sent = send_to(&socket, &journal_entry(call, lines), journal);
            // Nobody there: the other place. Somebody who does not read: that is a journal all the same.
            let nobody = |e: &io::Error| matches!(Errno::from_io(e), Errno::ENOENT | Errno::ECONNREFUSED);
            if !sent.as_ref().is_err_and(nobody) || self.syslog.is_none() {
                return Some((journal, sent));
            }
        }
        let syslog = self.syslog.as_deref()?;
        Some((syslog, syslog_lines(&socket, call, lines, syslog)))
    }
}

/// Opens the list of calls, which is part of the state.
fn open_list(dir: &Path) -> io::Result<File> {
    let other = |e: Error| match e.errno() {
        Some(errno) => io::Error::from_raw_os_error(errno.0),
        // It is not ours, or others can write it.
        None => rustix::io::Errno::PERM.into(),
    };
    loop {
        private::make_dir(dir, Holds::Maybe).map_err(other)?;
        // Somebody may be removing the directory.
        if let Some((file, _)) = private::open(&dir.join(CALLS), Use::Append).map_err(other)? {
            return Ok(file);
        }
    }
}

/// Opens a file for a line at its end. A FIFO that nobody reads is an error, not a place to wait.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Everybody may read it; whatever the umask is, nobody else may write.
    options.append(true).create(true).mode(0o644).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            options.open(path)
        }
        other => other,
    }
}

fn line(call: &CallRecord) -> io::Result<Vec<u8>> {
    Ok(json_line(call)?)
}

/// The first line of a call to the list.
fn begin(dir: &Path, call: &CallRecord) -> io::Result<File> {
    let mut file = open_list(dir)?;
    file.write_all(&line(call)?)?;
    Ok(file)
}

/// The last line of a call to the list.
fn list(dir: &Path, call: &CallRecord, begun: Begun) -> io::Result<()> {
    let line = line(call)?;
    let path = dir.join(CALLS);
    let mut file = match begun.list {
        Some(file) => file,
        None => open_list(dir)?,
    };
    let mut meta = file.metadata()?;
    if meta.nlink() == 0 {
        // The list was rotated twice meanwhile: this file has no name any more.
        file = open_list(dir)?;
        meta = file.metadata()?;
    }
    if meta.len() > 0 && meta.len() + line.len() as u64 > LONG {
        // Who renames the file holds a lock on it, so of several calls that see this exactly one does, and nobody renames the
        // file that has just been begun. Who does not get the lock does not wait: a few lines too many stand in the old one.
        let unchanged =
            || fs::symlink_metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (meta.dev(), meta.ino()));
        if file.try_lock().is_ok() && unchanged() {
            fs::rename(&path, dir.join(OLD_CALLS))?;
        }
        if !unchanged() {
            file = open_list(dir)?;
        }
    }
    file.write_all(&line)
}

/// The lines for reading, in one write.
fn log(path: &Path, call: &CallRecord, lines: &[String]) -> io::Result<()> {
    let (time, script) = (call.time(), printable(&call.script));
    let text: String = lines.iter().map(|line| format!("{time} {script}: {line}\n")).collect();
    open(path)?.write_all(text.as_bytes())
}

fn datagram_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

/// A socket whose other end has gone raises no signal, and one that is full is an error.
const AT_ONCE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

fn send_to(socket: &OwnedFd, text: &[u8], place: &Path) -> io::Result<()> {
    sendto(socket, text, AT_ONCE, &SocketAddrUnix::new(place)?)?;
    Ok(())
}

/// The priority: `LOG_ERR` or `LOG_INFO` (`syslog(3)`).
fn priority(call: &CallRecord) -> u8 {
    if call.outcome == Outcome::Error { 3 } else { 6 }
}

/// The beginning of a text, of at most this many bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A datagram of the journal's own protocol.
///
/// Source: systemd, "Native Journal Protocol": `NAME=value` and a newline; where the value has a newline itself, the name,
/// a newline, the length as 64 bits with the low byte first, the value, a newline.
fn journal_entry(call: &CallRecord, lines: &[String]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(512);
    let mut add = |name: &str, value: &str| {
        let value = cut(value, LONGEST);
        entry.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    };
    add("MESSAGE", &lines.join("\n"));
    add("PRIORITY", &priority(call).to_string());
    add("SYSLOG_FACILITY", &DAEMON.to_string());
    add("SYSLOG_IDENTIFIER", &call.script);
    add("SYSLOG_PID", &call.pid.to_string());
    add("XENNET_VERB", &call.verb);
    add("XENNET_VIF", &call.vif);
    add("XENNET_OUTCOME", call.outcome.name());
    add("XENNET_TOTAL_US", &call.total_us.to_string());
    let mtu = call.mtu.map(|mtu| mtu.to_string());
    let kind = call.error.as_ref().map(|e| &e.kind);
    let optional = [
        ("XENNET_XENBUS_PATH", call.xenbus_path.as_ref()),
        ("XENNET_LINK", call.link.as_ref()),
        ("XENNET_BRIDGE", call.bridge.as_ref()),
        ("XENNET_MTU", mtu.as_ref()),
        ("XENNET_CODE", kind),
    ];
    for (name, value) in optional {
        value.iter().for_each(|value| add(name, value));
    }
    entry
}

/// The lines as syslog takes them, a datagram each: `<30>vif-bridge[1234]: text` (RFC 3164, without a time: the receiver
/// knows it).
fn syslog_lines(socket: &OwnedFd, call: &CallRecord, lines: &[String], place: &Path) -> io::Result<()> {
    let tag = format!("<{}>{}[{}]: ", DAEMON * 8 + priority(call), printable(&call.script), call.pid);
    let text = |line: &String| format!("{tag}{}", cut(line, LONGEST));
    for line in lines {
        match send_to(socket, text(line).as_bytes(), place) {
            // A syslog that listens on a stream; it takes a NUL as the end of a line, as the C library sends it.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                let all: String = lines.iter().map(|line| text(line) + "\0").collect();
                return stream(all.as_bytes(), place);
            }
            other => other?,
        }
    }
    Ok(())
}

fn stream(text: &[u8], place: &Path) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(place)?)?;
    let sent = send(&socket, text, AT_ONCE)?;
    // The rest is dropped; it would have to be waited for.
    if sent < text.len() { Err(rustix::io::Errno::AGAIN.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::{UnixDatagram, UnixListener};
    use std::time::{Duration, Instant};

    use super::super::tests::{connected, refused};
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xennet-log-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Place(path)
        }

        /// Every place below this directory.
        fn sinks(&self) -> Sinks {
            Sinks {
                state_dir: Some(self.0.join("state")),
                log_file: Some(self.0.join("log/xen-hotplug.log")),
                journal: Some(self.0.join("journal")),
                syslog: Some(self.0.join("syslog")),
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The fields of a datagram of the journal's protocol.
    fn fields(mut entry: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = Vec::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|b| matches!(b, b'=' | b'\n')).unwrap();
            let name = text(&entry[..end]);
            let (start, length) = if entry[end] == b'=' {
                (end + 1, entry[end + 1..].iter().position(|b| *b == b'\n').unwrap())
            } else {
                (end + 9, u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap()) as usize)
            };
            found.push((name, text(&entry[start..start + length])));
            assert_eq!(entry[start + length], b'\n');
            entry = &entry[start + length + 1..];
        }
        found
    }

    fn receive(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 18];
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn the_log_has_the_time_and_the_script_before_every_line() {
        let place = Place::new("lines");
        let sinks = Sinks { log_file: place.sinks().log_file, ..Sinks::default() };
        assert_eq!(sinks.tell(&connected("vif1.0")), []);
        assert_eq!(sinks.tell(&refused("vif2.0\nforged")), []);
        let text = fs::read_to_string(place.0.join("log/xen-hotplug.log")).unwrap();
        let mut lines = text.lines();
        let before = "2026-11-25 10:00:00Z vif-bridge: online ";
        assert_eq!(lines.next(), Some(&*format!("{before}vif1.0: connected to xenbr0, mtu 1500 (1.3 ms)")));
        assert_eq!(lines.clone().count(), 5);
        assert!(lines.all(|line| line.starts_with(&format!("{before}vif2.0\\nforged: "))), "{text}");
    }

    #[test]
    fn the_journal_gets_one_entry_with_fields() {
        let place = Place::new("journal");
        let sinks = Sinks { state_dir: None, log_file: None, ..place.sinks() };
        let journal = UnixDatagram::bind(place.0.join("journal")).unwrap();
        let mut call = refused("vif1.0");
        call.xenbus_path = Some("backend/vif/1/0\nPRIORITY=0".into());
        assert_eq!(sinks.tell(&call), []);
        let found = fields(&receive(&journal));
        let field = |name: &str| found.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(field("MESSAGE"), Some(call.lines().join("\n").as_str()));
        for (name, value) in [
            ("PRIORITY", "3"),
            ("SYSLOG_FACILITY", "3"),
            ("SYSLOG_IDENTIFIER", "vif-bridge"),
            ("XENNET_VIF", "vif1.0"),
            ("XENNET_VERB", "online"),
            ("XENNET_OUTCOME", "error"),
            ("XENNET_CODE", "not-a-bridge"),
            ("XENNET_BRIDGE", "xenbr0"),
            ("XENNET_TOTAL_US", "1349"),
            ("XENNET_XENBUS_PATH", "backend/vif/1/0\nPRIORITY=0"),
        ] {
            assert_eq!(field(name), Some(value));
        }
        assert_eq!(found.iter().filter(|(name, _)| name == "PRIORITY").count(), 1, "no field can be forged");
        assert_eq!(sinks.tell(&connected("vif1.0")), []);
        assert!(fields(&receive(&journal)).contains(&("PRIORITY".into(), "6".into())));
    }

    #[test]
    fn without_a_journal_syslog_gets_a_datagram_a_line() {
        let place = Place::new("syslog");
        let sinks = Sinks { state_dir: None, log_file: None, ..place.sinks() };
        let syslog = UnixDatagram::bind(place.0.join("syslog")).unwrap();
        assert_eq!(sinks.tell(&refused("vif1.0\n<0>kernel: forged")), []);
        let tag = format!("<27>vif-bridge[{}]: online vif1.0\\n<0>kernel: forged: ", std::process::id());
        for _ in 0..5 {
            assert!(receive(&syslog).starts_with(tag.as_bytes()));
        }
        assert_eq!(sinks.tell(&connected("vif1.0")), []);
        assert!(receive(&syslog).starts_with(b"<30>vif-bridge["));
        // A journal that was killed leaves its socket behind.
        drop(UnixDatagram::bind(place.0.join("journal")).unwrap());
        assert_eq!(sinks.tell(&connected("vif1.0")), []);
        assert!(receive(&syslog).starts_with(b"<30>vif-bridge["));
    }

    #[test]
    fn a_syslog_that_listens_on_a_stream_gets_the_lines_too() {
        let place = Place::new("stream");
        let syslog = UnixListener::bind(place.0.join("syslog")).unwrap();
        let sinks = Sinks { syslog: place.sinks().syslog, ..Sinks::default() };
        assert_eq!(sinks.tell(&refused("vif1.0")), []);
        let mut text = String::new();
        syslog.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!((text.matches('\0').count(), text.matches("<27>vif-bridge[").count()), (5, 5), "{text:?}");
    }

    #[test]
    fn a_log_that_is_full_or_missing_neither_fails_nor_delays() {
        let place = Place::new("dead");
        let journal = UnixDatagram::bind(place.0.join("journal")).unwrap();
        fs::write(place.0.join("state"), "not a directory").unwrap();
        let mut sinks = place.sinks();
        let start = Instant::now();
        let mut full = None;
        for _ in 0..2000 {
            let unwritten = sinks.tell(&connected("vif1.0"));
            assert_eq!(unwritten[0].errno, Errno::ENOTDIR);
            if let Some(at) = unwritten.iter().find(|u| u.place.ends_with("journal")) {
                full = Some(at.errno);
                break;
            }
        }
        assert_eq!(full, Some(Errno::EAGAIN), "a queue has an end");
        drop(journal);
        fs::remove_file(place.0.join("journal")).unwrap();
        let unwritten = sinks.tell(&connected("vif1.0"));
        assert_eq!((unwritten[1].errno, unwritten.len()), (Errno::ENOENT, 2));
        assert!(unwritten[1].to_string().ends_with("syslog could not be written: ENOENT (no such object)"));
        // A FIFO that nobody reads.
        let fifo = place.0.join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        sinks.log_file = Some(fifo);
        assert_eq!(sinks.tell(&connected("vif1.0"))[1].errno, Errno::ENXIO);
        sinks.log_file = Some("/dev/full".into());
        assert_eq!(sinks.tell(&connected("vif1.0"))[1].errno, Errno::ENOSPC);
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(Sinks::default().tell(&connected("vif1.0")), [], "nowhere is a place that works");
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let place = Place::new("long");
        let journal = UnixDatagram::bind(place.0.join("journal")).unwrap();
        let mut call = connected("vif1.0");
        call.notes = vec!["ü".repeat(1 << 20)];
        assert_eq!(place.sinks().tell(&call), []);
        assert!(receive(&journal).len() < 2 * LONGEST);
    }

    #[test]
    fn a_long_list_becomes_the_old_one_also_when_many_write() {
        let place = Place::new("rotate");
        let dir = place.0.join("state");
        let sinks = Sinks { state_dir: Some(dir.clone()), ..Sinks::default() };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let sinks = &sinks;
                scope.spawn(move || {
                    let mut call = connected(&format!("vif{thread}.0"));
                    call.notes = vec!["x".repeat(4000)];
                    (0..120).for_each(|_| assert_eq!(sinks.tell(&call), []));
                });
            }
        });
        let size = |name: &str| fs::metadata(dir.join(name)).unwrap().len();
        // Whoever is renaming may be kept from it by others for a while, and those write on meanwhile.
        assert!(size(CALLS) <= LONG * 3 / 2 && size(OLD_CALLS) <= LONG * 3 / 2);
        assert!(size(CALLS) + size(OLD_CALLS) > LONG - 10_000, "only what was older than the old list is lost");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        for name in [CALLS, OLD_CALLS] {
            let text = fs::read_to_string(dir.join(name)).unwrap();
            assert!(text.lines().all(|line| serde_json::from_str::<CallRecord>(line).is_ok()), "no line is torn");
        }
    }
}
