//! Account data and room tags. Spec: Client-Server API, sections 'Client Config' and 'Room Tagging'.

use http::StatusCode;
use ruma_common::OwnedRoomId;
use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

/// The type of account data that holds a room's tags.
const TAGS: &str = "m.tag";
/// The most tags on one room.
const MAX_TAGS: usize = 100;

const GLOBAL: &str = "/_matrix/client/v3/user/{userId}/account_data/{type}";
const ROOM: &str = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
/// Deletion has no stable path yet (MSC3391).
const GLOBAL_MSC3391: &str = "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}";
const ROOM_MSC3391: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}";
const TAG: &str = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(GLOBAL, user!(get_global)),
        Route::put(GLOBAL, user!(put_global)),
        Route::get(ROOM, user!(get_room)),
        Route::put(ROOM, user!(put_room)),
        Route::delete(GLOBAL_MSC3391, user!(delete_global)),
        Route::delete(ROOM_MSC3391, user!(delete_room)),
        Route::get(
            "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags",
            user!(tags),
        ),
        Route::put(TAG, user!(put_tag)),
        Route::delete(TAG, user!(delete_tag)),
    ]
}

async fn get_global(call: UserCall) -> Outcome {
    get(call, None).await
}

async fn get_room(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    get(call, Some(room_id)).await
}

async fn get(call: UserCall, room_id: Option<OwnedRoomId>) -> Outcome {
    let user_id = call.own_user_id()?;
    let kind = call.param("type");
    let found = if room_id.is_none() && kind == "m.push_rules" {
        let rules = call.homeserver().push_rules(&user_id).await?;
        Some(hearth_homeserver::accounts::push_rules::content_of(&rules)?)
    } else {
        call.homeserver()
            .account_data(&user_id, room_id.as_deref(), kind)
            .await?
    };
    answer::json(&found.ok_or_else(|| ApiError::not_found("No such account data"))?)
}

async fn put_global(call: UserCall) -> Outcome {
    put(call, None).await
}

async fn put_room(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    put(call, Some(room_id)).await
}

async fn put(mut call: UserCall, room_id: Option<OwnedRoomId>) -> Outcome {
    let user_id = call.own_user_id()?;
    let content = call.object().await?;
    let kind = call.param("type");
    check_settable(kind)?;
    // Not between the reading and the writing of who changes a part of it.
    let replace = |present: &mut Map<String, Value>| {
        *present = content;
        Ok(())
    };
    call.homeserver()
        .change_account_data(&user_id, room_id.as_deref(), kind, replace)
        .await?;
    answer::empty()
}

async fn delete_global(call: UserCall) -> Outcome {
    delete(call, None).await
}

async fn delete_room(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    delete(call, Some(room_id)).await
}

async fn delete(call: UserCall, room_id: Option<OwnedRoomId>) -> Outcome {
    let user_id = call.own_user_id()?;
    let kind = call.param("type");
    check_settable(kind)?;
    call.homeserver()
        .delete_account_data(&user_id, room_id.as_deref(), kind)
        .await?;
    answer::empty()
}

/// Some types have endpoints of their own.
fn check_settable(kind: &str) -> Result<(), ApiError> {
    if !matches!(kind, "m.fully_read" | "m.push_rules") {
        return Ok(());
    }
    let message = format!("{kind} is set through its own endpoint");
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "M_BAD_JSON",
        message,
    ))
}

async fn tags(call: UserCall) -> Outcome {
    let (user_id, room_id) = (call.own_user_id()?, call.room_id()?);
    let content = call
        .homeserver()
        .account_data(&user_id, Some(&room_id), TAGS)
        .await?;
    let tags = content
        .and_then(|mut content| content.remove("tags"))
        .unwrap_or_else(|| json!({}));
    answer::json(&json!({"tags": tags}))
}

async fn put_tag(mut call: UserCall) -> Outcome {
    let tag = call.object_or_empty().await?;
    change_tags(call, |tags, name| {
        tags.insert(name.to_owned(), tag.into());
    })
    .await
}

async fn delete_tag(call: UserCall) -> Outcome {
    change_tags(call, |tags, name| {
        tags.remove(name);
    })
    .await
}

async fn change_tags(call: UserCall, change: impl FnOnce(&mut Map<String, Value>, &str)) -> Outcome {
    let (user_id, room_id) = (call.own_user_id()?, call.room_id()?);
    let name = call.param("tag");
    let change = |content: &mut Map<String, Value>| {
        let mut tags = match content.remove("tags") {
            Some(Value::Object(tags)) => tags,
            _ => Map::new(),
        };
        let before = tags.len();
        change(&mut tags, name);
        if tags.len() > MAX_TAGS.max(before) {
            return Err(hearth_homeserver::Error::TooLarge(format!(
                "a room has at most {MAX_TAGS} tags"
            )));
        }
        content.insert("tags".into(), tags.into());
        Ok(())
    };
    call.homeserver()
        .change_account_data(&user_id, Some(&room_id), TAGS, change)
        .await?;
    answer::empty()
}
