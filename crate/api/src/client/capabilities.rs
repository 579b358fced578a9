//! What this server can do, and what it can do but does not offer. Spec: Client-Server API, sections
//! 'Capabilities negotiation', 'Voice over IP', 'Content repository' and 'Third-party Networks'.

use hearth_homeserver::{RoomVersion, ordered::object};
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/capabilities", user!(capabilities)),
        Route::get("/_matrix/client/v3/voip/turnServer", user!(turn_server)),
        Route::get("/_matrix/client/v3/thirdparty/protocols", user!(protocols)),
    ]
}

async fn capabilities(call: UserCall) -> Outcome {
    let default = call.homeserver().config.default_room_version.as_str().to_owned();
    let versions = RoomVersion::ALL.iter();
    let available = object(versions.map(|version| (version.to_string(), "stable".into())));
    let is_admin = call.homeserver().is_admin(&call.requester.user_id).await?;
    let mut answer = json!({"capabilities": {
        "m.change_password": {"enabled": true},
        "m.room_versions": {"default": default, "available": available},
        "m.set_displayname": {"enabled": true},
        "m.set_avatar_url": {"enabled": true},
        "m.3pid_changes": {"enabled": false},
        "m.get_login_token": {"enabled": true},
        "m.profile_fields": {"enabled": true},
    }});
    if is_admin {
        answer["capabilities"]["m.account_moderation"] = json!({"suspend": true, "lock": true});
    }
    answer::json(&answer)
}

/// Where there is no TURN server the specification has no answer; clients take an object without fields, which is
/// Synapse's, for it.
async fn turn_server(call: UserCall) -> Outcome {
    match call.homeserver().turn_credentials(&call.requester.user_id) {
        Some(credentials) => answer::json(&credentials),
        None => answer::empty(),
    }
}

/// There are no bridges.
async fn protocols(_: UserCall) -> Outcome {
    answer::empty()
}
