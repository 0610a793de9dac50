//! What happens in calls on a host, told to a function of the program's.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use xennet_core::document::LogEvent;
use xennet_core::exec::Applied;
use xennet_core::{Error, IfName};

use crate::cast::{Context, Log, c_string};
use crate::text::json;

/// A call has failed.
pub const XENNET_LOG_ERROR: u32 = 1;
/// A note of a call that succeeded.
pub const XENNET_LOG_WARNING: u32 = 2;
/// A step was carried out.
pub const XENNET_LOG_INFO: u32 = 3;
/// A call has succeeded; the message says how long it took.
pub const XENNET_LOG_DEBUG: u32 = 4;

/// The program's function, and what it gets back.
#[derive(Clone, Copy)]
pub(crate) struct Sink {
    function: extern "C-unwind" fn(*mut c_void, u32, *const std::ffi::c_char, *const std::ffi::c_char),
    context: Context,
}

impl Sink {
    pub(crate) fn new(function: Log, context: Context) -> Option<Self> {
        function.map(|function| Sink { function, context })
    }

    fn tell(&self, level: u32, sentence: &str, event: &LogEvent<'_>) {
        let (sentence, document) = (c_string(sentence), json(event));
        (self.function)(self.context.0, level, sentence.as_ptr(), document.as_ptr());
    }
}

/// What came of a call, as far as it is told besides that it has ended.
pub(crate) trait Outcome {
    /// What was done.
    fn applied(&self) -> impl Iterator<Item = &Applied>;

    /// What failed without failing the call.
    fn failures(&self) -> impl Iterator<Item = &Error>;
}

/// What is only looked at.
pub(crate) struct Looked<R>(pub(crate) R);

impl<R> Outcome for Looked<R> {
    fn applied(&self) -> impl Iterator<Item = &Applied> {
        std::iter::empty()
    }

    fn failures(&self) -> impl Iterator<Item = &Error> {
        std::iter::empty()
    }
}

impl Outcome for Applied {
    fn applied(&self) -> impl Iterator<Item = &Applied> {
        std::iter::once(self)
    }

    fn failures(&self) -> impl Iterator<Item = &Error> {
        std::iter::empty()
    }
}

/// What was done to several networks, each by its name, and what could not be done.
pub(crate) struct Several {
    pub(crate) done: Vec<(IfName, Applied)>,
    pub(crate) failed: Vec<(IfName, Error)>,
}

impl Outcome for Several {
    fn applied(&self) -> impl Iterator<Item = &Applied> {
        self.done.iter().map(|(_, applied)| applied)
    }

    fn failures(&self) -> impl Iterator<Item = &Error> {
        self.failed.iter().map(|(_, e)| e)
    }
}

/// A call under way.
pub(crate) struct Call {
    name: &'static str,
    begun: Instant,
}

impl Call {
    pub(crate) fn begin(name: &'static str) -> Self {
        Call { name, begun: Instant::now() }
    }

    /// Tells what came of it. The host is free again: the function may use it.
    pub(crate) fn tell<R: Outcome>(&self, sink: Option<&Sink>, result: &Result<R, Error>) {
        let Some(sink) = sink else { return };
        let took = microseconds(self.begun.elapsed());
        match result {
            Ok(result) => {
                for applied in result.applied() {
                    self.tell_applied(sink, applied);
                }
                for e in result.failures() {
                    self.tell_failure(sink, took, e);
                }
                let mut event = LogEvent::new("done", self.name);
                event.took_us = Some(took);
                sink.tell(XENNET_LOG_DEBUG, &format!("{}: done in {took} us", self.name), &event);
            }
            Err(e) => self.tell_failure(sink, took, e),
        }
    }

    fn tell_failure(&self, sink: &Sink, took: u64, e: &Error) {
        let mut event = LogEvent::new("failed", self.name);
        (event.took_us, event.error) = (Some(took), Some(e));
        sink.tell(XENNET_LOG_ERROR, &format!("{}: {e}", self.name), &event);
    }

    fn tell_applied(&self, sink: &Sink, applied: &Applied) {
        for (at, step) in (1..).zip(&applied.done) {
            let mut event = LogEvent::new("step", self.name);
            (event.number, event.text) = (Some(at), Some(step.as_str()));
            sink.tell(XENNET_LOG_INFO, step, &event);
        }
        for note in &applied.notes {
            let mut event = LogEvent::new("note", self.name);
            event.text = Some(note);
            sink.tell(XENNET_LOG_WARNING, note, &event);
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
