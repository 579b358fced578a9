//! Who is there, as servers tell each other.

use hearth_sim::World;
use serde_json::{Value, json};

use crate::soon;

#[test]
fn servers_tell_each_other_who_is_there() {
    let world = World::with_presence(7, 3);
    let [alice, bob, carol] =
        [(0, "alice"), (1, "bob"), (2, "carol")].map(|(server, name)| world.register(server, name));
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    let since = bob.sync(&world, None)["next_batch"].as_str().unwrap().to_owned();
    let path = format!("/presence/{}/status", alice.user_id);
    let status = json!({"presence": "online", "status_msg": "tea"});
    alice.put(&world, &path, &status).expect(200);
    soon(&world);
    let told = bob.get(&world, &path);
    assert_eq!(
        (&told["presence"], &told["status_msg"]),
        (&json!("online"), &json!("tea"))
    );
    let answer = bob.sync(&world, Some(&since));
    let events = answer["presence"]["events"].as_array().unwrap();
    let of_alice: Vec<&Value> = events
        .iter()
        .filter(|event| event["sender"] == alice.user_id.as_str())
        .collect();
    assert_eq!(of_alice.len(), 1, "{events:?}");
    assert_eq!(of_alice[0]["content"]["presence"], "online");
    assert_eq!(
        carol.get(&world, &path).status,
        403,
        "who shares no room is told nothing"
    );
    // She goes without a word.
    world.settle();
    assert_eq!(bob.get(&world, &path)["presence"], "offline");
}
