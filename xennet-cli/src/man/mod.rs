//! The manual pages: of the commands, made of the one definition of the command line; of our files and of vif lines, made of the tables
//! of their keys; and of the hotplug call.

mod commands;
mod examples;
mod hotplug;
mod keys;
mod roff;
pub mod words;

use clap::Command;
use xennet_core::{Error, ErrorKind, Result};

use crate::cli::definition;

/// A manual page.
pub(crate) struct ManPage {
    /// Its name, as `man` is asked for it.
    pub(crate) name: String,
    /// Its section.
    pub(crate) section: u8,
    /// Its text, as roff.
    pub(crate) text: String,
}

impl ManPage {
    /// Where it is below a directory of manual pages.
    pub(crate) fn path(&self) -> String {
        format!("man{}/{}.{}", self.section, self.name, self.section)
    }
}

/// A page that is of no command: its name, its section, and what makes it.
type Other = (&'static str, u8, fn() -> String);

const OTHERS: [Other; 4] = [
    ("networks.toml", 5, keys::networks),
    ("hotplug.toml", 5, keys::hotplug),
    ("xennet-vif", 5, keys::vif),
    ("xennet-hotplug", 8, hotplug::page),
];

/// The page that is asked for: of a command by its words, or another one by its name.
pub(crate) fn page(words: &[String]) -> Result<String> {
    if let [name] = words
        && let Some((.., text)) = OTHERS.iter().find(|(other, ..)| other == name)
    {
        return Ok(text());
    }
    let root = built();
    let mut command = &root;
    for name in words {
        command = command.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let error = Error::new(ErrorKind::Invalid, format!("\"{}\" is not a command", name.escape_debug()));
            let error = error.with_object(name.as_str());
            error.with_hint(match known.as_slice() {
                [] => format!("{} has no commands below it: leave this word out", command.get_name()),
                known => {
                    let others = OTHERS.map(|(name, ..)| name).join(", ");
                    let others = if words.len() == 1 { format!("; other pages: {others}") } else { String::new() };
                    format!("commands here: {}{others}", known.join(", "))
                }
            })
        })?;
    }
    Ok(commands::page(command))
}

/// Every page.
pub(crate) fn all() -> Vec<ManPage> {
    let mut pages = Vec::new();
    commands(&built(), &mut pages);
    pages.extend(OTHERS.map(|(name, section, text)| ManPage { name: name.to_owned(), section, text: text() }));
    pages
}

fn commands(command: &Command, pages: &mut Vec<ManPage>) {
    pages.push(ManPage { name: commands::name(command), section: 1, text: commands::page(command) });
    for below in commands::below(command) {
        commands(below, pages);
    }
}

/// The definition, with what commands inherit: the full names and the options that all take.
fn built() -> Command {
    let mut root = definition();
    root.build();
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_commands_that_the_command_line_takes() {
        for (path, examples) in examples::ALL {
            let words: Vec<String> = path.split_whitespace().map(str::to_owned).collect();
            page(&words).unwrap_or_else(|e| panic!("{path}: {}", e.report()));
            for (line, _) in *examples {
                let line = line.split(['|', '>']).find(|part| part.trim().starts_with("xennet")).unwrap();
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                definition().try_get_matches_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(format!("{line} ").contains(&format!(" {path} ")) || path.is_empty(), "{line} is no {path}");
            }
        }
    }

    #[test]
    fn every_page_has_a_name_of_its_own_and_the_usual_sections() {
        let pages = all();
        let mut paths: Vec<String> = pages.iter().map(ManPage::path).collect();
        assert!(paths.len() > 35);
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), pages.len());
        for page in &pages {
            let mut usual = vec!["NAME", "SYNOPSIS", "DESCRIPTION"];
            if page.section != 5 {
                usual.extend(["ENVIRONMENT", "FILES", "\"EXIT STATUS\""]);
            }
            for title in usual {
                assert!(page.text.contains(&format!("\n.SH {title}\n")), "{}: {title}", page.name);
            }
            assert!(page.text.contains("\n.SH \"SEE ALSO\"\n"), "{}", page.name);
            assert!(page.text.lines().all(|line| line.trim_end() == line && !line.is_empty()), "{}", page.name);
        }
    }

    #[test]
    fn every_command_but_simple_ones_has_an_example() {
        let known: Vec<&str> = examples::ALL.iter().map(|(path, _)| *path).collect();
        for command in commands::below(&built()) {
            let name = command.get_name();
            if name == "help" {
                continue;
            }
            let has = |path: &&&str| path.split(' ').next() == Some(name);
            assert!(known.iter().any(|path| has(&path)), "{name} has no example");
        }
    }
}
