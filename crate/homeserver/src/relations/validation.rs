//! Relations that local users may not make.
//!
//! What comes from other servers is taken as it is, and told of only where it is valid.

use hearth_storage::{Direction, KeyRange, Table};
use ruma_common::RoomId;

use super::{ANNOTATION, Relation, THREAD, index::sender_prefix};
use crate::{
    Error, Homeserver,
    rooms::{change::Change, draft::Draft},
};

/// How many of a user's annotations of one event are looked at.
const MAX_ANNOTATIONS: usize = 500;

impl Homeserver {
    /// Whether what `draft` says of its relation may be sent to the room.
    ///
    /// Spec: Client-Server API, sections 'Validation of m.thread relationships' and 'Avoiding duplicate
    /// annotations'.
    pub(crate) async fn check_relation(&self, change: &Change<'_>, draft: &Draft) -> Result<(), Error> {
        let Some(relation) = Relation::in_content(&draft.content) else {
            return Ok(());
        };
        match &*relation.rel_type {
            THREAD => self.check_root(change.room_id(), &relation).await,
            ANNOTATION => self.check_annotation(change, draft, &relation).await,
            _ => Ok(()),
        }
    }

    /// No thread begins with an event that relates to another.
    async fn check_root(&self, room_id: &RoomId, relation: &Relation) -> Result<(), Error> {
        let root = self.stored_event(&relation.parent).await?;
        let relates = root.is_some_and(|root| root.room_id() == room_id && Relation::of(&root).is_some());
        match relates {
            true => Err(Error::InvalidRelation(
                "a thread cannot begin with an event that relates to another".into(),
            )),
            false => Ok(()),
        }
    }

    /// Nobody annotates an event twice with the same, also not by one change.
    async fn check_annotation(
        &self,
        change: &Change<'_>,
        draft: &Draft,
        relation: &Relation,
    ) -> Result<(), Error> {
        let Some(annotation) = &relation.key else {
            return Ok(());
        };
        if change.own_events().any(|event| {
            (event.sender(), event.kind()) == (&*draft.sender, &*draft.kind)
                && Relation::of(event).as_ref() == Some(relation)
        }) {
            return Err(Error::DuplicateAnnotation);
        }
        let kind = Some(&*draft.kind);
        let prefix = sender_prefix(
            change.room_id(),
            &relation.parent,
            ANNOTATION,
            &draft.sender,
            kind,
        );
        let range = KeyRange::prefix(prefix);
        let rows = self
            .seams
            .store
            .scan(Table::Relations, range, Direction::Backward, MAX_ANNOTATIONS);
        let is_same = |(_, row): &(Vec<u8>, Vec<u8>)| row == annotation.as_bytes();
        match rows.await?.iter().any(is_same) {
            true => Err(Error::DuplicateAnnotation),
            false => Ok(()),
        }
    }
}
