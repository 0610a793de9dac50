//! `xend-config.sxp`, as xend read it: which network script it ran, and which script each vif got.
//!
//! Source: `XendOptions.py` (`get_network_script`, `get_vif_script`), `server/netif.py` and `Vifctl.py` of Xen 4.1; recorded
//! answers of its reader are in `tests/vectors/xend-config-sxp.json`.

use serde::Serialize;

use super::hint::distance;
use super::sxp::{self, Sxp};
use super::syntax::Atom;
use super::{Parsed, findings};
use crate::error::Error;
use crate::model::flaw::{Flaw, quoted};

/// Where xend looked for a script that was given without a directory.
const SCRIPTS: &str = "/etc/xen/scripts";
/// The elements that are about networks.
const NAMES: [&str; 2] = [NETWORK, VIF];
const NETWORK: &str = "network-script";
const VIF: &str = "vif-script";

/// What `xend-config.sxp` says about networks, as xend took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct XendConfig {
    /// What xend ran once, when it started: the program's path, `start`, and the arguments that stand in the same quotes as its
    /// name, split at every single blank. `None` if it ran nothing.
    pub network_argv: Option<Vec<String>>,
    /// The `script` node of each vif whose config names no script of its own: a path, and behind it the arguments, if any.
    pub vif_script: String,
}

/// Reads `xend-config.sxp` as xend did. The notes are what xend dropped or changed without a word: options outside of the
/// quotes, second definitions, definitions in the wrong brackets, comments in the middle of a word.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) with position, rule and hint for what xend refused, too: brackets and quotes without
/// end, and scripts that are no text.
///
/// ```
/// use xennet_core::config::parse_xend_config;
/// let parsed = parse_xend_config("(network-script network-bridge bridge=xenbr0)\n")?;
/// assert_eq!(parsed.value.network_argv.unwrap(), ["/etc/xen/scripts/network-bridge", "start"]);
/// assert_eq!(parsed.value.vif_script, "/etc/xen/scripts/vif-bridge");
/// assert_eq!(parsed.notes[0].hint.as_deref(), Some("write (network-script 'network-bridge bridge=xenbr0')"));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn parse_xend_config(text: &str) -> Result<Parsed<XendConfig>, Error> {
    let mut notes = Vec::new();
    let value = read(text, &mut notes).map_err(|flaw| flaw.error(text))?;
    notes.sort_by_key(|note| note.span.start);
    Ok(Parsed { value, notes: findings(notes, text) })
}

fn read(source: &str, notes: &mut Vec<Flaw>) -> Result<XendConfig, Box<Flaw>> {
    let values = sxp::read(source, notes)?;
    let values = sxp::without_attributes(&values);
    stray_words(source, values, notes);
    for value in values {
        if let Sxp::List(items, _) = value {
            misplaced(items, notes);
            misspelled(value, notes);
        }
    }
    let network_argv = match first(source, values, NETWORK, notes)? {
        Some(atom) if !atom.text.is_empty() => Some(network_argv(&atom, notes)?),
        Some(atom) => {
            notes.push(*runs_nothing(Flaw::new(atom.span, "an empty text", "xend runs no network script then")));
            None
        }
        None => None,
    };
    let vif_script = match first(source, values, VIF, notes)? {
        Some(atom) => vif_script(&atom, notes)?,
        None => format!("{SCRIPTS}/vif-bridge"),
    };
    Ok(XendConfig { network_argv, vif_script })
}

/// The value of the first element of this name: that of a second one does not count, and neither does a second value.
fn first(source: &str, values: &[Sxp], name: &str, notes: &mut Vec<Flaw>) -> Result<Option<Atom>, Box<Flaw>> {
    let mut named = values.iter().filter_map(|value| match value {
        Sxp::List(items, span) if value.name().is_some_and(|n| n.text == name) => Some((items, span)),
        _ => None,
    });
    let Some((items, span)) = named.next() else { return Ok(None) };
    let line = source[..span.start].bytes().filter(|b| *b == b'\n').count() + 1;
    for (_, second) in named {
        let message = format!("a second {name} does not count");
        let rule = format!("the first definition counts, which is on line {line}");
        notes.push(*Flaw::new(second.clone(), message, rule).hint("remove one of them"));
    }
    let (value, rest) = match sxp::children(items).split_first() {
        None => {
            let rule = match name {
                NETWORK => "xend runs no network script then",
                _ => "xend takes vif-bridge then",
            };
            notes.push(*runs_nothing(Flaw::new(span.clone(), format!("{name} has no value"), rule)));
            return Ok(None);
        }
        Some((value, rest)) => (value, rest),
    };
    if let ([first, ..], [.., last]) = (rest, rest) {
        let dropped = first.span().start..last.span().end;
        let mut words = Vec::new();
        let all_words = [value].into_iter().chain(rest).all(|item| match item {
            Sxp::Atom(atom) => {
                words.push(atom.text.as_str());
                true
            }
            Sxp::List(..) => false,
        });
        let message = format!("{} is dropped", quoted(&source[dropped.clone()]));
        let rule = "only the first value behind the name counts; options stand in the same quotes as the script";
        notes.push(*Flaw::new(dropped, message, rule).hint(if all_words {
            format!("write ({name} '{}')", words.join(" "))
        } else {
            "close the bracket before it, and take away the one that is then too many".to_owned()
        }));
    }
    match value {
        Sxp::Atom(atom) => Ok(Some(atom.clone())),
        Sxp::List(items, span) if items.is_empty() && name == NETWORK => {
            notes.push(*runs_nothing(Flaw::new(span.clone(), "an empty list", "xend runs no network script then")));
            Ok(None)
        }
        Sxp::List(_, span) => {
            let flaw = Flaw::new(span.clone(), format!("{name} is a list"), "a script is a word, or a text in quotes");
            Err(flaw.hint(format!("write ({name} '...'), with the script and its options in the quotes")))
        }
    }
}

fn runs_nothing(flaw: Box<Flaw>) -> Box<Flaw> {
    flaw.hint("name a script, or remove the element if that is meant")
}

/// The words that xend makes of the value of `network-script`.
fn network_argv(atom: &Atom, notes: &mut Vec<Flaw>) -> Result<Vec<String>, Box<Flaw>> {
    no_nul(atom)?;
    let mut argv = Vec::new();
    let mut at = 0;
    for word in atom.text.split(' ') {
        let place = atom.place(at..at + word.len());
        at += word.len() + 1;
        match (argv.is_empty(), word) {
            (true, "") => {
                let message = format!("the script is {}", quoted(&script(word)));
                let rule = "the text is split at every blank, and the first piece is the script";
                notes.push(*Flaw::new(atom.span.clone(), message, rule).hint("remove the blank before the script"));
            }
            (true, _) => {
                if let Some(equals) = word.find('=').filter(|_| !word.starts_with('/')) {
                    let flaw = Flaw::new(
                        place,
                        format!("the script is called {}", quoted(word)),
                        "the text is split at blanks, and the first piece is the script",
                    );
                    notes.push(*flaw.hint(missing_blank(word, equals)));
                }
            }
            (false, "") => {
                let rule = "the text is split at every single blank; two of them have an empty argument between them";
                notes.push(*Flaw::new(place, "the script gets an empty argument", rule).hint("write one blank"));
            }
            (false, _) => {
                if word.contains(['\t', '\n']) {
                    let rule = "the text is split at blanks, not at tabs or newlines";
                    notes.push(
                        *Flaw::new(place, format!("{} is one argument", quoted(word)), rule).hint("write blanks"),
                    );
                }
            }
        }
        // The verb stands right behind the script.
        match argv.is_empty() {
            true => argv.extend([script(word), "start".to_owned()]),
            false => argv.push(word.to_owned()),
        }
    }
    Ok(argv)
}

/// What was meant by a script's name with an option stuck to it.
fn missing_blank(word: &str, equals: usize) -> String {
    let known = ["network-bridge", "network-nat", "network-route"];
    match known.iter().find(|name| word.starts_with(**name) && name.len() < equals) {
        Some(name) => format!("a blank is missing: write '{name} {}'", &word[name.len()..]),
        None => "put a blank between the script and its options".to_owned(),
    }
}

fn vif_script(atom: &Atom, notes: &mut Vec<Flaw>) -> Result<String, Box<Flaw>> {
    no_nul(atom)?;
    let whole = script(&atom.text);
    if atom.text.is_empty() {
        let message = format!("the script of every vif is {}", quoted(&whole));
        let rule = "an empty text is no missing one: every vif fails with it";
        notes.push(*Flaw::new(atom.span.clone(), message, rule).hint("name a script, or remove the element"));
    } else if let Some(blank) = atom.text.find(' ') {
        let rule = "xend's udev rule split this text at blanks; libxl takes all of it for a path, and fails";
        let flaw = Flaw::new(atom.place(blank + 1..atom.text.len()), "arguments in the script of every vif", rule);
        notes.push(*flaw.hint("name the bridge in each vif spec: bridge=..."));
    }
    Ok(whole)
}

/// A script's path as xend makes it, by `os.path.join`.
fn script(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("{SCRIPTS}/{name}") }
}

fn no_nul(atom: &Atom) -> Result<(), Box<Flaw>> {
    match atom.text.find('\0') {
        None => Ok(()),
        Some(at) => Err(Flaw::new(
            atom.place(at..at + 1),
            "a NUL character in the text",
            "no program can be given one; xend fails here",
        )
        .hint("remove it")),
    }
}

/// Notes words outside of all brackets: to xend they mean nothing. Those of one line are told together.
fn stray_words(source: &str, values: &[Sxp], notes: &mut Vec<Flaw>) {
    let mut at = 0;
    while let Some(value) = values.get(at) {
        at += 1;
        let Sxp::Atom(first) = value else { continue };
        let mut words = vec![first.text.as_str()];
        let mut end = first.span.end;
        while let Some(Sxp::Atom(next)) = values.get(at)
            && !source[end..next.span.start].contains('\n')
        {
            words.push(&next.text);
            end = next.span.end;
            at += 1;
        }
        let message = format!("{} stands outside of all brackets", quoted(&source[first.span.start..end]));
        let flaw = Flaw::new(first.span.start..end, message, "xend does not look at it");
        notes.push(*match words.as_slice() {
            [name, value @ ..] if NAMES.contains(name) && !value.is_empty() => {
                let value = value.join(" ");
                let quote = if value.contains(' ') { "'" } else { "" };
                flaw.hint(format!("write ({name} {quote}{value}{quote})"))
            }
            _ if first.text.starts_with(';') => flaw.hint("a comment begins with #"),
            _ => flaw.hint("put it into brackets, or # before it"),
        });
    }
}

/// Notes definitions within other elements, where xend does not look.
fn misplaced(items: &[Sxp], notes: &mut Vec<Flaw>) {
    for item in items {
        let Sxp::List(inner, span) = item else { continue };
        if let Some(name) = item.name().filter(|name| NAMES.contains(&name.text.as_str())) {
            let message = format!("this {} does not count", name.text);
            let rule = "xend looks at the outermost brackets alone, and this stands within others";
            let hint = "the bracket before it is not closed in its place: close it there, and not behind this one";
            notes.push(*Flaw::new(span.clone(), message, rule).hint(hint));
        }
        misplaced(inner, notes);
    }
}

/// Notes a name that is nearly one of ours: xend knows many more, and does not complain about any.
fn misspelled(value: &Sxp, notes: &mut Vec<Flaw>) {
    let Some(name) = value.name() else { return };
    let tidy = name.text.to_ascii_lowercase().replace('_', "-");
    let meant = NAMES.into_iter().find(|known| name.text != *known && distance(&tidy, known) <= 2);
    if let Some(meant) = meant {
        let flaw =
            Flaw::new(name.span.clone(), format!("xend does not know {}", quoted(&name.text)), "it does not count");
        notes.push(*flaw.hint(format!("did you mean {meant}?")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(text: &str) -> Option<Vec<String>> {
        parse_xend_config(text).unwrap_or_else(|e| panic!("{text}: {}", e.report())).value.network_argv
    }

    #[test]
    fn what_xend_drops_is_told_with_its_place() {
        let cases: &[(&str, (usize, usize), &str, &str)] = &[
            (
                "(network-script network-bridge bridge=x netdev=y)",
                (1, 32),
                "\"bridge=x netdev=y\" is dropped",
                "write (network-script 'network-bridge bridge=x netdev=y')",
            ),
            ("(network-script network-nat)\n(network-script network-route)", (2, 1), "second network-script", "remove"),
            ("(network-script network-bridge\n(vif-script vif-nat))", (2, 1), "does not count", "close it there"),
            ("(x 1 (vif-script vif-nat))", (1, 6), "this vif-script does not count", "not closed in its place"),
            ("(network-script 'network-bridge  bridge=x')", (1, 33), "an empty argument", "one blank"),
            ("(network-script 'network-bridge ')", (1, 33), "an empty argument", "one blank"),
            ("(network-script ' network-bridge')", (1, 17), "the script is \"/etc/xen/scripts/\"", "remove the blank"),
            ("(network-script 'a b\\tc')", (1, 20), "\"b\\tc\" is one argument", "blanks"),
            (
                "(network-script 'network-bridgebridge=<name> netdev=eth1')",
                (1, 18),
                "called \"network-bridgebridge=<name>\"",
                "a blank is missing: write 'network-bridge bridge=<name>'",
            ),
            ("(network-script my=x)", (1, 17), "called \"my=x\"", "a blank between"),
            ("(network-script)", (1, 1), "has no value", "name a script"),
            ("(network-script '')", (1, 17), "an empty text", "name a script"),
            ("(network-script ())", (1, 17), "an empty list", "name a script"),
            ("(vif-script)", (1, 1), "has no value", "name a script"),
            ("(vif-script '')", (1, 13), "every vif is \"/etc/xen/scripts/\"", "remove the element"),
            ("(vif-script 'vif-bridge bridge=xenbr1')", (1, 25), "arguments", "bridge=..."),
            (
                "network-script network-bridge\n",
                (1, 1),
                "outside of all brackets",
                "write (network-script network-bridge)",
            ),
            ("vif-script a b", (1, 1), "outside of all brackets", "write (vif-script 'a b')"),
            ("\n; a comment\n", (2, 1), "\"; a comment\" stands outside", "begins with #"),
            (
                "(network-scirpt network-nat)",
                (1, 2),
                "does not know \"network-scirpt\"",
                "did you mean network-script?",
            ),
            ("(Vif_Script vif-nat)", (1, 2), "does not know \"Vif_Script\"", "did you mean vif-script?"),
            ("(network-script a#b\n)", (1, 18), "is a comment", "quotes"),
        ];
        for (text, position, message, hint) in cases {
            let notes = parse_xend_config(text).unwrap_or_else(|e| panic!("{text}: {}", e.report())).notes;
            let note = notes.first().unwrap_or_else(|| panic!("{text}: no note"));
            assert_eq!(note.position(), *position, "{text}: {note}");
            assert!(note.message.contains(message), "{text}: {note}");
            assert!(note.hint.as_deref().is_some_and(|h| h.contains(hint)), "{text}: {:?}", note.hint);
        }
    }

    #[test]
    fn what_xend_refuses_is_refused() {
        for (text, message) in [
            ("(network-script network-bridge", "unexpected EOF"),
            ("(network-script (a b))", "network-script is a list"),
            ("(vif-script ())", "vif-script is a list"),
            ("(network-script 'a\\0b')", "a NUL character"),
            ("(network-script 'a')) (b)", "syntax error: )"),
        ] {
            let error = parse_xend_config(text).unwrap_err();
            assert!(error.message().contains(message) || error.to_string().contains(message), "{text}: {error}");
            assert!(error.diagnostic().is_some() && error.hint().is_some(), "{text}");
        }
    }

    #[test]
    fn the_seed_of_the_three_modes_has_no_notes() {
        for mode in ["bridge", "nat", "route"] {
            let others = ["bridge", "nat", "route"].into_iter().filter(|other| *other != mode);
            let off: String =
                others.map(|o| format!("#(network-script network-{o})\n#(vif-script vif-{o})\n")).collect();
            let text = format!("(network-script network-{mode})\n{off}(vif-script vif-{mode})\n(xend-port 8000)\n");
            let parsed = parse_xend_config(&text).unwrap();
            assert_eq!(parsed.notes, []);
            assert_eq!(argv(&text).unwrap()[0], format!("/etc/xen/scripts/network-{mode}"));
            assert_eq!(parsed.value.vif_script, format!("/etc/xen/scripts/vif-{mode}"));
        }
    }

    #[test]
    fn a_text_without_measure_is_read_soon() {
        let many = "(network-script a b)\n".repeat(100_000) + &"(x (vif-script y))'#'\n;".repeat(100_000);
        assert_eq!(parse_xend_config(&many).unwrap().notes.len(), 65);
    }

    #[test]
    fn attributes_and_quoted_names_are_as_for_xend() {
        assert_eq!(argv("('network-script' (@ (id 1)) /a)").unwrap(), ["/a", "start"]);
        assert_eq!(argv("(@ (network-script /b)) (network-script /a)").unwrap(), ["/a", "start"]);
        assert_eq!(argv("(network-script /a) (@ x)").unwrap(), ["/a", "start"]);
    }
}
