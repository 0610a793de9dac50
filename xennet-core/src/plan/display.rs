//! A plan as text: one line a step, with sign and reason.

use std::fmt;

use super::{Plan, Planned};
use crate::step::{Implied, LinkStep, Step};

impl fmt::Display for Planned {
    /// `~ vif5.0: up  # vif5.0 is to be connected`, with what follows by itself in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.step.sign(), self.step)?;
        // A step that moves a link leaves the old bridge before anything else follows.
        let moves = matches!(&self.step, Step::Link(LinkStep::Set { change, .. }) if change.master.is_some());
        for implied in &self.effects.implied {
            if let Implied::PortLeaves { bridge, .. } = implied
                && moves
            {
                write!(f, " (until now of {bridge})")?;
            }
        }
        // Entries that a bridge keeps for its own ports' addresses are bookkeeping, not news.
        let news: Vec<String> = self
            .effects
            .implied
            .iter()
            .filter(|i| !matches!(i, Implied::FdbGoes(_) | Implied::FdbAppears(_)))
            .filter(|i| !(moves && matches!(i, Implied::PortLeaves { .. })))
            .map(ToString::to_string)
            .collect();
        if !news.is_empty() {
            write!(f, " [then {}]", news.join("; "))?;
        }
        write!(f, "  # {}", self.why)
    }
}

impl fmt::Display for Plan {
    /// One line a step; `nothing to do` for an empty plan. Notes are not part of it ([`Plan::notes`]).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to do");
        }
        for (at, step) in self.steps().iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            step.fmt(f)?;
        }
        Ok(())
    }
}
