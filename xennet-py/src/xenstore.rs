//! The compiled part of `xennet.xenstore`: a connection, and a xenstored for tests and rehearsals.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use xennet_core::snapshot::StorePermission;
use xennet_core::xenstore::server::{Server, Settings};
use xennet_core::xenstore::{Client, Options, Store as _, StoreError};
use xennet_core::{Errno, Error, ErrorKind, OpenedBy};

use crate::convert::{Digits, Text, kind, texts, time_of};
use crate::error::{OrRaise, raised};
use crate::machine::OFTEN;

/// A connection to xenstored.
#[pyclass(frozen, subclass, module = "xennet._xennet")]
pub(crate) struct StoreConnection {
    // None once it is closed.
    client: Mutex<Option<Client>>,
    descriptor: i32,
    opened: OpenedBy,
}

impl StoreConnection {
    fn held(&self) -> MutexGuard<'_, Option<Client>> {
        // A panic of another holder has failed its own request, not this one.
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Client) -> Result<R, StoreError> + Send,
    ) -> PyResult<R> {
        self.opened.check_for("store").or_raise()?;
        py.detach(|| match &mut *self.held() {
            Some(client) => work(client).map_err(Error::from),
            None => Err(Error::new(ErrorKind::Invalid, "store is closed")
                .with_object("store")
                .with_hint("open a new connection: xennet.xenstore.Store()")),
        })
        .or_raise()
    }
}

#[pymethods]
impl StoreConnection {
    #[new]
    #[pyo3(signature = (path=None, *, deadline=None))]
    fn new(py: Python<'_>, path: Option<PathBuf>, deadline: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let mut options = Options::default().with_path(path);
        if let Some(deadline) = deadline {
            options.deadline = time_of("deadline", deadline)?;
        }
        let client = py.detach(|| Client::open(&options, &|name| std::env::var_os(name))).map_err(Error::from);
        let client = client.or_raise()?;
        let descriptor = client.as_fd().as_raw_fd();
        Ok(StoreConnection { client: Mutex::new(Some(client)), descriptor, opened: OpenedBy::this_process() })
    }

    /// The values of several nodes, in the order of the paths; None for a node that is not there. One round trip, however many.
    fn read_many<'py>(&self, py: Python<'py>, paths: Bound<'py, PyAny>) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let paths = texts("paths", Some(paths))?;
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let values = self.work(py, |client| client.read_many(&paths))?;
        Ok(values.into_iter().map(|value| value.map(|value| PyBytes::new(py, &value))).collect())
    }

    /// Sets several nodes, all or none of them; `values` are paths with their values, a str or bytes each. Nodes above them are made.
    fn write_all(&self, py: Python<'_>, values: BTreeMap<String, Value>) -> PyResult<()> {
        let pairs: Vec<(&str, &[u8])> = values.iter().map(|(path, value)| (path.as_str(), &*value.0)).collect();
        self.work(py, |client| client.write_all(&pairs))
    }

    /// Makes a node without a value, and those above it. One that exists is left as it is.
    fn mkdir(&self, py: Python<'_>, path: Text) -> PyResult<()> {
        self.work(py, |client| client.mkdir(&path))
    }

    /// Removes a node and all below it. One that does not exist is a success.
    fn remove(&self, py: Python<'_>, path: Text) -> PyResult<()> {
        self.work(py, |client| client.rm(&path))
    }

    /// The names of the children of a node, however many; None for a node that is not there.
    fn directory(&self, py: Python<'_>, path: Text) -> PyResult<Option<Vec<String>>> {
        self.work(py, |client| client.directory(&path))
    }

    fn _permissions(&self, py: Python<'_>, path: Text) -> PyResult<Option<Vec<(u16, bool, bool)>>> {
        let list = self.work(py, |client| client.permissions(&path))?;
        Ok(list.map(|list| list.iter().map(|p| (p.domid, p.read, p.write)).collect()))
    }

    fn _set_permissions(&self, py: Python<'_>, path: Text, list: Vec<(Digits, bool, bool)>) -> PyResult<()> {
        let list =
            list.into_iter().map(|(domid, read, write)| Ok(StorePermission { domid: number(&domid)?, read, write }));
        let list: Vec<StorePermission> = list.collect::<PyResult<_>>()?;
        self.work(py, |client| client.set_permissions(&path, &list))
    }

    /// The home of a domain: "/local/domain/5". Says nothing about whether the domain exists.
    fn domain_path(&self, py: Python<'_>, domid: Digits) -> PyResult<String> {
        let domid = number(&domid)?;
        self.work(py, |client| client.domain_path(domid))
    }

    fn _begin(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, Client::begin)
    }

    fn _commit(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, |client| match client.commit()? {
            true => Ok(()),
            false => Err(StoreError::refused(Errno::EAGAIN, "carry out a transaction", "")),
        })
    }

    fn _abort(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, Client::abort)
    }

    fn _watch(&self, py: Python<'_>, path: Text, token: Text) -> PyResult<()> {
        self.work(py, |client| client.watch(&path, &token))
    }

    fn _unwatch(&self, py: Python<'_>, path: Text, token: Text) -> PyResult<()> {
        self.work(py, |client| client.unwatch(&path, &token))
    }

    /// The next event as its path and token; None if none comes within `timeout`, which None makes as long as it takes. Ctrl-C ends the wait.
    #[pyo3(signature = (timeout=None))]
    fn _next_event(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<(String, String)>> {
        let end = match timeout {
            Some(timeout) => Some(Instant::now() + time_of("timeout", timeout)?),
            None => None,
        };
        loop {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            // In short waits, between which other threads can use the connection.
            if let Some(event) = self.work(py, |client| client.next_event(left.min(OFTEN)))? {
                return Ok(Some((event.path, event.token)));
            }
            py.check_signals()?;
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// The descriptor to poll: readable when something comes. Before waiting, fetch events until there are none: some may have come along with an
    /// answer.
    fn fileno(&self) -> PyResult<i32> {
        match &*self.held() {
            Some(_) => Ok(self.descriptor),
            None => Err(pyo3::exceptions::PyValueError::new_err("store is closed")),
        }
    }

    /// Whether this process has opened it, and is not a copy of that one (fork).
    fn _is_ours(&self) -> bool {
        self.opened.check().is_ok()
    }

    /// Closes the connection; a transaction that is open is given up, and watches end. A second time nothing happens.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.opened.check_for("store").or_raise()?;
        py.detach(|| drop(self.held().take()));
        Ok(())
    }
}

/// A value of a node: bytes, or a text.
struct Value(Vec<u8>);

impl<'py> FromPyObject<'_, 'py> for Value {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Value(bytes.as_bytes().to_vec()));
        }
        match object.cast::<PyString>() {
            Ok(text) => Ok(Value(Text::from_python(&text)?.as_bytes().to_vec())),
            Err(_) => Err(PyTypeError::new_err(format!("a str or bytes is needed for a value, not {}", kind(&object)))),
        }
    }
}

/// A domain's number, also one of a reserved domain.
fn number(digits: &Digits) -> PyResult<u16> {
    digits.0.parse().map_err(|_| {
        let message = format!("{} is no domain's number", digits.0);
        let e = Error::new(ErrorKind::Invalid, message).with_object(digits.0.clone());
        raised(&e.with_hint("a domain's number is 0 to 65535"))
    })
}

/// A xenstored of this process, for tests and rehearsals. The tools of Xen talk to it as well.
#[pyclass(frozen, subclass, module = "xennet._xennet")]
pub(crate) struct StoreServer {
    server: Mutex<Option<Server>>,
    path: PathBuf,
    opened: OpenedBy,
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.opened.check().is_err() {
            // A copy of the process has neither the server's thread nor a right to its socket.
            std::mem::forget(server);
            return;
        }
        // Its thread is waited for.
        Python::try_attach(|py| py.detach(move || drop(server)));
    }
}

#[pymethods]
impl StoreServer {
    #[new]
    #[pyo3(signature = (path=None, *, domid=None))]
    fn new(py: Python<'_>, path: Option<PathBuf>, domid: Option<Digits>) -> PyResult<Self> {
        let mut settings = Settings::default().with_path(path);
        settings.domid = domid.as_ref().map_or(Ok(0), number)?;
        let server = py.detach(|| Server::start(settings)).map_err(Error::from).or_raise()?;
        let path = server.path().to_owned();
        Ok(StoreServer { server: Mutex::new(Some(server)), path, opened: OpenedBy::this_process() })
    }

    /// The socket; programs find it by the variable XENSTORED_PATH.
    #[getter]
    fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Sets a node, as the store's owner. Watches fire.
    fn set(&self, py: Python<'_>, path: Text, value: Value) -> PyResult<()> {
        self.opened.check_for("server").or_raise()?;
        let set = py.detach(|| match &*self.server.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(server) => server.tree(|tree| tree.set(&path, &value.0)),
            None => Err(Errno::EPIPE),
        });
        set.map_err(|errno| raised(&StoreError::refused(errno, "write", &*path).into()))
    }

    /// Whether this process has opened it, and is not a copy of that one (fork).
    fn _is_ours(&self) -> bool {
        self.opened.check().is_ok()
    }

    /// Ends the server, with its socket. A second time nothing happens.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.opened.check_for("server").or_raise()?;
        py.detach(|| drop(self.server.lock().unwrap_or_else(PoisonError::into_inner).take()));
        Ok(())
    }
}
