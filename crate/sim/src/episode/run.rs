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
    operation::Scene, trace::short_id,
};
use crate::{Client, Pending, Unreliability, World};

/// The longest that a store takes to write.
const COMMIT: Duration = Duration::from_millis(4);
/// How long the servers are given at a time to settle, and how many times.
const SETTLING: (Duration, usize) = (Duration::from_secs(30), 40);
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
    room_id: String,
    /// The ids of the messages that were acknowledged, in order.
    sent: Vec<String>,
    /// The ids of all events that were acknowledged, and on which server.
    acknowledged: BTreeMap<String, usize>,
    /// What was asked and not answered yet: step, user, what for.
    pending: Vec<(usize, usize, Operation, Pending)>,
    diverged: bool,
    totals: Totals,
    trace: Trace,
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
        trace.abbreviate(&room_id, "!room");
        let mut episode = Self {
            world,
            options,
            users,
            room_id,
            sent: Vec::new(),
            acknowledged: BTreeMap::new(),
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
            Step::Act(user, operation) => self.act(number, *user, operation),
            Step::Fault(fault) => fault.happen(&mut self.world),
            Step::Pass(duration) => self.world.run_for(*duration),
            Step::Quiet => self.quiet()?,
        }
        self.hear();
        Ok(())
    }

    /// Begins what a user does.
    fn act(&mut self, number: usize, user: usize, operation: &Operation) {
        let Some(client) = self.users.get(user) else {
            return;
        };
        if self.world.server(client.server).homeserver().is_none() {
            return;
        }
        let scene = Scene {
            world: &self.world,
            users: &self.users,
            room_id: &self.room_id,
            sent: &self.sent,
            step: number,
        };
        let Some(request) = operation.request(user, &scene) else {
            return;
        };
        let path = format!("/_matrix/client/v3{}", request.path);
        let token = Some(client.token.as_str());
        let pending = self
            .world
            .begin(client.server, request.method, &path, token, Some(&request.body));
        self.pending.push((number, user, operation.clone(), pending));
    }

    /// Hears the answers that have come.
    fn hear(&mut self) {
        for (number, user, operation, mut pending) in std::mem::take(&mut self.pending) {
            let Some(answer) = pending.answer() else {
                self.pending.push((number, user, operation, pending));
                continue;
            };
            if answer.status != 200 {
                self.totals.refused += 1;
                let error = answer["error"].as_str().unwrap_or_default().to_owned();
                self.note(format!("       {number}: {} {error}", answer.status));
                continue;
            }
            self.totals.done += 1;
            let Some(event_id) = answer["event_id"].as_str() else {
                self.note(format!("       {number}: done"));
                continue;
            };
            self.note(format!("       {number}: is {}", short_id(event_id)));
            if let Some(client) = self.users.get(user) {
                self.acknowledged.insert(event_id.to_owned(), client.server);
            }
            if operation == Operation::Send {
                self.sent.push(event_id.to_owned());
            }
        }
    }

    /// Ends all trouble, waits until nothing is under way, and checks the invariants.
    fn quiet(&mut self) -> Result<(), Violation> {
        self.totals.quiet_points += 1;
        fault::end_all(&mut self.world);
        self.diverged |= self.states_differ();
        self.settle()?;
        let mut knowledge = self.gather()?;
        let half_joined = invariant::half_joined(&self.users, &knowledge);
        if !half_joined.is_empty() {
            self.totals.joined_again += half_joined.len();
            self.join_again(&half_joined, &knowledge)?;
            knowledge = self.gather()?;
        }
        invariant::heads_are_known(&self.users, &knowledge)?;
        let servers = invariant::servers_with_own_heads(&knowledge);
        if !servers.is_empty() {
            self.totals.joined_by_speaking += 1;
            self.speak(&servers)?;
            knowledge = self.gather()?;
        }
        self.check(&knowledge)?;
        self.trouble();
        Ok(())
    }

    /// Checks everything on what the servers know.
    fn check(&mut self, knowledge: &Knowledge) -> Result<(), Violation> {
        invariant::acknowledged_is_stored(knowledge, &self.acknowledged)?;
        invariant::decisions_agree(knowledge)?;
        invariant::states_agree(knowledge)?;
        invariant::memberships_agree(&self.world, &self.users, knowledge)?;
        invariant::nothing_leaks(&self.world, &self.users, knowledge)?;
        invariant::redactions_agree(&self.users, knowledge)?;
        invariant::deliveries_are_right(&self.world, &self.users, knowledge)?;
        let most = knowledge.events.len() * self.options.servers * MAX_REQUESTS;
        invariant::requests_are_few(self.world.request_count(), most)?;
        self.totals.see_graph(knowledge);
        Ok(())
    }

    /// Whether servers in the room hold different states.
    fn states_differ(&self) -> bool {
        let knowledge = self.gather();
        let roots = knowledge
            .iter()
            .flat_map(Knowledge::believers)
            .map(|(_, belief)| &belief.root);
        roots.collect::<BTreeSet<_>>().len() > 1
    }

    fn settle(&mut self) -> Result<(), Violation> {
        let mut empty = Ok(());
        for _ in 0..SETTLING.1 {
            self.world.run_for(SETTLING.0);
            empty = invariant::queues_are_empty(&self.world);
            if empty.is_ok() && !self.world.is_talking() {
                break;
            }
        }
        self.hear();
        empty
    }

    /// Lets `users` ask again for the joins that they do not know to have succeeded.
    fn join_again(&mut self, users: &[usize], knowledge: &Knowledge) -> Result<(), Violation> {
        let servers: Vec<_> = knowledge.believers().map(|(server, _)| server).collect();
        for user in users {
            self.note(format!("       user{user} joins again, for want of an answer"));
            self.act(STEPS + self.sent.len(), *user, &Operation::Join(servers.clone()));
            self.settle()?;
        }
        Ok(())
    }

    /// Lets a user of each of `servers` say something, one after the other: that joins the branches.
    fn speak(&mut self, servers: &[usize]) -> Result<(), Violation> {
        for server in servers {
            let speaker = self.users.iter().enumerate().find(|(_, client)| {
                let homeserver = self.world.server(*server).homeserver();
                let joined = homeserver.map(|homeserver| {
                    let user_id = client.user_id.as_str().try_into();
                    user_id.is_ok_and(|user_id| homeserver.joined_rooms(user_id).contains(&self.id()))
                });
                client.server == *server && joined == Some(true)
            });
            if let Some((user, _)) = speaker {
                self.note(format!("       user{user} speaks, to join branches"));
                let number = STEPS + self.sent.len();
                self.act(number, user, &Operation::Send);
                self.settle()?;
            }
        }
        Ok(())
    }

    fn id(&self) -> OwnedRoomId {
        #[allow(
            clippy::expect_used,
            reason = "a homeserver that makes a bad room id is to be found out"
        )]
        RoomId::parse(&self.room_id).expect("the room has an id")
    }

    fn gather(&self) -> Result<Knowledge, Violation> {
        Knowledge::gather(&self.world, &self.id()).map_err(|error| Violation {
            invariant: "stores can be read",
            details: vec![error.to_string()],
        })
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
