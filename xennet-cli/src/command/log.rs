//! `log`: the hotplug calls that are remembered in the state directory.

use std::time::Duration;

use xennet_core::Result;
use xennet_core::document::Calls;
use xennet_core::exec::StateDir;
use xennet_core::hotplug::log::{CallRecord, Filter, Follower, milliseconds, printable, read_calls};
use xennet_core::hotplug::settings::{self, Settings};

use crate::cli::{Global, LogArgs};
use crate::output::Output;

pub(super) fn run(global: &Global, args: &LogArgs, output: &mut Output) -> Result<()> {
    let dir = state_dir(global, output);
    let filter = Filter::default().with_vif(args.vif.clone()).with_failed(args.failed);
    // Before the list is read, so that no call is missed in between.
    let follower = args.follow.then(|| Follower::at_the_end(dir.path())).transpose()?;
    let calls = read_calls(dir.path(), &filter, args.last)?;
    if let Some(follower) = follower {
        return follow(follower, &filter, calls, output);
    }
    if calls.is_empty() && !output.is_json() {
        output.note(&format!("no such call is remembered in {}", dir.path().display()));
    }
    output.answer(|| calls.iter().map(text).collect(), || Calls::of(&calls))
}

/// Shows what is there and what comes, until somebody ends it or does not read any more.
fn follow(mut follower: Follower, filter: &Filter, mut calls: Vec<CallRecord>, output: &mut Output) -> Result<()> {
    /// Often enough for somebody who watches.
    const PAUSE: Duration = Duration::from_millis(200);
    for call in &calls {
        output.answer(|| text(call), || call)?;
    }
    loop {
        output.finish()?;
        std::thread::sleep(PAUSE);
        let news: Vec<CallRecord> = follower.news()?.into_iter().filter(|call| filter.takes(call)).collect();
        // What came while the list was read is in both.
        for call in news.iter().filter(|call| !calls.contains(call)) {
            output.answer(|| text(call), || call)?;
        }
        calls = news;
    }
}

/// The directory that hotplug calls write to, if the command line names no other one.
fn state_dir(global: &Global, output: &mut Output) -> StateDir {
    if global.sandbox {
        return StateDir::at(StateDir::DEFAULT);
    }
    if let Some(dir) = &global.state_dir {
        return StateDir::at(dir);
    }
    match Settings::load(&settings::file(|name| std::env::var_os(name))) {
        Ok(settings) => StateDir::at(settings.state_dir),
        // Calls fail for that reason, and are remembered in the default directory.
        Err(e) => {
            output.note(&e.to_string());
            StateDir::at(StateDir::DEFAULT)
        }
    }
}

/// A call for reading.
fn text(call: &CallRecord) -> String {
    let mut lines = Vec::new();
    for (at, part) in call.parts().into_iter().enumerate() {
        lines.push(if at == 0 { format!("{} {}: {part}", call.time(), call.about()) } else { format!("    {part}") });
    }
    lines.extend(call.plan.iter().map(|step| format!("    {}", printable(step))));
    if !call.timings.is_empty() {
        let times = call.timings.iter().map(|(name, us)| format!("{} {}", printable(name), milliseconds(*us)));
        lines.push(format!("    times: {}", times.collect::<Vec<_>>().join(", ")));
    }
    let path = call.xenbus_path.as_ref().map(|path| format!(" for {}", printable(path))).unwrap_or_default();
    lines.push(format!("    by {}[{}]{path}", printable(&call.script), call.pid));
    lines.join("\n") + "\n"
}
