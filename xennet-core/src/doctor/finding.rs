//! One finding.

use std::fmt;

use serde::{Serialize, Serializer};

use super::table::{Code, Level};
use crate::model::Request;
use crate::plan::Plan;
use crate::schema::written_as;
use crate::text::printable;

/// Something on a host that keeps guests from the network that they were promised, or will.
///
/// Serde writes `code`, `level`, `object`, `title`, `cause`, `evidence`, `fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Its row of the table.
    pub code: Code,
    /// What it is about: a link, a vif, a network, a table, a file.
    pub object: String,
    /// What is so, in a sentence.
    pub cause: String,
    /// What was observed, a fact a line.
    pub evidence: Vec<String>,
    /// What mends it; `None` where that is not on this host.
    pub fix: Option<Fix>,
}

/// What mends a finding.
///
/// Serde writes `command` and `plan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Fix {
    /// A command for a shell.
    pub command: String,
    /// What xennet would do, where it can do it.
    pub plan: Option<Plan>,
    /// What to ask a host for, so that it does.
    #[serde(skip)]
    pub request: Option<Request>,
}

/// A command for a shell: a format, and words that are quoted where a shell would read more into them. Names of links and files come from
/// configurations and other programs.
macro_rules! sh {
    ($text:literal $(, $word:expr)* $(,)?) => {
        format!($text $(, $crate::doctor::finding::word(&$word))*)
    };
}
pub(super) use sh;

/// A word of a command. The name of an nft table is two words.
pub(super) fn word(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@%+=,*".contains(&b));
    let is_table = text
        .split_once(' ')
        .is_some_and(|(family, name)| ["ip", "ip6", "inet", "bridge"].contains(&family) && is_plain(name));
    if is_plain(&text) || is_table { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

impl Finding {
    pub(super) fn new(code: Code, object: impl fmt::Display, cause: impl Into<String>) -> Self {
        Finding { code, object: object.to_string(), cause: cause.into(), evidence: Vec::new(), fix: None }
    }

    /// Adds a fact.
    pub(super) fn seen(mut self, fact: impl Into<String>) -> Self {
        self.evidence.push(fact.into());
        self
    }

    pub(super) fn all_seen(mut self, facts: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(facts);
        self
    }

    /// A command shows more of it.
    pub(super) fn look(mut self, command: impl fmt::Display) -> Self {
        self.evidence.push(format!("to look: {command}"));
        self
    }

    /// A command mends it.
    pub(super) fn by_command(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(Fix { command: command.into(), plan: None, request: None });
        self
    }

    /// A host that is asked for this mends it.
    pub(super) fn by_request(mut self, command: impl Into<String>, request: Request) -> Self {
        self.fix = Some(Fix { command: command.into(), plan: None, request: Some(request) });
        self
    }

    /// How bad it is.
    pub const fn level(&self) -> Level {
        self.code.level()
    }
}

/// Something on a host that keeps guests from the network that they were promised, or will.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Document<'a> {
    /// Its row of the table.
    code: Code,
    /// How bad it is.
    level: Level,
    /// What it is about: a link, a vif, a network, a table, a file.
    object: &'a str,
    /// What it is, in a few words.
    title: &'static str,
    /// What is so, in a sentence.
    cause: &'a str,
    /// What was observed, a fact each.
    evidence: &'a [String],
    /// What mends it; null where that is not on this host.
    fix: Option<&'a Fix>,
}
written_as!(Finding, "Finding", Document<'static>);

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Finding { code, object, cause, evidence, fix } = self;
        let fix = fix.as_ref();
        Document { code: *code, level: code.level(), object, title: code.title(), cause, evidence, fix }
            .serialize(serializer)
    }
}

impl fmt::Display for Finding {
    /// Several lines, without one at the end. What could move a terminal is escaped: names come from other programs and from guests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (object, cause) = (printable(&self.object), printable(&self.cause));
        write!(f, "{} {}  {object}: {}\n    {cause}", self.code, self.level(), self.code.title())?;
        for fact in &self.evidence {
            write!(f, "\n    - {}", printable(fact))?;
        }
        match &self.fix {
            Some(fix) => write!(f, "\n    fix: {}", printable(&fix.command)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn what_a_shell_would_read_more_into_is_quoted() {
        for plain in
            ["vif5.0", "eth0.7", "ip filter", "/etc/xen/scripts/vif-mine", "10.0.0.0/24", "net/ipv4/ip_forward"]
        {
            assert_eq!(word(&plain), plain);
        }
        assert_eq!(word(&"a;reboot"), "'a;reboot'");
        assert_eq!(word(&"$(reboot)"), "'$(reboot)'");
        assert_eq!(word(&"it's"), "'it'\\''s'");
        assert_eq!(word(&"ip a;b"), "'ip a;b'");
        assert_eq!(word(&""), "''");
    }
}
