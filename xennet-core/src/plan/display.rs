//! A plan as text: one line a step, with sign and reason.

use std::fmt;

use super::{Plan, Planned};
use crate::step::Implied;

impl fmt::Display for Planned {
    /// `~ vif5.0: up  # vif5.0 is to be a port of xenbr0`, with what follows by itself in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.step.sign(), self.step)?;
        // Entries that a bridge keeps for its own ports' addresses are bookkeeping, not news.
        let news: Vec<String> = self
            .effects
            .implied
            .iter()
            .filter(|i| !matches!(i, Implied::FdbGoes(_) | Implied::FdbAppears(_)))
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
