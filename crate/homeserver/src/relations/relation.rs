//! What an event says about its relation to another.

use ruma_common::{EventId, OwnedEventId};
use serde_json::Value;

use crate::{JsonObject, rooms::event::StoredEvent};

/// The most bytes of a type of relation, and of the key of an annotation, that are taken in.
const MAX_NAME: usize = 255;

/// The relation of an event to its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// The parent.
    pub(crate) parent: OwnedEventId,
    /// The type of the relation.
    pub(crate) rel_type: String,
    /// What an annotation annotates with.
    pub(crate) key: Option<String>,
}

impl Relation {
    /// What `event` says. Nothing that clients are not shown relates to anything.
    pub(crate) fn of(event: &StoredEvent) -> Option<Self> {
        Self::in_content(event.content()).filter(|_| event.is_shown())
    }

    /// What `m.relates_to` of `content` says, if it is well-formed.
    pub(crate) fn in_content(content: &JsonObject) -> Option<Self> {
        let relates_to = content.get("m.relates_to")?.as_object()?;
        let text = |field: &str| relates_to.get(field).and_then(Value::as_str);
        let rel_type = text("rel_type").filter(|name| is_name(name))?;
        let parent = text("event_id").filter(|id| !id.contains('\0'))?;
        Some(Self {
            parent: EventId::parse(parent).ok()?,
            rel_type: rel_type.to_owned(),
            key: text("key").filter(|key| is_name(key)).map(str::to_owned),
        })
    }
}

/// Whether `text` may be part of the key of a row.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn relation(relates_to: Value) -> Option<Relation> {
        Relation::in_content(&JsonObject::from_iter([("m.relates_to".to_owned(), relates_to)]))
    }

    #[test]
    fn relations_are_read() {
        let found = relation(json!({"rel_type": "m.annotation", "event_id": "$a", "key": "+"}));
        let expected = EventId::parse("$a").ok().map(|parent| Relation {
            parent,
            rel_type: "m.annotation".into(),
            key: Some("+".into()),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_malformed_is_no_relation() {
        for relates_to in [
            json!(null),
            json!([]),
            json!({"event_id": "$a"}),
            json!({"rel_type": "m.thread"}),
            json!({"rel_type": "", "event_id": "$a"}),
            json!({"rel_type": "m\u{0}x", "event_id": "$a"}),
            json!({"rel_type": "m.thread", "event_id": "a"}),
            json!({"rel_type": "m.thread", "event_id": "$a\u{0}"}),
            json!({"rel_type": 1, "event_id": "$a"}),
            json!({"rel_type": "x".repeat(256), "event_id": "$a"}),
            json!({"m.in_reply_to": {"event_id": "$a"}}),
        ] {
            assert_eq!(relation(relates_to.clone()), None, "{relates_to}");
        }
    }
}
