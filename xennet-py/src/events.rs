//! What the kernel tells of changes.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use xennet_core::backend::netlink::{Events, LinkEvents};
use xennet_core::{Error, OpenedBy};

use crate::convert::{time_of, to_python};
use crate::error::OrRaise;
use crate::machine::{Machine, OFTEN, Watch, closed};

/// What listens, until its host is closed.
struct Listening<T>(Mutex<Option<T>>);

impl<T> Listening<T> {
    fn of(events: T) -> Self {
        Listening(Mutex::new(Some(events)))
    }

    fn with<R>(&self, work: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map_or_else(|| Err(closed()), work)
    }
}

impl<T: Send> Watch for Listening<T> {
    fn close(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// What happens to links, link by link.
#[pyclass(frozen, module = "xennet._xennet")]
pub(crate) struct KernelLinkEvents {
    core: Arc<Listening<LinkEvents>>,
    descriptor: i32,
    opened: OpenedBy,
}

impl KernelLinkEvents {
    pub(crate) fn listen(py: Python<'_>, machine: &Machine) -> PyResult<Self> {
        let core = machine.listen(py, || LinkEvents::listen().map(Listening::of))?;
        let descriptor = core.with(|events| Ok(events.as_fd().as_raw_fd())).or_raise()?;
        Ok(KernelLinkEvents { core, descriptor, opened: OpenedBy::this_process() })
    }
}

#[pymethods]
impl KernelLinkEvents {
    /// The next event as a document; None if none comes within `timeout`, which None makes as long as it takes.
    #[pyo3(signature = (timeout=None))]
    fn next<'py>(&self, py: Python<'py>, timeout: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.opened.check_for("watch").or_raise()?;
        let end = ends(timeout)?;
        loop {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let event = py.detach(|| self.core.with(|events| events.next(left.min(OFTEN))));
            if let Some(event) = event.or_raise()? {
                return to_python(py, &event).map(Some);
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// The descriptor to poll. Before waiting, fetch events until there are none: several come at once.
    fn fileno(&self) -> i32 {
        self.descriptor
    }
}

/// When a wait ends; `None`: never.
fn ends(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Instant>> {
    timeout.map(|timeout| Ok(Instant::now() + time_of("timeout", timeout)?)).transpose()
}

/// The kernel's tidings of what changes: links, addresses, routes and nft tables. What has changed is not told.
#[pyclass(frozen, module = "xennet._xennet")]
pub(crate) struct KernelEvents {
    core: Arc<Listening<Events>>,
    descriptors: Vec<i32>,
    opened: OpenedBy,
}

impl KernelEvents {
    pub(crate) fn listen(py: Python<'_>, machine: &Machine) -> PyResult<Self> {
        let core = machine.listen(py, || Events::listen().map(Listening::of))?;
        let descriptors = core.with(|events| Ok(events.descriptors().map(|fd| fd.as_raw_fd()).collect())).or_raise()?;
        Ok(KernelEvents { core, descriptors, opened: OpenedBy::this_process() })
    }
}

#[pymethods]
impl KernelEvents {
    /// Waits until something changes, for `timeout` at the most; None: for as long as it takes. Whether something has changed.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        self.opened.check_for("watch").or_raise()?;
        let end = ends(timeout)?;
        loop {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let changed = py.detach(|| self.core.with(|events| events.wait_at_most(left.min(OFTEN))));
            if changed.or_raise()? {
                return Ok(true);
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// The descriptors to poll: one of them is readable when something has changed.
    #[getter]
    fn descriptors(&self) -> Vec<i32> {
        self.descriptors.clone()
    }
}
