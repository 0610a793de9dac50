//! What a call leaves behind for people: one record, told to several places, and read back.
//!
//! * `calls.log` in the state directory: one JSON document a line, read back by [`read_calls`] and `xennet log`. There a call also
//!   says that it begins, in a line of its own, so that one that is killed leaves a trace.
//! * `/var/log/xen/xen-hotplug.log`, where administrators of Xen look: lines for reading, with the time in UTC.
//! * The journal, with a field for each value; where there is none, syslog.
//!
//! A log never fails and never delays a call: [`Sinks::tell`] gives what could not be written, and goes on.
//!
//! Texts may come from outside (xenstore, a hook). In lines for reading their control characters are escaped, so that nobody
//! can forge a line or move a terminal.

mod read;
mod sinks;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::text;

pub use crate::text::printable;
pub use read::{Filter, Follower, read_calls};
pub use sinks::{Begun, Sinks, Unwritten};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The vif is connected, or was already.
    Connected,
    /// The vif is disconnected, or was already.
    Detached,
    /// The call is one that asks for nothing, for example `online` for a tap.
    Ignored,
    /// The call failed.
    Error,
    /// The call is under way.
    Begun,
    /// The call began and never ended: it was killed.
    Killed,
}

impl Outcome {
    /// The word in documents: `connected`, `detached`, `ignored`, `error`, `begun`, `killed`.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Connected => "connected",
            Outcome::Detached => "detached",
            Outcome::Ignored => "ignored",
            Outcome::Error => "error",
            Outcome::Begun => "begun",
            Outcome::Killed => "killed",
        }
    }
}

/// Why a call failed: the parts of an [`Error`] that a log keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallError {
    /// The short name of the kind, for example `bridge-not-found`.
    pub kind: String,
    /// The number of the kind.
    pub code: u8,
    /// The sentence; with line and column where it is about a text.
    pub message: String,
    /// At which step it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The kernel's number by its name, and its words if it gave any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The state that the system was left in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&Error> for CallError {
    fn from(e: &Error) -> Self {
        let place = e.diagnostic().map(|d| (d.position(), &d.rule));
        let message = match place {
            Some(((line, column), rule)) => format!("{} (line {line}, column {column}: {rule})", e.message()),
            None => e.message().to_owned(),
        };
        let words = e.kernel_message().or_else(|| e.errno().and_then(|n| n.text()));
        let kernel = match (e.errno(), words) {
            (Some(number), Some(words)) => Some(format!("{number} ({words})")),
            (Some(number), None) => Some(number.to_string()),
            (None, words) => words.map(str::to_owned),
        };
        CallError {
            kind: e.kind().slug().to_owned(),
            code: e.kind().number(),
            message,
            step: e.step().map(str::to_owned),
            kernel,
            state: e.state().map(str::to_owned),
            hint: e.hint().map(str::to_owned),
        }
    }
}

/// One call, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallRecord {
    /// The format of this document: [`CallRecord::FORMAT`].
    pub xennet: u32,
    /// When the call began: microseconds since the beginning of 1970, UTC.
    pub time_us: u64,
    /// The process that did it.
    pub pid: u32,
    /// The name that it was called by: `vif-bridge`.
    pub script: String,
    /// What was asked for: `online`, `offline`, `add`, `remove`.
    pub verb: String,
    /// For what kind of link: `vif` or `tap`.
    pub type_if: String,
    /// The kernel's name of the vif: `vif1.0`. Empty if the call did not say.
    pub vif: String,
    /// The backend's path in xenstore, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xenbus_path: Option<String>,
    /// How the call ended.
    pub outcome: Outcome,
    /// The name that the link has in the end, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The MTU that the link has in the end, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The steps that were planned, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
    /// What took how long: names and microseconds, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timings: Vec<(String, u64)>,
    /// How long the call took in all until it was told, in microseconds.
    pub total_us: u64,
}

impl CallRecord {
    /// The number of the format that this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// A record of a call that began at `time_us` (microseconds since the beginning of 1970, UTC); everything that is not
    /// known yet is empty, the outcome is [`Outcome::Ignored`].
    pub fn new(script: &str, verb: &str, time_us: u64) -> Self {
        CallRecord {
            xennet: CallRecord::FORMAT,
            time_us,
            pid: std::process::id(),
            script: script.to_owned(),
            verb: verb.to_owned(),
            type_if: "vif".to_owned(),
            vif: String::new(),
            xenbus_path: None,
            outcome: Outcome::Ignored,
            link: None,
            bridge: None,
            mtu: None,
            plan: Vec::new(),
            notes: Vec::new(),
            error: None,
            timings: Vec::new(),
            total_us: 0,
        }
    }

    /// Makes it the record of a call that failed.
    pub fn fail(&mut self, error: &Error) {
        self.outcome = Outcome::Error;
        self.error = Some(error.into());
    }

    /// When the call began, in UTC: `2026-11-25 10:00:00Z`.
    pub fn time(&self) -> String {
        text::utc(self.time_us / 1_000_000)
    }

    /// The call for reading: a line with the outcome, the parts of the error, a line for each note. Without time, name of the
    /// script and newlines; control characters are escaped.
    ///
    /// ```
    /// use xennet_core::hotplug::log::{CallRecord, Outcome};
    /// let mut call = CallRecord::new("vif-bridge", "online", 1_795_600_800_000_000);
    /// call.vif = "vif1.0".into();
    /// call.outcome = Outcome::Connected;
    /// (call.bridge, call.mtu, call.total_us) = (Some("xenbr0".into()), Some(1500), 1300);
    /// assert_eq!(call.lines(), ["online vif1.0: connected to xenbr0, mtu 1500 (1.3 ms)"]);
    /// ```
    pub fn lines(&self) -> Vec<String> {
        let about = self.about();
        self.parts().iter().map(|part| format!("{about}: {part}")).collect()
    }

    /// What the call is about: the verb and the vif; where that was not said, the path in xenstore. Escaped.
    pub fn about(&self) -> String {
        let object = match (self.vif.as_str(), &self.xenbus_path) {
            ("", Some(path)) => path,
            ("", None) => "-",
            (vif, _) => vif,
        };
        format!("{} {}", printable(&self.verb), printable(object))
    }

    /// As [`lines`](Self::lines), without what the call is about before each.
    pub fn parts(&self) -> Vec<String> {
        let mut parts = vec![match self.outcome {
            // How long it takes, nobody can say.
            Outcome::Begun | Outcome::Killed => self.summary(),
            _ => format!("{} ({})", self.summary(), milliseconds(self.total_us)),
        }];
        let mut add = |before: &str, text: &str| parts.push(format!("{before}{}", printable(text)));
        if let Some(e) = &self.error {
            let optional =
                [("  at ", &e.step), ("  kernel: ", &e.kernel), ("  state: ", &e.state), ("hint: ", &e.hint)];
            for (before, text) in optional {
                text.iter().for_each(|text| add(before, text));
            }
        }
        self.notes.iter().for_each(|note| add("note: ", note));
        parts
    }

    /// The outcome in a few words.
    fn summary(&self) -> String {
        let mut text = String::new();
        let mut add = |words: &str, value: Option<&str>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(text, "{words}{}", printable(value));
            }
        };
        let renamed = self.link.as_deref().filter(|link| *link != self.vif);
        match self.outcome {
            Outcome::Connected => {
                add("connected", Some(""));
                add(" as ", renamed);
                add(" to ", self.bridge.as_deref());
                add(", mtu ", self.mtu.map(|mtu| mtu.to_string()).as_deref());
            }
            Outcome::Detached => {
                add("detached", Some(""));
                add(" as ", renamed);
                add(" from ", self.bridge.as_deref());
            }
            Outcome::Ignored => add("nothing to do for type_if=", Some(&self.type_if)),
            Outcome::Error => match &self.error {
                Some(e) => add("error: ", Some(&e.message)),
                None => add("error", Some("")),
            },
            Outcome::Begun => add("under way", Some("")),
            Outcome::Killed => add("began and never ended: it was killed", Some("")),
        }
        text
    }
}

/// Microseconds as milliseconds with one digit behind the point.
pub fn milliseconds(us: u64) -> String {
    // Rounded to the next tenth; a time near the end of u64 is nobody's.
    let tenths = us.saturating_add(50) / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::{Errno, ErrorKind};

    /// A call that went well.
    pub(in crate::hotplug) fn connected(vif: &str) -> CallRecord {
        let mut call = CallRecord::new("vif-bridge", "online", 1_795_600_800_123_456);
        call.vif = vif.to_owned();
        call.outcome = Outcome::Connected;
        (call.bridge, call.link, call.mtu) = (Some("xenbr0".into()), Some(vif.into()), Some(1500));
        call.plan = vec!["vif1.0 becomes a port of xenbr0".into()];
        call.timings = vec![("observe".into(), 200), ("apply".into(), 700)];
        call.total_us = 1349;
        call
    }

    /// A call that failed, with every part of an error.
    pub(in crate::hotplug) fn refused(vif: &str) -> CallRecord {
        let mut call = connected(vif);
        let error = Error::new(ErrorKind::NotABridge, "cannot attach vif1.0 to bridge eth0")
            .with_step("step 1 of 2: vif1.0 becomes a port of eth0")
            .with_errno(Errno::EOPNOTSUPP)
            .with_kernel_message("Device does not allow enslaving to a bridge.")
            .restored("restored, 1 step undone")
            .with_hint("bridges here: xenbr0");
        call.fail(&error);
        call
    }

    #[test]
    fn a_call_is_told_in_lines() {
        assert_eq!(connected("vif1.0").lines(), ["online vif1.0: connected to xenbr0, mtu 1500 (1.3 ms)"]);
        let mut call = connected("vif1.0");
        call.link = Some("web0".into());
        call.notes = vec!["first".into(), "second".into()];
        assert_eq!(
            call.lines(),
            [
                "online vif1.0: connected as web0 to xenbr0, mtu 1500 (1.3 ms)",
                "online vif1.0: note: first",
                "online vif1.0: note: second"
            ]
        );
        assert_eq!(
            refused("vif1.0").lines(),
            [
                "online vif1.0: error: cannot attach vif1.0 to bridge eth0 (1.3 ms)",
                "online vif1.0:   at step 1 of 2: vif1.0 becomes a port of eth0",
                "online vif1.0:   kernel: EOPNOTSUPP (Device does not allow enslaving to a bridge.)",
                "online vif1.0:   state: restored, 1 step undone",
                "online vif1.0: hint: bridges here: xenbr0"
            ]
        );
        call.outcome = Outcome::Detached;
        assert_eq!(call.lines()[0], "online vif1.0: detached as web0 from xenbr0 (1.3 ms)");
        let nothing = CallRecord::new("vif-bridge", "add", 0);
        assert_eq!(nothing.lines(), ["add -: nothing to do for type_if=vif (0.0 ms)"]);
    }

    #[test]
    fn no_text_from_outside_can_forge_a_line() {
        let forged = "x\n2026-11-25 10:00:00Z vif-bridge: online vif9.0: connected\r\u{1b}[2J\u{85}\u{2028}\u{202e}\0";
        let mut call = refused(forged);
        call.verb = forged.into();
        call.notes = vec![forged.into()];
        call.link = Some(forged.into());
        call.error = call.error.map(|e| CallError { message: forged.into(), hint: Some(forged.into()), ..e });
        for outcome in [Outcome::Error, Outcome::Connected, Outcome::Detached, Outcome::Ignored] {
            (call.outcome, call.type_if, call.bridge) = (outcome, forged.into(), Some(forged.into()));
            for line in call.lines() {
                assert!(!line.contains(|c: char| c.is_control() || ['\u{2028}', '\u{202e}'].contains(&c)), "{line:?}");
                assert!(line.starts_with("x\\n2026"), "{line}");
            }
        }
        assert_eq!(printable("it's \"ü\" \\"), "it's \"ü\" \\");
    }

    #[test]
    fn a_record_reads_back_from_its_line() {
        for call in [connected("vif1.0"), refused("vif2.0"), CallRecord::new("a", "b", 1)] {
            let line = serde_json::to_string(&call).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<CallRecord>(&line).unwrap(), call);
        }
    }
}
