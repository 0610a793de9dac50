//! What stands behind a `Host`: the core's host, whose turn it is among the threads, and what ends a wait.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{Scope, ScopedJoinHandle, ThreadId};
use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::intern;
use pyo3::prelude::*;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xennet_core::exec::StateDir;
use xennet_core::{Budget, Errno, Error, ErrorKind, Host, OpenedBy};

use crate::error::{OrRaise, raised};

/// How often a wait looks whether it shall end.
pub(crate) const OFTEN: Duration = Duration::from_millis(50);

/// A host that several threads use, one after the other.
pub(crate) struct Machine {
    // Poisoned by a call that panicked: then nothing is known about it any more. Nothing is left of it in one that is closed.
    core: Mutex<Option<Host>>,
    opened: OpenedBy,
    turn: Turn,
    waits: Arc<Waits>,
    /// Where its sockets are, if not where the threads are that use it: a sandbox. Nothing in a host that is closed: what is held keeps the namespace.
    namespace: Mutex<Option<Arc<OwnedFd>>>,
    /// Its watches, which are closed with it.
    watches: Mutex<Vec<Weak<dyn Watch>>>,
    is_closed: AtomicBool,
    budget: Option<Duration>,
    /// Where it remembers operations; `None`: in memory.
    pub(crate) state_dir: Option<StateDir>,
}

/// What listens to the kernel where a host is.
pub(crate) trait Watch: Send + Sync {
    /// Closes its sockets. What waits for it, or uses it later, gets the error of `closed`.
    fn close(&self);
}

/// The refusal of a host that is closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Invalid, "host is closed").with_object("host").unchanged().with_hint("open another one")
}

/// What ends waits before their time.
#[derive(Default)]
struct Waits {
    /// What the handler of a signal has raised, and the thread whose call raises it at its end.
    raised: Mutex<Option<(ThreadId, PyErr)>>,
    /// How often somebody said that waits shall end.
    ends: AtomicU64,
    /// How often that was when the call began that is at work; `NEVER_AGAIN` if that call shall wait for nothing any more.
    at_start: AtomicU64,
}

const NEVER_AGAIN: u64 = u64::MAX;

impl Waits {
    /// Whether a call that began at this count shall not wait any longer.
    fn are_over(&self, at_start: u64) -> bool {
        self.ends.load(Ordering::Acquire) != at_start || self.signalled()
    }

    /// The same for the call that is at work. After a signal none of its waits goes on.
    fn are_over_at_work(&self) -> bool {
        let are_over = self.are_over(self.at_start.load(Ordering::Acquire));
        if are_over {
            self.at_start.store(NEVER_AGAIN, Ordering::Release);
        }
        are_over
    }

    /// Whether a signal came whose handler raises: Python's handlers run in the main thread only, and only when it asks.
    fn signalled(&self) -> bool {
        let signalled = Python::try_attach(|py| py.check_signals().map_err(|e| self.keep(py, e)).is_err());
        signalled.unwrap_or(false)
    }

    /// Keeps what a handler has raised for the end of this thread's call.
    fn keep(&self, py: Python<'_>, raised: PyErr) {
        let earlier = self.taken_raised();
        if let Some(earlier) = earlier {
            // As for an exception that is raised while another one is handled. An exception of a class without attributes is kept as it is.
            let _ = raised.value(py).setattr(intern!(py, "__context__"), earlier.into_value(py));
        }
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some((std::thread::current().id(), raised));
    }

    /// What a handler has raised in this thread.
    fn taken_raised(&self) -> Option<PyErr> {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::thread::current().id();
        raised.take_if(|(thread, _)| *thread == here).map(|(_, raised)| raised)
    }

    fn end(&self) {
        self.ends.fetch_add(1, Ordering::AcqRel);
    }
}

impl Machine {
    pub(crate) fn new(
        core: Host,
        state_dir: Option<StateDir>,
        namespace: Option<OwnedFd>,
        budget: Option<Duration>,
    ) -> Self {
        let waits = Arc::<Waits>::default();
        let asked = Arc::clone(&waits);
        let core = core.with_interrupt(move || asked.are_over_at_work());
        Machine {
            core: Mutex::new(Some(core)),
            opened: OpenedBy::this_process(),
            turn: Turn::default(),
            waits,
            namespace: Mutex::new(namespace.map(Arc::new)),
            watches: Mutex::default(),
            is_closed: AtomicBool::new(false),
            budget,
            state_dir,
        }
    }

    /// Works on the host with the interpreter free for others. For what changes nothing; see `change`.
    pub(crate) fn work<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Host) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        self.change(py, work, |_, _| Ok(()))
    }

    /// The same for what changes the host. If a signal's handler raises meanwhile, that exception is raised when the work has ended: its
    /// `__cause__` is the error of the work, and `tell` writes the result of the work on it.
    pub(crate) fn change<'py, R: Send>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(&mut Host) -> Result<R, Error> + Send,
        tell: impl FnOnce(&Bound<'py, PyBaseException>, &R) -> PyResult<()>,
    ) -> PyResult<R> {
        // In a copy of the process a lock may be held for ever, by a thread that was not copied.
        self.opened.check().or_raise()?;
        let at_start = self.waits.ends.load(Ordering::Acquire);
        let result = py.detach(|| {
            let _turn = self.turn.take(|| self.waits.are_over(at_start))?;
            self.waits.at_start.store(at_start, Ordering::Release);
            let end_waits = || self.waits.at_start.store(NEVER_AGAIN, Ordering::Release);
            self.inside(end_waits, || match self.core.lock().as_deref_mut() {
                Ok(Some(core)) => {
                    core.set_budget(self.budget.map_or(Budget::unlimited(), Budget::of));
                    work(core)
                }
                Ok(None) => Err(closed()),
                Err(_) => {
                    Err(Error::new(ErrorKind::Internal, "host refuses work: a defect was met in an earlier call on it")
                        .with_object("host")
                        .unchanged()
                        .with_hint("open another one; it recovers what was left open"))
                }
            })?
        });
        self.end(py, result, tell)
    }

    /// Begins to listen to the kernel in the host's network namespace. The watch ends when the host is closed.
    pub(crate) fn listen<W: Watch + 'static>(
        &self,
        py: Python<'_>,
        listen: impl FnOnce() -> Result<W, Error> + Send,
    ) -> PyResult<Arc<W>> {
        self.check_process()?;
        let result = py.detach(|| {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(closed());
            }
            let watch = Arc::new(self.inside(|| (), listen)??);
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_closed.load(Ordering::Acquire) {
                return Err(closed());
            }
            watches.retain(|watch| watch.strong_count() > 0);
            let listens: Weak<W> = Arc::downgrade(&watch);
            watches.push(listens);
            Ok(watch)
        });
        self.end(py, result, |_, _| Ok(()))
    }

    /// Whether the call that is at work shall end: a signal came, or `interrupt` was called. What was not begun by then need not be.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.waits.are_over_at_work()
    }

    /// The end of a call: what signals' handlers have raised meanwhile comes first, and says what came of the work.
    fn end<'py, R>(
        &self,
        py: Python<'py>,
        result: Result<R, Error>,
        tell: impl FnOnce(&Bound<'py, PyBaseException>, &R) -> PyResult<()>,
    ) -> PyResult<R> {
        // A signal that came while nothing was waited for: after the return, its exception would take the result's place untold.
        self.waits.signalled();
        match (self.waits.taken_raised(), result) {
            (None, result) => result.or_raise(),
            (Some(interrupt), Ok(result)) => {
                // An exception of a class without attributes is raised as it is.
                let _ = tell(interrupt.value(py), &result);
                Err(interrupt)
            }
            (Some(interrupt), Err(e)) => {
                if interrupt.cause(py).is_none() {
                    interrupt.set_cause(py, Some(raised(&e)));
                }
                Err(interrupt)
            }
        }
    }

    /// Does something in the host's network namespace. `signalled` is called when the handler of a signal has raised meanwhile.
    fn inside<R: Send>(&self, signalled: impl Fn(), work: impl FnOnce() -> R + Send) -> Result<R, Error> {
        let namespace = self.namespace.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(namespace) = &namespace else { return Ok(work()) };
        std::thread::scope(|scope| {
            let (done, ends) = sync_channel::<()>(0);
            let work = move || {
                // Its end is what the other thread waits for.
                let _done = done;
                work()
            };
            let thread = in_thread(scope, namespace.as_fd(), work)?;
            // Handlers of signals run in this thread only, if it is the first one.
            while ends.recv_timeout(OFTEN) == Err(RecvTimeoutError::Timeout) {
                if self.waits.signalled() {
                    signalled();
                }
            }
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Ends every wait that is going on.
    pub(crate) fn interrupt(&self) {
        self.waits.end();
    }

    /// Whether this process is the one that opened it.
    pub(crate) fn check_process(&self) -> PyResult<()> {
        self.opened.check().or_raise()
    }

    /// Closes it when no other thread works on it. Later calls are refused.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.opened.check().or_raise()?;
        let at_start = self.waits.ends.load(Ordering::Acquire);
        let closed = py.detach(|| {
            let _turn = self.turn.take(|| self.waits.are_over(at_start))?;
            let core = self.core.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(core);
            let watches = {
                let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
                self.is_closed.store(true, Ordering::Release);
                std::mem::take(&mut *watches)
            };
            watches.iter().filter_map(Weak::upgrade).for_each(|watch| watch.close());
            drop(self.namespace.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(())
        });
        self.end(py, closed, |_, ()| Ok(()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let core = self.core.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Closing may take the kernel a while.
        Python::try_attach(|py| py.detach(move || drop(core)));
    }
}

/// Does something in a network namespace, on a thread of its own: this one stays where it is.
pub(crate) fn in_namespace<R: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> R + Send) -> Result<R, Error> {
    std::thread::scope(|scope| {
        in_thread(scope, namespace, work)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn in_thread<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    namespace: BorrowedFd<'scope>,
    work: impl FnOnce() -> R + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, Result<R, Error>>, Error> {
    let io = |what: &str, errno: Errno| {
        Error::new(ErrorKind::Io, format!("host: {what}")).with_object("host").with_errno(errno).unchanged()
    };
    let inside = move || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .map_err(|e| io("its network namespace cannot be entered", Errno(e.raw_os_error())))?;
        Ok(work())
    };
    std::thread::Builder::new()
        .name("xennet-sandbox".to_owned())
        .spawn_scoped(scope, inside)
        .map_err(|e| io("no thread can be started", Errno::from_io(&e)))
}

/// Whose turn it is among the threads of this process. Unlike a `Mutex` it can be given up.
#[derive(Default)]
struct Turn {
    taken: Mutex<Option<ThreadId>>,
    free: Condvar,
}

struct Taken<'a>(&'a Turn);

impl Turn {
    fn take(&self, is_over: impl Fn() -> bool) -> Result<Taken<'_>, Error> {
        let busy = |message: &str| Error::new(ErrorKind::Busy, message).with_object("host").unchanged();
        let here = std::thread::current().id();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(by) = *taken {
            if by == here {
                let e = busy("host is at work in this thread, whose signal handler calls it");
                return Err(
                    e.with_hint("let the handler raise an exception or call Host.interrupt; call the host after that")
                );
            }
            let waited = self.free.wait_timeout(taken, OFTEN).unwrap_or_else(PoisonError::into_inner);
            taken = waited.0;
            if waited.1.timed_out() && taken.is_some() {
                // Not with the lock: a handler of Python's may take any time.
                drop(taken);
                if is_over() {
                    return Err(busy("host is at work for another thread; it is not waited for any longer"));
                }
                taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
        *taken = Some(here);
        Ok(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.free.notify_one();
    }
}
