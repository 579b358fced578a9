//! Ids that are given before the file is there. Spec: Client-Server API, `POST /_matrix/media/v1/create`
//! (MSC2246).

use std::time::Duration;

use futures::{FutureExt as _, select_biased};
use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver,
    media::{
        Description, MediaId, MediaUri, Upload,
        record::{RESERVATIONS, file_key, reservation_key},
    },
    stored::{from_slice, scan_all, to_vec},
};

/// How long a reserved id waits for its file, in milliseconds: a day, as the spec suggests.
const LIFETIME: u64 = 24 * 60 * 60 * 1000;
/// The most ids without a file that a user may have.
const MAX_PENDING: usize = 64;

#[derive(Serialize, Deserialize)]
struct Reservation {
    user: OwnedUserId,
    expires: u64,
}

impl Homeserver {
    /// Reserves an id. Returns it, and until when it waits for its file, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the user has too many already.
    pub async fn reserve_media(&self, user_id: &UserId) -> Result<(MediaUri, u64), Error> {
        let now = self.now();
        let mut batch = WriteBatch::new();
        let mut pending = 0;
        for (key, value) in scan_all(&*self.seams.store, Table::Media, RESERVATIONS).await? {
            let reservation: Reservation = from_slice(&value)?;
            if reservation.expires <= now {
                batch.delete(Table::Media, key);
            } else if reservation.user == *user_id {
                pending += 1;
            }
        }
        if pending >= MAX_PENDING {
            return Err(Error::LimitExceeded {
                retry_after_ms: LIFETIME,
            });
        }
        let id = MediaId::reserved(&*self.seams.rng);
        let expires = now + LIFETIME;
        let user = user_id.to_owned();
        let reservation = to_vec(&Reservation { user, expires })?;
        batch.put(Table::Media, reservation_key(&id), reservation);
        self.seams.store.commit(batch).await?;
        let server = self.server_name().to_owned();
        Ok((MediaUri { server, id }, expires))
    }

    /// Begins the upload of the file that an id was reserved for.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user has no such reservation, [`Error::CannotOverwriteMedia`] if the file
    /// is there.
    pub async fn upload_reserved(
        &self,
        user_id: &UserId,
        server: &ServerName,
        id: MediaId,
        description: Description,
    ) -> Result<Upload, Error> {
        let forbidden = || Error::Forbidden("no such upload was announced, or not by you".into());
        if server != self.server_name() {
            return Err(forbidden());
        }
        let key = file_key(&id, server);
        if self.seams.store.get(Table::Media, &key).await?.is_some() {
            return Err(Error::CannotOverwriteMedia);
        }
        let reservation = self.reservation(&id).await?.ok_or_else(forbidden)?;
        if reservation.user != *user_id {
            return Err(forbidden());
        }
        self.begin_upload(user_id, description, Some(id))
    }

    /// The reservation of `id` that still stands.
    async fn reservation(&self, id: &MediaId) -> Result<Option<Reservation>, Error> {
        let value = self.seams.store.get(Table::Media, &reservation_key(id)).await?;
        let reservation: Option<Reservation> = value.map(|value| from_slice(&value)).transpose()?;
        Ok(reservation.filter(|reservation| reservation.expires > self.now()))
    }

    /// Waits until the file of a reserved id is there, at most for `wait`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is reserved under the id, [`Error::NotYetUploaded`] after the time.
    pub(super) async fn await_upload(&self, id: &MediaId, wait: Duration) -> Result<(), Error> {
        let mut end = self.seams.clock.sleep(wait).fuse();
        loop {
            let uploaded = self.media.uploaded.listen();
            let key = file_key(id, self.server_name());
            if self.seams.store.get(Table::Media, &key).await?.is_some() {
                return Ok(());
            }
            if self.reservation(id).await?.is_none() {
                return Err(Error::NotFound("there is no such file".into()));
            }
            select_biased! {
                () = uploaded.fuse() => (),
                () = end => return Err(Error::NotYetUploaded),
            }
        }
    }
}
