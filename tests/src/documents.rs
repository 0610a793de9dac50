//! Whether JSON documents are what their schemas say.
//!
//! The helpers of tests that run a face call this with all that it gives, so no test has to think of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Deserializer, Value};
use xennet_core::document::{ALL, Document};

/// Validators take some milliseconds to make, and are made when they are asked for.
static VALIDATORS: LazyLock<Mutex<BTreeMap<&'static str, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// What prints no document whatever it is asked for: help, and texts that are schemas or programs themselves.
const NO_DOCUMENTS: &[&str] = &["--help", "-h", "--version", "-V", "--schema", "completions", "hotplug", "man"];

fn validator(document: &'static Document) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap_or_else(|e| e.into_inner());
    let make = || {
        let schema = serde_json::from_str(&document.bundled()).unwrap();
        Arc::new(jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("schema {}: {e}", document.name)))
    };
    validators.entry(document.name).or_insert_with(make).clone()
}

/// What keeps a value from being the document of this name; empty if it is one.
///
/// # Panics
/// For a name that no document has.
pub fn flaws(name: &str, value: &Value) -> Vec<String> {
    let document = xennet_core::document::named(name).unwrap();
    let told = |e: jsonschema::ValidationError<'_>| format!("{}: {}", e.instance_path(), shortened(&e.to_string()));
    validator(document).iter_errors(value).map(told).collect()
}

/// A complaint quotes the whole value that it is about.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(600) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// Checks a document of this name.
///
/// # Panics
/// With all that is wrong with it.
#[track_caller]
pub fn check(name: &str, value: &Value) {
    check_any(&[name], value);
}

/// Checks a document that has one of these names.
///
/// # Panics
/// With all that is wrong with it.
#[track_caller]
pub fn check_any(names: &[&str], value: &Value) {
    let is_one = |name: &&str| validator(xennet_core::document::named(name).unwrap()).is_valid(value);
    if names.iter().any(is_one) {
        return;
    }
    let flaws: Vec<(&&str, Vec<String>)> = names.iter().map(|name| (name, flaws(name, value))).collect();
    // Of several the one that fits best.
    let (name, flaws) = flaws.into_iter().min_by_key(|(_, flaws)| flaws.len()).unwrap_or((&"", Vec::new()));
    panic!("no document {name}:\n{}\n{}", flaws.join("\n"), shortened(&value.to_string()));
}

/// Checks a text that is one document of this name.
///
/// # Panics
/// As [`check`], and if it is no JSON document.
#[track_caller]
pub fn check_text(name: &str, text: &str) {
    check(name, &serde_json::from_str(text).unwrap_or_else(|e| panic!("no JSON document: {e}: {text}")));
}

/// Checks what the command has printed for these arguments, if they have `--json`.
///
/// # Panics
/// As [`check`], and if one of the outputs has anything else.
#[track_caller]
pub fn check_command(arguments: &[String], stdout: &str, stderr: &str) {
    let given: Vec<&str> = arguments.iter().map(String::as_str).take_while(|a| *a != "--").collect();
    let words = words(&given);
    let is_schema = words.first() == Some(&"schema") && words.len() > 1;
    if !given.contains(&"--json") || is_schema || NO_DOCUMENTS.iter().any(|no| given.contains(no)) {
        return;
    }
    let said = words.iter().take(2).copied().collect::<Vec<_>>().join(" ") + " ";
    let is_by = |document: &Document| document.commands.iter().any(|c| said.starts_with(&format!("{c} ")));
    let names: Vec<&str> = ALL.iter().filter(|d| is_by(d)).map(|d| d.name).collect();
    for value in Deserializer::from_str(stdout).into_iter::<Value>() {
        let value = value.unwrap_or_else(|e| panic!("{arguments:?} prints no JSON document: {e}\n{stdout}"));
        assert!(!names.is_empty(), "{arguments:?} prints a document that the table of documents has not: {value}");
        check_any(&names, &value);
    }
    for line in stderr.lines() {
        let value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{arguments:?} says: {line}: {e}"));
        check_any(&["error", "note"], &value);
    }
}

/// How many lines of a state directory are checked: those of many guests are alike.
const LINES: usize = 50;

/// Checks what is in a state directory: journals, the list of calls, the files of started networks.
///
/// A line that another version has written, or that a test has cut short, is left alone.
///
/// # Panics
/// As [`check`].
pub fn check_state(dir: &Path) {
    let mut left = LINES;
    check_files(dir, &mut left);
}

fn check_files(dir: &Path, left: &mut usize) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is = |extension: &str| path.extension().is_some_and(|e| e == extension);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let document = match () {
            () if path.is_symlink() => continue,
            () if path.is_dir() => {
                check_files(&path, left);
                continue;
            }
            // Reading a pipe that a test has put there would wait for ever.
            () if !path.is_file() => continue,
            () if is("journal") => "record",
            () if name.starts_with("calls.log") => "call",
            () if is("json") && dir.ends_with("networks") => "started-network",
            () => continue,
        };
        let version = xennet_core::document::named(document).unwrap().version;
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for line in text.split_inclusive('\n').filter(|line| line.starts_with('{')) {
            let value = serde_json::from_str::<Value>(line).unwrap_or_default();
            if value["xennet"] == version && *left > 0 {
                *left -= 1;
                check(document, &value);
            }
        }
    }
}

/// The words of a command line that are no options of every command.
fn words<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut words = Vec::new();
    let mut all = arguments.iter();
    while let Some(word) = all.next() {
        match *word {
            "--backend" | "--state-dir" => drop(all.next()),
            option if option.starts_with('-') && option != "-" => {}
            word => words.push(word),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(arguments: &str, stdout: &str, stderr: &str) {
        check_command(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>(), stdout, stderr);
    }

    #[test]
    fn a_document_that_is_as_its_schema_says_is_taken() {
        run("--json confirm", r#"{"version":1,"confirmed":["lan"]}"#, r#"{"version":1,"note":"hm"}"#);
        run("--backend fake --json --state-dir plan confirm lan", r#"{"version":1,"confirmed":["lan"]}"#, "");
        run("confirm --help --json", "help", "");
        run("confirm", "network lan: confirmed", "text");
        assert_eq!(flaws("confirmed", &json!({ "version": 1, "confirmed": [] })), Vec::<String>::new());
    }

    #[test]
    #[should_panic(expected = "no document call")]
    fn a_line_of_a_state_directory_is_checked() {
        let dir = crate::StateDir::new();
        std::fs::write(dir.path().join("calls.log"), "{\"xennet\":1}\n").unwrap();
    }

    #[test]
    fn every_schema_can_be_used() {
        for document in ALL {
            assert!(!validator(document).is_valid(&json!([])), "{}", document.name);
        }
    }

    macro_rules! refused {
        ($($name:ident: $arguments:literal, $stdout:literal, $stderr:literal, $why:literal;)*) => {
            $(
                #[test]
                #[should_panic(expected = $why)]
                fn $name() {
                    run($arguments, $stdout, $stderr);
                }
            )*
        };
    }
    refused! {
        another_member: "--json confirm", r#"{"version":1,"confirmed":[],"more":1}"#, "", "no document confirmed";
        no_version: "--json confirm", r#"{"confirmed":[]}"#, "", "no document confirmed";
        another_version: "--json confirm", r#"{"version":2,"confirmed":[]}"#, "", "no document confirmed";
        another_type: "--json confirm", r#"{"version":1,"confirmed":["a b"]}"#, "", "no document confirmed";
        text_for_a_document: "--json confirm", "network lan: confirmed", "", "prints no JSON document";
        text_for_a_note: "--json confirm", "", "note: hm", "says: note: hm";
        an_unknown_note: "--json confirm", "", r#"{"version":1,"hint":"hm"}"#, "no document";
        an_unknown_command: "--json conform", r#"{"version":1,"confirmed":[]}"#, "", "the table of documents has not";
    }
}
