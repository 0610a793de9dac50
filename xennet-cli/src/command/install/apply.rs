//! Looking at the directory of the scripts, and changing it.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use xennet_core::{Errno, Error, ErrorKind, Result};

use super::plan::{Act, Entry, Found, PROGRAM, Package, SCRIPTS, names};
use crate::files::failed;

/// What is there for every script.
pub(super) fn look(dir: &Path) -> Result<Vec<Found>> {
    let listed = fs::metadata(dir).and_then(|meta| if meta.is_dir() { Ok(()) } else { Err(not_a_directory()) });
    listed.map_err(|e| {
        failed(dir, "there are no scripts", &e)
            .with_hint("is Xen installed? Name the directory of its scripts with --dir")
    })?;
    SCRIPTS.iter().map(|name| look_at(dir, name)).collect()
}

fn not_a_directory() -> io::Error {
    io::Error::from_raw_os_error(Errno::ENOTDIR.0)
}

fn look_at(dir: &Path, name: &str) -> Result<Found> {
    let [script, trial, kept] = names(dir, name);
    let (entry, trial_entry) = (entry(&script)?, entry(&trial)?);
    let has_kept = entry_of(&kept)?.is_some();
    let package = package(&script, &kept);
    Ok(Found { script, entry, trial, trial_entry, kept, has_kept, package })
}

fn entry_of(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path, "cannot be looked at", &e)),
    }
}

fn entry(path: &Path) -> Result<Entry> {
    let Some(meta) = entry_of(path)? else { return Ok(Entry::Absent) };
    if !meta.is_symlink() {
        return Ok(Entry::Other);
    }
    let to = fs::read_link(path).map_err(|e| failed(path, "cannot be looked at", &e))?;
    // As `binary` makes sure of when a link is made.
    Ok(if to.is_absolute() && is_named_ours(&to) { Entry::Ours(to) } else { Entry::Other })
}

fn is_named_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(PROGRAM.as_bytes()))
}

/// What dpkg knows of a script; nothing where there is no dpkg.
fn package(script: &Path, kept: &Path) -> Package {
    // dpkg-query would take these for a pattern.
    if script.as_os_str().as_bytes().iter().any(|b| b"*?[]\\".contains(b)) {
        return Package::Unknown;
    }
    let answer = |program: &str, arguments: &[&OsStr]| {
        let output = tool(program, arguments).ok()?;
        output.status.success().then(|| output.stdout.trim_ascii_end().to_owned())
    };
    let divert = |what: &str| answer("dpkg-divert", &[OsStr::new(what), script.as_os_str()]);
    if divert("--truename").is_some_and(|name| name == kept.as_os_str().as_bytes()) {
        match divert("--listpackage").as_deref() {
            Some(b"LOCAL") => return Package::Diverted,
            Some(by) if !by.is_empty() => return Package::Packaged,
            _ => {}
        }
    }
    match answer("dpkg-query", &[OsStr::new("-S"), script.as_os_str()]) {
        Some(_) => Package::Owned,
        None => Package::Unknown,
    }
}

fn tool(program: &str, arguments: &[&OsStr]) -> io::Result<Output> {
    Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output()
}

/// The program that is installed: its real path, checked. libxl runs it as root.
pub(super) fn binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => fs::canonicalize(path).map_err(|e| failed(path, "cannot be installed", &e))?,
        None => std::env::current_exe().and_then(fs::canonicalize).map_err(|e| {
            failed(Path::new("/proc/self/exe"), "cannot be found", &e).with_hint("name it with --binary")
        })?,
    };
    let refused = |why: &str, hint: String| {
        Error::new(ErrorKind::Invalid, format!("{} cannot be installed: {why}", path.display()))
            .with_object(path.display().to_string())
            .as_before("unchanged")
            .with_hint(hint)
    };
    let shown = path.display();
    let meta = fs::metadata(&path).map_err(|e| failed(&path, "cannot be installed", &e))?;
    if !is_named_ours(&path) {
        let hint = format!("give it a name that begins with {PROGRAM}: links to it are known by that");
        return Err(refused("it is not called xennet", hint));
    }
    if !meta.is_file() || meta.mode() & 0o111 == 0 {
        return Err(refused("it is no program", format!("is it the right path? chmod a+x {shown} makes a file one")));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refused(
            "others than its owner can write it, and libxl runs it as root",
            format!("chmod go-w {shown}"),
        ));
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user, and libxl runs it as root", format!("chown root {shown}")));
    }
    for above in path.ancestors().skip(1) {
        let mode = fs::metadata(above).map_err(|e| failed(above, "cannot be looked at", &e))?.mode();
        // In a sticky directory nobody can replace what is another's.
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            let why = format!("everybody can replace what is in {}", above.display());
            return Err(refused(&why, "move it to a directory of root's, for example /usr/local/sbin".to_owned()));
        }
    }
    Ok(path)
}

/// What is to be said about a program that can be installed.
pub(super) fn remark(binary: &Path) -> Option<String> {
    is_dynamic(binary).then(|| {
        format!(
            "{} is linked dynamically: each call loads its libraries first, and needs them; a static one is better here",
            binary.display()
        )
    })
}

/// Whether a program is one that the kernel starts through a dynamic linker (ELF: it has a header of type `PT_INTERP`).
fn is_dynamic(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64 * 1024).read_to_end(&mut head));
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        let fold = |n: usize, b: &u8| (n << 8) | usize::from(*b);
        Some(if cfg!(target_endian = "little") { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
    };
    // 64 bits alone; of others nothing is said.
    if read.is_err() || !head.starts_with(b"\x7fELF\x02") {
        return false;
    }
    let (Some(start), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else { return false };
    (0..count).any(|n| start.checked_add(n * size).and_then(|at| number(at, 4)) == Some(3))
}

/// Carries the acts out. If one fails, those before it are taken back.
pub(super) fn perform(acts: &[Act]) -> Result<()> {
    for (done, act) in acts.iter().enumerate() {
        let Err(error) = carry_out(act) else { continue };
        let undone: Result<Vec<()>> = acts[..done].iter().rev().map(|act| carry_out(&act.inverse())).collect();
        return Err(match undone {
            Ok(undone) if undone.is_empty() => error.as_before("unchanged"),
            Ok(undone) => error.restored(format!("restored, {} undone", undone.len())),
            Err(e) => error.incomplete(format!("not restored: {e}")),
        });
    }
    Ok(())
}

fn carry_out(act: &Act) -> Result<()> {
    match act {
        Act::Put { at, to } => symlink(to, at).map_err(|e| failed(at, "cannot be made", &e)),
        Act::Turn { at, from, to } => {
            expect(at, from)?;
            replace(at, to)
        }
        Act::Remove { at, from } => {
            expect(at, from)?;
            fs::remove_file(at).map_err(|e| failed(at, "cannot be removed", &e))
        }
        Act::Keep { at, kept, to } => {
            // A second name first, then the link in place of the first one: there is a script at every moment, and a link
            // never overwrites what is kept already.
            fs::hard_link(at, kept).map_err(|e| failed(kept, "cannot be made", &e))?;
            replace(at, to).inspect_err(|_| {
                // The error that is told is the first one.
                let _ = fs::remove_file(kept);
            })
        }
        Act::Restore { at, kept, from } => {
            expect(at, from)?;
            fs::rename(kept, at).map_err(|e| failed(at, "cannot be replaced", &e))
        }
        // The script is a configuration file of its package. Without a diversion dpkg would follow our link at the next
        // upgrade, and offer to write Xen's script over our program.
        Act::Divert { at, kept } => dpkg_divert(at, &[OsStr::new("--divert"), kept.as_os_str(), OsStr::new("--add")]),
        Act::Undivert { at, .. } => dpkg_divert(at, &[OsStr::new("--remove")]),
    }
}

/// Nothing is touched that is not as it was seen.
fn expect(at: &Path, to: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Stale, format!("{} has been changed at this moment", at.display()))
        .with_object(at.display().to_string())
        .with_hint("look who else works on it, and run this again"))
}

/// A link in place of what is there, without a moment in which nothing is.
fn replace(at: &Path, to: &Path) -> Result<()> {
    let mut name = OsStr::new(".").to_owned();
    name.push(at.file_name().unwrap_or_default());
    name.push(format!(".{PROGRAM}-{}", std::process::id()));
    let fresh = at.with_file_name(name);
    symlink(to, &fresh).map_err(|e| failed(&fresh, "cannot be made", &e))?;
    fs::rename(&fresh, at).map_err(|e| {
        // The error that is told is the first one.
        let _ = fs::remove_file(&fresh);
        failed(at, "cannot be replaced", &e)
    })
}

fn dpkg_divert(at: &Path, arguments: &[&OsStr]) -> Result<()> {
    let start = [OsStr::new("--quiet"), OsStr::new("--local"), OsStr::new("--no-rename")];
    let all: Vec<&OsStr> = start.into_iter().chain(arguments.iter().copied()).chain([at.as_os_str()]).collect();
    let output = tool("dpkg-divert", &all).map_err(|e| failed(Path::new("dpkg-divert"), "cannot be run", &e))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words =
        xennet_core::hotplug::log::printable(words.lines().next().unwrap_or("it does not say why")).into_owned();
    Err(Error::new(ErrorKind::Conflict, format!("dpkg-divert refuses to divert {}: {words}", at.display()))
        .with_object(at.display().to_string())
        .with_hint(format!("dpkg-divert --list '{}' shows what is diverted", at.display())))
}
