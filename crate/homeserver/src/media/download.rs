//! Reading files. Spec: Client-Server API, section 'Content Repository', `GET /media/download`.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::Stream;
use hearth_storage::{Direction, KeyRange, Table};

use crate::{
    Error, Homeserver,
    media::{
        Description, MediaId, MediaUri,
        blob::{Blob, parse_blob, read_blob},
        record::{Record, file_key, file_prefix},
    },
    stored::from_slice,
};

/// A file that can be read.
#[derive(Clone, Debug)]
pub struct Media {
    /// What its uploader says of it.
    pub description: Description,
    /// Its length in bytes.
    pub size: u64,
    blob: Blob,
}

impl Media {
    pub(super) fn new(record: Record) -> Result<Self, Error> {
        Ok(Self {
            blob: Blob {
                id: parse_blob(&record.blob)?,
                chunk: record.chunk,
            },
            description: record.description,
            size: record.size,
        })
    }
}

impl Homeserver {
    /// The file at `uri`. If it is to be uploaded still, it is waited for up to `wait`; if it is of another
    /// server and not here, it is fetched first, if `remote` allows.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotYetUploaded`], [`Error::TooLarge`], [`Error::Unreachable`].
    pub async fn media(&self, uri: &MediaUri, wait: Duration, remote: bool) -> Result<Media, Error> {
        if let Some(record) = self.stored_media(uri).await? {
            return Media::new(record);
        }
        if uri.server == self.server_name() {
            self.await_upload(&uri.id, wait).await?;
        } else if remote {
            self.fetch_media(uri).await?;
        }
        let record = self.stored_media(uri).await?;
        Media::new(record.ok_or_else(|| Error::NotFound("there is no such file".into()))?)
    }

    pub(super) async fn stored_media(&self, uri: &MediaUri) -> Result<Option<Record>, Error> {
        let key = file_key(&uri.id, &uri.server);
        let value = self.seams.store.get(Table::Media, &key).await?;
        value.map(|value| from_slice(&value)).transpose()
    }

    /// The file of `id`, for another server. What came from elsewhere is handed on if its id proves it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotYetUploaded`].
    pub async fn media_for_server(&self, id: &MediaId, wait: Duration) -> Result<Media, Error> {
        let uri = MediaUri {
            server: self.server_name().to_owned(),
            id: id.clone(),
        };
        match self.media(&uri, wait, false).await {
            Err(Error::NotFound(_)) if id.is_of_content() => self.media_of_any_server(id).await,
            found => found,
        }
    }

    async fn media_of_any_server(&self, id: &MediaId) -> Result<Media, Error> {
        let range = KeyRange::prefix(file_prefix(id));
        let store = &self.seams.store;
        let mut rows = store.scan(Table::Media, range, Direction::Forward, 1).await?;
        let (_, value) = rows
            .pop()
            .ok_or_else(|| Error::NotFound("there is no such file".into()))?;
        Media::new(from_slice(&value)?)
    }

    /// The bytes `range` of a file, in pieces; the range is cut to the file's length.
    pub fn read_media(
        &self,
        media: &Media,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + use<> {
        let end = range.end.min(media.size);
        read_blob(self.seams.store.clone(), media.blob, range.start..end)
    }
}
