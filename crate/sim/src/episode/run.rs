//! Carrying out a plan.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ruma_common::{OwnedRoomId, RoomId};
use serde_json::json;

use super::{
    Operation, Options, Plan, Step, Totals, Trace, Violation, fault, invariant, knowledge::Knowledge,
    operation::Scene, reader::Reader, trace::short_id,
};
use crate::{Answer, Client, Pending, Unreliability, World};

/// The longest that a store takes to write.
const COMMIT: Duration = Duration::from_millis(4);
/// How long the servers are given at a time to settle, and how many times.
const SETTLING: (Duration, usize) = (Duration::from_secs(40), 60);
/// For how many of these nothing may be under way: heads are compared when what was sent has arrived.
const IDLE: usize = 2;
/// How long the servers have to answer what is new.
const READING: Duration = Duration::from_secs(5);
/// Of how many steps one happens in the room that was replaced.
const OLD_ROOM: usize = 7;
/// About how many events there are beside those of the rooms.
const LOBBY: usize = 20;
/// More than any number of a step: what is done beyond the plan is numbered from here.
const STEPS: usize = 10_000;
/// The most requests for each event and server, failed attempts of a partition included.
const MAX_REQUESTS: usize = 12;

thread_local! {
    /// The seed of the episode that this thread carries out, and what happened in it so far.
    static CURRENT: RefCell<Option<(u64, Trace)>> = const { RefCell::new(None) };
}

/// How an episode went.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it came to.
    pub totals: Totals,
    /// What happened.
    pub trace: Trace,
    /// The invariant that did not hold, and the number of the step at which it was seen.
    pub violation: Option<(usize, Violation)>,
}

/// Carries out `plan` with the randomness of `seed`, up to the first violation of an invariant.
#[must_use]
pub fn run(seed: u64, options: &Options, plan: &Plan) -> Report {
    let mut episode = Episode::begin(seed, options, plan);
    let mut violation = None;
    for (number, step) in plan.steps.iter().enumerate() {
        if let Err(found) = episode.take(number, step) {
            violation = Some((number, found));
            episode.note_graphs();
            break;
        }
    }
    CURRENT.with(|current| current.replace(None));
    episode.totals.episodes = 1;
    episode.totals.diverged = usize::from(episode.diverged);
    episode.totals.requests = episode.world.request_count();
    episode.totals.elapsed = episode.world.elapsed();
    Report {
        totals: episode.totals,
        trace: episode.trace,
        violation,
    }
}

/// Tells, for a panic's message, which seed this thread is at and what has happened.
#[must_use]
pub fn current() -> Option<String> {
    CURRENT.with(|current| {
        let current = current.try_borrow().ok()?;
        current
            .as_ref()
            .map(|(seed, trace)| format!("seed {seed}\n{trace}"))
    })
}

/// An episode under way.
struct Episode<'a> {
    world: World,
    options: &'a Options,
    users: Vec<Client>,
    /// What each user was shown by `/sync`.
    readers: Vec<Reader>,
    /// The room and those that replaced it.
    rooms: Vec<Room>,
    /// A room whose members may come in where the join rule is `restricted`.
    lobby: String,
    pending: Vec<Asked>,
    diverged: bool,
    totals: Totals,
    trace: Trace,
}

/// A room of an episode.
struct Room {
    room_id: String,
    /// The ids of the messages that were acknowledged, in order.
    sent: Vec<String>,
    /// The ids of all events that were acknowledged, and on which server.
    acknowledged: BTreeMap<String, usize>,
}

impl Room {
    fn new(room_id: String) -> Self {
        Self {
            room_id,
            sent: Vec::new(),
            acknowledged: BTreeMap::new(),
        }
    }
}

/// What was asked and not answered yet.
struct Asked {
    step: usize,
    user: usize,
    room: usize,
    operation: Operation,
    answer: Pending,
}

impl<'a> Episode<'a> {
    /// A world with the plan's users and a room that the first of them are in.
    fn begin(seed: u64, options: &'a Options, plan: &Plan) -> Self {
        let world = World::with_slow_commits(seed, options.servers, COMMIT);
        let account = |(number, server): (usize, &usize)| world.account(*server, &format!("user{number}"));
        let users: Vec<_> = plan.users.iter().enumerate().map(account).collect();
        let mut trace = Trace::default();
        for server in 0..options.servers {
            trace.abbreviate(world.server(server).name(), format!("s{server}"));
        }
        CURRENT.with(|current| current.replace(Some((seed, trace.clone()))));
        let room_id = make_room(&world, &users, plan);
        let lobby = make_lobby(&world, &users, plan);
        trace.abbreviate(&room_id, "!room");
        let mut episode = Self {
            world,
            options,
            readers: users.iter().map(|_| Reader::default()).collect(),
            users,
            rooms: vec![Room::new(room_id)],
            lobby,
            pending: Vec::new(),
            diverged: false,
            totals: Totals::default(),
            trace,
        };
        episode.note(format!(
            "user0 to user{} are in a room of version {}",
            plan.members - 1,
            plan.version
        ));
        episode.trouble();
        episode
    }

    /// Makes the network unreliable.
    fn trouble(&self) {
        self.world.set_unreliability(Unreliability {
            lost: self.options.lost,
            doubled: self.options.doubled,
        });
    }

    fn take(&mut self, number: usize, step: &Step) -> Result<(), Violation> {
        if !matches!(step, Step::Pass(_)) {
            self.note(format!("{number:>3}. {step}"));
        }
        match step {
            Step::Act(user, operation) => self.act(number, *user, self.room_of(number), operation),
            Step::Fault(fault) => fault.happen(&mut self.world),
            Step::Pass(duration) => self.world.run_for(*duration),
            Step::Quiet => self.quiet()?,
        }
        self.hear();
        Ok(())
    }

    /// In which room a step happens: mostly in the newest.
    fn room_of(&self, step: usize) -> usize {
        let newest = self.rooms.len().saturating_sub(1);
        if step.is_multiple_of(OLD_ROOM) { 0 } else { newest }
    }

    /// Begins what a user does.
    fn act(&mut self, step: usize, user: usize, room: usize, operation: &Operation) {
        let (Some(client), Some(reader), Some(place)) = (
            self.users.get(user),
            self.readers.get_mut(user),
            self.rooms.get(room),
        ) else {
            return;
        };
        let is_sync = *operation == Operation::Sync;
        if self.world.server(client.server).homeserver().is_none() || (is_sync && reader.waits) {
            return;
        }
        let scene = Scene {
            world: &self.world,
            users: &self.users,
            room_id: &place.room_id,
            lobby: &self.lobby,
            since: reader.since.as_deref(),
            sent: &place.sent,
            step,
        };
        let Some(request) = operation.request(user, &scene) else {
            return;
        };
        reader.waits |= is_sync;
        let path = format!("/_matrix/client/v3{}", request.path);
        let token = Some(client.token.as_str());
        let body = Some(&request.body).filter(|body| !body.is_null());
        let answer = self
            .world
            .begin(client.server, request.method, &path, token, body);
        self.pending.push(Asked {
            step,
            user,
            room,
            operation: operation.clone(),
            answer,
        });
    }

    /// Hears the answers that have come.
    fn hear(&mut self) {
        for mut asked in std::mem::take(&mut self.pending) {
            if let Some(answer) = asked.answer.answer() {
                self.answered(&asked, &answer);
            } else if asked.answer.is_lost() {
                if let Some(reader) = self.readers.get_mut(asked.user) {
                    reader.waits &= asked.operation != Operation::Sync;
                }
            } else {
                self.pending.push(asked);
            }
        }
    }

    fn answered(&mut self, asked: &Asked, answer: &Answer) {
        let step = asked.step;
        if asked.operation == Operation::Sync {
            return self.synced(asked.user, answer);
        }
        if answer.status != 200 {
            self.totals.refused += 1;
            let error = answer["error"].as_str().unwrap_or_default().to_owned();
            return self.note(format!("       {step}: {} {error}", answer.status));
        }
        self.totals.done += 1;
        if let Some(room_id) = answer["replacement_room"].as_str() {
            self.note(format!("       {step}: is a new room"));
            return self.follow(asked, room_id);
        }
        let Some(event_id) = answer["event_id"].as_str() else {
            return self.note(format!("       {step}: done"));
        };
        self.note(format!("       {step}: is {}", short_id(event_id)));
        if let (Some(client), Some(room)) = (self.users.get(asked.user), self.rooms.get_mut(asked.room)) {
            room.acknowledged.insert(event_id.to_owned(), client.server);
            if asked.operation == Operation::Send {
                room.sent.push(event_id.to_owned());
            }
        }
    }

    fn synced(&mut self, user: usize, answer: &Answer) {
        if let (Some(client), Some(reader)) = (self.users.get(user), self.readers.get_mut(user)) {
            reader.waits = false;
            if answer.status == 200 {
                self.totals.syncs += 1;
                reader.read(&client.user_id, &answer.body);
            }
        }
    }

    /// Lets everybody join the room that replaces another, as clients do.
    fn follow(&mut self, asked: &Asked, room_id: &str) {
        self.totals.upgrades += 1;
        let number = self.rooms.len();
        self.trace.abbreviate(room_id, format!("!room{number}"));
        self.rooms.push(Room::new(room_id.to_owned()));
        let Some(server) = self.users.get(asked.user).map(|client| client.server) else {
            return;
        };
        for user in (0..self.users.len()).filter(|user| *user != asked.user) {
            self.act(asked.step, user, number, &Operation::Join(vec![server]));
        }
    }

    /// Ends all trouble, waits until nothing is under way, and checks the invariants.
    fn quiet(&mut self) -> Result<(), Violation> {
        self.totals.quiet_points += 1;
        fault::end_all(&mut self.world);
        self.diverged |= self.states_differ();
        self.settle()?;
        let mut rooms = Vec::new();
        for room in 0..self.rooms.len() {
            rooms.push(self.agree(room)?);
        }
        self.read_on()?;
        for (room, knowledge) in self.rooms.iter().zip(&rooms) {
            self.check(room, knowledge)?;
        }
        let events: usize = rooms.iter().map(|knowledge| knowledge.events.len()).sum();
        let most = (events + LOBBY) * self.options.servers * MAX_REQUESTS;
        invariant::requests_are_few(self.world.request_count(), most)?;
        self.totals.see_graphs(&rooms);
        self.trouble();
        Ok(())
    }

    /// Sees to it that the servers in a room have the same heads, and returns what they know then.
    fn agree(&mut self, room: usize) -> Result<Knowledge, Violation> {
        let mut knowledge = self.gather(room)?;
        let half_joined = invariant::half_joined(&self.users, &knowledge);
        if !half_joined.is_empty() {
            self.totals.joined_again += half_joined.len();
            self.join_again(room, &half_joined, &knowledge)?;
            knowledge = self.gather(room)?;
        }
        invariant::heads_are_known(&self.users, &knowledge)?;
        let servers = invariant::servers_with_own_heads(&knowledge);
        if !servers.is_empty() {
            self.totals.joined_by_speaking += 1;
            self.speak(room, &servers)?;
            knowledge = self.gather(room)?;
        }
        Ok(knowledge)
    }

    /// Lets all users ask what is new.
    fn read_on(&mut self) -> Result<(), Violation> {
        for user in 0..self.users.len() {
            self.act(STEPS, user, 0, &Operation::Sync);
        }
        self.world.run_for(READING);
        self.hear();
        invariant::nothing_is_told_twice(&self.readers)
    }

    /// Checks everything on what the servers know of a room.
    fn check(&self, room: &Room, knowledge: &Knowledge) -> Result<(), Violation> {
        invariant::acknowledged_is_stored(knowledge, &room.acknowledged)?;
        invariant::decisions_agree(knowledge)?;
        invariant::states_agree(&self.users, knowledge)?;
        invariant::memberships_agree(&self.world, &self.users, knowledge)?;
        invariant::nothing_leaks(&self.world, &self.users, knowledge)?;
        invariant::redactions_agree(&self.users, knowledge)?;
        invariant::deliveries_are_right(&self.world, &self.users, &self.readers, knowledge)
    }

    /// Whether servers in a room hold different states.
    fn states_differ(&self) -> bool {
        (0..self.rooms.len()).any(|room| {
            let knowledge = self.gather(room);
            let roots = knowledge
                .iter()
                .flat_map(Knowledge::believers)
                .map(|(_, belief)| &belief.root);
            roots.collect::<BTreeSet<_>>().len() > 1
        })
    }

    fn settle(&mut self) -> Result<(), Violation> {
        let (mut empty, mut idle, mut requests) = (Ok(()), 0, self.world.request_count());
        for _ in 0..SETTLING.1 {
            self.world.run_for(SETTLING.0);
            empty = invariant::queues_are_empty(&self.world);
            let count = std::mem::replace(&mut requests, self.world.request_count());
            // What is heard may be that a room was replaced, whereupon everybody begins to join the new one.
            self.hear();
            let is_idle = empty.is_ok() && !self.world.is_talking() && requests == count && !self.is_asking();
            idle = if is_idle { idle + 1 } else { 0 };
            if idle == IDLE {
                break;
            }
        }
        empty
    }

    /// Whether anybody waits for the answer to something they do. What is new is waited for all the time.
    fn is_asking(&self) -> bool {
        self.pending
            .iter()
            .any(|asked| asked.operation != Operation::Sync)
    }

    /// Lets `users` ask again for the joins that they do not know to have succeeded.
    fn join_again(&mut self, room: usize, users: &[usize], knowledge: &Knowledge) -> Result<(), Violation> {
        let servers: Vec<_> = knowledge.believers().map(|(server, _)| server).collect();
        for user in users {
            self.note(format!("       user{user} joins again, for want of an answer"));
            self.act(self.beyond(room), *user, room, &Operation::Join(servers.clone()));
            self.settle()?;
        }
        Ok(())
    }

    /// Lets a user of each of `servers` say something, one after the other: that joins the branches.
    fn speak(&mut self, room: usize, servers: &[usize]) -> Result<(), Violation> {
        let room_id = self.id(room);
        for server in servers {
            let speaker = self.users.iter().enumerate().find(|(_, client)| {
                let homeserver = self.world.server(*server).homeserver();
                let joined = homeserver.map(|homeserver| {
                    let user_id = client.user_id.as_str().try_into();
                    user_id.is_ok_and(|user_id| homeserver.joined_rooms(user_id).contains(&room_id))
                });
                client.server == *server && joined == Some(true)
            });
            if let Some((user, _)) = speaker {
                self.note(format!("       user{user} speaks, to join branches"));
                self.act(self.beyond(room), user, room, &Operation::Send);
                self.settle()?;
            }
        }
        Ok(())
    }

    /// A number that no step of the plan has.
    fn beyond(&self, room: usize) -> usize {
        STEPS + self.rooms.get(room).map_or(0, |room| room.sent.len())
    }

    fn id(&self, room: usize) -> OwnedRoomId {
        let room_id = self
            .rooms
            .get(room)
            .and_then(|room| RoomId::parse(&room.room_id).ok());
        #[allow(
            clippy::expect_used,
            reason = "a homeserver that makes a bad room id is to be found out"
        )]
        room_id.expect("the room has an id")
    }

    fn gather(&self, room: usize) -> Result<Knowledge, Violation> {
        Knowledge::gather(&self.world, &self.id(room)).map_err(|error| Violation {
            invariant: "stores can be read",
            details: vec![error.to_string()],
        })
    }

    /// Notes every event of every room, and what each server decided about it.
    fn note_graphs(&mut self) {
        for room in 0..self.rooms.len() {
            let Ok(knowledge) = self.gather(room) else {
                continue;
            };
            self.note(format!("the graph of {}:", self.id(room)));
            invariant::graph(&knowledge)
                .into_iter()
                .for_each(|line| self.note(line));
        }
    }

    fn note(&mut self, line: String) {
        self.trace.note(self.world.elapsed(), line);
        CURRENT.with(|current| {
            if let Some((_, trace)) = current.borrow_mut().as_mut() {
                trace.clone_from(&self.trace);
            }
        });
    }
}

/// A public room of the first user's, in which every other user is. Empty where no join rule could name it.
fn make_lobby(world: &World, users: &[Client], plan: &Plan) -> String {
    let [creator, others @ ..] = users else {
        return String::new();
    };
    if !plan.version.rules().authorization.restricted_join_rule {
        return String::new();
    }
    let room_id = creator.create_room(world, &json!({"preset": "public_chat"}));
    for client in others.iter().step_by(2) {
        client
            .join(world, &room_id, &[world.server(creator.server).name()])
            .expect(200);
    }
    world.run_for(Duration::from_secs(5));
    room_id
}

/// The first user's room, joined by the plan's members, some of whom have power.
fn make_room(world: &World, users: &[Client], plan: &Plan) -> String {
    let [creator, others @ ..] = users else {
        return String::new();
    };
    let version = plan.version.as_str();
    let levels = json!({
        "events": {"m.room.topic": 0, "m.room.name": 0, "hearth.test": 25},
        "invite": 0,
    });
    let room_id = creator.create_room(
        world,
        &json!({"preset": "public_chat", "room_version": version, "power_level_content_override": levels}),
    );
    let members = plan.members.saturating_sub(1);
    for client in others.iter().take(members) {
        client
            .join(world, &room_id, &[world.server(creator.server).name()])
            .expect(200);
    }
    let mut powers: BTreeMap<_, _> = others
        .iter()
        .zip([100, 100, 50, 50, 25])
        .map(|(client, level)| (&client.user_id, level))
        .collect();
    if !plan.version.room_id_is_create_hash() {
        powers.insert(&creator.user_id, 100);
    }
    let content = json!({"users": powers, "events": levels["events"], "invite": 0});
    creator
        .set_state(world, &room_id, "m.room.power_levels", "", &content)
        .expect(200);
    world.run_for(Duration::from_secs(5));
    room_id
}
