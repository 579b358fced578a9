//! Running nodes as processes, and a Matrix client of a few calls.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    cell::Cell,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use ureq::{Agent, http::Request};

/// How long anything that must happen may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `hearth-node`, killed when dropped.
pub(crate) struct Node {
    process: Child,
    /// What it printed once it was ready.
    pub(crate) announcement: String,
    /// The URL in it.
    pub(crate) url: String,
}

impl Node {
    /// Starts the binary and waits until it has printed its URL.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut announcement = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut announcement)
            .unwrap();
        let url = announcement
            .split_whitespace()
            .find(|word| word.starts_with("http"));
        let url = url
            .unwrap_or_else(|| panic!("no URL in {announcement:?}"))
            .to_owned();
        Self {
            process,
            announcement,
            url,
        }
    }

    /// Serves files and a relay.
    pub(crate) fn serve(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        Self::start(&[&["serve", "--listen", "127.0.0.1:0", "--data", data], more].concat())
    }

    /// Runs a homeserver that anybody may register at.
    pub(crate) fn homeserver(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let fixed = [
            "homeserver",
            "--listen",
            "127.0.0.1:0",
            "--data",
            data,
            "--open-registration",
        ];
        Self::start(&[&fixed, more].concat())
    }

    /// The name in the announcement of a homeserver.
    pub(crate) fn server_name(&self) -> &str {
        self.announcement.split_whitespace().nth(1).unwrap()
    }

    /// The address of the relay, as the app is told it.
    pub(crate) fn relay(&self) -> String {
        let config = call("GET", &format!("{}/config.json", self.url), None, None).1;
        config["relays"][0].as_str().unwrap().to_owned()
    }

    /// Ends it without warning.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end; whether it did so as it should.
    pub(crate) fn terminate(mut self) -> bool {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap().success()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary with `arguments`.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth-node"));
    command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// What a node says that does not start with `arguments`.
pub(crate) fn refused(arguments: &[&str]) -> String {
    let arguments = [arguments, &["--listen", "127.0.0.1:0"]].concat();
    let mut command = command(&arguments);
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    if !said.is_empty() {
        process.kill().unwrap();
        panic!("it starts: {said}");
    }
    let output = process.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// A user of one homeserver.
pub(crate) struct Client {
    url: String,
    token: String,
    pub(crate) user_id: String,
    transactions: Cell<u32>,
}

impl Client {
    /// Makes an account at `node`.
    pub(crate) fn register(node: &Node, name: &str) -> Self {
        let body = json!({"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}});
        let (status, answer) = call(
            "POST",
            &format!("{}/_matrix/client/v3/register", node.url),
            None,
            Some(&body),
        );
        assert_eq!(status, 200, "{answer}");
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        Self {
            url: node.url.clone(),
            token: text("access_token"),
            user_id: text("user_id"),
            transactions: Cell::new(0),
        }
    }

    /// The access token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The same device after its homeserver was restarted.
    pub(crate) fn at(&mut self, node: &Node) {
        self.url.clone_from(&node.url);
    }

    /// A call that must succeed. `path` starts below `/_matrix/client/v3/`.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/_matrix/client/v3/{path}", self.url);
        let (status, answer) = call(method, &url, Some(&self.token), body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Makes a room that whoever knows its id may join.
    pub(crate) fn create_room(&self, name: &str) -> String {
        let room = self.call(
            "POST",
            "createRoom",
            Some(&json!({"preset": "public_chat", "name": name})),
        );
        room["room_id"].as_str().unwrap().to_owned()
    }

    /// Joins through `server`.
    pub(crate) fn join(&self, room: &str, server: &str) {
        let path = format!("join/{}?via={server}&server_name={server}", encode(room));
        assert_eq!(self.call("POST", &path, Some(&json!({})))["room_id"], room);
    }

    /// Sends a text message; its event id.
    pub(crate) fn send(&self, room: &str, text: &str) -> String {
        let transaction = self.transactions.get();
        self.transactions.set(transaction + 1);
        let path = format!("rooms/{}/send/m.room.message/test-{transaction}", encode(room));
        let sent = self.call("PUT", &path, Some(&json!({"msgtype": "m.text", "body": text})));
        sent["event_id"].as_str().unwrap().to_owned()
    }

    /// The texts of all messages of `room`, oldest first, by paging back.
    pub(crate) fn history(&self, room: &str) -> Vec<String> {
        let mut texts = Vec::new();
        let mut from = String::new();
        loop {
            let page = self.call(
                "GET",
                &format!("rooms/{}/messages?dir=b&limit=5{from}", encode(room)),
                None,
            );
            texts.extend(page["chunk"].as_array().unwrap().iter().filter_map(text));
            let Some(end) = page["end"].as_str() else { break };
            from = format!("&from={end}");
        }
        texts.reverse();
        texts
    }

    /// Follows `/sync` from its beginning until every one of `wanted` was seen in `room`.
    pub(crate) fn wait_for(&self, room: &str, wanted: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen: Vec<String> = Vec::new();
        let mut since = String::new();
        while !wanted.iter().all(|text| seen.iter().any(|seen| seen == text)) {
            assert!(
                Instant::now() < deadline,
                "{} waits for {wanted:?}, saw {seen:?}",
                self.user_id
            );
            let answer = self.call("GET", &format!("sync?timeout=5000{since}"), None);
            let events = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
            seen.extend(events.into_iter().flatten().filter_map(text));
            since = format!("&since={}", answer["next_batch"].as_str().unwrap());
        }
    }

    /// The user ids of the joined members of `room`.
    pub(crate) fn members(&self, room: &str) -> Vec<String> {
        let members = self.call("GET", &format!("rooms/{}/joined_members", encode(room)), None);
        members["joined"].as_object().unwrap().keys().cloned().collect()
    }
}

fn text(event: &Value) -> Option<String> {
    (event["type"] == "m.room.message")
        .then(|| event["content"]["body"].as_str().unwrap_or_default().to_owned())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// One HTTP request; status and JSON of the answer.
pub(crate) fn call(method: &str, url: &str, token: Option<&str>, body: Option<&Value>) -> (u16, Value) {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let mut request = Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut response = agent.run(request.body(body).unwrap()).unwrap();
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
