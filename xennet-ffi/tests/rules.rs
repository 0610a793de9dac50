//! What the compiler cannot check: where `unsafe` may stand, and that nothing gets around the boundary.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::path::Path;

/// The files of this package's sources, with their names and without their comments and tests.
fn sources() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text
            .lines()
            .take_while(|l| *l != "#[cfg(test)]" && *l != "mod tests {")
            .map(|l| l.split("//").next().unwrap())
            .collect();
        files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), code.join("\n")));
    }
    assert!(files.len() > 7);
    files
}

#[test]
fn unsafe_code_is_in_the_file_of_casts_and_a_name_elsewhere() {
    for (file, code) in sources() {
        if file == "cast.rs" {
            continue;
        }
        for line in code.lines().filter(|l| l.contains("unsafe")) {
            let name = line == "#[unsafe(no_mangle)]";
            let lint = line.starts_with("#![") && line.contains("(unsafe_code");
            assert!(name || lint, "{file}: {line}");
        }
        assert!(file != "boundary.rs" || !code.contains("unsafe"), "the boundary needs none");
    }
}

#[test]
fn every_exported_function_enters_through_the_boundary() {
    let mut exported = 0;
    for (file, code) in sources() {
        for function in code.split("#[unsafe(no_mangle)]\n").skip(1) {
            exported += 1;
            let name = function.split_once("fn ").unwrap().1.split_once('(').unwrap().0;
            let body = function.split_once(" {\n").unwrap().1;
            let first = body.trim_start();
            let enters = ["read(", "free(", "named("].iter().any(|b| first.starts_with(b))
                || first.starts_with(&format!("fallible(\"{name}\", "))
                || first.starts_with(&format!("program(\"{name}\", "))
                || (name == "xennet_version" && !body.split_once("\n}").unwrap().0.contains("panic"));
            assert!(function.starts_with("pub extern \"C\" fn ") && enters, "{file}: {name}");
        }
    }
    assert!(exported > 30);
}
