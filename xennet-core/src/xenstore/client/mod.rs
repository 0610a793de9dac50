//! The client: one connection, one caller, answers within a deadline.

mod store;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::link::{Failure, Link, places, until};
use super::wire::{self, Kind};
use super::{StoreError, StoreErrorKind};
use crate::budget::Budget;
use crate::error::Errno;

pub use store::Transaction;

/// How many events wait to be fetched, and how many bytes.
const EVENTS: usize = 8192;
const EVENT_BYTES: usize = 1 << 20;

/// Something that is watched has changed.
///
/// There are no other parts: the protocol of xenstore sends these two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// The node that has changed, or a special name. Relative if the watch is.
    pub path: String,
    /// The word that the watch was registered with.
    pub token: String,
}

/// How to find the server, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The socket or device. `None`: where libxenstore looks.
    pub path: Option<PathBuf>,
    /// How long a step of the conversation may take: connecting, one request and its answer, several nodes that are read
    /// together, a whole transaction with its repetitions, a whole listing.
    pub deadline: Duration,
}

setters! { Options {
    with_path: path = impl Into<Option<PathBuf>>;
    with_deadline: deadline = Duration;
} }

impl Default for Options {
    /// The usual places, ten seconds.
    fn default() -> Self {
        Options { path: None, deadline: Duration::from_secs(10) }
    }
}

/// A connection to xenstored. See the [module](super) for an example.
///
/// Reading and writing are in the trait [`Store`](super::Store). Relative paths (`backend/vif/1/0`) are sent as they are; the server
/// reads them below the home of the caller's own domain, as it does for the hotplug scripts.
///
/// A failure behind which it is not known what the server says next (deadline passed, connection closed, nonsense) makes
/// the client unusable: every later call fails at once with [`StoreErrorKind::Unusable`]. A refusal does not.
#[doc(alias("xs_open", "libxenstore", "xenstored"))]
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
    /// The transaction that [`Client::begin`] has opened.
    open: Option<u32>,
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
            open: None,
        }
    }

    /// The home of a domain: `/local/domain/5`. Says nothing about whether the domain exists.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn domain_path(&mut self, domid: u16) -> Result<String, StoreError> {
        let what = domid.to_string();
        self.one("find the home of domain", self.outside(), Kind::GetDomainPath, (&what, b""), |body| {
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
        self.one(operation, self.outside(), kind, (path, rest.as_bytes()), ack)
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

    /// A step that begins now, in the transaction that is open.
    fn within(&self) -> Within {
        Within { transaction: self.open.unwrap_or(0), ..self.outside() }
    }

    /// A step that begins now, outside of any transaction.
    fn outside(&self) -> Within {
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
}

fn nonsense(operation: &'static str, object: &str, not: &str) -> StoreError {
    let reason = format!("what the server answered {not}");
    StoreError::new(StoreErrorKind::Nonsense, Errno::EPROTO, operation, object, reason)
}

/// A time for reading: what is left of a budget is never a round number.
fn told(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn ack(body: &[u8]) -> Result<(), &'static str> {
    wire::text(body).filter(|text| *text == "OK").map(|_| ()).ok_or("is not OK")
}

fn event(body: &[u8]) -> Result<Event, Failure> {
    match wire::texts(body).as_deref() {
        Some([path, token, ..]) => Ok(Event { path: (*path).to_owned(), token: (*token).to_owned() }),
        _ => Err(Failure::nonsense("the server sent an event without path and token")),
    }
}
