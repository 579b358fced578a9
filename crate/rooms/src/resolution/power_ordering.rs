//! Reverse topological power ordering. Spec: Room Version 2, "Definitions".

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, UserId};
use ruma_events::{
    TimelineEventType,
    room::{member::MembershipState, power_levels::UserPowerLevel},
};
use ruma_state_res::events::{
    RoomCreateEvent, RoomMemberEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField,
};

use super::{
    Budget, Event,
    known::{Index, Known, Marks, Node},
};

/// The level of creators as long as there are no power levels.
const CREATOR_LEVEL: i32 = 100;

/// The ordering of the power events and of what they rest on within the full conflicted set.
pub(super) struct PowerOrdering {
    /// The events to order.
    graph: Vec<Index>,
    seen: Marks,
    /// How many events of the graph were followed, and then, to how many their authorities were asked for.
    followed: usize,
    asked: usize,
}

impl PowerOrdering {
    pub(super) fn new<E: Event>(known: &Known<E>, full: &Marks) -> Self {
        let is_power = |index: &Index| known.found(*index).is_some_and(|node| is_power_event(node));
        let graph: Vec<Index> = full.iter().filter(is_power).collect();
        Self {
            seen: graph.iter().copied().collect(),
            graph,
            followed: 0,
            asked: 0,
        }
    }

    /// The events in their order.
    pub(super) fn run<E: Event>(
        &mut self,
        known: &mut Known<E>,
        full: &Marks,
        budget: &mut Budget,
    ) -> Option<Vec<Index>> {
        self.follow(known, full, budget)?;
        self.ask(known, budget)?;
        Some(self.order(known))
    }

    /// Adds what the power events rest on.
    fn follow<E: Event>(&mut self, known: &Known<E>, full: &Marks, budget: &mut Budget) -> Option<()> {
        while let Some(index) = self.graph.get(self.followed) {
            budget.spend(1).then_some(())?;
            self.followed += 1;
            let node = known.found(*index);
            for below in node.into_iter().flat_map(|node| &node.auth) {
                if full.contains(*below) && self.seen.insert(*below) {
                    self.graph.push(*below);
                }
            }
        }
        Some(())
    }

    /// Has what gives the senders their power loaded.
    fn ask<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> Option<()> {
        while let Some(index) = self.graph.get(self.asked) {
            budget.spend(4).then_some(())?;
            self.asked += 1;
            if let Some(node) = known.found(*index).cloned() {
                for authority in node.auth.iter().chain(&node.create) {
                    known.is_settled(*authority);
                }
            }
        }
        (!known.is_waiting()).then_some(())
    }

    /// Kahn's algorithm: of the events that rest on nothing that is left, the least comes first.
    fn order<E: Event>(&self, known: &Known<E>) -> Vec<Index> {
        let mut levels = Levels::new(known, &self.graph);
        let mut waiting: HashMap<Index, usize> = HashMap::with_capacity(self.graph.len());
        let mut users: HashMap<Index, Vec<Index>> = HashMap::new();
        let mut ready = BinaryHeap::new();
        for index in &self.graph {
            let Some(node) = known.found(*index) else { continue };
            let mut within = 0;
            for below in node.auth.iter().filter(|below| self.seen.contains(**below)) {
                users.entry(*below).or_default().push(*index);
                within += 1;
            }
            waiting.insert(*index, within);
            if within == 0 {
                ready.push(Reverse(levels.rank(*index, node)));
            }
        }
        let mut ordered = Vec::with_capacity(self.graph.len());
        while let Some(Reverse(Rank { index, .. })) = ready.pop() {
            ordered.push(index);
            for user in users.remove(&index).unwrap_or_default() {
                let (Some(left), Some(node)) = (waiting.get_mut(&user), known.found(user)) else {
                    continue;
                };
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(levels.rank(user, node)));
                }
            }
        }
        ordered
    }
}

/// What decides between two events neither of which rests on the other: the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    level: Reverse<UserPowerLevel>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    event_id: OwnedEventId,
    index: Index,
}

/// The power of senders, by what their events name as their authorisation. Each power levels event is read once.
struct Levels<'k, E: Event> {
    known: &'k Known<E>,
    creators: Option<HashSet<OwnedUserId>>,
    power_levels: HashMap<Index, RoomPowerLevelsEvent<E>>,
}

impl<'k, E: Event> Levels<'k, E> {
    fn new(known: &'k Known<E>, graph: &[Index]) -> Self {
        let rules = &known.version().rules().authorization;
        let nodes = graph.iter().filter_map(|index| known.found(*index));
        let create = nodes
            .flat_map(|node| node.auth.iter().chain(&node.create))
            .filter_map(|index| known.found(*index))
            .find(|node| node.is(&TimelineEventType::RoomCreate));
        let creators =
            create.and_then(|create| RoomCreateEvent::new(create.event.clone()).creators(rules).ok());
        Self {
            known,
            creators,
            power_levels: HashMap::new(),
        }
    }

    fn rank(&mut self, index: Index, node: &Arc<Node<E>>) -> Rank {
        Rank {
            level: Reverse(self.of(node)),
            origin_server_ts: node.event.origin_server_ts(),
            event_id: node.event.event_id().clone(),
            index,
        }
    }

    /// The power of the sender. Malformed power levels, which the rules refuse to let in, count as 0.
    fn of(&mut self, node: &Node<E>) -> UserPowerLevel {
        let rules = &self.known.version().rules().authorization;
        let sender = node.event.sender();
        if rules.explicitly_privilege_room_creators && self.is_creator(sender) {
            return UserPowerLevel::Infinite;
        }
        let authorities = node.auth.iter();
        let mut found = authorities.filter_map(|index| Some((*index, self.known.found(*index)?)));
        let Some((index, event)) = found.find(|(_, node)| node.is_power_levels()) else {
            let level = if self.is_creator(sender) { CREATOR_LEVEL } else { 0 };
            return UserPowerLevel::Int(level.into());
        };
        let levels = self
            .power_levels
            .entry(index)
            .or_insert_with(|| RoomPowerLevelsEvent::new(event.event.clone()));
        let level = if self.creators.is_some() {
            levels.user_power_level(sender, rules)
        } else {
            levels.get_as_int_or_default(RoomPowerLevelsIntField::UsersDefault, rules)
        };
        UserPowerLevel::Int(level.unwrap_or_default())
    }

    fn is_creator(&self, user: &UserId) -> bool {
        self.creators
            .as_ref()
            .is_some_and(|creators| creators.contains(user))
    }
}

/// Whether an event may take away somebody's ability to do something.
fn is_power_event<E: Event>(node: &Node<E>) -> bool {
    match node.event.event_type() {
        TimelineEventType::RoomPowerLevels
        | TimelineEventType::RoomJoinRules
        | TimelineEventType::RoomCreate => node.event.state_key() == Some(""),
        TimelineEventType::RoomMember => {
            let removes = matches!(
                RoomMemberEvent::new(&node.event).membership(),
                Ok(MembershipState::Leave | MembershipState::Ban)
            );
            removes && Some(node.event.sender().as_str()) != node.event.state_key()
        }
        _ => false,
    }
}
