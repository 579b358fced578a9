//! Counting the members of a room that an earlier release has written, which counted them whenever it read the
//! room, and left the rows of members behind whom state resolution had removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_storage::{BoxFuture, Table, WriteBatch};
use ruma_common::{RoomId, UserId};

use crate::{
    Error, Homeserver,
    rooms::{
        event::StoredEvent,
        member_counts::{MemberCounts, ServerCounts, server_key},
        member_rows::membership_of,
        memberships::{RoomMember, member_key, members_key},
        room::{Room, Snapshot},
        view::MEMBER,
    },
    stored::{scan_all, to_vec},
};

impl Homeserver {
    /// Counts the members of `room`, once: writes the counts, the rows of its servers and of its members.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub(super) fn count_members<'a>(&'a self, room: &'a Arc<Room>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let _guard = room.lock.lock().await;
            let before = room.snapshot();
            if before.record.members.is_some() {
                return Ok(());
            }
            let members = self.tree_of_type(&before.record.state, MEMBER).await?;
            let ids: Vec<_> = members.into_iter().map(|(_, event_id)| event_id).collect();
            let members = self.stored_events(&ids).await?;
            let (counts, servers) = self.counted(&members);
            let mut snapshot = Snapshot::clone(&before);
            snapshot.record.members = Some(counts);
            let mut batch = self.member_rows(&room.room_id, &members).await?;
            for (server, count) in &servers {
                batch.put(
                    Table::Memberships,
                    server_key(&room.room_id, server),
                    to_vec(count)?,
                );
            }
            batch.put(Table::Rooms, room.room_id.as_bytes(), to_vec(&snapshot.record)?);
            self.seams.store.commit(batch).await?;
            snapshot.servers = Arc::new(servers).into();
            room.publish(snapshot);
            Ok(())
        })
    }

    fn counted(&self, members: &[Arc<StoredEvent>]) -> (MemberCounts, ServerCounts) {
        let (mut counts, mut servers) = (MemberCounts::default(), ServerCounts::new());
        for (user_id, event) in with_users(members) {
            let membership = membership_of(event);
            counts.add(membership, self.is_local(&user_id));
            if membership == "join" {
                *servers.entry(user_id.server_name().to_owned()).or_default() += 1;
            }
        }
        (counts, servers)
    }

    /// Makes the rows of a room's members what `members` say.
    async fn member_rows(&self, room_id: &RoomId, members: &[Arc<StoredEvent>]) -> Result<WriteBatch, Error> {
        let rows = scan_all(&*self.seams.store, Table::Memberships, &members_key(room_id)).await?;
        let rows: BTreeMap<_, _> = rows.into_iter().collect();
        let mut batch = WriteBatch::new();
        let mut present = BTreeSet::new();
        for (user_id, event) in with_users(members) {
            let key = member_key(room_id, &user_id);
            let row = to_vec(&RoomMember {
                membership: membership_of(event).to_owned(),
                event_id: event.event_id.clone(),
            })?;
            if rows.get(&key) != Some(&row) {
                batch.put(Table::Memberships, key.clone(), row);
            }
            present.insert(key);
        }
        for key in rows.into_keys().filter(|key| !present.contains(key)) {
            batch.delete(Table::Memberships, key);
        }
        Ok(batch)
    }
}

fn with_users(
    members: &[Arc<StoredEvent>],
) -> impl Iterator<Item = (ruma_common::OwnedUserId, &Arc<StoredEvent>)> {
    let users = members.iter();
    users.filter_map(|event| Some((UserId::parse(event.state_key()?).ok()?, event)))
}
