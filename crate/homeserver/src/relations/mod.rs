//! Events that relate to others: edits, threads, references, annotations. Spec: Client-Server API, section
//! 'Forming relationships between events'.
//!
//! An index of children by parent is written in the commit that puts an event into a timeline, and taken back in
//! the commit that redacts it. What is told of a parent is made from it when somebody reads: nothing is changed in
//! the parent itself. Relations of events that have no place in a timeline are *not* known here.

mod bundle;
mod children;
pub(crate) mod descendants;
mod earlier;
pub(crate) mod index;
mod membership;
mod related;
mod relation;
pub(crate) mod summary;
mod threads;
mod validation;

pub use children::{Relations, RelationsRequest};
pub(crate) use relation::Relation;
pub use threads::{Include, Threads, ThreadsRequest};

/// The relation of an edit.
pub(crate) const REPLACE: &str = "m.replace";
/// The relation of a message in a thread to the thread's root.
pub(crate) const THREAD: &str = "m.thread";
/// The relation of an event that merely mentions another.
pub(crate) const REFERENCE: &str = "m.reference";
/// The relation of a reaction.
pub(crate) const ANNOTATION: &str = "m.annotation";
