//! Transactions of other servers. Spec: Server-Server API, sections 'Transactions' and 'PDUs'.

use ruma_common::ServerName;
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Takes in a transaction (`PUT /send/{txnId}`), and answers `{"pdus": {event_id: {}|{"error"}}}`. The same
    /// transaction again gets the same answer.
    ///
    /// # Errors
    /// [`Error::BadJson`] if it is malformed, [`Error::InvalidParam`] over 50 PDUs or 100 EDUs.
    pub async fn receive_transaction(
        &self,
        origin: &ServerName,
        txn_id: &str,
        body: Value,
    ) -> Result<Value, Error> {
        todo!()
    }
}
