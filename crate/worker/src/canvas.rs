//! Pictures, decoded and drawn by the browser, off the worker's thread.

use bytes::Bytes;
use hearth_homeserver::{Images, Picture, Scaled, Scaling};
use hearth_storage::BoxFuture;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, ImageBitmap, ImageEncodeOptions, OffscreenCanvas,
    OffscreenCanvasRenderingContext2d,
};

/// The quality of JPEG thumbnails, of 1.
const QUALITY: f64 = 0.8;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = createImageBitmap)]
    fn create_image_bitmap(picture: &Blob) -> Result<js_sys::Promise, JsValue>;
}

/// An `OffscreenCanvas`.
pub struct Canvas;

impl Images for Canvas {
    fn scale(&self, picture: Picture, bytes: Bytes, scaling: Scaling) -> BoxFuture<'_, Scaled> {
        Box::pin(async move {
            drawn(picture, &bytes, scaling)
                .await
                .map_err(|error| format!("the browser cannot read the picture: {error:?}"))
        })
    }
}

/// The browser turns a picture as its Exif says. The part is cut out after that: asked for a part at once, Chromium cuts it
/// out of the picture as it lies.
async fn drawn(picture: Picture, bytes: &[u8], scaling: Scaling) -> Result<(Picture, Vec<u8>), JsValue> {
    let whole = create_image_bitmap(&blob(picture, bytes)?)?;
    let whole: ImageBitmap = JsFuture::from(whole).await?.dyn_into()?;
    let canvas = OffscreenCanvas::new(scaling.width, scaling.height)?;
    let context = canvas.get_context("2d")?.ok_or(JsValue::UNDEFINED)?;
    let context: OffscreenCanvasRenderingContext2d = context.dyn_into()?;
    context.draw_image_with_image_bitmap_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
        &whole,
        scaling.left.into(),
        scaling.top.into(),
        scaling.part_width.into(),
        scaling.part_height.into(),
        0.0,
        0.0,
        scaling.width.into(),
        scaling.height.into(),
    )?;
    whole.close();
    let made = picture.made_smaller();
    let options = ImageEncodeOptions::new();
    options.set_type(made.content_type());
    options.set_quality(QUALITY);
    let encoded = JsFuture::from(canvas.convert_to_blob_with_options(&options)?).await?;
    let buffer = JsFuture::from(encoded.dyn_into::<Blob>()?.array_buffer()).await?;
    Ok((made, Uint8Array::new(&buffer).to_vec()))
}

fn blob(picture: Picture, bytes: &[u8]) -> Result<Blob, JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(picture.content_type());
    Blob::new_with_u8_array_sequence_and_options(&Array::of1(&Uint8Array::from(bytes)), &options)
}
