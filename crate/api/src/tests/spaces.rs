//! Spaces in pages. Across servers they are tested in the simulation.

use serde_json::{Value, json};

use super::server::{Client, TestServer};

async fn page(client: &Client<'_>, space: &str, query: &str) -> Value {
    let path = format!("/_matrix/client/v1/rooms/{space}/hierarchy?{query}");
    client.get(&path).await.ok()
}

#[tokio::test]
async fn a_large_space_comes_in_pages() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let kind = json!({"type": "m.space"});
    let space = ann.create_room(json!({"creation_content": kind})).await;
    let mut expected = vec![space.clone()];
    for number in 0..7 {
        let room = ann.create_room(json!({})).await;
        let path = format!("/_matrix/client/v3/rooms/{space}/state/m.space.child/{room}");
        let content = json!({"via": [server.name], "order": number.to_string()});
        ann.put(&path, content).await.ok();
        expected.push(room);
    }
    let (mut told, mut from) = (Vec::new(), String::new());
    for size in [3, 3, 2] {
        let answer = page(&ann, &space, &format!("limit=3{from}")).await;
        let rooms = answer["rooms"].as_array().unwrap();
        assert_eq!(rooms.len(), size);
        told.extend(
            rooms
                .iter()
                .map(|room| room["room_id"].as_str().unwrap().to_owned()),
        );
        from = answer["next_batch"]
            .as_str()
            .map_or(String::new(), |next| format!("&from={next}"));
        assert_eq!(from.is_empty(), size == 2);
    }
    assert_eq!(told, expected);
    let first = page(&ann, &space, "limit=3").await;
    let next = first["next_batch"].as_str().unwrap();
    let path = format!("/_matrix/client/v1/rooms/{space}/hierarchy");
    // A token is for the query that it came from.
    for query in [
        format!("from={next}&suggested_only=true"),
        format!("from={next}&max_depth=1"),
        "from=x".into(),
    ] {
        ann.get(&format!("{path}?{query}"))
            .await
            .fails_at(&query, 400, "M_INVALID_PARAM");
    }
    for query in ["limit=x", "limit=0", "suggested_only=7", "max_depth=-1"] {
        ann.get(&format!("{path}?{query}"))
            .await
            .fails_at(query, 400, "M_INVALID_PARAM");
    }
    let eve = server.register("eve").await;
    eve.get(&path).await.fails(403, "M_FORBIDDEN");
    eve.get(&format!("/_matrix/client/v1/room_summary/{space}"))
        .await
        .fails(404, "M_NOT_FOUND");
    ann.post(
        &format!("/_matrix/client/v3/rooms/{space}/invite"),
        json!({"user_id": eve.user_id}),
    )
    .await
    .ok();
    let rooms = page(&eve, &space, "").await["rooms"].clone();
    assert_eq!(
        rooms.as_array().unwrap().len(),
        1,
        "the space, but none of the rooms"
    );
    assert_eq!(rooms[0]["children_state"].as_array().unwrap().len(), 7);
}
