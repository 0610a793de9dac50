//! A xenstored of our own, for tests and rehearsals: a unix socket, a [`Tree`], and faults as values.
//!
//! One thread serves all connections. It speaks the real protocol, so the tools of Xen talk to it, too:
//! `XENSTORED_PATH=<socket> xenstore-ls`. It is no replacement for the daemon of a host: it keeps nothing, and talks to no
//! guest.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

pub use super::serve::{Request, Session, Verdict};
use super::tree::{Quota, Tree};
use super::wire::Kind;
use super::{Options, StoreError, StoreErrorKind};
use crate::error::Errno;

/// How much may wait for a client that does not read, in bytes. One that has more waiting is cut off.
const WAITING_MAX: usize = 1 << 20;

/// From this much waiting on, no more requests are taken from a client.
const WAITING_ENOUGH: usize = 1 << 16;

/// How many connections there are at most. More are closed at once.
const CONNECTIONS_MAX: usize = 512;

/// How many requests are remembered; the oldest are forgotten first.
const LOG_MAX: usize = 100_000;

/// Something that goes wrong. Requests are counted over all connections, from the moment when the faults were set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Connections are not accepted. (The kernel lets a few in all the same; they get no answer.)
    NoAccept,
    /// After this many requests, nothing is answered any more.
    Silent {
        /// How many are answered before.
        after: u32,
    },
    /// After this many requests, the daemon dies: all connections are closed, and no new one can be made.
    Die {
        /// How many are answered before.
        after: u32,
    },
    /// Every answer takes this long.
    Slow(Duration),
    /// One request is answered with bytes that are no message.
    Garbage {
        /// How many are answered before.
        after: u32,
    },
    /// Of one answer only a half is sent; then the connection is closed.
    Truncate {
        /// How many are answered before.
        after: u32,
    },
    /// One request is refused.
    RefuseNth {
        /// How many are answered before.
        after: u32,
        /// The error number; it must be one of the protocol's, or becomes `EINVAL`.
        errno: Errno,
    },
    /// Every request of this kind whose path begins so is refused.
    Refuse {
        /// What is asked for.
        kind: Kind,
        /// How the path begins, as the client writes it; empty for all.
        path: String,
        /// The error number; it must be one of the protocol's, or becomes `EINVAL`.
        errno: Errno,
    },
    /// So many times, the end of a transaction is refused with `EAGAIN`, as if somebody else had been faster.
    Conflicts(u32),
}

/// How a server is to be. The default: a socket in a folder of its own, everybody is dom0, no quotas, no faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Where the socket is made. Nothing may be there. `None`: in a new folder among the temporary files.
    pub path: Option<PathBuf>,
    /// The domain that connections act as: 0 is privileged, any other is a guest or a driver domain.
    pub domid: u16,
    /// What domains other than dom0 may have.
    pub quota: Quota,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

setters! { Settings {
    with_path: path = impl Into<Option<PathBuf>>;
    with_domid: domid = u16;
    with_quota: quota = Quota;
    with_faults: faults = Vec<Fault>;
} }

struct State {
    tree: Tree,
    domid: u16,
    judge: Judge,
    stop: bool,
}

/// Remembers requests, and decides what goes wrong.
#[derive(Default)]
struct Judge {
    faults: Vec<Fault>,
    /// Requests since the faults were set.
    count: u32,
    log: VecDeque<Request>,
    dead: bool,
}

impl Judge {
    /// What is to be done with a request, by the faults.
    fn verdict(&mut self, request: &Request) -> Verdict {
        if self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(request.clone());
        let count = self.count;
        self.count = self.count.saturating_add(1);
        for fault in &mut self.faults {
            match fault {
                Fault::Die { after } if count >= *after => {
                    self.dead = true;
                    return Verdict::Close;
                }
                Fault::Silent { after } if count >= *after => return Verdict::Silence,
                Fault::Garbage { after } if count == *after => return Verdict::Garbage,
                Fault::Truncate { after } if count == *after => return Verdict::Truncate,
                Fault::RefuseNth { after, errno } if count == *after => return Verdict::Refuse(*errno),
                Fault::Refuse { kind, path, errno }
                    if request.kind == Some(*kind) && request.path.starts_with(path.as_str()) =>
                {
                    return Verdict::Refuse(*errno);
                }
                Fault::Conflicts(left)
                    if *left > 0 && request.kind == Some(Kind::TransactionEnd) && request.path == "T" =>
                {
                    *left = left.saturating_sub(1);
                    return Verdict::Refuse(Errno::EAGAIN);
                }
                _ => {}
            }
        }
        Verdict::Answer
    }

    fn slow(&self) -> Option<Duration> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Slow(time) => Some(*time),
            _ => None,
        })
    }
}

/// What the thread and the handle share.
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: OwnedFd,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the tree must not take the server down with it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can only fail when the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// A running server. It ends when it is dropped, and takes its socket with it.
///
/// ```
/// use xennet_core::xenstore::server::Server;
/// use xennet_core::xenstore::{Client, Store, StoreError};
///
/// let server = Server::start(Default::default())?;
/// server.tree(|tree| tree.set("/local/domain/0/backend/vif/5/0/bridge", b"xenbr0")).expect("a path");
/// let mut client = Client::open(&server.options(), &|_| None)?;
/// assert_eq!(client.read("backend/vif/5/0/bridge")?.as_deref(), Some(b"xenbr0".as_slice()));
/// assert_eq!(server.log()[0].path, "backend/vif/5/0/bridge");
/// # Ok::<(), StoreError>(())
/// ```
pub struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    /// The folder that was made for the socket.
    folder: Option<PathBuf>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server. When this returns, it can be connected to.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoServer`]: the socket cannot be made (something is there, no such folder, a path of more than
    /// 107 bytes), or the thread.
    pub fn start(settings: Settings) -> Result<Server, StoreError> {
        let folder = if settings.path.is_none() { Some(temporary_folder().map_err(failed)?) } else { None };
        let path = match (&settings.path, &folder) {
            (Some(path), _) => path.clone(),
            (None, Some(folder)) => folder.join("socket"),
            (None, None) => return Err(failed(io::ErrorKind::NotFound.into())),
        };
        let listener = UnixListener::bind(&path).map_err(|e| {
            // A folder of ours that nobody will use is not left behind.
            let _ = folder.as_ref().map(fs::remove_dir);
            failed(e)
        })?;
        listener.set_nonblocking(true).map_err(failed)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| failed(e.into()))?;
        let state = State {
            tree: Tree::with_quota(settings.quota),
            domid: settings.domid,
            judge: Judge { faults: settings.faults, ..Judge::default() },
            stop: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("xenstored".into())
            .spawn(move || Loop { shared: of_thread, listener: Some(listener), clients: Vec::new() }.run())
            .map_err(failed)?;
        Ok(Server { shared, thread: Some(thread), path, folder })
    }

    /// The socket; programs find it by `XENSTORED_PATH`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How a client finds this server.
    pub fn options(&self) -> Options {
        Options { path: Some(self.path.clone()), ..Options::default() }
    }

    /// Looks at the store and changes it, as its owner. Watches fire.
    pub fn tree<T>(&self, f: impl FnOnce(&mut Tree) -> T) -> T {
        let result = f(&mut self.shared.state().tree);
        self.shared.wake();
        result
    }

    /// The requests so far, the oldest first; of very many, the latest.
    pub fn log(&self) -> Vec<Request> {
        self.shared.state().judge.log.iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.state().judge.log.clear();
    }

    /// Sets what goes wrong from now on, in place of what went wrong before. The dead stay dead.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        let mut state = self.shared.state();
        state.judge.faults = faults;
        state.judge.count = 0;
        drop(state);
        self.shared.wake();
    }

    /// The domain that new connections act as.
    pub fn set_domid(&self, domid: u16) {
        self.shared.state().domid = domid;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there was shown already, and there is nobody to tell here.
            let _ = thread.join();
        }
        // Somebody may have removed them before.
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn failed(e: io::Error) -> StoreError {
    let reason = "its socket or thread cannot be made";
    StoreError::new(StoreErrorKind::NoServer, Errno::from_io(&e), "start", "a xenstore server", reason)
}

/// A new folder that only we may look into.
fn temporary_folder() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xennet-xenstored-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

struct Client {
    stream: UnixStream,
    session: Session,
    /// Nothing is sent, and nothing taken, before this moment.
    not_before: Option<Instant>,
    gone: bool,
}

impl Client {
    fn held(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|due| now < due)
    }

    /// What to wait for.
    fn interest(&mut self, now: Instant) -> PollFlags {
        let waiting = self.session.output().len();
        let mut flags = PollFlags::empty();
        if !self.held(now) {
            flags.set(PollFlags::IN, waiting < WAITING_ENOUGH && !self.session.closed());
            flags.set(PollFlags::OUT, waiting > 0);
        }
        flags
    }

    /// Takes what has come.
    fn receive(&mut self, state: &mut State) {
        let mut buffer = [0_u8; 16 << 10];
        let count = match recv(&self.stream, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.gone = true;
                return;
            }
            Ok((count, _)) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            Err(_) => {
                self.gone = true;
                return;
            }
        };
        let State { tree, judge, .. } = state;
        let mut answers = 0_u32;
        self.session.feed(&buffer[..count], tree, &mut |request| {
            answers = answers.saturating_add(1);
            judge.verdict(request)
        });
        if let Some(time) = judge.slow() {
            let now = Instant::now();
            self.not_before = time.checked_mul(answers).and_then(|time| now.checked_add(time));
        }
    }

    fn send(&mut self, now: Instant) {
        if self.held(now) {
            return;
        }
        let output = self.session.output();
        let mut sent = 0_usize;
        while sent < output.len() {
            match send(&self.stream, &output[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent = sent.saturating_add(count),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        output.drain(..sent);
        let waiting = output.len();
        self.gone |= waiting > WAITING_MAX || (waiting == 0 && self.session.closed());
    }
}

/// What the thread does.
struct Loop {
    shared: Arc<Shared>,
    listener: Option<UnixListener>,
    clients: Vec<Client>,
}

impl Loop {
    fn run(mut self) {
        loop {
            let (awake, callers, ready) = self.wait();
            if awake {
                let mut counter = [0_u8; 8];
                // Nobody else reads it.
                let _ = rustix::io::read(&self.shared.wake, &mut counter);
            }
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state();
            if state.stop {
                return;
            }
            for (client, _) in self.clients.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
                client.receive(&mut state);
                if state.judge.dead {
                    break;
                }
            }
            if state.judge.dead {
                self.listener = None;
                self.clients.clear();
                continue;
            }
            // The fault may have been set since it was waited for callers.
            if callers && !state.judge.faults.contains(&Fault::NoAccept) {
                self.accept(&mut state);
            }
            let now = Instant::now();
            for client in &mut self.clients {
                client.session.take_events(&mut state.tree);
                client.send(now);
                if client.gone {
                    state.tree.disconnect(client.session.connection());
                }
            }
            self.clients.retain(|client| !client.gone);
        }
    }

    /// Waits until something is to be done: woken, somebody calls, which clients have sent something.
    fn wait(&mut self) -> (bool, bool, Vec<bool>) {
        let now = Instant::now();
        let accepting = !self.shared.state().judge.faults.contains(&Fault::NoAccept);
        let interests: Vec<PollFlags> = self.clients.iter_mut().map(|client| client.interest(now)).collect();
        let due = self.clients.iter().filter(|c| c.held(now)).filter_map(|c| c.not_before).min();
        let mut polled = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        for (client, interest) in self.clients.iter().zip(&interests) {
            polled.push(PollFd::from_borrowed_fd(client.stream.as_fd(), *interest));
        }
        if let Some(listener) = self.listener.as_ref().filter(|_| accepting) {
            polled.push(PollFd::new(listener, PollFlags::IN));
        }
        let time = due.map(|due| due.saturating_duration_since(now).saturating_add(Duration::from_micros(100)));
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        if poll(&mut polled, time.as_ref()).is_err() {
            return (false, false, Vec::new());
        }
        let some = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let input = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        let awake = polled.first().is_some_and(some);
        let clients = polled.iter().skip(1).take(self.clients.len());
        let ready = clients.map(input).collect();
        let callers = polled.get(self.clients.len().saturating_add(1)).is_some_and(some);
        (awake, callers, ready)
    }

    fn accept(&mut self, state: &mut State) {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                // Closed at once when it is dropped.
                Ok(_) if self.clients.len() >= CONNECTIONS_MAX => {}
                Ok((stream, _)) => {
                    let session = Session::new(state.tree.connect(state.domid));
                    self.clients.push(Client { stream, session, not_before: None, gone: false });
                }
                Err(_) => return,
            }
        }
    }
}
