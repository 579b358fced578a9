//! Lists of devices as they are kept of a user whose server says whatever it likes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hearth_sim::{Client, World};
use hearth_storage::{Direction, KeyRange, Table};
use serde_json::{Value, json};

use crate::{outsider::Outsider, soon, world};

/// Mallory, in a room with alice, and what Mallory's server says to who asks for the devices.
struct Told {
    world: World,
    alice: Client,
    mallory: Outsider,
    list: Arc<Mutex<Value>>,
}

impl Told {
    fn new(seed: u64) -> Self {
        let (world, mut clients) = world(seed, 1);
        let (alice, mallory) = (clients.remove(0), Outsider::new(9));
        let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
        mallory.join(&world, &room);
        let list = Arc::new(Mutex::new(json!({
            "user_id": mallory.user_id, "stream_id": 1, "devices": [],
        })));
        let told = list.clone();
        world.stand_in(mallory.identity.server_name(), move |uri, _| {
            let asks = uri.contains("/user/devices/");
            asks.then(|| (200, told.lock().unwrap().clone()))
        });
        Self {
            world,
            alice,
            mallory,
            list,
        }
    }

    /// What alice gets to know of Mallory's keys.
    fn query(&self) -> Value {
        let body = json!({"device_keys": {&self.mallory.user_id: []}});
        let answer = self.alice.post(&self.world, "/keys/query", &body);
        answer.expect(200).clone()
    }

    /// The identity keys of Mallory's devices, as alice gets to know them.
    fn devices(&self) -> BTreeMap<String, Value> {
        let devices = self.query()["device_keys"][&self.mallory.user_id].clone();
        serde_json::from_value(devices).unwrap()
    }

    /// Mallory's server sends EDUs.
    fn send(&self, txn: &str, edus: Vec<Value>) {
        let transaction = json!({
            "origin": self.mallory.identity.server_name(), "origin_server_ts": 1, "pdus": [], "edus": edus,
        });
        let uri = format!("/_matrix/federation/v1/send/{txn}");
        let answer = self.mallory.ask(&self.world, "PUT", &uri, Some(transaction));
        answer.expect(200);
    }

    fn keys(&self, device_id: &str, junk: usize) -> Value {
        json!({
            "user_id": self.mallory.user_id, "device_id": device_id, "algorithms": [], "keys": {},
            "signatures": {}, "junk": "x".repeat(junk),
        })
    }

    /// Number `stream_id` of the updates of Mallory's devices, which says that `previous` was before it.
    fn update(&self, stream_id: u64, previous: u64, keys: Value) -> Value {
        json!({"edu_type": "m.device_list_update", "content": {
            "user_id": self.mallory.user_id, "device_id": keys["device_id"], "stream_id": stream_id,
            "prev_id": [previous], "keys": keys,
        }})
    }

    fn cross_signing_key(&self, usage: &str, public: &str) -> Value {
        json!({
            "user_id": self.mallory.user_id, "usage": [usage], "keys": {format!("ed25519:{public}"): public},
        })
    }

    /// How many bytes alice's server keeps of Mallory's devices.
    fn kept(&self) -> usize {
        let store = self.world.server(0).store().clone();
        let range = KeyRange::prefix(b"r\0");
        let rows = self
            .world
            .block_on(async move { store.scan(Table::Keys, range, Direction::Forward, 10).await });
        rows.unwrap().iter().map(|(_, row)| row.len()).sum()
    }

    /// How often Mallory's server was asked for the devices.
    fn asked(&self) -> usize {
        let traffic = self.world.traffic().into_iter();
        traffic
            .filter(|traffic| traffic.request.contains("/user/devices/"))
            .count()
    }
}

#[test]
fn a_list_that_grows_is_as_large_as_one_that_is_fetched_at_most() {
    let told = Told::new(1200);
    assert!(told.devices().is_empty());
    for number in 2..6 {
        let keys = told.keys(&format!("D{number}"), 700_000);
        told.send(&number.to_string(), vec![told.update(number, number - 1, keys)]);
        assert!(told.kept() <= 1_100_000, "{} bytes", told.kept());
    }
    *told.list.lock().unwrap() = json!({
        "user_id": told.mallory.user_id, "stream_id": 6,
        "devices": [{"device_id": "D", "keys": told.keys("D", 0)}],
    });
    told.send("6", vec![told.update(6, 5, told.keys("E", 0))]);
    soon(&told.world);
    assert_eq!(told.devices().into_keys().collect::<Vec<_>>(), ["D"]);
}

#[test]
fn a_list_is_fetched_once_whatever_is_heard_meanwhile() {
    let told = Told::new(1201);
    assert!(told.devices().is_empty());
    told.list.lock().unwrap()["stream_id"] = 100.into();
    let missed = (51..=100).map(|number| told.update(number, number - 1, told.keys("D", 0)));
    told.send("1", missed.collect());
    soon(&told.world);
    assert_eq!(told.asked(), 2);
    assert!(told.devices().is_empty());
    assert_eq!(told.asked(), 2, "what was fetched has all of the updates");
}

#[test]
fn cross_signing_keys_that_change_during_a_fetch_are_the_new_ones() {
    for steps in 0..30 {
        let told = Told::new(1202);
        let path = "/_matrix/client/v3/keys/query";
        let body = json!({"device_keys": {&told.mallory.user_id: []}});
        let token = Some(told.alice.token.as_str());
        let asking = told.world.begin(0, "POST", path, token, Some(&body));
        told.world.run_steps(steps);
        let master = told.cross_signing_key("master", "new");
        told.list.lock().unwrap()["master_key"] = master.clone();
        let content = json!({"user_id": told.mallory.user_id, "master_key": master});
        told.send(
            "1",
            vec![json!({"edu_type": "m.signing_key_update", "content": content})],
        );
        soon(&told.world);
        drop(asking);
        let known = told.query();
        assert_eq!(
            known["master_keys"][&told.mallory.user_id], master,
            "{steps} steps"
        );
    }
}

#[test]
fn of_cross_signing_keys_those_that_an_update_does_not_name_stay() {
    let told = Told::new(1203);
    let own = told.cross_signing_key("self_signing", "own");
    told.list.lock().unwrap()["self_signing_key"] = own.clone();
    assert_eq!(told.query()["self_signing_keys"][&told.mallory.user_id], own);
    let master = told.cross_signing_key("master", "master");
    let content = json!({"user_id": told.mallory.user_id, "master_key": master});
    told.send(
        "1",
        vec![json!({"edu_type": "m.signing_key_update", "content": content})],
    );
    let known = told.query();
    assert_eq!(known["master_keys"][&told.mallory.user_id], master);
    assert_eq!(known["self_signing_keys"][&told.mallory.user_id], own);
    assert_eq!(told.asked(), 1);
}

#[test]
fn a_cross_signing_key_that_could_not_be_read_again_is_not_kept() {
    let told = Told::new(1204);
    let mut master = told.cross_signing_key("master", "deep");
    // As deep as an answer may be.
    master["nested"] = (1..125).fold(json!([]), |inner, _| json!([inner]));
    let mut list = told.list.lock().unwrap();
    list["devices"] = json!([{"device_id": "D", "keys": told.keys("D", 0)}]);
    list["master_key"] = master;
    drop(list);
    for _ in 0..2 {
        let known = told.query();
        assert_eq!(known["master_keys"], json!({}));
        assert!(known["device_keys"][&told.mallory.user_id]["D"].is_object());
    }
}
