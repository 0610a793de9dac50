//! Commit-confirm: a start under a guard, and how the guard undoes it.

use std::time::Duration;

use super::Host;
use crate::error::Error;
use crate::exec::confirm::Told;
use crate::exec::{Applied, Entry, Subject};
use crate::model::{IfName, Network};

/// How often a guard tries to undo a start; with the pauses in between about a minute and a half.
const TRIES: usize = 24;
/// The first pause and the longest one. Each is twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Host {
    /// Starts a network under a guard that was called before ([`exec::confirm`](crate::exec::confirm)), and tells the guard what has
    /// become of it. Where the state directory cannot be read, nothing is told and nothing is done.
    ///
    /// # Errors
    /// As [`start_network`](Self::start_network).
    pub fn start_confirmed(&mut self, network: &Network, tell: impl FnOnce(Told)) -> Result<Applied, Error> {
        let name = network.name();
        let was = self.records.started(&name)?;
        // What only its guests are told is no step.
        let is_new = was.is_none_or(|was| was.network != *network);
        let result = self.start_guarded(network);
        tell(match &result {
            Ok(applied) if applied.steps > 0 || is_new => Told::Made,
            Ok(_) => Told::NothingToUndo,
            // The guard undoes what is still open. If the records cannot be read, it may be.
            Err(_) if self.operation_left_open(Subject::Network(name)).map_or(true, |open| open.is_some()) => {
                Told::Nothing
            }
            Err(_) => Told::NothingToUndo,
        });
        result
    }

    /// Undoes a start that nobody confirmed; the guard calls this. Another process may hold the lock for a while, so this tries for about a
    /// minute and a half, each time with a newly opened host.
    ///
    /// `known` is what was recorded of the network before the start.
    ///
    /// # Errors
    /// As [`undo_start`](Self::undo_start), of the last try.
    pub fn undo_unconfirmed(
        name: &IfName,
        known: Option<&Entry>,
        mut open: impl FnMut() -> Result<Host, Error>,
    ) -> Result<(), Error> {
        let (mut pause, longest) = PAUSES;
        for _ in 1..TRIES {
            if open().and_then(|mut host| host.undo_start(name, known)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
        open().and_then(|mut host| host.undo_start(name, known))
    }
}
