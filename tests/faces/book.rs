//! The book in `book/src`: its table of contents, its links, its generated pages and pictures, and its commands.
//!
//! `XENNET_BLESS=1` writes what the commands print, and the generated pages. `tests/book` builds it with mdBook.

mod generate;
mod languages;
mod play;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xennet_core::config::{hotplug, networks};
use xennet_core::picture::{Picture, View};
use xennet_tests::in_netns;

use play::{Block, World, blocks};

/// The pages by their names below `book/src`, or `None` where only the command is.
fn pages() -> Option<BTreeMap<String, String>> {
    let root = source();
    let mut pages = BTreeMap::new();
    for dir in [root.clone(), root.join("reference")] {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            assert!(std::env::var_os("XENNET_BIN").is_some(), "{} cannot be read", dir.display());
            eprintln!("skipped: the sources are not here");
            return None;
        };
        for path in
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md"))
        {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            pages.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    Some(pages)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src")
}

fn is_blessed() -> bool {
    std::env::var_os("XENNET_BLESS").is_some_and(|v| v == "1")
}

/// The links of a page, outside of its blocks: text and target.
fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        let parts = line.split("](").skip(1).filter(|_| !is_code);
        links.extend(parts.filter_map(|part| part.split(')').next()).map(str::to_owned));
    }
    links
}

/// The anchors of a page's headings, as mdBook makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

#[test]
fn every_page_is_in_the_table_of_contents_and_every_link_leads_somewhere() {
    let Some(pages) = pages() else { return };
    let listed = links(&pages["SUMMARY.md"]);
    let all: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(all.len(), listed.len(), "a page is listed twice");
    let there: BTreeSet<String> = pages.keys().filter(|name| *name != "SUMMARY.md").cloned().collect();
    assert_eq!(all, there);
    let mut checked = 0;
    for (name, page) in &pages {
        assert!(page.lines().count() < 600, "{name} is long");
        assert!(
            name == "SUMMARY.md" || page.lines().filter(|line| line.starts_with("# ")).count() >= 1,
            "{name} has no heading"
        );
        for link in links(page) {
            checked += 1;
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let place = source().join(name).parent().unwrap().join(path);
            let target = if path.is_empty() { name.clone() } else { relative(&place) };
            assert!(path.is_empty() || place.exists(), "{name}: {link} leads nowhere");
            if !anchor.is_empty() {
                assert!(anchors(&pages[&target]).contains(anchor), "{name}: {link}: there is no such heading");
            }
        }
    }
    println!("{} pages, {checked} links", there.len());
    assert!(checked > 60, "{checked}");
}

/// A path below `book/src`, without `..`.
fn relative(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    real.strip_prefix(source().canonicalize().unwrap()).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn generated_pages_are_as_the_tables_say() {
    if pages().is_none() {
        return;
    }
    for (name, text) in generate::pages() {
        let path = source().join(&name);
        if is_blessed() {
            std::fs::write(&path, &text).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(known == text, "{name}: XENNET_BLESS=1 writes it anew");
    }
}

/// A version of Linux: `5.10` of `5.10 (Debian 11)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let word = text.split(|c: char| !c.is_ascii_digit() && c != '.').find(|word| word.contains('.'))?;
    let (major, minor) = word.trim_end_matches('.').split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The table of kernels has the versions that the code names, and its columns follow from them.
#[test]
fn the_table_of_kernels_is_that_of_the_code() {
    let Some(pages) = pages() else { return };
    let rows: Vec<Vec<&str>> = pages["kernels.md"]
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (head, rows) = rows.split_first().unwrap();
    assert!(rows.len() >= 8);
    for row in rows {
        // Of two needs the later one decides.
        let needs = row[1].split(';').filter_map(version).max().unwrap_or_else(|| panic!("{row:?}"));
        for (column, cell) in head.iter().zip(row).filter(|(column, _)| version(column).is_some()) {
            let has = version(column).unwrap() >= needs;
            assert_eq!(*cell, if has { "yes" } else { "no" }, "{}, {column}", row[0]);
        }
    }
    let code = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xennet-core/src/backend/netlink/needs.rs");
    let code = std::fs::read_to_string(code).unwrap();
    let code = code.split("mod tests").next().unwrap();
    let named: BTreeSet<(u32, u32)> = code
        .split("Version(")
        .skip(1)
        .filter_map(|rest| version(&rest.split(')').next()?.replace(", ", ".")))
        .collect();
    assert!(named.len() >= 5, "{named:?}");
    for (major, minor) in named {
        assert!(rows.iter().any(|row| row[1].contains(&format!("{major}.{minor}"))), "Linux {major}.{minor}");
    }
}

/// Files that pages describe are taken by their readers; what has no reader of ours is text.
#[test]
fn the_files_of_the_pages_are_read() {
    let Some(pages) = pages() else { return };
    let mut read = 0;
    for (name, page) in &pages {
        for block in blocks(page).into_iter().filter(|block| block.language == "toml") {
            let result = match block.file {
                Some("hotplug.toml") => hotplug::Settings::parse(block.text).map(drop),
                _ => networks::parse(block.text).map(drop),
            };
            result.unwrap_or_else(|e| panic!("{name}: {}", e.report()));
            read += 1;
        }
    }
    println!("{read} files");
    assert!(read > 8);
}

/// What is not run, since it changes the machine outside of its network, is at least a command of a shell, and of ours if it begins so.
#[test]
fn commands_that_are_not_run_are_commands() {
    const OTHERS: &[&str] = &[
        "apt-get",
        "cargo",
        "cp",
        "cut",
        "grep",
        "ifdown",
        "install",
        "ip",
        "iptables-save",
        "journalctl",
        "man",
        "mkdir",
        "mv",
        "nft",
        "nmcli",
        "systemctl",
        "tail",
        "tests/run",
        "xl",
        "xenstore-read",
    ];
    let Some(pages) = pages() else { return };
    let mut count = 0;
    for (name, page) in &pages {
        for block in blocks(page).into_iter().filter(|block| block.language == "sh") {
            let syntax = std::process::Command::new("sh").args(["-nc", block.text]).status().unwrap();
            assert!(syntax.success(), "{name}: {}", block.text);
            for line in block.text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
                let line = line.split("  #").next().unwrap();
                count += 1;
                for command in line.split(['|', '>', ';']).map(str::trim).filter(|part| !part.starts_with('/')) {
                    let words: Vec<&str> =
                        command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
                    let is_variable = |word: &&&str| word.contains('=') && word.starts_with(char::is_uppercase);
                    match words.iter().find(|word| !is_variable(word)).copied() {
                        Some("xennet") => {
                            xennet_cli::takes(&words).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
                        }
                        Some(other) => assert!(OTHERS.contains(&other) || !command.contains(' '), "{name}: {line}"),
                        None => {}
                    }
                }
            }
        }
    }
    println!("{count} commands are not run");
}

#[test]
fn the_commands_of_the_pages_print_what_the_pages_say() {
    let Some(pages) = pages() else { return };
    let mut count = 0;
    for (name, page) in &pages {
        let world = World::of(page);
        count += blocks(page)
            .iter()
            .filter(|b| b.language == "console")
            .map(|b| b.commands(world.prompt()).len())
            .sum::<usize>();
        if !blocks(page).iter().any(|block| block.language == "console") {
            continue;
        }
        let played = || match &world {
            World::Model => Some(play::played(&world, page)),
            World::Namespace { .. } => {
                // Nothing where an ordinary user's test has compared in a process of its own.
                let mut printed = None;
                in_netns("book::the_commands_of_the_pages_print_what_the_pages_say", || {
                    printed = Some(play::played(&world, page));
                });
                printed
            }
        };
        // The kernel tells of carriers in its own time, and a machine under load prints the state before: once more then.
        let Some(printed) =
            (0..3).map(|_| played()).find(|p| p.as_ref().is_none_or(|p| p == page)).unwrap_or_else(played)
        else {
            continue;
        };
        // The commands of generated pages print nothing; another test writes these pages, perhaps at this moment.
        let is_generated = name.starts_with("reference/") || name == "findings.md";
        if is_blessed() && !is_generated {
            std::fs::write(source().join(name), &printed).unwrap();
        } else {
            assert_eq!(*page, printed, "{name}: XENNET_BLESS=1 writes it anew");
        }
    }
    println!("{count} commands are run");
    assert!(count > 40, "{count}");
}

/// Each picture is drawn of the file of the page that shows it.
#[test]
fn the_pictures_are_as_the_command_draws_them() {
    let Some(pages) = pages() else { return };
    let mut drawn = BTreeSet::new();
    for (name, page) in &pages {
        for (picture, file) in play::copies(page) {
            let text = std::fs::read_to_string(source().join("../..").join(file)).unwrap();
            if is_blessed() {
                std::fs::write(source().join(picture), &text).unwrap();
            }
            let kept = std::fs::read_to_string(source().join(picture)).unwrap_or_default();
            assert!(kept == text, "{picture}: XENNET_BLESS=1 writes it");
            drawn.insert(picture.to_owned());
        }
        let all: Vec<Block<'_>> = blocks(page);
        for (picture, file) in play::pictures(page) {
            let block = all.iter().find(|block| block.file == Some(file)).unwrap_or_else(|| panic!("{name}: {file}"));
            let all = networks::parse(block.text).unwrap_or_else(|e| panic!("{name}: {}", e.report()));
            // As `xennet picture --svg --described FILE`, with the name of the host and the time held still.
            let made = Picture::of_networks(all.iter(), "dom0", 1_796_060_000).to_svg(&View::default());
            let kept = source().join(picture);
            if is_blessed() {
                std::fs::write(&kept, &made).unwrap();
            }
            assert!(std::fs::read_to_string(&kept).unwrap_or_default() == made, "{picture}: XENNET_BLESS=1 writes it");
            drawn.insert(picture.to_owned());
        }
    }
    let there = std::fs::read_dir(source().join("pictures")).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<String> = there.map(|name| format!("pictures/{}", name.to_str().unwrap())).collect();
    assert_eq!(drawn, there);
}
