//! A user of a server, speaking the client-server API.

use std::ops::Index;

use hearth_api::Body;
use http::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{Pending, World};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// How many events of history are asked for at once.
const PAGE: usize = 20;

/// A signed-in user.
#[derive(Clone, Debug)]
pub struct Client {
    /// The number of the server that the account is on.
    pub server: usize,
    /// The user id.
    pub user_id: String,
    /// The access token.
    pub token: String,
}

/// An answer of a server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked: method and path.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is `status`.
    ///
    /// # Panics
    /// If it is another one.
    pub fn expect(&self, status: u16) -> &Value {
        assert!(
            self.status == status,
            "{}: {} instead of {status}: {}",
            self.asked,
            self.status,
            self.body
        );
        &self.body
    }
}

impl Index<&str> for Answer {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        &self.body[key]
    }
}

impl Client {
    /// `GET` of a path below `/_matrix/client/v3`.
    #[must_use]
    pub fn get(&self, world: &World, path: &str) -> Answer {
        self.ask(world, "GET", path, None)
    }

    /// `PUT` of a path below `/_matrix/client/v3`.
    pub fn put(&self, world: &World, path: &str, body: &Value) -> Answer {
        self.ask(world, "PUT", path, Some(body))
    }

    /// `POST` of a path below `/_matrix/client/v3`.
    pub fn post(&self, world: &World, path: &str, body: &Value) -> Answer {
        self.ask(world, "POST", path, Some(body))
    }

    /// Makes a room and returns its id.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn create_room(&self, world: &World, options: &Value) -> String {
        text(self.post(world, "/createRoom", options).expect(200), "room_id")
    }

    /// Joins a room by way of `via`.
    pub fn join(&self, world: &World, room_id: &str, via: &[&str]) -> Answer {
        let query: Vec<String> = via.iter().map(|via| format!("via={}", encode(via))).collect();
        self.post(
            world,
            &format!("/join/{}?{}", encode(room_id), query.join("&")),
            &json!({}),
        )
    }

    /// Knocks on a room by way of `via`.
    pub fn knock(&self, world: &World, room_id: &str, via: &[&str]) -> Answer {
        let query: Vec<String> = via.iter().map(|via| format!("via={}", encode(via))).collect();
        let path = format!("/knock/{}?{}", encode(room_id), query.join("&"));
        self.post(world, &path, &json!({"reason": "hello?"}))
    }

    /// Leaves a room, or rejects the invite to it.
    pub fn leave(&self, world: &World, room_id: &str) -> Answer {
        self.post(world, &format!("/rooms/{}/leave", encode(room_id)), &json!({}))
    }

    /// Removes a user from a room.
    pub fn kick(&self, world: &World, room_id: &str, user_id: &str) -> Answer {
        self.act_on(world, room_id, "kick", user_id)
    }

    /// Bans a user from a room.
    pub fn ban(&self, world: &World, room_id: &str, user_id: &str) -> Answer {
        self.act_on(world, room_id, "ban", user_id)
    }

    /// Invites a user.
    pub fn invite(&self, world: &World, room_id: &str, user_id: &str) -> Answer {
        self.act_on(world, room_id, "invite", user_id)
    }

    /// Sends a text message whose transaction id is its text.
    pub fn send(&self, world: &World, room_id: &str, message: &str) -> Answer {
        let path = format!(
            "/rooms/{}/send/m.room.message/{}",
            encode(room_id),
            encode(message)
        );
        self.put(world, &path, &json!({"msgtype": "m.text", "body": message}))
    }

    /// Begins what [`Client::send`] does, and does not wait for it.
    pub fn begin_send(&self, world: &World, room_id: &str, message: &str) -> Pending {
        let (room_id, id) = (encode(room_id), encode(message));
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{id}");
        let body = json!({"msgtype": "m.text", "body": message});
        world.begin(self.server, "PUT", &path, Some(&self.token), Some(&body))
    }

    /// Sets the state of `event_type` and `state_key`.
    pub fn set_state(
        &self,
        world: &World,
        room_id: &str,
        event_type: &str,
        state_key: &str,
        content: &Value,
    ) -> Answer {
        let (room_id, state_key) = (encode(room_id), encode(state_key));
        self.put(
            world,
            &format!("/rooms/{room_id}/state/{event_type}/{state_key}"),
            content,
        )
    }

    /// The room's current state as (type, state key, event id), sorted.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn state(&self, world: &World, room_id: &str) -> Vec<(String, String, String)> {
        let answer = self.get(world, &format!("/rooms/{}/state", encode(room_id)));
        let events = answer.expect(200).as_array().cloned().unwrap_or_default();
        let entry = |event: &Value| {
            (
                text(event, "type"),
                text(event, "state_key"),
                text(event, "event_id"),
            )
        };
        let mut state: Vec<_> = events.iter().map(entry).collect();
        state.sort();
        state
    }

    /// The id of the event of the room's current state that has this type and state key.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "a test that asks for what is not there is to stop"
    )]
    pub fn state_id(&self, world: &World, room_id: &str, event_type: &str, state_key: &str) -> String {
        let mut state = self.state(world, room_id).into_iter();
        let entry = state.find(|entry| entry.0 == event_type && entry.1 == state_key);
        entry.expect("the state has it").2
    }

    /// All events of the room that the user may see, newest first, over as many pages as it takes. Ends early
    /// where the server has no more and cannot fetch more now.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "a test that asks for what it may not have is to stop"
    )]
    pub fn history(&self, world: &World, room_id: &str) -> Vec<Value> {
        self.try_history(world, room_id).expect("history is given")
    }

    /// As [`Client::history`]; the answer of the server if that refuses.
    pub(crate) fn try_history(&self, world: &World, room_id: &str) -> Result<Vec<Value>, Answer> {
        let mut events = Vec::new();
        let mut from = None;
        loop {
            let token = from
                .as_deref()
                .map(|from| format!("&from={}", encode(from)))
                .unwrap_or_default();
            let page = format!("/rooms/{}/messages?dir=b&limit={PAGE}{token}", encode(room_id));
            let answer = self.get(world, &page);
            if answer.status != 200 {
                return Err(answer);
            }
            events.extend(answer["chunk"].as_array().cloned().unwrap_or_default());
            let end = answer["end"].as_str().map(str::to_owned);
            if end.is_none() || end == from {
                return Ok(events);
            }
            from = end;
        }
    }

    /// The texts of all messages that the user may see, oldest first.
    #[must_use]
    pub fn messages(&self, world: &World, room_id: &str) -> Vec<String> {
        let bodies = self.history(world, room_id).into_iter().rev();
        bodies
            .filter_map(|event| Some(event["content"]["body"].as_str()?.to_owned()))
            .collect()
    }

    /// `/sync` from `since` (or all), without waiting.
    #[must_use]
    pub fn sync(&self, world: &World, since: Option<&str>) -> Answer {
        let since = since
            .map(|since| format!("&since={}", encode(since)))
            .unwrap_or_default();
        self.get(world, &format!("/sync?timeout=0{since}"))
    }

    fn act_on(&self, world: &World, room_id: &str, action: &str, user_id: &str) -> Answer {
        let path = format!("/rooms/{}/{action}", encode(room_id));
        self.post(world, &path, &json!({"user_id": user_id}))
    }

    fn ask(&self, world: &World, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let path = format!("/_matrix/client/v3{path}");
        world.request(self.server, method, &path, Some(&self.token), body)
    }
}

/// The request body that registers `name`.
pub(crate) fn credentials(name: &str) -> Value {
    json!({"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}})
}

/// Status and JSON of a response.
pub(crate) async fn read(response: Response<Body>) -> Option<(u16, Value)> {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect(MAX_ANSWER).await.ok()?;
    Some((
        status,
        if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).ok()?
        },
    ))
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
