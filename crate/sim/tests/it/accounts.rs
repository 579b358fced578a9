//! Accounts, when several things happen to them at once.

use std::time::Duration;

use hearth_sim::World;
use serde_json::{Value, json};

use crate::{membership, soon};

#[test]
fn no_login_with_the_old_password_outlives_its_change() {
    let world = World::with_slow_commits(700, 1, Duration::from_millis(50));
    let alice = world.register(0, "alice");
    let mut old = String::from("correct horse");
    for steps in 0..40 {
        let new = format!("password {steps}");
        let proof = json!({"type": "m.login.password", "user": "alice", "password": old});
        let change = json!({"auth": proof, "new_password": new, "logout_devices": true});
        let login = json!({
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": old,
        });
        let begin = |path: &str, body| world.begin(0, "POST", path, Some(&alice.token), Some(body));
        let mut changing = begin("/_matrix/client/v3/account/password", &change);
        world.run_steps(steps);
        let mut logging_in = begin("/_matrix/client/v3/login", &login);
        world.run_for(Duration::from_secs(1));
        changing.answer().unwrap().expect(200);
        let answer = logging_in.answer().unwrap();
        if answer.status == 200 {
            let whoami = "/_matrix/client/v3/account/whoami";
            let found = world.request(0, "GET", whoami, answer["access_token"].as_str(), None);
            found.expect(401);
        }
        old = new;
    }
}

#[test]
fn an_account_is_open_or_leaves_all_its_rooms_whenever_the_server_crashes() {
    let mut world = World::with_slow_commits(701, 1, Duration::from_millis(50));
    let alice = world.account(0, "alice");
    let rooms = [(); 3].map(|()| alice.create_room(&world, &json!({"preset": "public_chat"})));
    let (mut open, mut closed) = (0, 0);
    for steps in (0..120).step_by(4) {
        let bob = world.account(0, &format!("bob{steps}"));
        for room in &rooms {
            bob.join(&world, room, &[]).expect(200);
        }
        let body = json!({"auth": {"type": "m.login.dummy"}});
        let path = "/_matrix/client/v3/account/deactivate";
        let _closing = world.begin(0, "POST", path, Some(&bob.token), Some(&body));
        world.run_steps(steps);
        world.restart(0);
        soon(&world);
        let is_open = bob.get(&world, "/account/whoami").status == 200;
        for room in &rooms {
            let found = membership(&world, &alice, room, &bob);
            assert_eq!(
                found.as_deref(),
                Some(if is_open { "join" } else { "leave" }),
                "{steps}"
            );
        }
        *(if is_open { &mut open } else { &mut closed }) += 1;
    }
    assert!(open > 0 && closed > 0, "{open} {closed}");
}

#[test]
fn tags_that_are_set_as_a_whole_are_not_lost_to_one_that_is_set_alone() {
    for seed in 0..20 {
        let world = World::with_slow_commits(seed, 1, Duration::from_millis(50));
        let alice = world.account(0, "alice");
        let room = alice.create_room(&world, &json!({}));
        let own = format!("/_matrix/client/v3/user/{}/rooms/{}", alice.user_id, room);
        let put = |path: String, body: &Value| world.begin(0, "PUT", &path, Some(&alice.token), Some(body));
        let alone = put(format!("{own}/tags/alone"), &json!({}));
        world.run_steps(world.random(10));
        let whole = put(
            format!("{own}/account_data/m.tag"),
            &json!({"tags": {"whole": {}}}),
        );
        world.settle();
        for mut answer in [alone, whole] {
            answer.answer().unwrap().expect(200);
        }
        let tags = world.request(0, "GET", &format!("{own}/tags"), Some(&alice.token), None);
        assert!(tags["tags"]["whole"].is_object(), "seed {seed}: {}", tags.body);
    }
}
