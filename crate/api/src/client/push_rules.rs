//! Push rules. Spec: Client-Server API, section 'Push Rules API'.

use hearth_homeserver::accounts::push_rules::{content_of, ruleset_json};
use ruma_common::{
    OwnedRoomId, OwnedUserId,
    push::{
        Action, AnyPushRuleRef, NewConditionalPushRule, NewPatternedPushRule, NewPushRule, NewSimplePushRule,
        PushCondition, RuleKind,
    },
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

const RULE: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
const ENABLED: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled";
const ACTIONS: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/pushrules/", user!(all)),
        Route::get("/_matrix/client/v3/pushrules", user!(all)),
        Route::get("/_matrix/client/v3/pushrules/global/", user!(global)),
        Route::get("/_matrix/client/v3/pushrules/global", user!(global)),
        Route::get(RULE, user!(get)),
        Route::put(RULE, user!(put)),
        Route::delete(RULE, user!(delete)),
        Route::get(ENABLED, user!(get_enabled)),
        Route::put(ENABLED, user!(put_enabled)),
        Route::get(ACTIONS, user!(get_actions)),
        Route::put(ACTIONS, user!(put_actions)),
    ]
}

async fn all(call: UserCall) -> Outcome {
    let rules = call.homeserver().push_rules(&call.requester.user_id).await?;
    answer::json(&content_of(&rules)?)
}

async fn global(call: UserCall) -> Outcome {
    let rules = call.homeserver().push_rules(&call.requester.user_id).await?;
    answer::json(&ruleset_json(&rules)?)
}

async fn get(call: UserCall) -> Outcome {
    with_rule(call, |rule| match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => answer::json(rule),
        AnyPushRuleRef::Content(rule) => answer::json(rule),
        AnyPushRuleRef::Room(rule) => answer::json(rule),
        AnyPushRuleRef::Sender(rule) => answer::json(rule),
        _ => Err(ApiError::not_found("No such push rule")),
    })
    .await
}

async fn get_enabled(call: UserCall) -> Outcome {
    with_rule(call, |rule| answer::json(&json!({"enabled": rule.enabled()}))).await
}

async fn get_actions(call: UserCall) -> Outcome {
    with_rule(call, |rule| answer::json(&json!({"actions": rule.actions()}))).await
}

async fn with_rule(call: UserCall, show: impl FnOnce(AnyPushRuleRef<'_>) -> Outcome) -> Outcome {
    let rules = call.homeserver().push_rules(&call.requester.user_id).await?;
    let rule = rules.get(kind(&call)?, call.param("ruleId"));
    show(rule.ok_or_else(|| ApiError::not_found("No such push rule"))?)
}

#[derive(Deserialize)]
struct Put {
    actions: Vec<Action>,
    #[serde(default)]
    conditions: Vec<PushCondition>,
    pattern: Option<String>,
}

async fn put(mut call: UserCall) -> Outcome {
    let request: Put = call.json().await?;
    let rule = new_rule(&call, request)?;
    let (after, before) = (call.query.get("after"), call.query.get("before"));
    call.homeserver()
        .put_push_rule(&call.requester.user_id, rule, after, before)
        .await?;
    answer::empty()
}

fn new_rule(call: &UserCall, request: Put) -> Result<NewPushRule, ApiError> {
    let rule_id = call.param("ruleId").to_owned();
    let Put {
        actions,
        conditions,
        pattern,
    } = request;
    Ok(match kind(call)? {
        RuleKind::Override => {
            NewPushRule::Override(NewConditionalPushRule::new(rule_id, conditions, actions))
        }
        RuleKind::Underride => {
            NewPushRule::Underride(NewConditionalPushRule::new(rule_id, conditions, actions))
        }
        RuleKind::Content => {
            let pattern = pattern.ok_or_else(|| ApiError::missing_param("Missing pattern"))?;
            NewPushRule::Content(NewPatternedPushRule::new(rule_id, pattern, actions))
        }
        RuleKind::Room => {
            NewPushRule::Room(NewSimplePushRule::new(call.id::<OwnedRoomId>("ruleId")?, actions))
        }
        RuleKind::Sender => {
            NewPushRule::Sender(NewSimplePushRule::new(call.id::<OwnedUserId>("ruleId")?, actions))
        }
        _ => return Err(no_such_kind()),
    })
}

async fn delete(call: UserCall) -> Outcome {
    let user_id = &call.requester.user_id;
    call.homeserver()
        .delete_push_rule(user_id, kind(&call)?, call.param("ruleId"))
        .await?;
    answer::empty()
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

async fn put_enabled(mut call: UserCall) -> Outcome {
    let request: Enabled = call.json().await?;
    let user_id = &call.requester.user_id;
    let rule_id = call.param("ruleId");
    call.homeserver()
        .enable_push_rule(user_id, kind(&call)?, rule_id, request.enabled)
        .await?;
    answer::empty()
}

#[derive(Deserialize)]
struct Actions {
    actions: Vec<Action>,
}

async fn put_actions(mut call: UserCall) -> Outcome {
    let request: Actions = call.json().await?;
    let user_id = &call.requester.user_id;
    let rule_id = call.param("ruleId");
    call.homeserver()
        .set_push_actions(user_id, kind(&call)?, rule_id, request.actions)
        .await?;
    answer::empty()
}

fn kind(call: &UserCall) -> Result<RuleKind, ApiError> {
    match call.param("kind") {
        "override" => Ok(RuleKind::Override),
        "underride" => Ok(RuleKind::Underride),
        "content" => Ok(RuleKind::Content),
        "room" => Ok(RuleKind::Room),
        "sender" => Ok(RuleKind::Sender),
        _ => Err(no_such_kind()),
    }
}

fn no_such_kind() -> ApiError {
    ApiError::invalid_param("No such kind of push rule")
}
