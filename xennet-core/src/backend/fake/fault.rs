//! Faults as values: a failing case can be printed and pasted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Errno;
use crate::step::Step;

/// Something that goes wrong. Steps are counted from 0, from the moment the fault was put in. Steps that forget what the kernel has learned
/// are not counted, and succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// The step is refused with this number, and nothing of it happens.
    FailAt {
        /// Which step.
        step: usize,
        /// With what.
        errno: Errno,
    },
    /// The step is refused with `EIO` although a part of it happened: of a change of a link all that the kernel does before
    /// its last attribute; any other step wholly (its answer is lost).
    HalfApply {
        /// Which step.
        step: usize,
    },
    /// After the step nothing answers any more: the process was killed. The world can still be taken out.
    CrashAfter {
        /// Which step.
        step: usize,
    },
    /// Somebody else acts before the step; whether that succeeds does not matter.
    Intruder {
        /// Before which step.
        before: usize,
        /// What is done.
        does: Box<Step>,
    },
    /// The step is answered with success and does not happen.
    LieOnce {
        /// Which step.
        step: usize,
    },
    /// The first observations are interrupted (`EINTR`), as a listing is that changed under the reader.
    DumpInterrupted {
        /// How many observations.
        times: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::FailAt { step, errno } => write!(f, "step {step} is refused with {errno}"),
            Fault::HalfApply { step } => write!(f, "step {step} happens in part and is refused with EIO"),
            Fault::CrashAfter { step } => write!(f, "the process dies after step {step}"),
            Fault::Intruder { before, does } => write!(f, "somebody acts on {} before step {before}", does.object()),
            Fault::LieOnce { step } => write!(f, "step {step} does not happen and is answered with success"),
            Fault::DumpInterrupted { times: 1 } => f.write_str("the first observation is interrupted"),
            Fault::DumpInterrupted { times } => write!(f, "the first {times} observations are interrupted"),
        }
    }
}
