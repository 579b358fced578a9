//! Pictures made smaller by the browser, in a real service worker.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::Bytes;
use hearth_homeserver::{Images, Picture, Scaling};
use hearth_worker::canvas::Canvas;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_service_worker);

/// A GIF of 2 × 1 pixels, the left one red and the right one white.
const GIF: &[u8] = &[
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 2, 0, 1, 0, 0x80, 0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0x2c, 0, 0, 0,
    0, 2, 0, 1, 0, 0, 2, 2, 0x44, 0x0a, 0, 0x3b,
];

const SCALING: Scaling = Scaling {
    left: 1,
    top: 0,
    part_width: 1,
    part_height: 1,
    width: 1,
    height: 1,
};

#[wasm_bindgen_test]
async fn a_part_is_cut_out_and_encoded() {
    let (made, bytes) = Canvas
        .scale(Picture::Gif, Bytes::from_static(GIF), SCALING)
        .await
        .unwrap();
    assert_eq!(made, Picture::Png);
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    // Width and height in the head of the PNG.
    assert_eq!(&bytes[16..24], &[0, 0, 0, 1, 0, 0, 0, 1]);
}

#[wasm_bindgen_test]
async fn what_is_no_picture_is_an_error() {
    for kind in [Picture::Png, Picture::Jpeg, Picture::Gif, Picture::Webp] {
        let answer = Canvas.scale(kind, Bytes::from_static(b"nonsense"), SCALING).await;
        assert!(answer.is_err());
    }
}
