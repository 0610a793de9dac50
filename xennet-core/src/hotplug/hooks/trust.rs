//! Whether only root, or the user that runs it, can have written a hook.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::name;
use crate::error::{Errno, Error, ErrorKind};

/// Refuses a hook that another user can change or exchange: the file, the directory that it is in, any directory above that, and
/// the same of where links lead.
///
/// # Errors
/// [`ErrorKind::HookFailed`] with the file or directory, its owner and mode, and the command that puts it right.
pub(super) fn check(hook: &Path) -> Result<(), Error> {
    let given = std::path::absolute(hook).map_err(|e| unknown(hook, hook, &e))?;
    let real = fs::canonicalize(hook).map_err(|e| unknown(hook, hook, &e))?;
    check_path(hook, &given)?;
    if real == given { Ok(()) } else { check_path(hook, &real) }
}

/// A file and all directories above it.
fn check_path(hook: &Path, path: &Path) -> Result<(), Error> {
    for (above, part) in path.ancestors().enumerate() {
        let found = fs::metadata(part).map_err(|e| unknown(hook, part, &e))?;
        let (mode, owner) = (found.mode() & 0o7777, found.uid());
        if !is_trusted(owner) {
            let why = format!("{} belongs to user {owner} (mode {mode:04o})", part.display());
            return Err(refused(hook, part, &why, &format!("chown {} {}", us(), part.display())));
        }
        // In a sticky directory users cannot replace each other's files, but can add some: it may lie above the hooks' directory, and
        // cannot be that directory.
        let is_sticky = above > 1 && mode & 0o1000 != 0;
        if mode & 0o022 != 0 && !is_sticky {
            let why = format!("{} can be written by other users (owner {owner}, mode {mode:04o})", part.display());
            return Err(refused(hook, part, &why, &format!("chmod go-w {}", part.display())));
        }
    }
    Ok(())
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == us() || is_root_outside(owner)
}

/// In a user namespace without the host's root that one's files show the number of nobody (`/proc/sys/kernel/overflowuid`).
fn is_root_outside(owner: u32) -> bool {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    let is_inside = || {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let words: Vec<&str> = map.split_whitespace().collect();
        !matches!(words[..], [inside, outside, _] if inside == outside)
    };
    number("/proc/sys/kernel/overflowuid") == Some(owner) && is_inside()
}

fn refused(hook: &Path, part: &Path, why: &str, command: &str) -> Error {
    Error::new(ErrorKind::HookFailed, format!("hook {} is not run: {why}", name(hook)))
        .with_object(part.display().to_string())
        .with_hint(format!(
            "what other users can change does not run with this one's rights; if it is as it should be: {command}"
        ))
}

fn unknown(hook: &Path, part: &Path, e: &std::io::Error) -> Error {
    Error::new(ErrorKind::HookFailed, format!("hook {} is not run: {} cannot be looked at", name(hook), part.display()))
        .with_object(part.display().to_string())
        .with_errno(Errno::from_io(e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_change_is_named_with_the_way_out() {
        let top = std::env::temp_dir().join(format!("xennet-trust-{}", std::process::id()));
        let dir = top.join("vif-post.d");
        fs::create_dir_all(&dir).unwrap();
        let hook = dir.join("10-a.hook");
        fs::write(&hook, "#!/bin/true\n").unwrap();
        let link = dir.join("20-b.hook");
        symlink("../elsewhere", &link).unwrap();
        fs::write(top.join("elsewhere"), "#!/bin/true\n").unwrap();
        for path in [&top, &dir, &hook, &top.join("elsewhere")] {
            set(path, 0o755);
        }
        check(&hook).unwrap();
        check(&link).unwrap();
        // What is loosened, to what, and whether the hook and the link are still trusted.
        for (path, mode, hook_runs, link_runs) in [
            (&hook, 0o757, false, true),
            (&hook, 0o775, false, true),
            (&dir, 0o777, false, false),
            (&dir, 0o1777, false, false),
            (&top, 0o777, false, false),
            (&top.join("elsewhere"), 0o777, true, false),
        ] {
            set(path, mode);
            for (file, runs) in [(&hook, hook_runs), (&link, link_runs)] {
                match check(file) {
                    Ok(()) => assert!(runs, "{} with {} {mode:o}", file.display(), path.display()),
                    Err(e) => {
                        assert!(!runs, "{e}");
                        assert_eq!(e.kind(), ErrorKind::HookFailed);
                        assert!(e.message().contains(&format!("mode {mode:04o}")), "{e}");
                        assert!(e.hint().unwrap().contains(&format!("chmod go-w {}", e.object().unwrap())), "{e}");
                    }
                }
            }
            set(path, 0o755);
        }
        // A directory above with the sticky bit, as the one for temporary files is.
        set(&top, 0o1777);
        check(&hook).unwrap();
        if us() == 0 {
            set(&top, 0o755);
            for path in [&hook, &dir, &top] {
                // Where a user namespace has no other user there is nobody to give it to.
                if std::os::unix::fs::chown(path, Some(1), None).is_err() {
                    continue;
                }
                let e = check(&hook).unwrap_err();
                assert!(e.message().contains("belongs to user 1 (mode 0755)"), "{e}");
                assert!(e.hint().unwrap().ends_with(&format!("chown 0 {}", path.display())), "{e}");
                std::os::unix::fs::chown(path, Some(0), None).unwrap();
            }
        }
        fs::remove_dir_all(&top).unwrap();
    }
}
