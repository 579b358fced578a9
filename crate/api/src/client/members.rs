//! The members of a room. Spec: Client-Server API, section 'Getting events for a room'.

use std::collections::BTreeMap;

use hearth_homeserver::{messages::MembersRequest, rooms::client_event::Viewer};

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/rooms/{roomId}/members", user!(members)),
        Route::get(
            "/_matrix/client/v3/rooms/{roomId}/joined_members",
            user!(joined_members),
        ),
    ]
}

impl UserCall {
    /// The requester as the reader of events.
    pub(super) fn viewer(&self) -> Viewer<'_> {
        Viewer {
            user_id: &self.requester.user_id,
            device_id: Some(&self.requester.device_id),
        }
    }
}

async fn members(call: UserCall) -> Outcome {
    let request = MembersRequest {
        at: call.query.get("at").map(str::parse).transpose()?,
        membership: membership(&call, "membership")?,
        not_membership: membership(&call, "not_membership")?,
    };
    let chunk = call
        .homeserver()
        .members(call.viewer(), &call.room_id()?, &request)
        .await?;
    answer::json(&BTreeMap::from([("chunk", chunk)]))
}

fn membership(call: &UserCall, name: &str) -> Result<Option<String>, ApiError> {
    let known = |value: &str| matches!(value, "join" | "invite" | "leave" | "ban" | "knock");
    call.query
        .parsed(name, |value| known(value).then(|| value.to_owned()))
}

async fn joined_members(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    let membership = call
        .homeserver()
        .user_membership(&call.requester.user_id, &room_id);
    if membership.is_none_or(|entry| entry.membership != "join") {
        return Err(ApiError::forbidden("You are not in the room"));
    }
    let joined = call
        .homeserver()
        .joined_members(&call.requester.user_id, &room_id)
        .await?;
    answer::json(&BTreeMap::from([("joined", joined)]))
}
