//! What an answer of `/sync` tells a device for its end-to-end encryption. Spec: Client-Server API, sections
//! 'Extensions to /sync' of 'Send-to-Device messaging' and of 'End-to-End Encryption'.

use ruma_common::DeviceId;

use super::{
    Context,
    changes::Changes,
    response::{EncryptionPart, Events, KeysPart},
};
use crate::{
    Error, Homeserver,
    encryption::{DeviceLists, to_device::MAX_TOLD},
};

impl Homeserver {
    /// The part of an answer, and the log position up to which it holds all messages for the device.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn encryption_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
    ) -> Result<(EncryptionPart, u64), Error> {
        let Some(device_id) = context.viewer.device_id else {
            return Ok((EncryptionPart::default(), context.to.position));
        };
        let (to_device, upto) = self.messages_of(context, changes).await?;
        let keys = self.keys_part(context, changes, device_id).await?;
        Ok((EncryptionPart { to_device, keys }, upto))
    }

    /// What is new of keys for the device.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn keys_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
        device_id: &DeviceId,
    ) -> Result<KeysPart, Error> {
        let counts = self.key_counts(context.viewer.user_id, device_id).await?;
        Ok(KeysPart {
            device_lists: self.lists_of(context, changes).await?,
            device_one_time_keys_count: counts.one_time.clone(),
            device_unused_fallback_key_types: counts.unused_fallback.clone(),
            keys_claimed: changes.keys_claimed,
            ..KeysPart::default()
        })
    }

    async fn messages_of(&self, context: &Context<'_>, changes: &Changes) -> Result<(Events, u64), Error> {
        let to = context.to.position;
        let from = context.from.map_or(0, |from| from.to_device);
        let some_wait = context.whole || changes.to_device || from < context.position();
        let Some(device_id) = context.viewer.device_id.filter(|_| some_wait) else {
            return Ok((Events::default(), to));
        };
        let user_id = context.viewer.user_id;
        let (events, upto) = self.messages_for(user_id, device_id, from, to, MAX_TOLD).await?;
        self.note_told(user_id, device_id, from, if events.is_empty() { 0 } else { upto });
        Ok((events.into(), upto))
    }

    /// Whose devices changed.
    async fn lists_of(&self, context: &Context<'_>, changes: &Changes) -> Result<DeviceLists, Error> {
        let user_id = context.viewer.user_id;
        match context.from {
            // A client that knows nothing asks for whomever it wants to write to.
            None => Ok(DeviceLists::default()),
            Some(_) if context.whole => self.all_device_lists(user_id).await,
            Some(_) if changes.lists.is_empty() => Ok(DeviceLists::default()),
            Some(from) => {
                self.device_lists(user_id, from.position, changes.lists.clone())
                    .await
            }
        }
    }
}
