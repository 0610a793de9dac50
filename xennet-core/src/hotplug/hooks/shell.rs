//! Hooks that are shell scripts: a shell of their own sources them, with the functions of Xen's scripts, which sourced them.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// What a shell runs: functions, then the hook, which is `$0`.
const PRELUDE: &str = include_str!("prelude.sh");
/// How much of a hook is searched for functions: far more than any hook has.
const MOST: u64 = 1 << 20;
/// Functions of Xen's scripts that a hook cannot call here: they belong to work that the script does itself.
const ABSENT: &[&str] =
    &["call_hooks", "evalVariables", "findCommand", "frob_iptable", "handle_iptable", "iptables_w", "rename_vif"];
/// Xen's scripts are written for bash. `/bin/sh` is always there.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// The words of a first line, behind its `#!`, if it names a shell that gets its commands from the file.
pub(super) fn shell(line: &[u8]) -> Option<Vec<&[u8]>> {
    let words: Vec<&[u8]> = line.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
    let base = |word: &[u8]| word.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
    let (shell, options) = match words[..] {
        [env, shell] if base(env) == b"env" => (base(shell), None),
        [shell] => (base(shell), None),
        [shell, options] => (base(shell), Some(options)),
        _ => return None,
    };
    // -e, -eu and their like only say how; -c brings a command along, -l and long options run other files.
    let harmless = options.is_none_or(|o| o.starts_with(b"-") && o[1..].iter().all(|b| b"efux".contains(b)));
    let is_shell = [&b"sh"[..], b"bash", b"dash", b"ash", b"ksh", b"mksh", b"zsh"].contains(&&shell[..]);
    (harmless && is_shell).then_some(words)
}

/// How a hook is started, if it is a shell script: the shell that its first line names, or else bash, which Xen's scripts are written
/// for.
pub(super) fn words(hook: &Path) -> Option<Vec<OsString>> {
    let text = text(hook, super::LOOK as u64)?;
    let mut words: Vec<OsString> = match text.strip_prefix(b"#!") {
        Some(rest) => {
            let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
            // Functions and variables work differently in zsh.
            let words = shell(line).filter(|words| !words.iter().any(|w| w.ends_with(b"zsh")))?;
            words.into_iter().map(|word| OsString::from_vec(word.to_vec())).collect()
        }
        // A compiled program has NUL bytes, a script has none.
        None if text.contains(&0) => return None,
        None => vec![SHELLS.iter().find(|shell| Path::new(shell).exists())?.into()],
    };
    words.extend(["-c".into(), PRELUDE.into(), hook.as_os_str().to_owned()]);
    Some(words)
}

/// The functions of Xen's scripts that a hook calls, and that are not there when it runs.
pub(super) fn lacking(hook: &Path) -> Vec<&'static str> {
    let Some(text) = text(hook, MOST).filter(|_| words(hook).is_some()) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let is_in_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let calls = |line: &str, name: &str| line.split(|c| !is_in_a_name(c)).any(|word| word == name);
    let defines = |line: &str, name: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("function ").unwrap_or(line).trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start().starts_with("()") || line.starts_with("function "))
    };
    let is_lacking =
        |name: &str| code.iter().any(|line| calls(line, name)) && !code.iter().any(|line| defines(line, name));
    ABSENT.iter().copied().filter(|name| is_lacking(name)).collect()
}

fn text(hook: &Path, most: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(hook).ok()?.take(most).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// In every shell that is here: what a hook can call, and with what it ends.
    #[test]
    fn the_functions_are_those_of_xens_scripts_in_any_shell() {
        let place = std::env::temp_dir().join(format!("xennet-prelude-{}", std::process::id()));
        std::fs::create_dir_all(place.join("vif-post.d")).unwrap();
        std::fs::write(place.join("xen-network-common.sh"), "create_bridge() { echo made $1; }\n").unwrap();
        let hook = place.join("vif-post.d/a.hook");
        let run = |shell: &str, text: &str| {
            std::fs::write(&hook, text).unwrap();
            let mut words = shell.split(' ');
            let mut command = Command::new(words.next().unwrap());
            command.args(words).args(["-c", PRELUDE]).arg(&hook).arg("online");
            let out = command.output().unwrap();
            let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
            (out.status.code(), said)
        };
        for shell in ["/bin/bash", "/bin/bash -eu", "/bin/sh", "/bin/sh -eu", "/bin/dash", "/bin/ksh"] {
            if !Path::new(shell.split(' ').next().unwrap()).exists() {
                continue;
            }
            for (text, code, said) in [
                ("log debug one two", 0, "one two\n"),
                ("do_without_error false; echo on", 0, "on\nfalse failed\n"),
                ("do_or_die false; echo on", 1, "false failed\n"),
                ("fatal no such; echo on", 1, "no such\n"),
                ("echo \"$1 ${0##*/} ${dir##*/}\"; return 3; echo on", 3, ""),
                ("xenstore_read_default /no/node other", 0, "other\n"),
                ("create_bridge br0; create_bridge br1", 0, "made br0\nmade br1\n"),
                ("success; exit 4", 4, ""),
            ] {
                let got = run(shell, text);
                assert_eq!(got.0, Some(code), "{shell}: {text}: {}", got.1);
                assert!(got.1.contains(said), "{shell}: {text}: {}", got.1);
            }
            // Older scripts have no such function: that is said once, and not without end.
            let (code, said) = run(shell, "set_mtu br0 vif1.0");
            assert!(code != Some(0) && said.contains("set_mtu"), "{shell}: {code:?} {said}");
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn what_a_hook_lacks_is_seen_by_its_names() {
        let place = std::env::temp_dir().join(format!("xennet-lacking-{}.hook", std::process::id()));
        for (text, lacks) in [
            ("log debug x; xenstore_read $XENBUS_PATH/mac\n", &[][..]),
            ("# handle_iptable\nmy_handle_iptable\n", &[]),
            ("handle_iptable\nif x; then rename_vif a b; fi\n", &["handle_iptable", "rename_vif"]),
            ("frob_iptable() {\n :\n}\nfrob_iptable\n", &[]),
            ("function frob_iptable {\n :\n}\nfrob_iptable\n", &[]),
            ("#!/usr/bin/python3\nhandle_iptable()\n", &[]),
        ] {
            std::fs::write(&place, text).unwrap();
            assert_eq!(lacking(&place), lacks, "{text}");
        }
        std::fs::remove_file(&place).unwrap();
    }
}
