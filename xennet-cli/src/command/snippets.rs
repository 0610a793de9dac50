//! `snippets`: what makes other managers of links leave those of guests alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use xennet_core::document::{CheckedManagers, SnippetFiles, Snippets};
use xennet_core::managers::{self, Manager, Put, Snippet};
use xennet_core::surroundings;
use xennet_core::{Error, ErrorKind, IfName, Result};

use crate::cli::SnippetsArgs;
use crate::files::{after, failed};
use crate::output::Output;

/// The error of a command that the sandbox does not keep from the real files.
pub(super) fn not_in_the_sandbox() -> Error {
    Error::new(ErrorKind::Invalid, "the sandbox is a network of its own, but has the files and programs of this system")
        .with_object("--sandbox")
        .with_hint("leave --sandbox out; --dir DIR writes to another place")
}

pub(super) fn run(args: &SnippetsArgs, output: &mut Output) -> Result<()> {
    let links: Vec<IfName> = args.bridge.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    let mut snippets = managers::snippets(&links)?;
    if links.is_empty() && !args.check {
        output.note("no bridge is named, so that a manager may still take one for its own: --bridge xenbr0");
    }
    if let Some(name) = &args.manager {
        snippets.retain(|snippet| snippet.manager.name() == name);
    }
    match (&args.dir, args.check) {
        (dir, true) => check(&snippets, dir.as_deref().unwrap_or(Path::new("/")), output),
        (Some(dir), false) => {
            if args.manager.is_none() {
                snippets.retain(|snippet| is_for(snippet, dir, output));
            }
            write(&snippets, dir, args.force, output)
        }
        (None, false) => show(&snippets, args.manager.is_some(), output),
    }
}

/// The texts; of one manager alone as it belongs into its file.
fn show(snippets: &[Snippet], alone: bool, output: &mut Output) -> Result<()> {
    let heading = |snippet: &Snippet| match snippet.manager {
        Manager::Dhcpcd => format!("### {}, at its beginning\n{}", snippet.path, snippet.text),
        _ => format!("### {}\n{}", snippet.path, snippet.text),
    };
    let text = || match snippets {
        [one] if alone => one.text.clone(),
        all => all.iter().map(heading).collect::<Vec<_>>().join("\n"),
    };
    output.answer(text, || Snippets::of(snippets))
}

/// The programs of a manager, where distributions put them.
const fn programs(manager: Manager) -> &'static [&'static str] {
    match manager {
        Manager::NetworkManager => &["/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"],
        Manager::Networkd => &["/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"],
        Manager::Udev => &["/usr/bin/udevadm", "/bin/udevadm", "/usr/sbin/udevd", "/sbin/udevd"],
        Manager::Dhcpcd => &["/usr/sbin/dhcpcd", "/sbin/dhcpcd", "/usr/bin/dhcpcd", "/usr/local/sbin/dhcpcd"],
        _ => &[],
    }
}

/// Whether a manager is on the system whose root is this directory: its program, or the file that it would read.
fn is_here(snippet: &Snippet, root: &Path) -> bool {
    [snippet.path].iter().chain(programs(snippet.manager)).any(|path| below(root, path).exists())
}

/// Whether a snippet has a place here. On this system only managers that are here get a file. Below another directory, as of an image
/// or a package, the managers may come later: they get directories for parts of a configuration. The one file of dhcpcd, which its
/// package brings, would be taken for that package's when it comes.
fn is_for(snippet: &Snippet, dir: &Path, output: &mut Output) -> bool {
    if (snippet.manager != Manager::Dhcpcd && dir != Path::new("/")) || is_here(snippet, dir) {
        return true;
    }
    output.note(&format!(
        "{} is not here: {} is not written ({})",
        snippet.manager.title(),
        below(dir, snippet.path).display(),
        snippet.command
    ));
    false
}

/// Writes what is not there yet. Nothing is written if a file of others would be lost by it.
fn write(snippets: &[Snippet], dir: &Path, force: bool, output: &mut Output) -> Result<()> {
    let mut acts: Vec<(PathBuf, Option<String>)> = Vec::new();
    for snippet in snippets {
        let path = below(dir, snippet.path);
        let present = read(&path)?;
        acts.push(match snippet.put(present.as_deref()) {
            Put::There => (path, None),
            Put::Write(text) => (path, Some(text)),
            Put::Replace(text) if force => (path, Some(text)),
            Put::Replace(_) => {
                let shown = path.display().to_string();
                return Err(Error::new(ErrorKind::Conflict, format!("{shown} is there, and says something else"))
                    .with_object(&shown)
                    .as_before("unchanged")
                    .with_hint(format!("compare it: {} | diff {shown} -; --force replaces it", snippet.command)));
            }
        });
    }
    let mut written = Vec::new();
    for (path, text) in &acts {
        if let Some(text) = text {
            put(path, text).map_err(|e| after(&written, failed(path, "cannot be written", &e)))?;
            written.push(path.clone());
        }
    }
    let said = |(path, text): &(PathBuf, Option<String>)| match text {
        Some(_) => format!("{} is written\n", path.display()),
        None => format!("{} is there already\n", path.display()),
    };
    let reload = |snippet: &Snippet| snippet.manager.reload();
    let text = || {
        let mut text: String = acts.iter().map(said).collect();
        let written = snippets.iter().zip(&acts).filter(|(_, (_, text))| text.is_some());
        let commands: Vec<String> = written.map(|(snippet, _)| format!("    {}\n", reload(snippet))).collect();
        if !commands.is_empty() && dir == Path::new("/") {
            text.push_str("\nin force after, for those that run here:\n");
            text.push_str(&commands.concat());
        }
        text
    };
    output.answer(text, || {
        let mut files = SnippetFiles::default();
        for (snippet, (path, text)) in snippets.iter().zip(&acts) {
            files.add(snippet.manager, path.display().to_string(), text.is_some());
        }
        files
    })
}

/// Who would take links of this name, as remarks for who starts a network; nothing where that cannot be found out.
pub(super) fn warnings(links: &[IfName]) -> Vec<String> {
    let root = Path::new("/");
    let found = managers::snippets(links)
        .and_then(|snippets| Ok(managers::check(&snippets, &surroundings::managers(root, &snippets)?)));
    let said = |w: managers::Warning| format!("{}; {}", w.message, w.command);
    found.unwrap_or_default().into_iter().map(said).collect()
}

/// Who runs here, and would take these links.
fn check(snippets: &[Snippet], dir: &Path, output: &mut Output) -> Result<()> {
    let found = surroundings::managers(dir, snippets)?;
    let warnings = managers::check(snippets, &found);
    let running = managers::running(&found);
    let text = || {
        let said = |manager: &Manager| match warnings.iter().find(|w| w.manager == *manager) {
            Some(w) => format!("{}\n    {}\n", w.message, w.command),
            None => format!("{} runs, and leaves these links alone\n", manager.title()),
        };
        match running.as_slice() {
            [] => "none of NetworkManager, systemd-networkd, udev and dhcpcd runs here\n".to_owned(),
            all => all.iter().map(said).collect(),
        }
    };
    output.answer(text, || CheckedManagers::new(&running, &warnings))?;
    if warnings.is_empty() {
        return Ok(());
    }
    let titles: Vec<&str> = warnings.iter().map(|w| w.manager.title()).collect();
    let message = format!("guests' links are not safe from {}", titles.join(", "));
    let hint = "the commands above show what keeps each of them off; --dir / writes all of it";
    Err(Error::new(ErrorKind::Conflict, message).with_object(warnings[0].manager.name()).with_hint(hint))
}

/// A path of a system whose root is this directory.
fn below(dir: &Path, path: &str) -> PathBuf {
    dir.join(path.trim_start_matches('/'))
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        // What is no text is certainly not ours; nothing of it is written back unless it is to be replaced.
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::new(ErrorKind::Invalid, format!("{} is not UTF-8", path.display()))
                .with_object(path.display().to_string())
                .as_before("unchanged")
                .with_hint("look at it, and move it away if it is not needed")),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path, "cannot be read", &e)),
    }
}

/// Writes a file in one go: whoever reads it meanwhile has the old text or the new one. Owner and rights of one that is
/// there stay, and a link to it stays a link.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(e) => return Err(e),
    };
    let (dir, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    fs::create_dir_all(dir)?;
    let present = match fs::metadata(&path) {
        Ok(meta) => Some(meta),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let new = dir.join(format!(".{}.xennet-new", name.to_string_lossy()));
    let written = (|| {
        fs::write(&new, text)?;
        fs::set_permissions(&new, Permissions::from_mode(present.as_ref().map_or(0o644, |meta| meta.mode() & 0o7777)))?;
        if let Some(meta) = &present {
            std::os::unix::fs::chown(&new, Some(meta.uid()), Some(meta.gid()))?;
        }
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &path)
    })();
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_here_by_its_program_or_its_file() {
        let root = std::env::temp_dir().join(format!("xennet-snippets-{}", std::process::id()));
        for snippet in managers::snippets(&[]).unwrap() {
            for path in programs(snippet.manager).iter().chain([&snippet.path]) {
                assert!(!is_here(&snippet, &root), "{path}");
                let path = below(&root, path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, "").unwrap();
                assert!(is_here(&snippet, &root), "{}", path.display());
                fs::remove_dir_all(&root).unwrap();
            }
            assert!(!programs(snippet.manager).is_empty(), "{}", snippet.manager.name());
        }
    }
}
