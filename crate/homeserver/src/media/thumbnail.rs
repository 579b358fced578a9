//! Smaller pictures. Spec: Client-Server API, section 'Thumbnails'.
//!
//! Of each picture there are a few sizes and no others, so that nobody can fill the store with sizes. A picture
//! is never made larger. A JPEG file that is to be shown turned is turned first, as its Exif says.

use std::{collections::VecDeque, time::Duration};

use futures::{TryStreamExt as _, channel::oneshot};
use hearth_storage::{Table, WriteBatch};

use crate::{
    Error, Homeserver,
    media::{
        Description, Media, MediaId, MediaUri,
        blob::BlobWriter,
        orientation,
        record::{Record, earlier_thumbnail_key, thumbnail_key},
    },
    seams::{Picture, Scaling},
    stored::{from_slice, to_vec},
};

/// The most bytes of a file that is decoded.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// The most pixels of a picture that is decoded.
const MAX_PIXELS: u64 = 40_000_000;
/// After how long a picture that could not be read is tried again, in milliseconds.
const RETRY: u64 = 5 * 60_000;
/// How many pictures that could not be read are remembered.
const MAX_UNREADABLE: usize = 1_000;
/// The sizes that are made: as Synapse makes them by default.
const SIZES: [(u32, u32, Method); 5] = [
    (32, 32, Method::Crop),
    (96, 96, Method::Crop),
    (320, 240, Method::Scale),
    (640, 480, Method::Scale),
    (800, 600, Method::Scale),
];

/// How a picture is fitted into a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Filled: what juts out is cut off.
    Crop,
    /// Fitted whole.
    Scale,
}

/// The size that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// How the picture is fitted into it.
    pub method: Method,
}

impl Size {
    /// The smallest size that is made and not smaller than this one; else the largest.
    fn made(self) -> Self {
        let sizes = SIZES.map(|(width, height, method)| Self {
            width,
            height,
            method,
        });
        let of_method = |size: &&Self| size.method == self.method;
        let is_enough = |size: &&Self| size.width >= self.width && size.height >= self.height;
        let enough = sizes.iter().filter(of_method).find(is_enough);
        // A crop larger than any that is made is served by a scaled one.
        let enough = enough.or_else(|| sizes.iter().find(is_enough));
        enough.or(sizes.last()).copied().unwrap_or(self)
    }

    fn name(self) -> String {
        let method = match self.method {
            Method::Crop => "crop",
            Method::Scale => "scale",
        };
        format!("{}x{}-{method}", self.width, self.height)
    }

    /// What becomes of a picture of `width` × `height`; `None` if it is small enough as it is.
    fn scaling(self, width: u32, height: u32) -> Option<Scaling> {
        if width <= self.width && height <= self.height {
            return None;
        }
        let (wide, high) = (f64::from(self.width), f64::from(self.height));
        let (across, down) = (wide / f64::from(width), high / f64::from(height));
        let factor = match self.method {
            Method::Crop => across.max(down),
            Method::Scale => across.min(down),
        }
        .min(1.0);
        let pixels = |length: f64| length.round().max(1.0) as u32;
        let target = |length: u32, limit: u32| pixels(f64::from(length) * factor).min(limit);
        let (target_width, target_height) = (target(width, self.width), target(height, self.height));
        let part = |target: u32, length: u32| pixels(f64::from(target) / factor).min(length);
        let (part_width, part_height) = (part(target_width, width), part(target_height, height));
        Some(Scaling {
            left: (width - part_width) / 2,
            top: (height - part_height) / 2,
            part_width,
            part_height,
            width: target_width,
            height: target_height,
        })
    }
}

impl Homeserver {
    /// The picture at `uri` in at least the size that is asked for, as far as it is that large. `wait` and
    /// `remote` as for [`Homeserver::media`].
    ///
    /// # Errors
    /// Those of [`Homeserver::media`]; [`Error::NoThumbnail`] if the file is no picture that can be read.
    pub async fn thumbnail(
        &self,
        uri: &MediaUri,
        size: Size,
        wait: Duration,
        remote: bool,
    ) -> Result<Media, Error> {
        let media = self.media(uri, wait, remote).await?;
        self.made_smaller(media, size, uri).await
    }

    /// The picture of `id`, for another server, as [`Homeserver::media_for_server`] finds it.
    ///
    /// # Errors
    /// Those of [`Homeserver::thumbnail`].
    pub async fn thumbnail_for_server(
        &self,
        id: &MediaId,
        size: Size,
        wait: Duration,
    ) -> Result<Media, Error> {
        let media = self.media_for_server(id, wait).await?;
        let uri = MediaUri {
            server: self.server_name().to_owned(),
            id: id.clone(),
        };
        self.made_smaller(media, size, &uri).await
    }

    async fn made_smaller(&self, media: Media, size: Size, uri: &MediaUri) -> Result<Media, Error> {
        let size = size.made();
        let key = thumbnail_key(&uri.id, &uri.server, &size.name());
        if let Some(thumbnail) = self.stored_thumbnail(&key).await? {
            return Ok(thumbnail);
        }
        let mut unreadable = self.media.scaling.lock_arc().await;
        let (uri, (done, made)) = (uri.clone(), oneshot::channel());
        // A task of its own: the platform goes on with a picture when whoever asked is gone, and so must the lock.
        self.spawn(|homeserver| async move {
            let made = homeserver.made_once(&mut unreadable, media, size, &uri).await;
            // Nobody may be waiting any more.
            let _ = done.send(made);
        });
        made.await
            .unwrap_or_else(|oneshot::Canceled| Err(Error::Damaged("closing".into())))
    }

    /// What [`Homeserver::made_smaller`] makes, unless somebody else has made it, or tried in vain, while the lock was
    /// waited for.
    async fn made_once(
        &self,
        unreadable: &mut VecDeque<(MediaUri, u64)>,
        media: Media,
        size: Size,
        uri: &MediaUri,
    ) -> Result<Media, Error> {
        let key = thumbnail_key(&uri.id, &uri.server, &size.name());
        if let Some(thumbnail) = self.stored_thumbnail(&key).await? {
            return Ok(thumbnail);
        }
        let now = self.now();
        if unreadable.iter().any(|(of, until)| of == uri && now < *until) {
            return Err(Error::NoThumbnail("the picture could not be read".into()));
        }
        let earlier = earlier_thumbnail_key(&uri.id, &uri.server, &size.name());
        self.remove_thumbnail(earlier).await?;
        let made = self.make_thumbnail(media, size, key).await;
        if let Err(Error::NoThumbnail(_)) = &made {
            unreadable.truncate(MAX_UNREADABLE - 1);
            unreadable.push_front((uri.clone(), now + RETRY));
        }
        made
    }

    async fn remove_thumbnail(&self, key: Vec<u8>) -> Result<(), Error> {
        let Some(value) = self.seams.store.get(Table::Media, &key).await? else {
            return Ok(());
        };
        // The record goes last: whatever happens between, the rest is removed another time.
        self.remove_blob(&from_slice::<Record>(&value)?.blob).await?;
        let mut batch = WriteBatch::new();
        batch.delete(Table::Media, key);
        Ok(self.seams.store.commit(batch).await?)
    }

    async fn stored_thumbnail(&self, key: &[u8]) -> Result<Option<Media>, Error> {
        let value = self.seams.store.get(Table::Media, key).await?;
        value.map(|value| Media::new(from_slice(&value)?)).transpose()
    }

    async fn make_thumbnail(&self, media: Media, size: Size, key: Vec<u8>) -> Result<Media, Error> {
        if media.size > MAX_FILE {
            return Err(Error::TooLarge(
                "the picture is too large to be made smaller".into(),
            ));
        }
        let bytes: Vec<bytes::Bytes> = self.read_media(&media, 0..media.size).try_collect().await?;
        let bytes = bytes.concat();
        let (picture, width, height) = measured(&bytes)?;
        let Some(scaling) = size.scaling(width, height) else {
            return Ok(media);
        };
        let scaled = self.seams.images.scale(picture, bytes.into(), scaling).await;
        let (made, bytes) = scaled.map_err(Error::NoThumbnail)?;
        self.keep_thumbnail(key, made, &bytes).await
    }

    async fn keep_thumbnail(&self, key: Vec<u8>, made: Picture, bytes: &[u8]) -> Result<Media, Error> {
        let homeserver = self.shared().ok_or_else(|| Error::Damaged("closing".into()))?;
        let mut writer = BlobWriter::new(homeserver, MAX_FILE);
        writer.write(bytes).await?;
        let mut finished = writer.finish();
        let description = Description::new(Some(made.content_type()), None)?;
        let record: Record = self.record_of(&finished, description, None);
        let mut batch: WriteBatch = std::mem::take(&mut finished.batch);
        batch.put(Table::Media, key, to_vec(&record)?);
        self.seams.store.commit(batch).await?;
        Media::new(record)
    }
}

/// Which picture `bytes` are, and the width and height with which it is shown, by the file's head alone.
fn measured(bytes: &[u8]) -> Result<(Picture, u32, u32), Error> {
    use imagesize::{ImageType, blob_size, image_type};
    let unreadable = || Error::NoThumbnail("this is no picture that can be made smaller".into());
    let picture = match image_type(bytes) {
        Ok(ImageType::Png) => Picture::Png,
        Ok(ImageType::Jpeg) => Picture::Jpeg,
        Ok(ImageType::Gif) => Picture::Gif,
        Ok(ImageType::Webp) => Picture::Webp,
        _ => return Err(unreadable()),
    };
    let size = blob_size(bytes).map_err(|_| unreadable())?;
    let (width, height) = (u32::try_from(size.width), u32::try_from(size.height));
    let (Ok(width @ 1..), Ok(height @ 1..)) = (width, height) else {
        return Err(unreadable());
    };
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge(
            "the picture has too many pixels to be made smaller".into(),
        ));
    }
    if picture == Picture::Jpeg && orientation::lies_on_its_side(bytes) {
        return Ok((picture, height, width));
    }
    Ok((picture, width, height))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    fn size(width: u32, height: u32, method: Method) -> Size {
        Size {
            width,
            height,
            method,
        }
    }

    #[test]
    fn a_size_is_one_of_few() {
        for (asked, made) in [
            (size(1, 1, Method::Crop), "32x32-crop"),
            (size(33, 10, Method::Crop), "96x96-crop"),
            (size(97, 10, Method::Crop), "320x240-scale"),
            (size(1, 1, Method::Scale), "320x240-scale"),
            (size(321, 1, Method::Scale), "640x480-scale"),
            (size(u32::MAX, 1, Method::Scale), "800x600-scale"),
        ] {
            assert_eq!(asked.made().name(), made);
        }
    }

    #[test]
    fn a_scaled_picture_is_whole_and_a_cropped_one_full() {
        let scaled = size(320, 240, Method::Scale).scaling(1000, 500).unwrap();
        assert_eq!((scaled.width, scaled.height), (320, 160));
        assert_eq!((scaled.part_width, scaled.part_height), (1000, 500));
        let cropped = size(96, 96, Method::Crop).scaling(1000, 500).unwrap();
        assert_eq!((cropped.width, cropped.height), (96, 96));
        assert_eq!((cropped.left, cropped.part_width), (250, 500));
        assert_eq!((cropped.top, cropped.part_height), (0, 500));
    }

    #[test]
    fn a_picture_is_measured_as_it_is_shown() {
        for (orientation, width, height) in [(1, 100, 50), (3, 100, 50), (6, 50, 100), (8, 50, 100)] {
            let found = measured(&orientation::tests::jpeg(orientation)).unwrap();
            assert_eq!(found, (Picture::Jpeg, width, height), "{orientation}");
        }
    }

    #[test]
    fn nothing_is_made_larger() {
        assert_eq!(size(320, 240, Method::Scale).scaling(320, 240), None);
        let narrow = size(96, 96, Method::Crop).scaling(1000, 10).unwrap();
        assert_eq!((narrow.width, narrow.height), (96, 10));
        let line = size(32, 32, Method::Scale).scaling(100_000, 1).unwrap();
        assert_eq!((line.width, line.height), (32, 1));
    }
}
