//! Full-text search in messages, names and topics of rooms. Spec: Client-Server API, section 'Server Side Search'.
//!
//! An inverted index in `Table::Search` says in which events of a room a word is found. It is filled in blocks of
//! events, behind the sends, which it costs nothing; what is not in it yet is read from the timeline when somebody
//! searches. A redaction takes its event's words out of the index in its own commit. Encrypted messages have no
//! words here. Words are compared in lower case, whole: it knows *no* stems, spellings or parts of words.

mod filling;
mod index;
mod matching;
mod merging;
mod posting;
mod ranking;
mod results;
mod words;

pub(crate) use filling::Filling;
pub(crate) use index::SearchChange;
pub use results::{
    ContextRequest, Field, GroupKey, Grouping, Groupings, SearchOrder, SearchRequest, SearchResults,
};
