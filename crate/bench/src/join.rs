//! What it costs to join a large room over the simulated link: until it can be used, and until all its members are
//! known. `/sync` is asked for all the while.
//!
//! All servers of the simulation and the link between them share one thread, so the times on the stopwatch are the
//! work of both sides together; the virtual times are those of the link, on which work takes none.

use std::{sync::Arc, time::Duration};

use hearth_rooms::RoomVersion;
use hearth_sim::{Answer, Client, Pending, World, synthetic::SyntheticRoom};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{Failure, Figures, Scale, Times};

/// How many steps of the servers are between two requests for `/sync`: time passes only when nobody has anything
/// to do.
const PAUSE: usize = 10;
/// After how many steps a join has failed.
const MAX_STEPS: usize = 10_000_000;
/// A client that loads members lazily: it has the room before all are known.
const FILTER: &str = r#"{"room":{"state":{"lazy_load_members":true}}}"#;

/// Lets one server join a synthetic room with all its members at once, and another join through the first without
/// them.
///
/// # Errors
/// [`Failure`] if a server refuses something, or the room never becomes whole.
pub fn measure(stopwatch: fn() -> f64, scale: Scale) -> Result<Figures, Failure> {
    let members = match scale {
        Scale::Full => 13_000,
        Scale::Smoke => 30,
    };
    let room = Arc::new(SyntheticRoom::new(1, RoomVersion::V12, members, members.min(100)));
    let world = World::new(1, 2);
    world.take_turns();
    let answering = room.clone();
    world.stand_in(room.founder_server(), move |uri, body| {
        Some((200, answering.answer(uri, body)?))
    });
    let mut figures = Figures::default();
    let (helper, joiner) = (world.account(0, "helper"), world.account(1, "joiner"));
    let began = stopwatch();
    accepted(helper.join(&world, room.room_id.as_str(), &[room.founder_server()]))?;
    figures.note("with_all_members_ms", stopwatch() - began);
    let course = Course::begin(&world, &joiner, &room, stopwatch);
    // The founder, the helper and whoever joins are members too.
    figures.add(course.run(members + 3)?);
    Ok(figures.prefixed(&format!("join_{members}_simulated_")))
}

/// A join that is under way.
struct Course<'a> {
    world: &'a World,
    joiner: &'a Client,
    room: String,
    stopwatch: fn() -> f64,
    began: (f64, Duration),
    syncs: Syncs,
    figures: Figures,
}

impl<'a> Course<'a> {
    fn begin(world: &'a World, joiner: &'a Client, room: &SyntheticRoom, stopwatch: fn() -> f64) -> Self {
        Self {
            world,
            joiner,
            room: room.room_id.to_string(),
            stopwatch,
            began: (stopwatch(), world.elapsed()),
            syncs: Syncs::default(),
            figures: Figures::default(),
        }
    }

    fn run(mut self, members: usize) -> Result<Figures, Failure> {
        let via = encode(self.world.server(0).name());
        let path = format!("/join/{}?via={via}", encode(&self.room));
        let mut join = self.ask("POST", &path, Some(&json!({})));
        accepted(self.steps_until(|_| join.answer())?)?;
        self.note("answered");
        self.steps_until(|course| course.syncs.shows_room.then_some(()))?;
        self.note("usable");
        let mut asking = self.ask_for_members();
        let answer = self.steps_until(|course| {
            let answer = asking.answer()?;
            if answer.status == 404 {
                // It waited in vain, as long as a request does.
                asking = course.ask_for_members();
                return None;
            }
            Some(answer)
        })?;
        self.note("complete");
        let known = accepted(answer)?["joined"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        if known != members {
            return Err(format!("{known} members are known in place of {members}").into());
        }
        self.syncs.note(&mut self.figures);
        Ok(self.figures)
    }

    /// Lets all servers work, and asks for `/sync`, until `wanted` returns something.
    fn steps_until<T>(&mut self, mut wanted: impl FnMut(&Self) -> Option<T>) -> Result<T, Failure> {
        for step in 0..MAX_STEPS {
            if let Some(found) = wanted(self) {
                return Ok(found);
            }
            if self.syncs.pending.is_none() && step % PAUSE == 0 {
                let since = self.syncs.since.as_deref().map(encode);
                let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
                let path = format!("/sync?timeout=0&filter={}{since}", encode(FILTER));
                self.syncs.pending = Some(((self.stopwatch)(), self.ask("GET", &path, None)));
            }
            self.world.run_steps(1);
            self.syncs.look((self.stopwatch)(), &self.room)?;
        }
        Err("the room does not become whole".into())
    }

    fn ask_for_members(&self) -> Pending {
        self.ask(
            "GET",
            &format!("/rooms/{}/joined_members", encode(&self.room)),
            None,
        )
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Pending {
        let path = format!("/_matrix/client/v3{path}");
        let token = Some(self.joiner.token.as_str());
        self.world.begin(self.joiner.server, method, &path, token, body)
    }

    /// Notes that it has come so far.
    fn note(&mut self, how_far: &str) {
        let took = (self.stopwatch)() - self.began.0;
        let on_link = self.world.elapsed().saturating_sub(self.began.1);
        self.figures.note(format!("{how_far}_ms"), took);
        self.figures
            .note(format!("{how_far}_virtual_ms"), on_link.as_secs_f64() * 1000.0);
    }
}

/// Requests for `/sync`, one after the other.
#[derive(Default)]
struct Syncs {
    pending: Option<(f64, Pending)>,
    since: Option<String>,
    shows_room: bool,
    times: Times,
}

impl Syncs {
    /// Takes the answer, if it has come by `now`.
    fn look(&mut self, now: f64, room: &str) -> Result<(), Failure> {
        let Some((began, pending)) = &mut self.pending else {
            return Ok(());
        };
        let Some(answer) = pending.answer() else {
            return Ok(());
        };
        self.times.push(now - *began);
        self.pending = None;
        let answer = accepted(answer)?;
        self.since = answer["next_batch"].as_str().map(str::to_owned);
        self.shows_room |= answer["rooms"]["join"].get(room).is_some();
        Ok(())
    }

    fn note(&self, figures: &mut Figures) {
        figures.note_ms("sync", &self.times);
        figures.note("sync_longest_ms", self.times.at(1.0));
    }
}

fn accepted(answer: Answer) -> Result<Value, Failure> {
    match answer.status {
        200 => Ok(answer.body),
        status => Err(format!("{}: {status} {}", answer.asked, answer.body).into()),
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
