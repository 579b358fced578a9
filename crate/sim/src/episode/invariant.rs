//! What must be so whenever nothing is under way, however an episode went.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_homeserver::{
    RoomVersion,
    rooms::{event::StoredEvent, state::StateIds},
};
use hearth_storage::{Direction, KeyRange, Table};
use ruma_common::{EventId, OwnedEventId};

use super::{
    entitlement::Entitlement,
    knowledge::{Belief, Knowledge},
    reader::Reader,
    trace::{decision, describe, short_id},
};
use crate::{Client, World};

/// The most differences that are told.
const MAX_DETAILS: usize = 12;
/// How many rows are looked at for what is left in queues.
const MAX_ROWS: usize = 1000;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one, in a few words.
    pub invariant: &'static str,
    /// The entries that differ, and the events behind them.
    pub details: Vec<String>,
}

impl Violation {
    fn found(invariant: &'static str, mut details: Vec<String>) -> Result<(), Self> {
        if details.is_empty() {
            return Ok(());
        }
        let more = details.len().saturating_sub(MAX_DETAILS);
        details.truncate(MAX_DETAILS);
        details.extend((more > 0).then(|| format!("… and {more} more")));
        Err(Self { invariant, details })
    }
}

/// Nothing waits to be sent, or for what came before it: everybody can be reached.
pub(crate) fn queues_are_empty(world: &World) -> Result<(), Violation> {
    let mut left = Vec::new();
    for server in 0..world.server_count() {
        for (prefix, what) in [("o\0", "has mail"), ("h\0", "holds an event")] {
            for key in rows(world, server, prefix) {
                left.push(format!(
                    "s{server} still {what}: {}",
                    String::from_utf8_lossy(&key)
                ));
            }
        }
    }
    Violation::found("the queues are empty", left)
}

/// The keys of the rows of a server's federation table that begin with `prefix`.
fn rows(world: &World, server: usize, prefix: &str) -> Vec<Vec<u8>> {
    let store = world.server(server).store().clone();
    let range = KeyRange::prefix(prefix.as_bytes());
    let rows = world.block_on(async move {
        store
            .scan(Table::Federation, range, Direction::Forward, MAX_ROWS)
            .await
    });
    rows.unwrap_or_default().into_iter().map(|(key, _)| key).collect()
}

/// No client is told of an event twice.
pub(crate) fn nothing_is_told_twice(readers: &[Reader]) -> Result<(), Violation> {
    let doubles = readers.iter().flat_map(|reader| reader.doubles.clone());
    Violation::found("/sync tells of each event once", doubles.collect())
}

/// Nothing that a client was told to be sent is missing on its server.
pub(crate) fn acknowledged_is_stored(
    knowledge: &Knowledge,
    acknowledged: &BTreeMap<String, usize>,
) -> Result<(), Violation> {
    let missing = acknowledged.iter().filter(|(event_id, server)| {
        let held = |id: &OwnedEventId| knowledge.held(**server, id).is_some();
        OwnedEventId::try_from(event_id.as_str()).is_ok_and(|id| !held(&id))
    });
    let missing = missing.map(|(event_id, server)| format!("s{server} has lost {}", short_id(event_id)));
    Violation::found("what was acknowledged is stored", missing.collect())
}

/// All servers that judged an event decided the same about it, and agree on the state before it. What a server
/// judged by a state without all members counts once it was looked at again, which it is not if everybody there
/// left before.
pub(crate) fn decisions_agree(knowledge: &Knowledge) -> Result<(), Violation> {
    let mut differences = Vec::new();
    for event_id in knowledge.events.keys() {
        let holders = knowledge
            .holdings
            .iter()
            .filter_map(|holding| holding.events.get(event_id));
        let judged = holders.filter(|event| event.decision.state_before.is_some() && !event.decision.partial);
        let decided = |event: &StoredEvent| (event.decision.rejected, event.decision.state_before.clone());
        let decisions: BTreeSet<_> = judged.map(|event| decided(event)).collect();
        if decisions.len() > 1 {
            differences.extend(decided_by_all(knowledge, event_id));
        }
    }
    Violation::found("all judge events alike", differences)
}

/// No server in the room lacks a head that others have, unless it has parted from all of these, or soft-failed it, or has
/// no user who may see it, or its own heads follow it: then it is history, such as who comes into a room asks for when it
/// is read.
pub(crate) fn heads_are_known(users: &[Client], knowledge: &Knowledge) -> Result<(), Violation> {
    let mut missing = Vec::new();
    for event_id in heads(knowledge) {
        let lacks = |server: usize, belief: &Belief| match knowledge.held(server, &event_id) {
            Some(event) if event.decision.order.is_some() || event.decision.soft_failed => false,
            _ => {
                let is_history = knowledge.past(&belief.extremities).contains(&event_id);
                !is_history && entitled(users, knowledge, server, &event_id)
            }
        };
        let may_hear = |one: (usize, &Belief)| {
            let mut others = knowledge.believers();
            others.any(|other| {
                other.1.extremities.contains(&event_id) && !have_parted(users, knowledge, one, other)
            })
        };
        let servers: Vec<_> = knowledge
            .believers()
            .filter(|(server, belief)| lacks(*server, belief) && may_hear((*server, belief)))
            .collect();
        if !servers.is_empty() {
            missing.extend(decided_by_all(knowledge, &event_id));
        }
    }
    if !missing.is_empty() {
        let mut lines: Vec<_> = knowledge
            .believers()
            .map(|(server, belief)| {
                let heads = belief.extremities.iter().map(|id| short_id(id.as_str()));
                format!("heads of s{server}: {}", heads.collect::<Vec<_>>().join(" "))
            })
            .collect();
        lines.append(&mut missing);
        missing = lines;
    }
    Violation::found("every head has reached every server in the room", missing)
}

/// Whether any user of `server` may see an event.
fn entitled(users: &[Client], knowledge: &Knowledge, server: usize, event_id: &OwnedEventId) -> bool {
    let Some(event) = knowledge.events.get(event_id) else {
        return false;
    };
    let local = users.iter().filter(|client| client.server == server);
    let mut entitlements = local.map(|client| Entitlement::new(knowledge, &client.user_id));
    event.state_key().is_some() || entitlements.any(|entitlement| entitlement.allows(event))
}

/// The users whom servers in the room take for joined, while their own server believes that it is not in the room:
/// the answer to their join was lost, or came to a server that had crashed.
pub(crate) fn half_joined(users: &[Client], knowledge: &Knowledge) -> Vec<usize> {
    let joined = |client: &Client| {
        let mut beliefs = knowledge.believers();
        beliefs.any(|(_, belief)| knowledge.membership(&belief.state, &client.user_id) == "join")
    };
    let outside = |client: &Client| {
        let holding = knowledge.holdings.get(client.server);
        holding.is_some_and(|holding| holding.room.is_none())
    };
    let half = users
        .iter()
        .enumerate()
        .filter(|(_, client)| outside(client) && joined(client));
    half.map(|(user, _)| user).collect()
}

/// All heads of the servers in the room.
fn heads(knowledge: &Knowledge) -> BTreeSet<OwnedEventId> {
    let heads = knowledge.believers().flat_map(|(_, belief)| &belief.extremities);
    heads.cloned().collect()
}

/// The servers with heads that others do not have.
pub(crate) fn servers_with_own_heads(knowledge: &Knowledge) -> Vec<usize> {
    let all = heads(knowledge);
    let common = |event_id: &&OwnedEventId| {
        knowledge
            .believers()
            .all(|(_, belief)| belief.extremities.contains(*event_id))
    };
    let common: BTreeSet<_> = all.iter().filter(common).collect();
    let own = |extremities: &BTreeSet<_>| extremities.iter().any(|id| !common.contains(id));
    let servers = knowledge
        .believers()
        .filter(|(_, belief)| own(&belief.extremities));
    servers.map(|(server, _)| server).collect()
}

/// All servers in the room have the same heads and the same state.
pub(crate) fn states_agree(users: &[Client], knowledge: &Knowledge) -> Result<(), Violation> {
    let mut differences = Vec::new();
    let believers: Vec<_> = knowledge.believers().collect();
    for (number, first) in believers.iter().enumerate() {
        let others = believers.iter().skip(number + 1);
        for second in others.filter(|second| !have_parted(users, knowledge, *first, **second)) {
            differences.extend(difference(knowledge, *first, *second));
        }
    }
    Violation::found("all servers in the room have the same state", differences)
}

/// Whether two servers can do nothing about seeing the room differently: each is out of it as the other sees it; or one is
/// as the other sees it, which soft-failed what came from there since. What the one says is judged by a state without
/// its users, on and on, and the other has nothing to tell it (Server-Server API, 'Soft failure'). Only somebody who is
/// in the room for both can bring them together.
fn have_parted(
    users: &[Client],
    knowledge: &Knowledge,
    first: (usize, &Belief),
    second: (usize, &Belief),
) -> bool {
    let is_out = |one: (usize, &Belief), other: (usize, &Belief)| {
        let mut local = users.iter().filter(|client| client.server == one.0);
        local.all(|client| knowledge.membership(&other.1.state, &client.user_id) != "join")
    };
    let is_refused = |one: (usize, &Belief), other: (usize, &Belief)| {
        let mut held = one
            .1
            .extremities
            .iter()
            .filter_map(|id| knowledge.held(other.0, id));
        held.any(|event| event.decision.soft_failed)
    };
    match (is_out(first, second), is_out(second, first)) {
        (true, true) => true,
        (true, false) => is_refused(first, second),
        (false, true) => is_refused(second, first),
        (false, false) => false,
    }
}

/// How the heads and the states of two servers differ.
fn difference(knowledge: &Knowledge, first: (usize, &Belief), second: (usize, &Belief)) -> Vec<String> {
    let ((first, expected), (second, belief)) = (first, second);
    let mut differences = Vec::new();
    // Who soft-failed an event lets nothing follow it (Server-Server API, 'Soft failure'), and who did not may
    // have no user left who may speak after it: as long as the state is the same, no server can do more.
    let soft_failed = |event_id: &OwnedEventId| {
        let held = [first, second].map(|server| knowledge.held(server, event_id));
        held.into_iter().flatten().any(|event| event.decision.soft_failed)
    };
    let apart = belief.extremities.symmetric_difference(&expected.extremities);
    for event_id in apart.filter(|event_id| !soft_failed(event_id)) {
        differences.push(format!("head of only one of s{first} and s{second}:"));
        differences.extend(decided_by_all(knowledge, event_id));
    }
    let keys: BTreeSet<_> = belief.state.keys().chain(expected.state.keys()).collect();
    for key in keys {
        let (here, there) = (expected.state.get(key), belief.state.get(key));
        if here != there {
            differences.push(format!("{}[{}]: s{first} and s{second} differ:", key.0, key.1));
            let events = [here, there].into_iter().flatten();
            differences.extend(events.flat_map(|id| decided_by_all(knowledge, id)));
        }
    }
    if belief.root != expected.root && differences.is_empty() {
        differences.push(format!(
            "s{first} and s{second} have different trees of the same state"
        ));
    }
    differences
}

/// Exactly the servers that the state has joined users of believe to be in the room, and their users' own rows
/// say what the state says.
pub(crate) fn memberships_agree(
    world: &World,
    users: &[Client],
    knowledge: &Knowledge,
) -> Result<(), Violation> {
    let mut differences = Vec::new();
    for (server, belief) in knowledge.believers() {
        for client in users {
            let membership = knowledge.membership(&belief.state, &client.user_id);
            let resident = knowledge
                .holdings
                .get(client.server)
                .is_some_and(|held| held.room.is_some());
            if membership == "join" && !resident && may_join_again(knowledge, &belief.state) {
                differences.push(format!(
                    "s{server} takes {} for joined, s{} does not",
                    client.user_id, client.server
                ));
            }
            let row = own_row(world, client, knowledge);
            if client.server == server && row.as_deref().unwrap_or("leave") != membership {
                differences.push(format!(
                    "{} is {membership} by the state, {row:?} by the own row",
                    client.user_id
                ));
            }
        }
    }
    Violation::found("servers know whether they are in the room", differences)
}

/// Whether the rules let those join once more who are joined by `state`, as users do who never heard that they
/// are. A join rule that the room's version does not know lets nobody in, not even them (every room version,
/// 'Authorization rules', on `m.room.member`: "Otherwise, if the join_rule is public, allow. Otherwise, reject"):
/// then neither their server nor any other can do anything about it.
fn may_join_again(knowledge: &Knowledge, state: &StateIds) -> bool {
    let version = knowledge.text(state, "m.room.create", "", "room_version");
    let version = version.map_or(Some(RoomVersion::V1), |version| version.parse().ok());
    let rules = version.map(|version| version.rules().authorization.clone());
    match knowledge.text(state, "m.room.join_rules", "", "join_rule") {
        Some("knock") => rules.is_some_and(|rules| rules.knocking),
        Some("restricted") => rules.is_some_and(|rules| rules.restricted_join_rule),
        Some("knock_restricted") => rules.is_some_and(|rules| rules.knock_restricted_join_rule),
        _ => true,
    }
}

fn own_row(world: &World, client: &Client, knowledge: &Knowledge) -> Option<String> {
    let homeserver = world.server(client.server).homeserver()?;
    let user_id = client.user_id.as_str().try_into().ok()?;
    Some(
        homeserver
            .user_membership(user_id, &knowledge.room_id)?
            .membership,
    )
}

/// Every user sees what they are entitled to, once, and nothing else; and who syncs is told of all that happens, or
/// that something is missing.
pub(crate) fn deliveries_are_right(
    world: &World,
    users: &[Client],
    readers: &[Reader],
    knowledge: &Knowledge,
) -> Result<(), Violation> {
    let mut wrong = Vec::new();
    for (client, reader) in users.iter().zip(readers) {
        wrong.extend(delivery(world, users, client, reader, knowledge));
    }
    Violation::found("users see exactly what they are entitled to", wrong)
}

fn delivery(
    world: &World,
    users: &[Client],
    client: &Client,
    reader: &Reader,
    knowledge: &Knowledge,
) -> Vec<String> {
    let Some(row) = own_row(world, client, knowledge) else {
        return Vec::new();
    };
    if !matches!(row.as_str(), "join" | "leave" | "ban") {
        return Vec::new();
    }
    let shown = match shown_to(world, client, knowledge) {
        Ok(shown) => shown,
        Err(error) if row == "join" => return vec![error],
        Err(_) => return Vec::new(),
    };
    let entitlement = Entitlement::new(knowledge, &client.user_id);
    let mut wrong = Vec::new();
    let distinct: BTreeSet<_> = shown.iter().collect();
    if distinct.len() < shown.len() {
        wrong.push(format!("{} is shown events more than once", client.user_id));
    }
    for event in shown.iter().filter_map(|id| knowledge.events.get(id)) {
        if event.decision.rejected || !entitlement.allows(event) {
            wrong.push(format!("{} is shown what they may not see:", client.user_id));
            wrong.extend(decided_by_all(knowledge, &event.event_id));
        }
    }
    let told = reader.told(&knowledge.room_id);
    let told = told.filter_map(|id| knowledge.events.get(<&EventId>::try_from(id).ok()?));
    // State that holds is told to who is joined, whenever it was set.
    for event in told.filter(|event| is_message(event) && !entitlement.allows(event)) {
        wrong.push(format!(
            "{} is told by /sync what they may not see:",
            client.user_id
        ));
        wrong.extend(decided_by_all(knowledge, &event.event_id));
    }
    if row == "join" {
        let is_news = |event_id: &&OwnedEventId| is_news(reader, knowledge, event_id);
        for event_id in reader.left_out(&knowledge.room_id, &shown).filter(is_news) {
            wrong.push(format!("{} is not told by /sync of:", client.user_id));
            wrong.extend(decided_by_all(knowledge, event_id));
        }
        for event in
            due(users, client, knowledge, &entitlement).filter(|event| !distinct.contains(&event.event_id))
        {
            wrong.push(format!("{} is not shown:", client.user_id));
            wrong.extend(decided_by_all(knowledge, &event.event_id));
        }
    }
    wrong
}

/// Whether a client has to be told of an event that is in the timeline. A redaction that came before what it redacts is
/// shown once that has come; but then that is told as redacted, and by which event.
fn is_news(reader: &Reader, knowledge: &Knowledge, event_id: &OwnedEventId) -> bool {
    let event = knowledge.events.get(event_id);
    match event.and_then(|event| event.pdu.redacts()) {
        Some(target) => reader.holds_content(&knowledge.room_id, target),
        None => true,
    }
}

/// What a joined user has to be shown: all in the past of the room as their server knows it, as far as anybody in
/// the room still has it who has not parted from their server, that was neither refused by all nor, for the time being, by their server.
fn due<'a>(
    users: &[Client],
    client: &Client,
    knowledge: &'a Knowledge,
    entitlement: &Entitlement<'_>,
) -> impl Iterator<Item = &'a StoredEvent> {
    let belief = knowledge.believers().find(|(server, _)| *server == client.server);
    let past = belief.map(|own| {
        let may_be_asked = |server: usize| {
            let mut others = knowledge.believers().filter(|(other, _)| *other == server);
            !others.any(|other| have_parted(users, knowledge, own, other))
        };
        knowledge.past_to_be_had(&own.1.extremities, may_be_asked)
    });
    let past = past.unwrap_or_default();
    let server = client.server;
    let accepted = past
        .into_iter()
        .filter_map(|id| knowledge.events.get(&id))
        .filter(move |event| {
            let held = knowledge.held(server, &event.event_id).unwrap_or(event);
            held.is_shown()
        });
    let due: Vec<&StoredEvent> = accepted
        .map(|event| &**event)
        .filter(|event| entitlement.allows(event))
        .collect();
    due.into_iter()
}

/// The ids of the events in a user's `/messages`.
fn shown_to(world: &World, client: &Client, knowledge: &Knowledge) -> Result<Vec<OwnedEventId>, String> {
    let events = client
        .try_history(world, knowledge.room_id.as_str())
        .map_err(|answer| {
            format!(
                "{} gets {} for history: {}",
                client.user_id, answer.status, answer.body
            )
        })?;
    let ids = events
        .iter()
        .filter_map(|event| event["event_id"].as_str()?.try_into().ok());
    Ok(ids.collect())
}

/// No server holds the content of a message that none of its users may see.
pub(crate) fn nothing_leaks(world: &World, users: &[Client], knowledge: &Knowledge) -> Result<(), Violation> {
    let mut leaks = Vec::new();
    for server in 0..world.server_count() {
        let local = users.iter().filter(|client| client.server == server);
        let entitlements: Vec<_> = local
            .map(|client| Entitlement::new(knowledge, &client.user_id))
            .collect();
        let Some(holding) = knowledge.holdings.get(server) else {
            continue;
        };
        for event in holding.events.values().filter(|event| is_message(event)) {
            let own = event.sender().server_name().as_str() == world.server(server).name();
            let judged = knowledge.events.get(&event.event_id).unwrap_or(event);
            if !own && !entitlements.iter().any(|entitlement| entitlement.allows(judged)) {
                leaks.push(format!("s{server} holds what nobody there may see:"));
                leaks.extend(decided_by_all(knowledge, &event.event_id));
            }
        }
    }
    Violation::found("no server gets what its users may not see", leaks)
}

fn is_message(event: &StoredEvent) -> bool {
    event.kind() == "m.room.message" && !event.content().is_empty()
}

/// Servers do not ask each other more than `most` times.
pub(crate) fn requests_are_few(requests: usize, most: usize) -> Result<(), Violation> {
    let storm = (requests > most).then(|| format!("{requests} requests, more than {most}"));
    Violation::found("no storms of requests", storm.into_iter().collect())
}

/// Every server in the room that accepted a redaction has taken the content that others took by its right. Who
/// soft-failed it has not: which servers do so depends on what reached them first, and may differ for ever. Who was
/// not in the room then may hold no more of it than its redacted form, which does not say what it redacts.
pub(crate) fn redactions_agree(users: &[Client], knowledge: &Knowledge) -> Result<(), Violation> {
    let mut differences = Vec::new();
    for event_id in knowledge.events.keys() {
        let held: Vec<_> = knowledge
            .believers()
            .filter_map(|(server, _)| Some((server, knowledge.held(server, event_id)?)))
            .collect();
        let redactions: BTreeSet<_> = held
            .iter()
            .filter_map(|(_, event)| event.decision.redacted_by.clone())
            .collect();
        let misses_one = |(server, event): &(usize, &Arc<StoredEvent>)| {
            let accepted = |redaction: &OwnedEventId| {
                let redaction = knowledge.held(*server, redaction);
                redaction.is_some_and(|held| held.decision.order.is_some() && held.pdu.redacts().is_some())
            };
            let is_whole = event.kind() == "m.room.message" && !event.content().is_empty();
            let shown = is_whole && event.decision.order.is_some();
            shown && entitled(users, knowledge, *server, event_id) && redactions.iter().any(accepted)
        };
        if held.iter().any(misses_one) {
            differences.extend(decided_by_all(knowledge, event_id));
            differences.extend(redactions.iter().flat_map(|id| decided_by_all(knowledge, id)));
        }
    }
    Violation::found("all apply the same redactions", differences)
}

/// All events of a room, the deepest last, and what each server decided about them.
pub(crate) fn graph(knowledge: &Knowledge) -> Vec<String> {
    let mut events: Vec<_> = knowledge.events.values().collect();
    events.sort_by_key(|event| (event.depth(), event.origin_server_ts()));
    let ids = events.into_iter().map(|event| &event.event_id);
    ids.flat_map(|id| decided_by_all(knowledge, id)).collect()
}

/// An event, and what each server decided about it.
fn decided_by_all(knowledge: &Knowledge, event_id: &OwnedEventId) -> Vec<String> {
    let mut lines = match knowledge.events.get(event_id) {
        Some(event) => vec![format!("  {}", describe(event))],
        None => vec![format!("  {} is not known anywhere", short_id(event_id.as_str()))],
    };
    let mut by_decision = BTreeMap::<String, Vec<usize>>::new();
    for (server, holding) in knowledge.holdings.iter().enumerate() {
        let held = holding.events.get(event_id);
        let in_room = if holding.room.is_some() {
            ""
        } else {
            " (not in the room)"
        };
        let text = held.map_or_else(|| "not held".to_owned(), |event| decision(event));
        by_decision
            .entry(format!("{}{in_room}", text))
            .or_default()
            .push(server);
    }
    for (decision, servers) in by_decision {
        let servers: Vec<_> = servers.iter().map(|server| format!("s{server}")).collect();
        lines.push(format!("    {}: {decision}", servers.join(" ")));
    }
    vec![lines.join("\n")]
}
