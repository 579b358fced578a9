//! Transactions. Spec: Server-Server API, section 'Transactions'.

use crate::{
    answer::{self, Outcome},
    call::ServerCall,
    router::{Route, server},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::put("/_matrix/federation/v1/send/{txnId}", server!(send))]
}

async fn send(mut call: ServerCall) -> Outcome {
    let body = call.object().await?;
    let txn_id = call.param("txnId");
    answer::json(
        &call
            .homeserver()
            .receive_transaction(&call.requester, txn_id, body.into())
            .await?,
    )
}
