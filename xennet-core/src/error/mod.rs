//! What went wrong, told so that the reader can act: the object, the given value, the rule, the way out.
//!
//! There is one [`Error`] for the whole crate. Its [`ErrorKind`] has numbers that never change: they are the codes of
//! the C ABI, the exit codes of the command and the classes of the Python package alike.

mod diagnostic;
mod document;
mod errno;

use std::any::Any;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use diagnostic::Diagnostic;
pub(crate) use document::text as json_text;
pub use errno::Errno;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $slug:literal;)*) => {
        /// What kind of error this is: what a caller can branch on.
        ///
        /// The numbers are fixed for ever. They are the exit codes of the command and the codes of the C ABI; the
        /// slugs are what JSON documents carry. A retired number is never given out again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ #[serde(rename = $slug)] $name = $number,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name),*];

            /// The short name used in JSON documents and messages, for example `"bridge-not-found"`.
            pub const fn slug(self) -> &'static str {
                match self { $(ErrorKind::$name => $slug,)* }
            }

            /// The name of the variant, for example `"BridgeNotFound"`; C and Python names are made from it.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$name => stringify!($name),)* }
            }

            /// One sentence that says what the kind means.
            pub const fn meaning(self) -> &'static str {
                match self { $(ErrorKind::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

kinds! {
    /// a defect in xennet itself, or a situation that it has no better word for
    Internal = 1, "internal";
    /// the given text or value breaks a rule; the message shows where
    Invalid = 2, "invalid";
    /// the named link does not exist
    LinkNotFound = 3, "link-not-found";
    /// the named bridge does not exist
    BridgeNotFound = 4, "bridge-not-found";
    /// the named link exists but is not a bridge
    NotABridge = 5, "not-a-bridge";
    /// the wanted name belongs to another link
    NameTaken = 6, "name-taken";
    /// the link is a port of another bridge already
    PortOfOther = 7, "port-of-other";
    /// the caller lacks the permission (CAP_NET_ADMIN in the network namespace's user namespace)
    Denied = 8, "denied";
    /// a kernel setting cannot be written because /proc/sys is mounted read-only
    ReadOnly = 9, "read-only";
    /// the state directory has no room left
    StateFull = 10, "state-full";
    /// the state directory cannot be used
    StateUnusable = 11, "state-unusable";
    /// this backend or this kernel cannot do what was asked for
    Unsupported = 12, "unsupported";
    /// another process held the lock for longer than the deadline
    Busy = 13, "busy";
    /// the system has changed since the plan was made
    Stale = 14, "stale";
    /// the kernel refused a step
    Kernel = 15, "kernel";
    /// every step was accepted, but the state that was read back is not the wanted one
    NotVerified = 16, "not-verified";
    /// an earlier operation was interrupted and has not been recovered yet
    Interrupted = 17, "interrupted";
    /// the request contradicts another vif, network or record of this host
    Conflict = 18, "conflict";
    /// there is nothing recorded that could be undone
    NothingToUndo = 19, "nothing-to-undo";
    /// a step of the plan would cut dom0 off
    WouldCutOff = 20, "would-cut-off";
    /// talking to the kernel or reading its answer failed
    Io = 21, "io";
    /// xenstore cannot be reached, refused a request or answered wrongly
    Xenstore = 22, "xenstore";
    /// a hook of the administrator's failed or took too long
    HookFailed = 23, "hook-failed";
}

impl ErrorKind {
    /// The fixed number: exit code and C code. Never 0.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.number() == number)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// What a failed call has made of the system: what a caller can branch on. [`Error::state`] says the same in words, with details.
///
/// The numbers are fixed for ever, as those of [`ErrorKind`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[repr(u8)]
pub enum Outcome {
    /// nothing was changed
    Unchanged = 1,
    /// what had been changed was put back, and is as before
    Restored = 2,
    /// it is neither as before nor as wanted, or that is not known
    Incomplete = 3,
}

impl Outcome {
    /// All of them, in the order of the numbers.
    pub const ALL: &'static [Outcome] = &[Outcome::Unchanged, Outcome::Restored, Outcome::Incomplete];

    /// The fixed number. Never 0.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name in JSON documents, for example `"restored"`.
    pub const fn slug(self) -> &'static str {
        match self {
            Outcome::Unchanged => "unchanged",
            Outcome::Restored => "restored",
            Outcome::Incomplete => "incomplete",
        }
    }

    /// One sentence that says what it means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Outcome::Unchanged => "nothing was changed",
            Outcome::Restored => "what had been changed was put back, and is as before",
            Outcome::Incomplete => "it is neither as before nor as wanted, or that is not known",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// Everything that can go wrong in xennet, with what a reader needs to act.
///
/// `Display` is one line; [`report`](Self::report) is the long form of up to five parts: the sentence, the step, the
/// kernel's words, the state the system is in, and a hint.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    kind: ErrorKind,
    message: String,
    object: Option<String>,
    errno: Option<Errno>,
    kernel_message: Option<String>,
    at: Option<String>,
    left: Option<(Outcome, String)>,
    hint: Option<String>,
    diagnostic: Option<Diagnostic>,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Says in which file the text stands that the error is about.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.0.message = format!("{file}: {}", self.0.message);
        if let Some(d) = &mut self.0.diagnostic {
            d.message.clone_from(&self.0.message);
        }
        self.with_object(file)
    }

    /// A new error. The sentence starts in lower case, names the object first and has no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Parts {
            kind,
            message: message.into(),
            object: None,
            errno: None,
            kernel_message: None,
            at: None,
            left: None,
            hint: None,
            diagnostic: None,
        }))
    }

    /// Names the object that the error is about: a link, a file, a setting.
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// Adds the kernel's error number.
    pub fn with_errno(mut self, errno: Errno) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Adds the kernel's own sentence (netlink extended ack).
    pub fn with_kernel_message(mut self, message: impl Into<String>) -> Self {
        self.0.kernel_message = Some(message.into());
        self
    }

    /// Says at which step it happened, for example `"step 3 of 5: vif5.0 becomes a port of xenbr0"`.
    pub fn with_step(mut self, at: impl Into<String>) -> Self {
        self.0.at = Some(at.into());
        self
    }

    /// Says in what state the system was left, in a word and in words, for example `"restored, 2 steps undone"`.
    pub fn with_outcome(mut self, outcome: Outcome, state: impl Into<String>) -> Self {
        self.0.left = Some((outcome, state.into()));
        self
    }

    /// Says that nothing was changed.
    pub fn unchanged(self) -> Self {
        self.as_before("unchanged, nothing was applied")
    }

    /// Says that nothing was changed, in these words.
    pub fn as_before(self, state: impl Into<String>) -> Self {
        self.with_outcome(Outcome::Unchanged, state)
    }

    /// Says that what had been changed was put back, in these words.
    pub fn restored(self, state: impl Into<String>) -> Self {
        self.with_outcome(Outcome::Restored, state)
    }

    /// Says what is left, where it is not as before.
    pub fn incomplete(self, state: impl Into<String>) -> Self {
        self.with_outcome(Outcome::Incomplete, state)
    }

    /// The state that another error told of.
    pub(crate) fn with_state_of(mut self, other: &Error) -> Self {
        self.0.left = other.0.left.clone().or(self.0.left);
        self
    }

    /// The same error, told of what was being done: `cannot undo the last operation on vif5.0: …`.
    #[must_use]
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Adds the way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The way out in the words of a face: each phrase of the hint that is in the list is replaced by the one beside it.
    ///
    /// What the library calls "by force" is an option of the command, a keyword in Python, a constant in C.
    #[must_use]
    pub fn with_words(mut self, words: &[(&str, &str)]) -> Self {
        if let Some(hint) = &mut self.0.hint {
            for (phrase, word) in words {
                *hint = hint.replace(phrase, word);
            }
        }
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without kernel words, state and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The object that the error is about.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The kernel's error number, if the kernel was asked.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// The kernel's own sentence (netlink extended ack), if it gave one.
    pub fn kernel_message(&self) -> Option<&str> {
        self.0.kernel_message.as_deref()
    }

    /// At which step of which plan it happened.
    pub fn step(&self) -> Option<&str> {
        self.0.at.as_deref()
    }

    /// What the failed call has made of the system. `None` of an error that is about a value or a text, and about no call that
    /// changes something.
    ///
    /// ```
    /// use xennet_core::{DomId, Host, Outcome};
    ///
    /// let mut host = Host::fake();
    /// let e = host.attach(DomId::new(5)?, &"bridge=br-dzm".parse()?).unwrap_err();
    /// assert_eq!(e.outcome(), Some(Outcome::Unchanged));
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.left.as_ref().map(|(outcome, _)| *outcome)
    }

    /// The state that the system was left in, in words.
    pub fn state(&self) -> Option<&str> {
        self.0.left.as_ref().map(|(_, state)| state.as_str())
    }

    /// The way out, if one is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Where in a text the error is, if it is about a text.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        self.0.diagnostic.as_ref()
    }

    /// The long form: several lines without a final newline, without colour.
    ///
    /// ```text
    /// error: cannot attach vif5.0 to bridge xenbr0
    ///   at step 3 of 5: vif5.0 becomes a port of xenbr0
    ///   kernel: EOPNOTSUPP (Device does not allow enslaving to a bridge.)
    ///   state: restored, 2 steps undone
    /// hint: xenbr0 is an ethernet link, not a bridge; bridges here: br-lan, br-dmz
    /// ```
    pub fn report(&self) -> String {
        let p = &*self.0;
        let mut out = format!("error: {}", p.message);
        if let Some(d) = &p.diagnostic {
            for line in d.snippet().lines() {
                out.push_str("\n  ");
                out.push_str(line);
            }
        }
        if let Some(at) = &p.at {
            out.push_str(&format!("\n  at {at}"));
        }
        // Whose words the number and the sentence are.
        let who = if p.kind == ErrorKind::Xenstore { "xenstore" } else { "kernel" };
        match (p.errno, &p.kernel_message) {
            (Some(e), Some(m)) => out.push_str(&format!("\n  {who}: {e} ({m})")),
            (Some(e), None) => match e.text() {
                Some(t) => out.push_str(&format!("\n  {who}: {e} ({t})")),
                None => out.push_str(&format!("\n  {who}: {e}")),
            },
            (None, Some(m)) => out.push_str(&format!("\n  {who}: {m}")),
            (None, None) => {}
        }
        if let Some(state) = self.state() {
            out.push_str(&format!("\n  state: {state}"));
        }
        if let Some(hint) = &p.hint {
            out.push_str(&format!("\nhint: {hint}"));
        }
        out
    }

    /// The text of the error as a JSON document: `kind`, `code`, `message` and, where known, `object`, `errno`, `errno_name`,
    /// `kernel_message`, `step`, `outcome`, `state`, `hint`, `line`, `column`, `span`, `rule`, and `other` (a
    /// second place: `line`, `column`, `span`, `what`). Serde writes the same document.
    ///
    /// ```
    /// use xennet_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Busy, "vif5.0 is locked").with_object("vif5.0");
    /// let text = r#"{"code":13,"kind":"busy","message":"vif5.0 is locked","object":"vif5.0","version":1}"#;
    /// assert_eq!(error.to_json(), text);
    /// assert_eq!(serde_json::to_value(&error)?["kind"], "busy");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn to_json(&self) -> String {
        document::text(self)
    }
}

impl From<Diagnostic> for Error {
    fn from(d: Diagnostic) -> Self {
        let mut e = Error::new(ErrorKind::Invalid, d.message.clone());
        e.0.hint = d.hint.clone();
        e.0.diagnostic = Some(d);
        e
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &*self.0;
        f.write_str(&p.message)?;
        if let Some(d) = &p.diagnostic {
            let (line, column) = d.position();
            write!(f, " (line {line}, column {column}: {})", d.rule)?;
        }
        match (p.errno, &p.kernel_message) {
            (Some(e), Some(m)) => write!(f, ": {e} ({m})")?,
            (Some(e), None) => write!(f, ": {e}")?,
            (None, Some(m)) => write!(f, ": {m}")?,
            (None, None) => {}
        }
        if let Some(state) = self.state() {
            write!(f, "; state: {state}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What `main` prints of an error that it returns, and what a failed `unwrap` says: for people, too. The report has all
        // parts but the kind.
        let report = self.report();
        write!(f, "[{}] {}", self.kind(), report.strip_prefix("error: ").unwrap_or(&report))
    }
}

impl std::error::Error for Error {
    /// What the error comes from, to be found by its type: the [`Diagnostic`] of an error that is about a text, the [`Errno`] of one that
    /// the kernel, or xenstore, answered with. The line that `Display` writes says it already.
    ///
    /// ```
    /// use std::error::Error as _;
    /// use xennet_core::{Diagnostic, Errno, Error, ErrorKind, VifSpec};
    ///
    /// let refused = Error::new(ErrorKind::Kernel, "br0 cannot be made").with_errno(Errno::EPERM);
    /// assert_eq!(refused.source().and_then(|e| e.downcast_ref()), Some(&Errno::EPERM));
    ///
    /// let typo = "brdge=xenbr0".parse::<VifSpec>().unwrap_err();
    /// assert!(typo.source().is_some_and(|e| e.is::<Diagnostic>()));
    /// ```
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match (&self.0.diagnostic, &self.0.errno) {
            (Some(diagnostic), _) => Some(diagnostic),
            (None, Some(errno)) => Some(errno),
            (None, None) => None,
        }
    }
}

/// What a panic that was caught says ([`std::panic::catch_unwind`]).
pub fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_distinct_numbers_slugs_and_meanings() {
        let mut numbers: Vec<u8> = ErrorKind::ALL.iter().map(|k| k.number()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_number(kind.number()), Some(*kind));
            assert!(kind.number() > 0 && kind.number() < 126, "an exit code");
            assert!(!kind.meaning().is_empty() && !kind.meaning().ends_with('.'));
        }
        assert_eq!(ErrorKind::from_number(0), None);
    }

    #[test]
    fn snippet_marks_the_span_also_behind_wide_and_control_characters() {
        let d = Diagnostic {
            source: "a=ü\n\tmac=\u{1b}x,b".into(),
            span: 10..11,
            message: "m".into(),
            rule: "r".into(),
            hint: None,
            other: None,
        };
        assert_eq!(d.position(), (2, 6));
        assert_eq!(d.snippet(), "  |\n2 |  mac=\u{fffd}x,b\n  |      ^ r");
        // Offsets that a careless caller gives never panic.
        let d = Diagnostic { span: 3..900, ..d };
        let _ = (d.snippet(), d.position());
        let d = Diagnostic { source: "\u{202e}\u{200b}'\"\\\u{301}".into(), span: 2..4, ..d };
        assert!(d.snippet().contains("\n1 | \u{fffd}\u{fffd}'\"\\\u{fffd}\n"), "{}", d.snippet());
        let d = Diagnostic { source: "\u{fc}".repeat(1 << 20), span: 1000..1002, ..d };
        let shown = d.snippet();
        assert!(shown.contains(&format!("\n1 | ...{}...\n", "\u{fc}".repeat(201))), "{shown}");
        assert!(shown.contains(&format!("\n  | {}^ ", " ".repeat(103))), "{shown}");
        let d = Diagnostic { span: 0..2 << 20, ..d };
        let (line, rule) = (format!("{}...", "\u{fc}".repeat(100)), "^".repeat(103));
        assert_eq!(d.snippet(), format!("  |\n1 | {line}\n  | {rule} r"));
        let d = Diagnostic { span: 0..200, source: format!("{}{}", "x".repeat(200), "y".repeat(9)), ..d };
        assert!(!d.snippet().contains('y'), "{}", d.snippet());
    }

    #[test]
    fn report_has_the_five_parts() {
        let e = Error::new(ErrorKind::NotABridge, "cannot attach vif5.0 to bridge xenbr0")
            .with_object("xenbr0")
            .with_step("step 3 of 5: vif5.0 becomes a port of xenbr0")
            .with_errno(Errno::EOPNOTSUPP)
            .with_outcome(Outcome::Restored, "restored, 2 steps undone")
            .with_hint("bridges here: br-lan");
        assert_eq!(
            e.report(),
            "error: cannot attach vif5.0 to bridge xenbr0\n  at step 3 of 5: vif5.0 becomes a port of xenbr0\n  \
             kernel: EOPNOTSUPP (operation not supported)\n  state: restored, 2 steps undone\nhint: bridges here: br-lan"
        );
        assert_eq!(e.outcome(), Some(Outcome::Restored));
        assert_eq!(
            e.to_json(),
            r#"{"code":5,"errno":95,"errno_name":"EOPNOTSUPP","hint":"bridges here: br-lan","kind":"not-a-bridge","message":"cannot attach vif5.0 to bridge xenbr0","object":"xenbr0","outcome":"restored","state":"restored, 2 steps undone","step":"step 3 of 5: vif5.0 becomes a port of xenbr0","version":1}"#
        );
        assert!(!e.to_string().contains('\n'));
    }

    #[test]
    fn what_main_prints_of_an_error_is_for_people() {
        let e = Error::new(ErrorKind::Conflict, "network lan cannot be stopped")
            .unchanged()
            .with_hint("shut the guests down, or cut them off by force");
        let text = "[conflict] network lan cannot be stopped\n  state: unchanged, nothing was applied\nhint: shut the guests down, or \
                    cut them off by force";
        assert_eq!(format!("{e:?}"), text);
        let e = e.with_words(&[("by force", "with force=True"), ("not there", "x")]);
        assert_eq!(e.hint(), Some("shut the guests down, or cut them off with force=True"));
        assert_eq!(Error::new(ErrorKind::Io, "x").with_words(&[("x", "y")]).message(), "x");
    }
}
