//! Pictures, decoded on threads of their own.

use std::io::Cursor;

use bytes::Bytes;
use hearth_homeserver::{Images, Picture, Scaled, Scaling};
use hearth_storage::BoxFuture;
use image::{
    DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, imageops::FilterType,
    metadata::Orientation,
};

/// The most memory that decoding one picture may take, in bytes.
const MAX_MEMORY: u64 = 256 << 20;
/// The quality of JPEG thumbnails, of 100.
const QUALITY: u8 = 80;

/// Reads pictures with the crate `image`.
pub(super) struct Decoder;

impl Images for Decoder {
    fn scale(&self, picture: Picture, bytes: Bytes, scaling: Scaling) -> BoxFuture<'_, Scaled> {
        Box::pin(async move {
            tokio::task::spawn_blocking(move || scaled(picture, bytes, scaling))
                .await
                .map_err(|_| "the picture could not be read".to_owned())?
                .map_err(|error| error.to_string())
        })
    }
}

fn scaled(picture: Picture, bytes: Bytes, scaling: Scaling) -> image::ImageResult<(Picture, Vec<u8>)> {
    let shown = decoded(picture, bytes)?;
    let part = shown.crop_imm(scaling.left, scaling.top, scaling.part_width, scaling.part_height);
    drop(shown);
    let small = part.resize_exact(scaling.width, scaling.height, FilterType::Triangle);
    let made = picture.made_smaller();
    Ok((made, encoded(&small, made)?))
}

/// The picture as it is shown.
fn decoded(picture: Picture, bytes: Bytes) -> image::ImageResult<DynamicImage> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format(picture));
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    // Of the other formats, not even browsers agree whether to turn them.
    let orientation = match picture {
        Picture::Jpeg => decoder.orientation()?,
        Picture::Png | Picture::Gif | Picture::Webp => Orientation::NoTransforms,
    };
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

fn encoded(picture: &DynamicImage, kind: Picture) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    if kind == Picture::Jpeg {
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY);
        picture.to_rgb8().write_with_encoder(encoder)?;
    } else {
        picture.write_to(&mut Cursor::new(&mut bytes), format(kind))?;
    }
    Ok(bytes)
}

fn format(picture: Picture) -> ImageFormat {
    match picture {
        Picture::Png => ImageFormat::Png,
        Picture::Jpeg => ImageFormat::Jpeg,
        Picture::Gif => ImageFormat::Gif,
        Picture::Webp => ImageFormat::WebP,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn picture(format: ImageFormat) -> Bytes {
        let picture = image::RgbImage::from_fn(100, 50, |x, _| image::Rgb([if x < 50 { 0 } else { 255 }; 3]));
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes.into()
    }

    const RIGHT_HALF: Scaling = Scaling {
        left: 50,
        top: 0,
        part_width: 50,
        part_height: 50,
        width: 10,
        height: 10,
    };

    #[test]
    fn the_part_that_is_asked_for_is_made_smaller() {
        for kind in [Picture::Png, Picture::Jpeg, Picture::Gif, Picture::Webp] {
            let (made, bytes) = scaled(kind, picture(format(kind)), RIGHT_HALF).unwrap();
            assert_eq!(made, kind.made_smaller());
            let small = image::load_from_memory(&bytes).unwrap().to_luma8();
            assert_eq!((small.width(), small.height()), (10, 10), "{kind:?}");
            assert!(small.pixels().all(|pixel| pixel.0[0] > 250), "{kind:?}");
        }
    }

    /// A JPEG file whose Exif asks for that orientation.
    fn turned(orientation: u8) -> Bytes {
        let jpeg = picture(ImageFormat::Jpeg);
        let exif = [
            b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        [&jpeg[..2], &exif, &jpeg[2..]].concat().into()
    }

    #[test]
    fn pictures_are_turned_as_they_ask_for() {
        // Whether the dark half, which is stored on the left, is to be the first one, on the left or above.
        for (orientation, is_first) in [
            (1, true),
            (2, false),
            (3, false),
            (4, true),
            (5, true),
            (6, true),
            (7, false),
            (8, false),
        ] {
            let (width, height) = if orientation < 5 { (100, 50) } else { (50, 100) };
            let scaling = Scaling {
                left: 0,
                top: 0,
                part_width: width,
                part_height: height,
                width: width / 5,
                height: height / 5,
            };
            let (_, bytes) = scaled(Picture::Jpeg, turned(orientation), scaling).unwrap();
            let small = image::load_from_memory(&bytes).unwrap().to_luma8();
            let (width, height) = (small.width(), small.height());
            assert_eq!((width, height), (scaling.width, scaling.height), "{orientation}");
            let (first, last) = (small.get_pixel(2, 2), small.get_pixel(width - 3, height - 3));
            let is_dark = |pixel: &image::Luma<u8>| pixel.0[0] < 128;
            assert_eq!(
                (is_dark(first), is_dark(last)),
                (is_first, !is_first),
                "{orientation}"
            );
        }
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        for kind in [Picture::Png, Picture::Jpeg, Picture::Gif, Picture::Webp] {
            assert!(scaled(kind, Bytes::from_static(b"nonsense"), RIGHT_HALF).is_err());
            let mut cut = picture(format(kind));
            cut.truncate(20);
            assert!(scaled(kind, cut, RIGHT_HALF).is_err());
        }
    }
}
