//! The call that a toolstack makes for every vif.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use xennet_core::backend::netlink::close_in_background;
use xennet_core::hotplug::{self, Answer, Caller, Defect};
use xennet_core::{Error, ErrorKind};

use crate::boundary::{fallible, given, program, say};
use crate::cast::Strings;
use crate::error::Failure;
use crate::text::Text;

/// Does the work of one of Xen's vif scripts (`vif-bridge`, `vif-nat`, `vif-route`). Call it from `main` with the arguments of `main`.
///
/// It reads the call, the vif's directory in xenstore and `hotplug.toml`, attaches or detaches the vif, runs the hooks, writes the answer to
/// xenstore and the logs, and prints errors on standard error. A call that fails restores the earlier state, or says that it could not.
///
/// Return the result from `main` at once: where the kernel needs some milliseconds to clean up, a child process does that, which ends within
/// some tenths of a second after the program.
///
/// \param argc How many arguments there are, with the program's name.
/// \param argv The arguments. The first one names the script: `vif-bridge`, `vif-nat` or `vif-route`, with or without a path and the prefix
///   `xennet-`; any other name means `vif-bridge`.
/// \param envp The environment, ended by NULL, each `NAME=value`; NULL for the process's own.
/// \return The exit status, 0 or 1, as that of the scripts.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_hotplug(argc: i32, argv: Strings, envp: Strings) -> i32 {
    program("xennet_hotplug", || {
        let call = Call::read(argc, &argv, &envp)?;
        let answer = match call.carry_out(Caller::Ends) {
            Ok(answer) => answer,
            Err(defect) => {
                defect.lines(&call.script).iter().for_each(|line| say(line));
                return Ok(1);
            }
        };
        answer.lines(&call.script).iter().for_each(|line| say(line));
        if answer.closes_slowly {
            // Where no copy can be had, this process waits itself.
            let _ = close_in_background();
        }
        Ok(i32::from(answer.error.is_some()))
    })
}

/// Does the same for a program that reports the result itself and goes on.
///
/// \param argc As of `xennet_hotplug`.
/// \param argv As of `xennet_hotplug`.
/// \param envp As of `xennet_hotplug`.
/// \param record Gets a JSON document, that of the call in the log of hotplug calls: `{"xennet": 1, "time_us", "pid", "script", "verb", "type_if",
///   "vif", "xenbus_path", "outcome", "link", "bridge", "mtu", "plan", "notes", "timings", "total_us"}`; `outcome` is "connected" or "detached". NULL
///   for a call that has nothing to do (`online type_if=tap`). May be NULL.
/// \return NULL on success; else what went wrong, which stands in xenstore, too, where somebody waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_hotplug_call(
    argc: i32,
    argv: Strings,
    envp: Strings,
    record: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_hotplug_call", || {
        let call = Call::read(argc, &argv, &envp)?;
        let answer =
            call.carry_out(Caller::GoesOn).map_err(|defect| Error::from(defect).with_object(call.script.as_str()))?;
        if let Some(e) = answer.error {
            return Err(e);
        }
        if let Some(record) = record {
            record.write(answer.record.map(|record| Box::new(Text::json(&record))));
        }
        Ok(())
    })
}

/// Reads the text of a `hotplug.toml`.
///
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"deadline", "hooks", "hook_deadline", "log_file", "syslog", "state_dir", "bind_mac", "isolated"}`, as in
///   the file; what the file does not say has its default.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_hotplug_parse(
    text: crate::cast::Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_hotplug_parse", || {
        let document = given(document, "document")?;
        let read = xennet_core::config::document::hotplug(crate::cast::text(&text, text_len, "text")?)?;
        document.write(Some(Box::new(Text::json(&read))));
        Ok(())
    })
}

/// A call as a process got it.
struct Call<'a> {
    script: String,
    arguments: Vec<OsString>,
    /// `None`: the process's own.
    environment: Option<Vec<&'a OsStr>>,
}

impl<'a> Call<'a> {
    fn read(argc: i32, argv: &'a Strings, envp: &'a Strings) -> Result<Self, Error> {
        let count = usize::try_from(argc).map_err(|_| {
            Error::new(ErrorKind::Invalid, format!("argc is {argc}"))
                .with_object("argc")
                .unchanged()
                .with_hint("give what main got: a number that is not negative")
        })?;
        let given = argv.read(count, "argv")?;
        let (name, arguments) = given.split_first().map_or((None, &given[..]), |(name, rest)| (Some(*name), rest));
        let environment = match envp.is_null() {
            true => None,
            false => Some(envp.read(usize::MAX, "envp")?),
        };
        Ok(Call {
            script: name.and_then(hotplug::script_of).unwrap_or(hotplug::SCRIPTS[0]).to_owned(),
            arguments: arguments.iter().map(|argument| OsString::from(*argument)).collect(),
            environment,
        })
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let Some(environment) = &self.environment else { return std::env::var_os(name) };
        let value = |entry: &&OsStr| {
            let rest = entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(OsStr::from_bytes(rest).to_owned())
        };
        environment.iter().find_map(value)
    }

    fn carry_out(&self, caller: Caller) -> Result<Answer, Defect> {
        let environment = |name: &str| self.variable(name);
        let work = || hotplug::carry_out(&self.script, &self.arguments, &environment, None, caller);
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Defect::tell_panic(&self.arguments, &environment, &*panic))
    }
}
