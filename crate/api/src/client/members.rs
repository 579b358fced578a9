//! The members of a room. Spec: Client-Server API, section 'Getting events for a room'.

use hearth_homeserver::{messages::MembersRequest, rooms::client_event::Viewer};
use serde_json::{Map, Value, json};

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
    answer::json(&json!({"chunk": chunk}))
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
    let request = MembersRequest {
        membership: Some("join".into()),
        ..MembersRequest::default()
    };
    let members = call
        .homeserver()
        .members(call.viewer(), &room_id, &request)
        .await?;
    let joined: Map<String, Value> = members.iter().filter_map(joined_member).collect();
    answer::json(&json!({"joined": joined}))
}

/// The user of a membership event, and how they show themselves.
fn joined_member(event: &Map<String, Value>) -> Option<(String, Value)> {
    let content = event.get("content")?;
    let mut shown = Map::new();
    for (from, to) in [("displayname", "display_name"), ("avatar_url", "avatar_url")] {
        if let Some(Value::String(text)) = content.get(from) {
            shown.insert(to.into(), text.as_str().into());
        }
    }
    Some((event.get("state_key")?.as_str()?.to_owned(), shown.into()))
}
