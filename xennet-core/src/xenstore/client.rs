//! The client: one connection, one caller, answers within a deadline.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::link::{Failure, Link, places, until};
use super::wire::{self, Kind};
use super::{Store, StoreError, StoreErrorKind, check};
use crate::budget::Budget;
use crate::error::Errno;
use crate::snapshot::StorePermission;

/// How many events wait to be fetched, and how many bytes.
const EVENTS: usize = 8192;
const EVENT_BYTES: usize = 1 << 20;

/// How often a transaction is begun anew, and a long listing.
const TRIES: u32 = 1000;
const LISTINGS: u32 = 32;

/// The longest list of children that is put together from parts, in bytes.
const LIST_MAX: usize = 16 << 20;

/// Something that is watched has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// The node that has changed, or a special name. Relative if the watch is.
    pub path: String,
    /// The word that the watch was registered with.
    pub token: String,
}

/// How to find the server, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The socket or device. `None`: where libxenstore looks.
    pub path: Option<PathBuf>,
    /// How long a step of the conversation may take: connecting, one request and its answer, several nodes that are read
    /// together, a whole transaction with its repetitions, a whole listing.
    pub deadline: Duration,
}

impl Default for Options {
    /// The usual places, ten seconds.
    fn default() -> Self {
        Options { path: None, deadline: Duration::from_secs(10) }
    }
}

/// A connection to xenstored. See the [module](super) for an example.
///
/// Reading and writing are in the trait [`Store`]. Relative paths (`backend/vif/1/0`) are sent as they are; the server
/// reads them below the home of the caller's own domain, as it does for the hotplug scripts.
///
/// A failure behind which it is not known what the server says next (deadline passed, connection closed, nonsense) makes
/// the client unusable: every later call fails at once with [`StoreErrorKind::Unusable`]. A refusal does not.
#[derive(Debug)]
pub struct Client {
    link: Link,
    deadline: Duration,
    budget: Option<Budget>,
    request: u32,
    output: Vec<u8>,
    events: VecDeque<Event>,
    event_bytes: usize,
    lost: bool,
    unusable: Option<String>,
}

impl AsFd for Client {
    /// For `poll`: readable when something comes. Fetch with [`Client::next_event`] until there is nothing before waiting, as
    /// events may have been read along with an answer.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// A request: a path (or another text), and what follows its NUL.
type Ask<'a> = (&'a str, &'a [u8]);

/// What a request belongs to: a transaction (0: none), and a step of the conversation, which has an end.
#[derive(Clone, Copy, Debug)]
struct Within {
    transaction: u32,
    end: Instant,
    /// How long that was when the step began.
    patience: Duration,
}

/// Takes the answers: which request, and what the server said.
type Each<'a> = dyn FnMut(usize, Result<&[u8], Errno>) + 'a;

impl Client {
    /// Connects. `env` looks up environment variables; programs give `&|name| std::env::var_os(name)`.
    ///
    /// The places, in order: `options.path`, or `XENSTORED_PATH`, or else the socket (in `XENSTORED_RUNDIR`, or
    /// `/var/run/xenstored`), `/dev/xen/xenbus`, `/proc/xen/xenbus`. What is no socket is used as a device.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoServer`], with every place that was tried and why it would not do.
    pub fn open(options: &Options, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Client, StoreError> {
        let mut tried = Vec::new();
        let mut errno = Errno::ENOENT;
        for place in places(options.path.as_deref(), env) {
            match Link::open(&place, options.deadline) {
                Ok(link) => return Ok(Client::with(link, options.deadline)),
                Err(e) => {
                    tried.push(format!("{}: {}", place.display(), e.text().map_or(e.to_string(), str::to_owned)));
                    // A place that is there and refuses says more than those that are not there.
                    errno = if errno == Errno::ENOENT { e } else { errno };
                }
            }
        }
        let reason = format!("no place will do ({})", tried.join("; "));
        Err(StoreError::new(StoreErrorKind::NoServer, errno, "connect to", "xenstore", reason))
    }

    /// A client over a connection that somebody else has made: a socket that was handed over, one end of a pair.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoServer`]: not a socket that can be used.
    pub fn over(stream: UnixStream, deadline: Duration) -> Result<Client, StoreError> {
        match Link::over(stream.into(), deadline) {
            Ok(link) => Ok(Client::with(link, deadline)),
            Err(errno) => {
                let reason = "the given socket cannot be used";
                Err(StoreError::new(StoreErrorKind::NoServer, errno, "connect to", "xenstore", reason))
            }
        }
    }

    fn with(link: Link, deadline: Duration) -> Client {
        Client {
            link,
            deadline,
            budget: None,
            request: 0,
            output: Vec::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            lost: false,
            unusable: None,
        }
    }

    /// The home of a domain: `/local/domain/5`. Says nothing about whether the domain exists.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn domain_path(&mut self, domid: u16) -> Result<String, StoreError> {
        let what = domid.to_string();
        self.one("find the home of domain", self.within(), Kind::GetDomainPath, (&what, b""), |body| {
            wire::text(body).filter(|path| path.starts_with('/')).map(str::to_owned).ok_or("is not a path")
        })
    }

    /// Asks for events of a node and all below it, or of `@introduceDomain` or `@releaseDomain`. The token comes with each
    /// event. One event comes at once: what was there before is looked at when it arrives.
    ///
    /// # Errors
    /// A [`StoreError`]; `EEXIST` for a path and token that are watched already.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), StoreError> {
        self.watching("watch", Kind::Watch, path, token)
    }

    /// Takes a watch back. Events that are on their way may still come.
    ///
    /// # Errors
    /// A [`StoreError`]; `ENOENT` if there is no such watch.
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), StoreError> {
        self.watching("take back the watch on", Kind::Unwatch, path, token)
    }

    fn watching(&mut self, operation: &'static str, kind: Kind, path: &str, token: &str) -> Result<(), StoreError> {
        let invalid = |rule| StoreError::new(StoreErrorKind::Invalid, Errno::EINVAL, operation, path, rule);
        wire::check_watch(path).map_err(invalid)?;
        if token.contains('\0') {
            return Err(invalid("a token has no NUL"));
        }
        let rest = format!("{token}\0");
        self.one(operation, self.within(), kind, (path, rest.as_bytes()), ack)
    }

    /// The next event. `None`: none came within this time.
    ///
    /// # Errors
    /// A [`StoreError`]; once, [`StoreErrorKind::Overrun`] if so many events came between two calls that some were thrown
    /// away: look at everything anew.
    pub fn next_event(&mut self, wait: Duration) -> Result<Option<Event>, StoreError> {
        const WHAT: &str = "wait for events";
        if std::mem::take(&mut self.lost) {
            let reason = "more events came than there is room for, so some are lost";
            return Err(StoreError::new(StoreErrorKind::Overrun, Errno::ENOBUFS, WHAT, "", reason));
        }
        if let Some(event) = self.events.pop_front() {
            self.event_bytes = self.event_bytes.saturating_sub(event.path.len().saturating_add(event.token.len()));
            return Ok(Some(event));
        }
        self.usable(WHAT, "")?;
        let result = match self.link.receive(until(wait)) {
            Ok(None) => Ok(None),
            Ok(Some(message)) if message.kind == Kind::WatchEvent => event(message.body).map(Some),
            Ok(Some(message)) => Err(Failure::nonsense(format!(
                "the server sent an answer ({}) that nobody had asked for",
                message.kind
            ))),
            Err(failure) => Err(failure),
        };
        result.map_err(|failure| self.fail(failure, WHAT, ""))
    }

    /// Does several things at once, or none of them. `work` runs again, from its start, if others have changed meanwhile
    /// what it looked at; what it does besides must bear that. If it fails, nothing is changed, and its error is returned.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use xennet_core::xenstore::{Client, Options, Store, StoreError, server::Server};
    ///
    /// let server = Server::start(Default::default())?;
    /// let mut client = Client::open(&server.options(), &|_| None)?;
    /// let count = client.transaction(|t| {
    ///     let before = t.read("/count")?.unwrap_or_default();
    ///     let next = String::from_utf8_lossy(&before).parse().unwrap_or(0_u32).saturating_add(1);
    ///     t.write("/count", next.to_string().as_bytes())?;
    ///     Ok::<u32, StoreError>(next)
    /// })?;
    /// assert_eq!((count, client.read("/count")?.as_deref()), (1, Some(b"1".as_slice())));
    /// # Ok::<(), StoreError>(())
    /// ```
    ///
    /// # Errors
    /// The error of `work`; a [`StoreError`]; `EAGAIN` if others were faster again and again for half of the deadline.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        const WHAT: &str = "carry out a transaction";
        let outside = self.within();
        // A try that might not be finished in time is not begun: half of the time is for the last one.
        let begun = Instant::now();
        let last = begun.checked_add(outside.end.saturating_duration_since(begun) / 2).unwrap_or(begun);
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let number = self.one("begin a transaction", outside, Kind::TransactionStart, ("", b""), |body| {
                let number = wire::text(body).and_then(|text| text.parse::<u32>().ok());
                number.filter(|n| *n != 0).ok_or("is not the number of a transaction")
            })?;
            let within = Within { transaction: number, ..outside };
            match work(&mut Transaction { client: self, within }) {
                Ok(value) => match self.one(WHAT, within, Kind::TransactionEnd, ("T", b""), ack) {
                    Ok(()) => return Ok(value),
                    Err(e) if again(&e) && tries < TRIES && Instant::now() < last => {
                        // Others are at it, too: give way, a little longer each time.
                        let pause = u64::from(tries.min(50)).saturating_mul(20);
                        std::thread::sleep(Duration::from_micros(pause));
                    }
                    Err(e) => return Err(e.into()),
                },
                Err(e) => {
                    // The error of the work is the one that matters; a server that is gone has forgotten it all anyway.
                    let _ = self.one(WHAT, within, Kind::TransactionEnd, ("F", b""), ack);
                    return Err(e);
                }
            }
        }
    }

    /// A step that begins now, outside of any transaction.
    fn within(&self) -> Within {
        let patience = self.budget.map_or(self.deadline, |budget| budget.left());
        Within { transaction: 0, end: until(patience), patience }
    }

    fn usable(&self, operation: &'static str, object: &str) -> Result<(), StoreError> {
        match &self.unusable {
            None => Ok(()),
            Some(why) => {
                let reason = format!("this connection is of no use since an earlier failure ({why})");
                Err(StoreError::new(StoreErrorKind::Unusable, Errno::EPIPE, operation, object, reason))
            }
        }
    }

    /// The failure as an error, and the end of this connection where it cannot be told what comes next on it.
    fn fail(&mut self, failure: Failure, operation: &'static str, object: &str) -> StoreError {
        if failure.kind != StoreErrorKind::Refused {
            self.unusable = Some(failure.reason.clone());
        }
        StoreError::new(failure.kind, failure.errno, operation, object, failure.reason)
    }

    /// Sends requests of one kind, as many at once as the link takes, and hands the answers on in order.
    fn all(
        &mut self,
        operation: &'static str,
        within: Within,
        kind: Kind,
        asks: &[Ask<'_>],
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        let mut index = 0_usize;
        for window in asks.chunks(self.link.window()) {
            let object = window.first().map_or("", |ask| ask.0);
            self.usable(operation, object)?;
            let first = self.request.wrapping_add(1);
            self.output.clear();
            for (path, rest) in window {
                self.request = self.request.wrapping_add(1);
                let message = [path.as_bytes(), b"\0", rest];
                let (longest, len) = (self.link.longest(), message.iter().map(|part| part.len()).sum::<usize>());
                if len > longest || !wire::put(&mut self.output, kind, self.request, within.transaction, &message) {
                    let rule = format!("a request has at most {longest} bytes here, this one has {len}");
                    return Err(StoreError::new(StoreErrorKind::Invalid, Errno::E2BIG, operation, *path, rule));
                }
            }
            if let Err(failure) = self.link.send(&self.output, within.end) {
                return Err(self.fail(failure, operation, object));
            }
            let mut awaited = first;
            for (path, _) in window {
                let answer = match self.answer(kind, awaited, within) {
                    Ok(answer) => answer,
                    Err(failure) => return Err(self.fail(failure, operation, path)),
                };
                each(index, answer);
                index = index.saturating_add(1);
                awaited = awaited.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// The answer to the request with this number. Events that come before it are kept.
    fn answer(&mut self, kind: Kind, request: u32, within: Within) -> Result<Result<&[u8], Errno>, Failure> {
        let unnumbered = self.link.is_device() && matches!(kind, Kind::Watch | Kind::Unwatch);
        // The range, not the slice: the borrow of one answer must not outlive the loop.
        let (refused, body) = loop {
            let Some(message) = self.link.receive(within.end)? else {
                return Err(Failure {
                    kind: StoreErrorKind::TimedOut,
                    errno: Errno::ETIMEDOUT,
                    reason: format!("the server gave no answer within {}", told(within.patience)),
                });
            };
            if message.kind == Kind::WatchEvent {
                let event = event(message.body)?;
                let bytes = self.event_bytes.saturating_add(event.path.len()).saturating_add(event.token.len());
                if self.events.len() < EVENTS && bytes <= EVENT_BYTES {
                    self.event_bytes = bytes;
                    self.events.push_back(event);
                } else {
                    self.lost = true;
                }
                continue;
            }
            if message.request != request && !unnumbered {
                return Err(Failure::nonsense(format!(
                    "the server answered request {}, but the one that waits is {request}",
                    message.request
                )));
            }
            if message.transaction != within.transaction && !unnumbered {
                return Err(Failure::nonsense(format!(
                    "the server answered in transaction {}, but the request was in {}",
                    message.transaction, within.transaction
                )));
            }
            if message.kind != kind && message.kind != Kind::Error {
                return Err(Failure::nonsense(format!(
                    "the server answered \"{}\" to the request \"{kind}\"",
                    message.kind
                )));
            }
            break (message.kind == Kind::Error, message.range);
        };
        let body = self.link.bytes(body);
        if !refused {
            return Ok(Ok(body));
        }
        match wire::text(body) {
            // A name that the protocol does not have is a refusal all the same; libxenstore takes it for this, too.
            Some(name) => Ok(Err(wire::errno_of(name).unwrap_or(Errno::EINVAL))),
            None => Err(Failure::nonsense("the server refused without a name of an error")),
        }
    }

    /// One request; its answer is read by `read`, which says what the answer is not if it makes no sense.
    fn one<T>(
        &mut self,
        operation: &'static str,
        within: Within,
        kind: Kind,
        ask: Ask<'_>,
        read: impl Fn(&[u8]) -> Result<T, &'static str>,
    ) -> Result<T, StoreError> {
        let mut result = Err(StoreError::refused(Errno::EIO, operation, ask.0));
        self.all(operation, within, kind, &[ask], &mut |_, answer| {
            result = match answer {
                Ok(body) => read(body).map_err(|not| nonsense(operation, ask.0, not)),
                Err(errno) => Err(StoreError::refused(errno, operation, ask.0)),
            }
        })?;
        result
    }

    fn read_in(&mut self, within: Within, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        const WHAT: &str = "read";
        for path in paths {
            check::path(WHAT, path)?;
        }
        let asks: Vec<Ask<'_>> = paths.iter().map(|path| (*path, b"".as_slice())).collect();
        let mut values = Vec::with_capacity(paths.len());
        let mut refused = None;
        self.all(WHAT, within, Kind::Read, &asks, &mut |index, answer| match answer {
            Ok(value) => values.push(Some(value.to_vec())),
            Err(Errno::ENOENT) => values.push(None),
            Err(errno) => {
                refused.get_or_insert((index, errno));
            }
        })?;
        match refused {
            None => Ok(values),
            Some((index, errno)) => {
                Err(StoreError::refused(errno, WHAT, paths.get(index).copied().unwrap_or_default()))
            }
        }
    }

    fn write_in(&mut self, within: Within, pairs: &[(&str, &[u8])]) -> Result<(), StoreError> {
        const WHAT: &str = "write";
        for (path, value) in pairs {
            check::pair(WHAT, path, value)?;
        }
        let mut wrong = None;
        self.all(WHAT, within, Kind::Write, pairs, &mut |index, answer| {
            let path = pairs.get(index).map_or("", |pair| pair.0);
            let error = match answer {
                Ok(body) => ack(body).err().map(|not| nonsense(WHAT, path, not)),
                Err(errno) => Some(StoreError::refused(errno, WHAT, path)),
            };
            if wrong.is_none() {
                wrong = error;
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }

    fn make_in(&mut self, within: Within, path: &str) -> Result<(), StoreError> {
        const WHAT: &str = "make";
        check::path(WHAT, path)?;
        self.one(WHAT, within, Kind::Mkdir, (path, b""), ack)
    }

    fn rm_in(&mut self, within: Within, path: &str) -> Result<(), StoreError> {
        const WHAT: &str = "remove";
        check::path(WHAT, path)?;
        found(self.one(WHAT, within, Kind::Rm, (path, b""), ack)).map(|_| ())
    }

    fn list_in(&mut self, within: Within, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        const WHAT: &str = "list";
        check::path(WHAT, path)?;
        match self.one(WHAT, within, Kind::Directory, (path, b""), names) {
            Err(e) if e.kind() == StoreErrorKind::Refused && e.errno() == Errno::E2BIG => {
                found(self.parts(within, path))
            }
            listed => found(listed),
        }
    }

    /// A list that is too long for one message (`DIRECTORY_PART`). Begun anew if the node changes while it is read.
    fn parts(&mut self, within: Within, path: &str) -> Result<Vec<String>, StoreError> {
        const WHAT: &str = "list";
        for _ in 0..LISTINGS {
            let mut generation: Option<String> = None;
            let (mut list, mut offset) = (Vec::new(), 0_usize);
            loop {
                let rest = format!("{offset}\0");
                let (now, part) = self.one(WHAT, within, Kind::DirectoryPart, (path, rest.as_bytes()), |body| {
                    let mut texts = wire::texts(body).ok_or("is not a list of names")?.into_iter().map(str::to_owned);
                    let generation = texts.next().ok_or("has no generation")?;
                    Ok((generation, texts.collect::<Vec<_>>()))
                })?;
                if generation.as_ref().is_some_and(|before| *before != now) {
                    break;
                }
                generation = Some(now);
                if part.is_empty() {
                    return Err(nonsense(WHAT, path, "is a part without names and without an end"));
                }
                for name in part {
                    if name.is_empty() {
                        return Ok(list);
                    }
                    offset = offset.saturating_add(name.len()).saturating_add(1);
                    list.push(name);
                }
                if offset > LIST_MAX {
                    return Err(nonsense(WHAT, path, "is a list without an end"));
                }
                if Instant::now() >= within.end {
                    let reason = format!("the list did not end within {}", told(within.patience));
                    return Err(StoreError::new(StoreErrorKind::TimedOut, Errno::ETIMEDOUT, WHAT, path, reason));
                }
            }
        }
        Err(StoreError::refused(Errno::EAGAIN, WHAT, path))
    }

    fn permissions_in(&mut self, within: Within, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError> {
        const WHAT: &str = "read the permissions of";
        check::path(WHAT, path)?;
        found(self.one(WHAT, within, Kind::GetPerms, (path, b""), |body| {
            let texts = wire::texts(body).filter(|texts| !texts.is_empty());
            let list: Option<Vec<_>> = texts.and_then(|texts| texts.into_iter().map(wire::permission).collect());
            list.ok_or("is not a list of permissions")
        }))
    }

    fn permit_in(&mut self, within: Within, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
        const WHAT: &str = "set the permissions of";
        check::permissions(WHAT, path, list)?;
        let mut rest = Vec::new();
        for permission in list {
            rest.extend_from_slice(wire::permission_text(*permission).as_bytes());
            rest.push(0);
        }
        self.one(WHAT, within, Kind::SetPerms, (path, &rest), ack)
    }
}

fn nonsense(operation: &'static str, object: &str, not: &str) -> StoreError {
    let reason = format!("what the server answered {not}");
    StoreError::new(StoreErrorKind::Nonsense, Errno::EPROTO, operation, object, reason)
}

/// A time for reading: what is left of a budget is never a round number.
fn told(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn again(e: &StoreError) -> bool {
    e.kind() == StoreErrorKind::Refused && e.errno() == Errno::EAGAIN
}

/// A node that does not exist is no error, but nothing.
fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == StoreErrorKind::Refused && e.errno() == Errno::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

fn ack(body: &[u8]) -> Result<(), &'static str> {
    wire::text(body).filter(|text| *text == "OK").map(|_| ()).ok_or("is not OK")
}

fn names(body: &[u8]) -> Result<Vec<String>, &'static str> {
    let texts = wire::texts(body).ok_or("is not a list of names")?;
    Ok(texts.into_iter().map(str::to_owned).collect())
}

fn event(body: &[u8]) -> Result<Event, Failure> {
    match wire::texts(body).as_deref() {
        Some([path, token, ..]) => Ok(Event { path: (*path).to_owned(), token: (*token).to_owned() }),
        _ => Err(Failure::nonsense("the server sent an event without path and token")),
    }
}

/// An open transaction: what [`Client::transaction`] gives to its work. It is a [`Store`] of its own, which sees its own
/// changes.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a mut Client,
    within: Within,
}

macro_rules! store {
    ($name:ty, |$me:ident| $client:expr, $within:expr, |$pairs:ident| $write_all:expr) => {
        impl Store for $name {
            fn read_many(&mut self, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
                let $me = self;
                $client.read_in($within, paths)
            }
            fn write(&mut self, path: &str, value: &[u8]) -> Result<(), StoreError> {
                let $me = self;
                $client.write_in($within, &[(path, value)])
            }
            fn write_all(&mut self, $pairs: &[(&str, &[u8])]) -> Result<(), StoreError> {
                let $me = self;
                $write_all
            }
            fn mkdir(&mut self, path: &str) -> Result<(), StoreError> {
                let $me = self;
                $client.make_in($within, path)
            }
            fn rm(&mut self, path: &str) -> Result<(), StoreError> {
                let $me = self;
                $client.rm_in($within, path)
            }
            fn directory(&mut self, path: &str) -> Result<Option<Vec<String>>, StoreError> {
                let $me = self;
                $client.list_in($within, path)
            }
            fn permissions(&mut self, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError> {
                let $me = self;
                $client.permissions_in($within, path)
            }
            fn set_permissions(&mut self, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
                let $me = self;
                $client.permit_in($within, path, list)
            }
            fn set_budget(&mut self, budget: Budget) {
                let $me = self;
                $client.budget = Some(budget);
            }
        }
    };
}

store!(Client, |me| me, me.within(), |pairs| match pairs {
    // One write is all or nothing by itself.
    [] => Ok(()),
    [_] => me.write_in(me.within(), pairs),
    _ => me.transaction(|t| t.write_all(pairs)),
});
store!(Transaction<'_>, |me| me.client, me.within, |pairs| me.client.write_in(me.within, pairs));
