//! Pictures made smaller by the browser, in a real service worker.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::Bytes;
use hearth_homeserver::{Images, Picture, Scaling};
use hearth_worker::canvas::Canvas;
use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::{JsCast, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{Blob, ImageBitmap, ImageEncodeOptions, OffscreenCanvas, OffscreenCanvasRenderingContext2d};

wasm_bindgen_test_configure!(run_in_service_worker);

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = createImageBitmap)]
    fn create_image_bitmap(picture: &Blob) -> Promise;
}

async fn awaited<T: JsCast>(promise: Promise) -> T {
    JsFuture::from(promise).await.unwrap().unchecked_into()
}

fn context_of(canvas: &OffscreenCanvas) -> OffscreenCanvasRenderingContext2d {
    canvas.get_context("2d").unwrap().unwrap().unchecked_into()
}

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

/// A JPEG file of 100 × 50 pixels, black on the left and white on the right, whose Exif asks for it to be turned by 90°
/// clockwise.
async fn turned_photo() -> Bytes {
    let canvas = OffscreenCanvas::new(100, 50).unwrap();
    let context = context_of(&canvas);
    context.fill_rect(0.0, 0.0, 50.0, 50.0);
    context.set_fill_style_str("white");
    context.fill_rect(50.0, 0.0, 50.0, 50.0);
    let options = ImageEncodeOptions::new();
    options.set_type("image/jpeg");
    let blob: Blob = awaited(canvas.convert_to_blob_with_options(&options).unwrap()).await;
    let jpeg = Uint8Array::new(&awaited(blob.array_buffer()).await).to_vec();
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    [&jpeg[..2], exif, &jpeg[2..]].concat().into()
}

/// The size of a picture, and how bright it is in its middle near its upper and its lower edge, of 255.
async fn seen(picture: &[u8]) -> ((u32, u32), [u8; 2]) {
    let parts = Array::of1(&Uint8Array::from(picture));
    let blob = Blob::new_with_u8_array_sequence(&parts).unwrap();
    let bitmap: ImageBitmap = awaited(create_image_bitmap(&blob)).await;
    let (width, height) = (bitmap.width(), bitmap.height());
    let context = context_of(&OffscreenCanvas::new(width, height).unwrap());
    context.draw_image_with_image_bitmap(&bitmap, 0.0, 0.0).unwrap();
    let middle = f64::from(width / 2);
    let red = |y: u32| {
        let pixel = context.get_image_data(middle, f64::from(y), 1.0, 1.0);
        pixel.unwrap().data()[0]
    };
    ((width, height), [red(1), red(height - 2)])
}

#[wasm_bindgen_test]
async fn a_photo_is_turned_before_a_part_is_cut_out() {
    let photo = turned_photo().await;
    for (top, part_height, is_light) in [
        (0, 100, [false, true]),
        (0, 40, [false, false]),
        (60, 40, [true, true]),
    ] {
        let scaling = Scaling {
            left: 0,
            top,
            part_width: 50,
            part_height,
            width: 25,
            height: part_height / 2,
        };
        let (made, bytes) = Canvas.scale(Picture::Jpeg, photo.clone(), scaling).await.unwrap();
        assert_eq!(made, Picture::Jpeg);
        let (size, shades) = seen(&bytes).await;
        assert_eq!(size, (25, part_height / 2));
        assert_eq!(
            shades.map(|shade| shade > 128),
            is_light,
            "{top} {part_height}: {shades:?}"
        );
    }
}

#[wasm_bindgen_test]
async fn what_is_no_picture_is_an_error() {
    for kind in [Picture::Png, Picture::Jpeg, Picture::Gif, Picture::Webp] {
        let answer = Canvas.scale(kind, Bytes::from_static(b"nonsense"), SCALING).await;
        assert!(answer.is_err());
    }
}
