//! What the kernel tells of changes.

use std::os::fd::AsRawFd as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use xennet_core::OpenedBy;
use xennet_core::backend::netlink::Events;

use crate::convert::time_of;
use crate::error::OrRaise;
use crate::machine::OFTEN;

/// The kernel's tidings of what changes: links, addresses, routes and nft tables. What has changed is not told.
#[pyclass(frozen, module = "xennet._xennet")]
pub(crate) struct KernelEvents {
    core: Mutex<Events>,
    descriptors: Vec<i32>,
    opened: OpenedBy,
}

impl KernelEvents {
    pub(crate) fn of(core: Events) -> Self {
        let descriptors = core.descriptors().map(|fd| fd.as_raw_fd()).collect();
        KernelEvents { core: Mutex::new(core), descriptors, opened: OpenedBy::this_process() }
    }
}

#[pymethods]
impl KernelEvents {
    /// Waits until something changes, for `timeout` at the most; None: for as long as it takes. Whether something has changed.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        self.opened.check_for("watch").or_raise()?;
        let end = match timeout {
            Some(timeout) => Some(Instant::now() + time_of("timeout", timeout)?),
            None => None,
        };
        loop {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let changed = py.detach(|| {
                let mut events = self.core.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                events.wait_at_most(left.min(OFTEN))
            });
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
