//! Transactions. Spec: Server-Server API, section 'Transactions'.

use crate::{
    answer::{self, Outcome},
    api::MAX_FEDERATION_BODY,
    call::ServerCall,
    json,
    router::{Route, server},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::put("/_matrix/federation/v1/send/{txnId}", server!(send))]
}

async fn send(mut call: ServerCall) -> Outcome {
    let body = json::object(&call.bytes_upto(MAX_FEDERATION_BODY).await?)?;
    let txn_id = call.param("txnId");
    answer::json(
        &call
            .homeserver()
            .receive_transaction(&call.requester, txn_id, body.into())
            .await?,
    )
}
