//! A stand-in for the kernel's way to xenstored, `/dev/xen/xenbus`: a character device that is opened by its path (one end of
//! a pseudo terminal), with what Linux's driver does behind it.
//!
//! The driver has **one buffer** an open file. A request that is written lies in it; what is queued for the thread that talks
//! to xenstored is a copy of the request's header and a pointer into the buffer. So a request that is written before that
//! thread has come by is sent with the header of its own and the body of the last one. Here the thread is late on purpose: it
//! comes by when the client has fallen silent.
//!
//! Source: `drivers/xen/xenbus/xenbus_dev_frontend.c` (`xenbus_file_write`), `xenbus_xs.c` (`xenbus_dev_request_and_reply`,
//! `xs_send`).

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use xennet_core::xenstore::wire::{HEADER, Header};

/// How long the client has to be silent before the late thread comes by.
const LATE: Duration = Duration::from_micros(50);
/// How often the stand-in looks whether it is to end.
const IDLE: Duration = Duration::from_millis(20);

/// The stand-in. It ends when it is dropped.
pub(crate) struct Xenbus {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicUsize,
    overwritten: AtomicUsize,
}

impl Xenbus {
    /// A device before the xenstored whose socket is at this path.
    pub(crate) fn before(store: &Path) -> Self {
        let kernel = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&kernel).unwrap();
        let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&kernel, Vec::new()).unwrap().into_bytes()));
        // Bytes as they are, and none of them back.
        let mut raw = tcgetattr(&kernel).unwrap();
        raw.make_raw();
        tcsetattr(&kernel, OptionalActions::Now, &raw).unwrap();
        let shared = Arc::new(Shared::default());
        let driver = Driver { kernel, store: store.to_owned(), shared: Arc::clone(&shared) };
        let thread = Some(std::thread::spawn(move || driver.run()));
        Xenbus { path, shared, thread }
    }

    /// What is opened in the place of `/dev/xen/xenbus`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many requests were written.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many requests were written into the buffer while another one in it was not sent yet.
    pub(crate) fn overwritten(&self) -> usize {
        self.shared.overwritten.load(Ordering::Relaxed)
    }
}

impl Drop for Xenbus {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the stand-in for the device has failed");
        }
    }
}

struct Driver {
    kernel: OwnedFd,
    store: PathBuf,
    shared: Arc<Shared>,
}

/// An open file of the device.
struct Opened {
    xenstored: UnixStream,
    /// The one buffer.
    buffer: Vec<u8>,
    /// What was written and is no whole request yet.
    written: Vec<u8>,
    /// Headers of the requests that wait to be sent; their bodies are whatever lies in the buffer by then.
    queue: VecDeque<Vec<u8>>,
}

impl Driver {
    fn run(self) {
        let mut opened: Option<Opened> = None;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let waits = opened.as_ref().is_some_and(|file| !file.queue.is_empty());
            let time = if waits { LATE } else { IDLE };
            let mut ready = vec![PollFd::new(&self.kernel, PollFlags::IN)];
            if let Some(file) = &opened {
                ready.push(PollFd::from_borrowed_fd(file.xenstored.as_fd(), PollFlags::IN));
            }
            poll(&mut ready, Some(&Timespec::try_from(time).unwrap())).unwrap();
            let (client, event) = (ready[0].revents(), ready.get(1).is_some_and(|f| !f.revents().is_empty()));
            if client.contains(PollFlags::IN) {
                let mut bytes = [0; 4096];
                let count = rustix::io::read(&self.kernel, &mut bytes).unwrap();
                let file = opened.get_or_insert_with(|| Opened::new(&self.store));
                file.written.extend_from_slice(&bytes[..count]);
                while let Some(request) = file.next_request() {
                    self.shared.requests.fetch_add(1, Ordering::Relaxed);
                    self.shared.overwritten.fetch_add(usize::from(!file.queue.is_empty()), Ordering::Relaxed);
                    file.queue.push_back(request[..HEADER].to_vec());
                    // Whether what lies there was sent or not.
                    file.buffer = request;
                }
            } else if client.contains(PollFlags::HUP) {
                // Closed by whoever had opened it; a later one opens it anew.
                opened = None;
                std::thread::sleep(Duration::from_millis(1));
            } else if event && let Some(file) = &mut opened {
                self.pass_on(file);
            } else if let Some(file) = &mut opened
                && let Some(header) = file.queue.pop_front()
            {
                let len = Header::read(&header).unwrap().payload().unwrap();
                // As much as the header says, from where the last request lies.
                file.buffer.resize(file.buffer.len().max(HEADER + len), 0);
                file.xenstored.write_all(&header).unwrap();
                file.xenstored.write_all(&file.buffer[HEADER..HEADER + len]).unwrap();
                self.pass_on(file);
            }
        }
    }

    /// Hands the next message of xenstored's on.
    fn pass_on(&self, file: &mut Opened) {
        let mut message = vec![0; HEADER];
        file.xenstored.read_exact(&mut message).unwrap();
        let len = Header::read(&message).unwrap().payload().unwrap();
        message.resize(HEADER + len, 0);
        file.xenstored.read_exact(&mut message[HEADER..]).unwrap();
        let mut rest = &message[..];
        while !rest.is_empty() {
            // A client that has gone away reads nothing.
            let Ok(count) = rustix::io::write(&self.kernel, rest) else { return };
            rest = &rest[count..];
        }
    }
}

impl Opened {
    fn new(store: &Path) -> Self {
        let xenstored = UnixStream::connect(store).unwrap();
        Opened { xenstored, buffer: Vec::new(), written: Vec::new(), queue: VecDeque::new() }
    }

    fn next_request(&mut self) -> Option<Vec<u8>> {
        let whole = HEADER + Header::read(&self.written)?.payload().unwrap();
        (self.written.len() >= whole).then(|| self.written.drain(..whole).collect())
    }
}
