//! Random episodes: users do things in a room while its servers crash and lose each other. At quiet points,
//! when everything has healed, the invariants are checked.
//!
//! An episode follows from its seed and [`Options`] alone: a [`Plan`] is drawn first, and everything that
//! happens while it is carried out is decided by the seed too. An episode that breaks an invariant is told
//! with its plan cut down to what is needed for that ([`shrink`]).

mod entitlement;
mod fault;
mod invariant;
mod knowledge;
mod operation;
mod plan;
mod reader;
mod run;
mod shrink;
mod totals;
mod trace;

pub use fault::Fault;
pub use invariant::Violation;
pub use operation::Operation;
pub use plan::{Plan, Step};
pub use run::{Report, current, run};
pub use shrink::shrink;
pub use totals::Totals;
pub use trace::Trace;

/// What all episodes of a run have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many servers there are.
    pub servers: usize,
    /// How many things happen in an episode.
    pub steps: usize,
    /// How many things happen between two quiet points.
    pub round: usize,
    /// Of a thousand messages between servers, how many are lost.
    pub lost: usize,
    /// Of a thousand requests between servers, how many arrive twice.
    pub doubled: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: 8,
            steps: 60,
            round: 20,
            lost: 20,
            doubled: 30,
        }
    }
}
