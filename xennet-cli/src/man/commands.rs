//! The pages of the commands.

use clap::{Arg, Command};
use xennet_core::ErrorKind;
use xennet_core::config::networks;
use xennet_core::exec::StateDir;
use xennet_core::hotplug::settings;

use super::examples;
use super::roff::Page;

/// What the options that every command takes stand under.
const GLOBAL: &str = "Options of every command";

/// The name of a command's page.
pub(super) fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

/// The commands below a command that have a page. `help` has one at the root only, where its own commands are all commands once more.
pub(super) fn below(command: &Command) -> impl Iterator<Item = &Command> {
    let is_root = is_root(command);
    let of_help = command.get_name() == "help";
    let shown = move |c: &&Command| !of_help && !c.is_hide_set() && (is_root || c.get_name() != "help");
    command.get_subcommands().filter(shown)
}

fn is_root(command: &Command) -> bool {
    command.get_name() == "xennet"
}

/// The page of a command.
pub(super) fn page(command: &Command) -> String {
    let name = name(command);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new(&name, 1, &about);

    page.section("SYNOPSIS");
    let usage = command.clone().render_usage().to_string();
    page.synopsis(usage.trim_start_matches("Usage:"));

    page.section("DESCRIPTION");
    let long = command.get_long_about().map_or(about, ToString::to_string);
    page.paragraphs(&sentence(&long));

    let commands: Vec<&Command> = below(command).collect();
    if !commands.is_empty() {
        page.section("COMMANDS");
        for command in commands {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            page.item(&format!("{}(1)", self::name(command)), &sentence(&about));
        }
    }
    let is_global = |arg: &&Arg| arg.get_help_heading() == Some(GLOBAL);
    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
        shown.iter().copied().filter(|arg| !is_global(arg)).partition(|arg| arg.is_positional());
    for (title, args) in [("ARGUMENTS", positional), ("OPTIONS", options)] {
        if !args.is_empty() {
            page.section(title);
            args.into_iter().for_each(|arg| argument(&mut page, arg));
        }
    }
    page.section("GLOBAL OPTIONS");
    shown.into_iter().filter(is_global).for_each(|arg| argument(&mut page, arg));

    let words = command.get_bin_name().unwrap_or_default().strip_prefix("xennet").unwrap_or_default().trim_start();
    environment(&mut page);
    files(&mut page, command);
    page.section("EXIT STATUS");
    exit_status(&mut page, words);
    if let Some((_, examples)) = examples::ALL.iter().find(|(of, _)| *of == words) {
        page.section("EXAMPLES");
        for (at, (line, what)) in examples.iter().enumerate() {
            match at {
                0 => page.text(what),
                _ => page.paragraph(what),
            }
            page.lines(line);
        }
    }
    let mut pages = Vec::new();
    if !words.is_empty() {
        pages.push("xennet(1)".to_owned());
    }
    if let Some((above, _)) = words.rsplit_once(' ') {
        pages.push(format!("xennet-{}(1)", above.replace(' ', "-")));
    }
    let more: &[&str] = match words {
        "" => &["networks.toml(5)", "hotplug.toml(5)", "xennet-vif(5)", "xennet-hotplug(8)"],
        "hotplug" | "install-scripts" | "log" | "parse hotplug" => &["hotplug.toml(5)", "xennet-hotplug(8)"],
        "attach" | "detach" | "plan attach" | "guest" => &["xennet-vif(5)"],
        _ if words.starts_with("parse vif") || words == "parse attach" => &["xennet-vif(5)"],
        _ if words.starts_with("network") || ["advise", "import", "confirm", "parse networks"].contains(&words) => {
            &["networks.toml(5)"]
        }
        _ => &["networks.toml(5)", "hotplug.toml(5)"],
    };
    pages.extend(more.iter().map(|page| (*page).to_owned()));
    page.see_also(&pages);
    page.finish()
}

/// An argument or option, with its values and its default.
fn argument(page: &mut Page, arg: &Arg) {
    let mut term = Vec::new();
    term.extend(arg.get_short().map(|short| format!("-{short}")));
    term.extend(arg.get_long().map(|long| format!("--{long}")));
    let mut term = term.join(", ");
    if arg.is_positional() || arg.get_action().takes_values() {
        let values = arg.get_value_names().unwrap_or_default().join(" ");
        term = format!("{term} {values}").trim_start().to_owned();
    }
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = sentence(&help);
    if arg.get_action().takes_values() {
        let values = arg.get_possible_values();
        let shown = values.iter().filter(|value| !value.is_hide_set()).map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({})", value.get_name(), first_lower(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        });
        let values: Vec<String> = shown.collect();
        if !values.is_empty() {
            text.push_str(&format!("\n\nValues: {}.", values.join(", ")));
        }
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !default.is_empty() {
            text.push_str(&format!("\n\nDefault: `{}`.", default.join(" ")));
        }
    }
    page.item(&term, &text);
}

fn environment(page: &mut Page) {
    page.section("ENVIRONMENT");
    page.item("XENNET_STATE_DIR", "The state directory, where `--state-dir` is not given.");
    page.item("XENSTORED_PATH", "The socket of xenstored.");
    page.item("NO_COLOR", "If set and not empty, the output has no colour.");
}

fn files(page: &mut Page, command: &Command) {
    page.section("FILES");
    let all = is_root(command);
    let of = |name: &str| {
        command.get_arguments().any(|arg| arg.get_default_values().iter().any(|value| value.to_string_lossy() == name))
    };
    if all || of(networks::PATH) {
        page.item(networks::PATH, "The networks of this host: `networks.toml`(5).");
    }
    if all || of(settings::DEFAULT_FILE) {
        page.item(settings::DEFAULT_FILE, "The settings of hotplug calls: `hotplug.toml`(5).");
    }
    page.item(StateDir::DEFAULT, "The state directory: journals, locks, records, and the list of hotplug calls.");
}

fn exit_status(page: &mut Page, words: &str) {
    match words {
        "" => {
            page.text("The exit status is the kind of the error.");
            page.item("0", "Done.");
            for kind in ErrorKind::ALL {
                page.item(&kind.number().to_string(), &sentence(kind.meaning()));
            }
            page.paragraph("Wrong usage ends with 2 as well.");
        }
        "doctor" => {
            page.item("0", "Nothing above a note was found.");
            page.item("1", "There are warnings, and no errors.");
            page.item("2", "There are errors.");
            page.paragraph("An error of the command itself ends as in `xennet`(1), with a message on standard error.");
        }
        "trace" => {
            page.item("0", "The packet arrives.");
            page.item("1", "The packet is dropped.");
            page.item("2", "It is not known whether it arrives.");
            page.paragraph("An error of the command itself ends as in `xennet`(1), with nothing on standard output.");
        }
        "hotplug" => {
            page.item("0", "Done.");
            page.item("1", "It failed. The reason is in xenstore, in the node `hotplug-error`.");
        }
        "snippets" => {
            page.item("0", "Done. With `--check`: every manager that runs leaves the links of guests alone.");
            page.item("18", "With `--check`: a manager would take links of guests, or that is not known.");
            page.paragraph("Other errors end as in `xennet`(1).");
        }
        _ => page.text("0 if it is done. Otherwise the kind of the error, as in `xennet`(1)."),
    }
}

/// A text of the help as sentences: with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    // The name of a command or of an option stays as it is.
    let keeps = text.starts_with("xennet") || text.starts_with('-');
    let text = if keeps { text.to_owned() } else { format!("{first}{}", letters.as_str()) };
    let end = if text.ends_with(['.', ':', '!']) || text.is_empty() { "" } else { "." };
    format!("{text}{end}").replace(" \n\n", "\n\n")
}

/// A text that stands within a sentence.
fn first_lower(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_lowercase().collect()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}
