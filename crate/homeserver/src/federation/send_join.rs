//! Letting the users of other servers join. Spec: Server-Server API, section 'Joining rooms'.

use hearth_rooms::ordered;
use std::collections::BTreeSet;

use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver,
    federation::{
        bulk::BulkAnswer,
        member_event::{VOUCHER, check_voucher},
        received::to_value,
    },
    rooms::{
        append::joined_server,
        member_counts::ServerCounts,
        membership::membership_content,
        room::Snapshot,
        tree::Nodes,
        view::{MEMBER, member},
    },
};

impl Homeserver {
    /// Answers `GET /make_join`: a join event for the other server to complete. `versions` are the room
    /// versions that it supports.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::IncompatibleRoomVersion`],
    /// [`Error::UnableToAuthoriseJoin`], [`Error::UnableToGrantJoin`], [`Error::PartialState`].
    pub async fn make_join(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        versions: &[String],
    ) -> Result<Value, Error> {
        let room = self.room_for_member(origin, room_id, user_id).await?;
        let snapshot = room.snapshot();
        let version = snapshot.version().as_str();
        if !versions.iter().any(|known| known == version) {
            return Err(Error::IncompatibleRoomVersion(version.to_owned()));
        }
        let mut content = membership_content("join", None);
        if let Some(voucher) = check_voucher(self.voucher(user_id, &snapshot).await?)? {
            content.insert(VOUCHER.into(), voucher.as_str().into());
        }
        self.lay_out_member(&room, user_id, content).await
    }

    /// Answers `PUT /v2/send_join`: takes in the join and returns the room's state before it, without most of
    /// its members if `omit_members`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`], [`Error::InvalidParam`],
    /// [`Error::PartialState`].
    pub async fn accept_join(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Value,
        omit_members: bool,
    ) -> Result<BulkAnswer, Error> {
        let (join, snapshot) = self
            .accept_member(origin, room_id, event_id, event, "join")
            .await?;
        let stored = self.stored_event(event_id).await?;
        let stored = stored.ok_or_else(|| Error::Damaged("a join was not stored".into()))?;
        let before = stored.decision.state_before.as_ref();
        let before = before.ok_or_else(|| Error::Damaged("a join was not judged".into()))?;
        let state = match omit_members {
            true => self.state_for_joiner(before, &snapshot, join.sender()).await?,
            false => self.state_before(&stored).await?.into_values().collect(),
        };
        let sent: BTreeSet<_> = ordered::set(state.iter().chain([&stored.event_id]));
        let resting: Vec<_> = sent.iter().map(|event_id| (*event_id).clone()).collect();
        let mut chain = self.auth_chain(&resting).await?;
        if omit_members {
            chain.retain(|event_id| !sent.contains(event_id));
        }
        Ok(BulkAnswer {
            fields: json!({
                "origin": self.server_name(),
                "event": to_value(&join)?,
                "members_omitted": omit_members,
                "servers_in_room": self.servers_at(before, &snapshot).await?,
            }),
            lists: vec![("state", state), ("auth_chain", chain)],
        })
    }

    /// The state `root`, just before `user_id` joined, without its members but the heroes of a room without a
    /// name: all that is needed to show it. The other members are not read.
    async fn state_for_joiner(
        &self,
        root: &str,
        snapshot: &Snapshot,
        user_id: &UserId,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let heroes = self.summary(snapshot, user_id).await?.heroes.unwrap_or_default();
        let heroes = heroes.iter().map(|hero| (MEMBER, hero.as_str()));
        let keys: Vec<_> = heroes.chain([member(user_id)]).collect();
        let members = self.tree_get(root, &keys, &Nodes::default()).await?;
        let is_new = members.last().is_none_or(Option::is_none);
        let all = snapshot.members().all.saturating_sub(u64::from(is_new));
        let others = self.tree_without_members(root, Some(all)).await?;
        let others = others.into_iter().map(|entry| entry.event_id);
        Ok(others.chain(members.into_iter().flatten()).collect())
    }

    /// The servers with a joined member in the state `root`, for a room that is `snapshot` by now: counted from where
    /// the two differ. Who came in beside the join is none of them, however early that was heard of here: what the
    /// joiner says may not be for them.
    async fn servers_at(&self, root: &str, snapshot: &Snapshot) -> Result<Vec<OwnedServerName>, Error> {
        let mut servers = ServerCounts::clone(&*self.servers(snapshot).await?);
        let changes = self
            .tree_difference(&snapshot.record.state, root, &Nodes::default())
            .await?;
        let members = changes.iter().filter(|change| change.event_type == MEMBER);
        let (now, then): (Vec<_>, Vec<_>) = members
            .map(|change| (change.before.clone(), change.after.clone()))
            .unzip();
        for server in self.joined_by(now).await? {
            let count = servers.entry(server).or_default();
            *count = count.saturating_sub(1);
        }
        for server in self.joined_by(then).await? {
            *servers.entry(server).or_default() += 1;
        }
        servers.retain(|_, count| *count > 0);
        Ok(servers.into_keys().collect())
    }

    /// The servers of the users who are joined by the member events `event_ids`, once for each.
    async fn joined_by(&self, event_ids: Vec<Option<OwnedEventId>>) -> Result<Vec<OwnedServerName>, Error> {
        let event_ids: Vec<_> = event_ids.into_iter().flatten().collect();
        let events = self.stored_events(&event_ids).await?;
        Ok(events.iter().filter_map(|event| joined_server(event)).collect())
    }
}
