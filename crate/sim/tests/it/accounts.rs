//! Accounts, when several things happen to them at once.

use std::time::Duration;

use hearth_sim::World;
use serde_json::json;

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
