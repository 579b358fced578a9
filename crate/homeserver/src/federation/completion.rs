//! Fetching the members of a room that was joined without them, in the background.
//!
//! The task belongs to one join: it ends when the state is whole, when the room is left, or when it is joined
//! anew. It survives a restart, because what it goes by is stored with the join. Until then it never gives up:
//! it asks the server that helped and some others, pauses, and begins anew, at once if one of them comes online.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::select;
use hearth_storage::{Table, WriteBatch};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};

use crate::{
    Error, Homeserver,
    federation::{
        fetch_state::{Held, Purpose},
        intake::Built,
    },
    rooms::{
        partial::{PartialJoin, partial_key},
        room::Room,
        tree::Nodes,
    },
};

/// The pause after the first time that nobody gave the state.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// No new attempt is made earlier than this, whoever comes online.
const LEAST_PAUSE: Duration = Duration::from_secs(2);
/// The most servers that are asked between two pauses. Many of a large room are away, which costs little to find
/// out.
const MAX_HELPERS: usize = 30;
/// After how many rounds a state is taken that is well-formed, but not what was expected: where all say the
/// same, it is what was expected that was wrong.
const DOUBTFUL_ROUNDS: usize = 2;

impl Homeserver {
    /// Goes on fetching what partial rooms lack.
    pub(crate) fn complete_all(&self) {
        for room_id in self.partial.all() {
            self.complete(room_id, None);
        }
    }

    /// Fetches in the background what a partial room lacks. `held` are the events of its state that are stored, if
    /// that is known: the first attempt need not look which are.
    pub(crate) fn complete(&self, room_id: OwnedRoomId, held: Option<BTreeSet<OwnedEventId>>) {
        let Some(partial) = self.partial.get(&room_id) else {
            return;
        };
        self.spawn(|homeserver| async move {
            if let Err(error) = homeserver.complete_room(&room_id, &partial, held).await {
                tracing::error!(%room_id, %error, "the members of a room cannot be stored");
            }
        });
    }

    async fn complete_room(
        &self,
        room_id: &RoomId,
        partial: &PartialJoin,
        mut held: Option<BTreeSet<OwnedEventId>>,
    ) -> Result<(), Error> {
        let Some(room) = self.room(room_id).await? else {
            return self.drop_partial(room_id, partial).await;
        };
        let (mut pause, mut round) = (FIRST_PAUSE, 0);
        loop {
            for server in self.completing(partial, round) {
                if !is_wanted(&room, partial) {
                    return self.drop_partial(room_id, partial).await;
                }
                let known = held.take();
                let held = known.as_ref().map_or(Held::Perhaps, Held::These);
                match self.complete_through(&server, &room, partial, round, held).await {
                    Ok(()) => return Ok(()),
                    Err(error @ (Error::Store(_) | Error::Damaged(_))) => {
                        tracing::error!(%room_id, %error, "the members of a room cannot be stored");
                    }
                    Err(error) => tracing::info!(%server, %room_id, %error, "a server gave no members"),
                }
            }
            round += 1;
            self.pause_for_peer(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whom to ask in round number `round`: the helper, and others in turn.
    fn completing(&self, partial: &PartialJoin, round: usize) -> Vec<OwnedServerName> {
        let is_other =
            |server: &&OwnedServerName| **server != partial.helper && **server != self.server_name();
        let others: Vec<_> = partial.servers.iter().filter(is_other).collect();
        let first = round * (MAX_HELPERS - 1);
        let turns = (0..others.len().min(MAX_HELPERS - 1)).map(|turn| (first + turn) % others.len());
        let others = turns.filter_map(|index| others.get(index).map(|server| (*server).clone()));
        [partial.helper.clone()].into_iter().chain(others).collect()
    }

    async fn pause_for_peer(&self, pause: Duration) {
        self.seams.clock.sleep(LEAST_PAUSE).await;
        let online = self.partial.online.listen();
        select(online, self.seams.clock.sleep(pause - LEAST_PAUSE)).await;
    }

    async fn complete_through(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        partial: &PartialJoin,
        round: usize,
        held: Held<'_>,
    ) -> Result<(), Error> {
        let built = self
            .fetch_state(server, room, &partial.join, Purpose::Whole, held)
            .await?;
        self.check_whole(room, partial, &built, round).await?;
        // Nobody fills a gap while what was taken in is looked at again.
        let _inbound = room.inbound.lock().await;
        let mut change = self.change(room).await;
        if !is_wanted(room, partial) {
            drop(change);
            return self.drop_partial(&room.room_id, partial).await;
        }
        let taken_in = self.taken_in(&room.room_id, &partial.join).await?;
        change.make_whole(built.root, taken_in).await?;
        change.commit().await?;
        self.partial.end(&room.room_id, &partial.join);
        tracing::info!(room_id = %room.room_id, %server, "the state of a room is whole");
        Ok(())
    }

    /// Whether the state that came is one that the join fits to.
    async fn check_whole(
        &self,
        room: &Arc<Room>,
        partial: &PartialJoin,
        built: &Built,
        round: usize,
    ) -> Result<(), Error> {
        let join = self.stored_event(&partial.join).await?;
        let join = join.ok_or_else(|| Error::Damaged("the join of a partial room is missing".into()))?;
        self.check_join(&join.pdu, &built.root).await?;
        let doubt = match &join.decision.state_before {
            _ if built.missing > 0 => Some(format!("{} of its events are missing", built.missing)),
            Some(before) if !self.extends(before, &built.root).await? => {
                Some("it is not the state that the room was joined with".to_owned())
            }
            _ if !self.fits(partial, built) => Some("its servers are not those in the room".to_owned()),
            _ => None,
        };
        match doubt {
            Some(doubt) if round < DOUBTFUL_ROUNDS => Err(Error::Unreachable(doubt)),
            Some(doubt) => {
                tracing::warn!(room_id = %room.room_id, doubt, "a doubtful state is taken");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether the state `whole` has everything that the state `part` has.
    async fn extends(&self, part: &str, whole: &str) -> Result<bool, Error> {
        let differences = self.tree_difference(part, whole, &Nodes::default()).await?;
        Ok(differences.iter().all(|difference| difference.before.is_none()))
    }

    fn fits(&self, partial: &PartialJoin, built: &Built) -> bool {
        let others = |servers: &BTreeSet<OwnedServerName>| {
            let mut servers = servers.clone();
            servers.remove(self.server_name());
            servers
        };
        others(&partial.servers) == others(&built.servers)
    }

    /// Forgets that the room is to become whole: it was left or joined anew.
    async fn drop_partial(&self, room_id: &RoomId, partial: &PartialJoin) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        for (key, _) in self.taken_in(room_id, &partial.join).await? {
            batch.delete(Table::Federation, key);
        }
        let is_last = self
            .partial
            .get(room_id)
            .is_none_or(|now| now.join == partial.join);
        if is_last {
            batch.delete(Table::Federation, partial_key(room_id));
        }
        self.seams.store.commit(batch).await?;
        self.partial.end(room_id, &partial.join);
        Ok(())
    }
}

/// Whether the room is still as it was joined: partial, and with somebody of this server in it.
fn is_wanted(room: &Arc<Room>, partial: &PartialJoin) -> bool {
    let snapshot = room.snapshot();
    let join: Option<&EventId> = snapshot.record.partial.as_ref().map(|partial| &*partial.join);
    join == Some(&*partial.join) && snapshot.members().local > 0
}
