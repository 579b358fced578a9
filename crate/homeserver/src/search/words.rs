//! Which words an event has.

use std::collections::BTreeMap;

use serde::Deserialize;
use unicode_segmentation::UnicodeSegmentation;

use crate::rooms::event::StoredEvent;

/// The most words of one event that are found.
const MAX_WORDS: usize = 4_000;
/// How much of a long word counts, in characters.
const MAX_LENGTH: usize = 40;

/// A field of events that is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Field {
    /// The text of a message.
    #[serde(rename = "content.body")]
    Body,
    /// The name of a room.
    #[serde(rename = "content.name")]
    Name,
    /// The topic of a room.
    #[serde(rename = "content.topic")]
    Topic,
}

/// The words of an event.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// How often each is found.
    pub(super) counts: BTreeMap<String, u64>,
    /// How many there are.
    pub(super) length: u64,
}

/// The text of `event` that is searched, and where it stands. Each type of event has one.
pub(super) fn text_of(event: &StoredEvent) -> Option<(Field, &str)> {
    let (field, name) = match (event.kind(), event.state_key()) {
        ("m.room.name", Some(_)) => (Field::Name, "name"),
        ("m.room.topic", Some(_)) => (Field::Topic, "topic"),
        _ => (Field::Body, "body"),
    };
    let text = event
        .content_text(name)
        .filter(|text| !text.is_empty() && event.is_shown());
    Some((field, text?))
}

/// The words of `event`; none if it has no text.
pub(super) fn words_of(event: &StoredEvent) -> Words {
    text_of(event).map_or_else(Words::default, |(_, text)| Words::of(text))
}

impl Words {
    /// The words of `text`: as Unicode parts it (UAX #29), in lower case.
    pub(super) fn of(text: &str) -> Self {
        let mut words = Self::default();
        for word in text.unicode_words().take(MAX_WORDS) {
            let word = word
                .chars()
                .flat_map(char::to_lowercase)
                .take(MAX_LENGTH)
                .collect();
            *words.counts.entry(word).or_default() += 1;
            words.length += 1;
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Words::of(text).counts.into_keys().collect()
    }

    #[test]
    fn texts_are_parted_into_words() {
        assert_eq!(words("Hello, hello WORLD! (42)"), ["42", "hello", "world"]);
        assert_eq!(words("Ångström can't"), ["can't", "ångström"]);
        assert_eq!(words("日本語"), ["日", "本", "語"]);
        assert_eq!(words("हिन्दी में"), ["में", "हिन्दी"]);
        assert_eq!(words(" …!?\u{0} "), Vec::<String>::new());
        let long = words(&"x".repeat(100));
        assert_eq!(long, ["x".repeat(MAX_LENGTH)]);
    }
}
