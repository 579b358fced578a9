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

/// A user who shares pictures.
struct Sharing<'a> {
    node: &'a Node,
    agent: Agent,
    token: String,
    content_type: &'static str,
}

impl<'a> Sharing<'a> {
    fn new(node: &'a Node, content_type: &'static str) -> Self {
        Self {
            node,
            agent: Agent::new_with_defaults(),
            token: format!("Bearer {}", Client::register(node, "ada").token()),
            content_type,
        }
    }

    /// `server/id` of the file.
    fn upload(&self, file: &[u8]) -> String {
        let mut answer = self
            .agent
            .post(format!("{}/_matrix/media/v3/upload", self.node.url))
            .header("authorization", &self.token)
            .header("content-type", self.content_type)
            .send(file)
            .unwrap();
        let answer: Value = answer.body_mut().read_json().unwrap();
        let uri = answer["content_uri"].as_str().unwrap();
        uri.strip_prefix("mxc://").unwrap().to_owned()
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let url = format!("{}/_matrix/client/v1/media/{path}", self.node.url);
        let request = self.agent.get(url).header("authorization", &self.token);
        let mut answer = request.call().unwrap();
        assert_eq!(answer.headers()["content-type"], self.content_type);
        answer.body_mut().read_to_vec().unwrap()
    }
}

#[test]
fn a_photo_is_turned_as_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::homeserver(folder.path(), &[]);
    let ada = Sharing::new(&node, "image/jpeg");
    let shade = |x, _| image::Luma([if x < 500 { 0 } else { 255 }]);
    let mut jpeg = Cursor::new(Vec::new());
    let photo = image::GrayImage::from_fn(1000, 500, shade);
    photo.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let mut jpeg = jpeg.into_inner();
    // To be turned by 90° clockwise.
    let exif = *b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    jpeg.splice(2..2, exif);
    let location = ada.upload(&jpeg);
    for (query, size) in [
        ("width=64&height=64&method=crop", (96, 96)),
        ("width=300&height=200", (120, 240)),
    ] {
        let small = ada.get(&format!("thumbnail/{location}?{query}"));
        let small = image::load_from_memory(&small).unwrap().to_luma8();
        assert_eq!((small.width(), small.height()), size, "{query}");
        let shades = [10, size.1 - 10].map(|y| small.get_pixel(size.0 / 2, y).0[0]);
        assert!(shades[0] < 50 && shades[1] > 200, "{query}: {shades:?}");
    }
}

#[test]
fn a_picture_is_made_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::homeserver(folder.path(), &[]);
    let ada = Sharing::new(&node, "image/png");
    let large = picture(1000, 500);
    let location = ada.upload(&large);
    assert!(ada.get(&format!("download/{location}")) == large);
    for (query, size) in [
        ("width=64&height=64&method=crop", (96, 96)),
        ("width=300&height=200", (320, 160)),
        ("width=2000&height=2000&method=scale", (800, 400)),
    ] {
        // The second answer comes from the store.
        for _ in 0..2 {
            let small = image::load_from_memory(&ada.get(&format!("thumbnail/{location}?{query}"))).unwrap();
            assert_eq!((small.width(), small.height()), size, "{query}");
        }
    }
}
