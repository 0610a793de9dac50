//! The reference of C and Python, made of the header and of the package's stubs and sources.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A text in one line.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Up to the end of its first sentence.
fn sentence(text: &str) -> String {
    let text = joined(text);
    let ends = text.match_indices(". ").map(|(at, _)| at + 1);
    let end = ends.into_iter().find(|at| !text[..*at].ends_with("..")).unwrap_or(text.len());
    text[..end].to_owned()
}

/// The functions of the header: the comment before each, its name, and its arguments.
pub(super) fn c() -> String {
    let header = source("xennet-ffi/include/xennet.h");
    let mut text = String::from(
        "# C\n\nThe functions of `xennet.h`, in its order, each with the first sentence of its comment. The header has the rest: what each \
         argument means, and which errors there are. Functions that can fail return `xennet_error *`, which is `NULL` on success. \
         `pkg-config --cflags --libs xennet` has the flags.\n\n| function | what it does |\n|---|---|\n",
    );
    for part in header.split("/**\n").skip(1) {
        let Some((comment, rest)) = part.split_once(" */\n") else { continue };
        let declaration = rest.split(";\n").next().unwrap_or_default();
        let Some((before, arguments)) = declaration.split_once('(') else { continue };
        let name = before.rsplit([' ', '*']).next().unwrap_or_default();
        if !name.starts_with("xennet_")
            || declaration.contains('{')
            || declaration.contains("typedef")
            || before.starts_with('#')
        {
            continue;
        }
        let lines = comment.lines().map(|line| line.trim_start_matches(" *").trim());
        let about: Vec<&str> = lines.take_while(|line| !line.is_empty() && !line.starts_with('\\')).collect();
        let arguments = joined(arguments.trim_end_matches(')'));
        let names: Vec<&str> =
            arguments.split(", ").filter_map(|a| a.rsplit([' ', '*']).next()).filter(|a| *a != "void").collect();
        let _ =
            writeln!(text, "| `{name}({})` | {} |", names.join(", "), sentence(&about.join(" ")).replace('|', "\\|"));
    }
    text
}

/// A function of a Python file.
struct Function {
    class: String,
    name: String,
    /// From its name on, in one line.
    signature: String,
    /// The first sentence of its documentation, where the file has it.
    about: String,
}

fn functions(text: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let mut class = String::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut is_property = false;
    for (at, line) in lines.iter().enumerate() {
        if let Some(rest) = line.strip_prefix("class ") {
            class = rest.split(['(', ':']).next().unwrap_or_default().to_owned();
        } else if line.starts_with("def ") {
            class.clear();
        }
        if line.trim() == "@property" {
            is_property = true;
            continue;
        }
        let Some(rest) = line.trim_start().strip_prefix("def ").filter(|_| line.len() - line.trim_start().len() <= 4)
        else {
            continue;
        };
        let mut signature = rest.to_owned();
        let mut end = at;
        while !signature.trim_end().ends_with(": ...") && !signature.trim_end().ends_with(':') {
            end += 1;
            signature = format!("{} {}", signature.trim_end(), lines[end].trim());
        }
        let signature = joined(signature.trim_end().trim_end_matches(" ...").trim_end_matches(':'));
        let signature =
            signature.replace("( ", "(").replace(", )", ")").replace("(self, ", "(").replace("(self)", "()");
        let signature = signature.replace(" )", ")").replace("(cls: type[_H], ", "(").replace("(cls, ", "(");
        let name = signature.split('(').next().unwrap_or_default().to_owned();
        let signature = if is_property { signature.replace("()", "") } else { signature };
        is_property = false;
        let doc = lines.get(end + 1).and_then(|line| line.trim().strip_prefix("\"\"\"")).unwrap_or_default();
        let mut about = doc.to_owned();
        let mut next = end + 2;
        while !doc.is_empty()
            && !about.contains("\"\"\"")
            && lines.get(next).is_some_and(|line| !line.trim().is_empty())
        {
            about = format!("{about} {}", lines[next].trim());
            next += 1;
        }
        let about = sentence(about.split("\"\"\"").next().unwrap_or_default()).replace("``", "`");
        functions.push(Function { class: class.clone(), name, signature, about });
    }
    functions
}

/// What the sources in Rust say of the package's functions, by their names: the comment before each. Methods of the host have a file of
/// their own.
fn comments(of_host: bool) -> BTreeMap<String, String> {
    let mut comments = BTreeMap::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xennet-py/src");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| (path.ends_with("host.rs") != of_host, path.clone()));
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let mut comment = String::new();
        for line in std::fs::read_to_string(path).unwrap().lines().map(str::trim) {
            match line.strip_prefix("///") {
                Some(more) => comment = format!("{comment}{more}\n"),
                None if line.starts_with('#') || line.ends_with(']') && !comment.is_empty() => {}
                None => {
                    let name =
                        line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").strip_prefix("fn ");
                    if let Some(name) =
                        name.and_then(|rest| rest.split(['(', '<']).next()).filter(|_| !comment.is_empty())
                    {
                        let first = comment.split("\n\n").next().unwrap_or_default();
                        comments.entry(name.to_owned()).or_insert(sentence(first));
                    }
                    comment.clear();
                }
            }
        }
    }
    comments
}

/// What the package has.
pub(super) fn python() -> String {
    let of = |file: &str| functions(&source(&format!("xennet-py/python/xennet/{file}")));
    let (stubs, host, tools) = (of("_xennet.pyi"), of("host.py"), of("tools.py"));
    let init = source("xennet-py/python/xennet/__init__.py");
    let public: Vec<&str> =
        init.split("__all__ = [").nth(1).unwrap().split(']').next().unwrap().split('"').skip(1).step_by(2).collect();
    let mut text = String::from(
        "# Python\n\nThe signatures of the package `xennet`. `help(xennet.Host)` has the documentation of each. `xennet.aio` has the same calls for \
         asyncio, `xennet.xenstore` a client of xenstore, `xennet.documents` the types of the documents. Errors are classes by their kind: [Exit \
         codes](exit-codes.md).\n",
    );
    let mut list = |title: &str, functions: Vec<&Function>| {
        let comments = comments(title == "Host");
        let mut seen: Vec<&str> = Vec::new();
        let _ = write!(text, "\n## {title}\n\n| call | what it does |\n|---|---|\n");
        for function in functions.into_iter().filter(|f| !f.name.starts_with('_')) {
            // What the package wraps has the same name in the stubs.
            if seen.contains(&function.name.as_str()) {
                continue;
            }
            seen.push(&function.name);
            let about = Some(&function.about).filter(|about| !about.is_empty()).or(comments.get(&function.name));
            let about = match about {
                Some(about) => about.replace('|', "\\|"),
                // A macro makes them, without comments of their own.
                None if function.name.starts_with("parse_") => "Reads a text, as `xennet parse` does.".to_owned(),
                None => String::new(),
            };
            let _ = writeln!(text, "| `{}` | {about} |", function.signature.replace('|', "\\|"));
        }
    };
    let in_module = |f: &&Function| f.class.is_empty() && public.contains(&f.name.as_str());
    list("Functions", tools.iter().filter(in_module).chain(stubs.iter().filter(in_module)).collect());
    for class in ["Host", "Sandbox", "Network", "VifSpec", "BridgeSpec", "Plan", "Step", "Applied", "Unconfirmed"] {
        let own = |f: &&Function| f.class == class;
        list(class, host.iter().filter(own).chain(stubs.iter().filter(own)).collect());
    }
    text
}
