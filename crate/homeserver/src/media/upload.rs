//! Uploading. Spec: Client-Server API, section 'Content Repository', `POST /upload` and `PUT /upload/{id}`.

use std::sync::Arc;

use hearth_storage::{StoreError, Table};
use ruma_common::{OwnedUserId, UserId};

use crate::{
    Error, Homeserver,
    media::{
        Description, MediaId, MediaUri,
        blob::{BlobWriter, CHUNK, Finished},
        record::{Record, file_key, reservation_key},
    },
    stored::to_vec,
};

/// A file on its way in. Dropped before [`Upload::finish`], nothing of it remains.
pub struct Upload {
    homeserver: Arc<Homeserver>,
    writer: BlobWriter,
    description: Description,
    uploader: OwnedUserId,
    reserved: Option<MediaId>,
}

impl Homeserver {
    /// Begins an upload of a local user.
    ///
    /// # Errors
    /// [`Error::Damaged`] while the homeserver closes.
    pub fn upload(&self, user_id: &UserId, description: Description) -> Result<Upload, Error> {
        self.begin_upload(user_id, description, None)
    }

    pub(super) fn begin_upload(
        &self,
        user_id: &UserId,
        description: Description,
        reserved: Option<MediaId>,
    ) -> Result<Upload, Error> {
        let homeserver = self.shared().ok_or_else(|| Error::Damaged("closing".into()))?;
        Ok(Upload {
            writer: BlobWriter::new(homeserver.clone(), self.config.max_upload_bytes),
            homeserver,
            description,
            uploader: user_id.to_owned(),
            reserved,
        })
    }
}

impl Upload {
    /// Adds the next bytes of the file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the greatest size of a file, [`Error::Store`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write(bytes).await
    }

    /// The whole file came: stores it, and returns where it is to be had.
    ///
    /// # Errors
    /// [`Error::CannotOverwriteMedia`] if another upload for the same reserved id came first; [`Error::Store`].
    pub async fn finish(self) -> Result<MediaUri, Error> {
        let homeserver = self.homeserver;
        let finished = self.writer.finish();
        let of_content = || MediaId::of_content(finished.digest, &self.description);
        let id = self.reserved.clone().unwrap_or_else(of_content);
        let server = homeserver.server_name().to_owned();
        let uri = MediaUri { server, id };
        let record = homeserver.record_of(&finished, self.description, Some(self.uploader));
        homeserver
            .keep_file(&uri, finished, &record, self.reserved.is_some())
            .await?;
        Ok(uri)
    }
}

impl Homeserver {
    /// The record of a blob that has just come.
    pub(super) fn record_of(
        &self,
        finished: &Finished,
        description: Description,
        uploader: Option<OwnedUserId>,
    ) -> Record {
        Record {
            description,
            size: finished.size,
            blob: finished.blob.clone(),
            chunk: CHUNK,
            created: self.now(),
            uploader,
        }
    }

    /// Commits a file. If it is stored already, what came goes: it is the same again, but where the id was reserved.
    ///
    /// # Errors
    /// [`Error::CannotOverwriteMedia`] if the id was reserved, and another upload came first; [`Error::Store`].
    pub(super) async fn keep_file(
        &self,
        uri: &MediaUri,
        mut finished: Finished,
        record: &Record,
        was_reserved: bool,
    ) -> Result<(), Error> {
        let mut batch = std::mem::take(&mut finished.batch);
        batch.insert(Table::Media, file_key(&uri.id, &uri.server), to_vec(record)?);
        if was_reserved {
            batch.delete(Table::Media, reservation_key(&uri.id));
        }
        match self.seams.store.commit(batch).await {
            Err(StoreError::Exists) => {
                self.discard(finished).await?;
                return match was_reserved {
                    true => Err(Error::CannotOverwriteMedia),
                    false => Ok(()),
                };
            }
            done => done?,
        }
        if was_reserved {
            self.media.uploaded.notify(usize::MAX);
        }
        Ok(())
    }
}
