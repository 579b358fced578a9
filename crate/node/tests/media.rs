//! Pictures over plain HTTP.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

mod support;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use serde_json::Value;
use support::{Client, Node};
use ureq::Agent;

fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn a_picture_is_made_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::homeserver(folder.path(), &[]);
    let ada = Client::register(&node, "ada");
    let agent = Agent::new_with_defaults();
    let token = format!("Bearer {}", ada.token());
    let large = picture(1000, 500);
    let mut answer = agent
        .post(format!("{}/_matrix/media/v3/upload", node.url))
        .header("authorization", &token)
        .header("content-type", "image/png")
        .send(&large[..])
        .unwrap();
    let answer: Value = answer.body_mut().read_json().unwrap();
    let location = answer["content_uri"]
        .as_str()
        .unwrap()
        .strip_prefix("mxc://")
        .unwrap()
        .to_owned();
    let get = |path: &str| {
        let url = format!("{}/_matrix/client/v1/media/{path}", node.url);
        let mut answer = agent.get(url).header("authorization", &token).call().unwrap();
        assert_eq!(answer.headers()["content-type"], "image/png");
        answer.body_mut().read_to_vec().unwrap()
    };
    assert!(get(&format!("download/{location}")) == large);
    for (query, size) in [
        ("width=64&height=64&method=crop", (96, 96)),
        ("width=300&height=200", (320, 160)),
        ("width=2000&height=2000&method=scale", (800, 400)),
    ] {
        // The second answer comes from the store.
        for _ in 0..2 {
            let small = image::load_from_memory(&get(&format!("thumbnail/{location}?{query}"))).unwrap();
            assert_eq!((small.width(), small.height()), size, "{query}");
        }
    }
}
