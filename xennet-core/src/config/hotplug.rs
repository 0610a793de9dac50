//! The administrator's settings of hotplug: `/etc/xennet/hotplug.toml`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::reference::{HOTPLUG, find, names};
use super::tables::{Key, boolean, in_order, parse, refused, unknown_key};
use crate::error::Error;
use crate::model::IfName;
use crate::model::flaw::Flaw;

/// What the administrator wants of every hotplug call. Every key of the file may be missing; a missing file is
/// [`Settings::default`].
///
/// ```toml
/// deadline = 10                                # seconds for the call itself, 1 to 35
/// hooks = "/etc/xen/scripts/vif-post.d"        # "" for none
/// hook_deadline = 10                           # seconds for all hooks together, 1 to 30
/// log_file = "/var/log/xen/xen-hotplug.log"    # "" for none
/// syslog = true                                # the journal, or syslog where there is none
/// state_dir = "/run/xennet"
/// bind_mac = false                             # bind a guest to its MAC also where no ip= is given
/// isolated = []                                # bridges whose guests do not reach each other
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a call may take, without its hooks, whatever it waits for: whole seconds, 1 to 35. With
    /// [`hook_deadline`](Self::hook_deadline) at most 38, because libxl kills the call after 40. A call that disconnects in a driver
    /// domain takes at most 4 s with its hooks, because dom0 waits 10 s for all of the removal.
    pub deadline: Duration,
    /// The directory of the hooks; `None` if there are to be none.
    pub hooks: Option<PathBuf>,
    /// How long all hooks of a call may take together: whole seconds, 1 to 30.
    pub hook_deadline: Duration,
    /// The log that administrators know; `None` if it is not to be written.
    pub log_file: Option<PathBuf>,
    /// Whether calls are told to the journal, or to syslog where there is none.
    pub syslog: bool,
    /// Where journals, locks, records and the list of calls are kept.
    pub state_dir: PathBuf,
    /// Whether a guest may send only from its own MAC also where no `ip=` is given.
    pub bind_mac: bool,
    /// The bridges whose guest ports are isolated from each other, whatever a vif spec says.
    pub isolated: BTreeSet<IfName>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            deadline: Duration::from_secs(10),
            hooks: Some("/etc/xen/scripts/vif-post.d".into()),
            hook_deadline: Duration::from_secs(10),
            log_file: Some("/var/log/xen/xen-hotplug.log".into()),
            syslog: true,
            state_dir: "/run/xennet".into(),
            bind_mac: false,
            isolated: BTreeSet::new(),
        }
    }
}

/// Both deadlines together, in seconds: what is left until libxl kills the call is for the answer.
const TOGETHER: u64 = 38;

impl Settings {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) with the place: no TOML, an unknown key, a value of the wrong type
    /// or out of its range.
    ///
    /// ```
    /// use xennet_core::config::hotplug::Settings;
    /// let settings = Settings::parse("deadline = 5\nisolated = [\"br-dmz\"]\n")?;
    /// assert_eq!(settings.deadline.as_secs(), 5);
    ///
    /// let error = Settings::parse("syslog = true\ndeadlin = 5\n").unwrap_err();
    /// assert_eq!(error.diagnostic().unwrap().position(), (2, 1));
    /// assert!(error.hint().unwrap().starts_with("did you mean deadline?"));
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        Settings::read(text).map_err(|flaw| flaw.error(text))
    }

    /// As [`parse`](Self::parse), before the finding is told.
    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        let mut settings = Settings::default();
        // Where the deadline that was given last stands: the place of an error that two values make together.
        let mut place = None;
        for (key, value) in in_order(parse(text)?) {
            match &*key.text {
                "deadline" => settings.deadline = seconds(text, &key, &value, &mut place)?,
                "hook_deadline" => settings.hook_deadline = seconds(text, &key, &value, &mut place)?,
                "hooks" => settings.hooks = path(text, &key, &value)?,
                "log_file" => settings.log_file = path(text, &key, &value)?,
                "state_dir" => {
                    settings.state_dir = path(text, &key, &value)?.ok_or_else(|| {
                        refused(text, &key, value.span(), "the state directory cannot be left out")
                            .hint("remove the line, for /run/xennet")
                    })?;
                }
                "syslog" => settings.syslog = boolean(text, &key, &value)?,
                "bind_mac" => settings.bind_mac = boolean(text, &key, &value)?,
                "isolated" => settings.isolated = bridges(text, &key, &value)?,
                _ => return Err(unknown(&key)),
            }
        }
        let together = settings.deadline.as_secs() + settings.hook_deadline.as_secs();
        if together > TOGETHER {
            let (call, hooks) = (settings.deadline.as_secs(), settings.hook_deadline.as_secs());
            let message = format!("deadline and hook_deadline are {together} seconds together ({call} and {hooks})");
            let rule = format!("together at most {TOGETHER}: libxl kills the call after 40 seconds");
            return Err(Flaw::new(place.unwrap_or(0..0), message, rule).hint("make one of them shorter"));
        }
        Ok(settings)
    }
}

fn unknown(key: &Key) -> Box<Flaw> {
    unknown_key(key, &names(HOTPLUG), "setting of hotplug")
}

fn seconds(
    text: &str,
    key: &Key,
    value: &Spanned<DeValue<'_>>,
    place: &mut Option<Range<usize>>,
) -> Result<Duration, Box<Flaw>> {
    let most = find(HOTPLUG, &key.text).map_or(1, |key| u64::from(key.most()));
    let rule = format!("whole seconds, 1 to {most}");
    let number = value.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
    match number.filter(|n| (1..=most).contains(n)) {
        Some(n) => {
            *place = Some(value.span());
            Ok(Duration::from_secs(n))
        }
        None => Err(refused(text, key, value.span(), rule).hint(format!("write {} = 10", key.text))),
    }
}

/// An absolute path; `None` for the empty text.
fn path(text: &str, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Option<PathBuf>, Box<Flaw>> {
    let wrong = |rule: &str| refused(text, key, value.span(), rule);
    let given = value
        .get_ref()
        .as_str()
        .ok_or_else(|| wrong("a path in quotes").hint(format!("write {} = \"/the/path\"", key.text)))?;
    match given {
        "" => Ok(None),
        _ if given.contains('\0') => Err(wrong("a path has no NUL character")),
        _ if !given.starts_with('/') => {
            Err(wrong("an absolute path, because the caller's directory may be any").hint("begin it with /"))
        }
        _ => Ok(Some(given.into())),
    }
}

fn bridges(text: &str, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<BTreeSet<IfName>, Box<Flaw>> {
    const RULE: &str = "a list of bridges, each in quotes";
    let list: &DeArray<'_> = value
        .get_ref()
        .as_array()
        .ok_or_else(|| refused(text, key, value.span(), RULE).hint(format!("write {} = [\"xenbr0\"]", key.text)))?;
    let mut names = BTreeSet::new();
    for item in list {
        let name = item.get_ref().as_str().ok_or_else(|| refused(text, key, item.span(), RULE))?;
        names.insert(IfName::check(name).map_err(|rule| refused(text, key, item.span(), rule.to_string()))?);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn nothing_given_is_the_default_and_all_given_is_all() {
        for text in ["", "# nothing\n\n"] {
            assert_eq!(Settings::parse(text).unwrap(), Settings::default());
        }
        let all = "deadline = 0x14\nhooks = \"\"\nhook_deadline = 18\nlog_file = ''\nsyslog = false\n\
                   state_dir = \"/var/lib/x\"\nbind_mac = true\nisolated = [\"br1\", \"br0\", \"br1\",]\n";
        let settings = Settings::parse(all).unwrap();
        assert_eq!((settings.deadline.as_secs(), settings.hook_deadline.as_secs()), (20, 18));
        assert_eq!((settings.hooks, settings.log_file), (None, None));
        assert_eq!((settings.syslog, settings.bind_mac), (false, true));
        assert_eq!(settings.state_dir, PathBuf::from("/var/lib/x"));
        assert_eq!(settings.isolated.iter().map(IfName::as_str).collect::<Vec<_>>(), ["br0", "br1"]);
    }

    #[test]
    fn every_mistake_is_told_with_its_place_its_value_and_the_way_out() {
        let cases: &[(&str, (usize, usize), &str, &str)] = &[
            ("deadline = 0", (1, 12), "deadline cannot be 0", "whole seconds, 1 to 35"),
            ("deadline = 36", (1, 12), "deadline cannot be 36", "whole seconds, 1 to 35"),
            ("deadline = -1", (1, 12), "deadline cannot be -1", "whole seconds"),
            ("deadline = 1.5", (1, 12), "deadline cannot be 1.5", "whole seconds"),
            ("deadline = 99999999999999999999999", (1, 12), "deadline cannot be 9999", "whole seconds"),
            ("deadline = \"10\"", (1, 12), "deadline cannot be \"10\"", "whole seconds"),
            ("\nhook_deadline = 31", (2, 17), "hook_deadline cannot be 31", "1 to 30"),
            ("deadline = 30\nhook_deadline = 9\n", (2, 17), "39 seconds together (30 and 9)", "at most 38"),
            ("deadline = 29\n", (1, 12), "39 seconds together (29 and 10)", "at most 38"),
            ("hooks = \"vif-post.d\"", (1, 9), "hooks cannot be \"vif-post.d\"", "an absolute path"),
            ("hooks = 1", (1, 9), "hooks cannot be 1", "a path in quotes"),
            ("log_file = \"/a\\u0000b\"", (1, 12), "log_file cannot be", "no NUL"),
            ("state_dir = \"\"", (1, 13), "state_dir cannot be \"\"", "cannot be left out"),
            ("syslog = \"yes\"", (1, 10), "syslog cannot be \"yes\"", "true or false"),
            ("isolated = \"xenbr0\"", (1, 12), "isolated cannot be \"xenbr0\"", "a list of bridges"),
            ("isolated = [\"ok\", \"a/b\"]", (1, 19), "isolated cannot be \"a/b\"", "a link's name"),
            ("isolated = [\n  7 ]", (2, 3), "isolated cannot be 7", "a list of bridges"),
            ("syslog = true\nsyslog = true", (2, 1), "this is not TOML", "duplicate key"),
            ("deadline 10", (1, 10), "this is not TOML", ""),
            ("[deadline]\n", (1, 1), "deadline cannot be", "whole seconds"),
            ("deadline-hook = 3", (1, 1), "\"deadline-hook\" is no setting of hotplug", "unknown"),
        ];
        for (text, position, message, rule) in cases {
            let error = Settings::parse(text).unwrap_err();
            let found = error.diagnostic().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(found.message.contains(message), "{text}: {}", found.message);
            assert!(found.rule.contains(rule), "{text}: {}", found.rule);
            assert_eq!(found.position(), *position, "{text}: {}", error.report());
            assert!(!found.message.contains('\n') && !found.rule.contains('\n'), "{}", error.report());
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_known_ones_and_a_guess() {
        for (key, guess) in
            [("deadlin", "deadline"), ("Deadline", "deadline"), ("log-file", "log_file"), ("sylsog", "syslog")]
        {
            let error = Settings::parse(&format!("{key} = 1")).unwrap_err();
            let hint = error.hint().unwrap();
            assert!(hint.starts_with(&format!("did you mean {guess}? The keys are bind_mac, deadline")), "{hint}");
        }
        let error = Settings::parse("\"\\u001b[2J\" = 1").unwrap_err();
        assert!(error.hint().unwrap().starts_with("the keys are "));
        assert!(!error.report().contains('\u{1b}'));
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let texts =
            ["[[[", "a.b.c=1", "isolated=[[[]]]", "\u{feff}deadline=1", "x='''", "\"", "=", "[a]\n[a]", "\u{0}"];
        for text in texts {
            let _ = Settings::parse(text).map_err(|e| e.report());
        }
        let nested = format!("isolated = {}", "[".repeat(100_000));
        assert!(Settings::parse(&nested).is_err());
    }
}
