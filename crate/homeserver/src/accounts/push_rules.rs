//! Push rules as each user has set them. Spec: Client-Server API, section 'Push Rules'.
//!
//! They are account data of the type `m.push_rules`. What is stored is laid over the defaults of this release
//! whenever it is read, so that a new default rule reaches every user.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use ruma_common::{
    OwnedUserId, RoomId, UserId,
    push::{
        Action, AnyPushRuleRef, ConditionalPushRule, NewConditionalPushRule, NewPushRule, NewSimplePushRule,
        PushCondition, RuleKind, Ruleset,
    },
};
use serde_json::{Value, json};

use crate::{Error, Homeserver, JsonObject, push::MAX_PATTERN};

/// The type of account data that holds push rules.
pub const PUSH_RULES: &str = "m.push_rules";
/// The most users whose rules are kept in memory.
const MAX_KNOWN: usize = 1000;
/// The most that the user's own rules weigh together: what they may cost for every character of an event.
const MAX_WEIGHT: usize = 4096;
/// Fields that are short, so that a pattern for them costs little. Rules that silence a room have one each.
const SHORT: [&str; 4] = ["room_id", "sender", "state_key", "type"];
/// What a condition on the display name weighs: about as much as a long name.
const WEIGHT_OF_NAME: usize = 64;

impl Homeserver {
    /// The user's rules: their own, and the defaults as they have changed them. The same `Arc` as long as they
    /// stay the same.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn push_rules(&self, user_id: &UserId) -> Result<Arc<Ruleset>, Error> {
        if let Some(known) = self.known_push_rules().get(user_id) {
            return Ok(known.clone());
        }
        let _lock = self.accounts.lock(user_id).await;
        let rules = Arc::new(self.stored_push_rules(user_id).await?);
        self.keep_push_rules(user_id, rules.clone());
        Ok(rules)
    }

    /// Adds a rule of the user's own, or replaces the one of the same id. `after` and `before` place it beside
    /// another of the user's rules.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if the id is reserved or malformed, or if all patterns together are too long;
    /// [`Error::NotFound`] if the other rule is not there.
    pub async fn put_push_rule(
        &self,
        user_id: &UserId,
        rule: NewPushRule,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<(), Error> {
        use ruma_common::push::InsertPushRuleError::UnknownRuleId;
        let (kind, rule_id) = (rule.kind(), rule.rule_id().to_owned());
        if [after, before].contains(&Some(rule_id.as_str())) {
            return Err(Error::InvalidParam(
                "a rule cannot be placed beside itself".into(),
            ));
        }
        self.change_push_rules(user_id, |rules| {
            let enabled = rules.get(kind.clone(), &rule_id).is_none_or(|old| old.enabled());
            // ruma would move a rule past the end if it is there already and `after` is the last.
            let _ = rules.remove(kind.clone(), &rule_id);
            rules.insert(rule, after, before).map_err(|error| match error {
                UnknownRuleId => Error::NotFound(error.to_string()),
                _ => Error::InvalidParam(error.to_string()),
            })?;
            rules
                .set_enabled(kind, &rule_id, enabled)
                .map_err(|_| no_such_rule())
        })
        .await
    }

    /// Removes one of the user's own rules.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, [`Error::InvalidParam`] if it is a default rule.
    pub async fn delete_push_rule(
        &self,
        user_id: &UserId,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<(), Error> {
        use ruma_common::push::RemovePushRuleError::ServerDefault;
        self.change_push_rules(user_id, |rules| {
            rules.remove(kind, rule_id).map_err(|error| match error {
                ServerDefault => Error::InvalidParam(error.to_string()),
                _ => no_such_rule(),
            })
        })
        .await
    }

    /// Switches a rule on or off.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn enable_push_rule(
        &self,
        user_id: &UserId,
        kind: RuleKind,
        rule_id: &str,
        enabled: bool,
    ) -> Result<(), Error> {
        let change = |rules: &mut Ruleset| {
            rules
                .set_enabled(kind, rule_id, enabled)
                .map_err(|_| no_such_rule())
        };
        self.change_push_rules(user_id, change).await
    }

    /// Sets what a rule does.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn set_push_actions(
        &self,
        user_id: &UserId,
        kind: RuleKind,
        rule_id: &str,
        actions: Vec<Action>,
    ) -> Result<(), Error> {
        let change = |rules: &mut Ruleset| {
            rules
                .set_actions(kind, rule_id, actions)
                .map_err(|_| no_such_rule())
        };
        self.change_push_rules(user_id, change).await
    }

    /// Copies the user's rules for the room `old` that are switched on to the room `new`, each right after the one
    /// it is a copy of. What is there for `new` already stays as it is.
    pub(crate) async fn copy_push_rules(
        &self,
        user_id: &UserId,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), Error> {
        if copies(&*self.push_rules(user_id).await?, old, new).is_empty() {
            return Ok(());
        }
        self.change_push_rules(user_id, |rules| {
            for (original, copy) in copies(rules, old, new) {
                // A room of another server may have an id that cannot be part of a rule's.
                if let Err(error) = rules.insert(copy, Some(&original), None) {
                    tracing::info!(%new, %error, "a push rule was not copied");
                }
            }
            Ok(())
        })
        .await
    }

    async fn change_push_rules(
        &self,
        user_id: &UserId,
        change: impl FnOnce(&mut Ruleset) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let mut rules = self.stored_push_rules(user_id).await?;
        let before = weight(&rules);
        change(&mut rules)?;
        if weight(&rules) > before.max(MAX_WEIGHT) {
            return Err(Error::InvalidParam(format!(
                "the patterns of push rules have at most {MAX_WEIGHT} characters together"
            )));
        }
        self.set_account_data(user_id, None, PUSH_RULES, content_of(&rules)?)
            .await?;
        self.keep_push_rules(user_id, Arc::new(rules));
        Ok(())
    }

    async fn stored_push_rules(&self, user_id: &UserId) -> Result<Ruleset, Error> {
        let stored = self.account_data(user_id, None, PUSH_RULES).await?;
        merged(stored.as_ref(), user_id)
    }

    fn keep_push_rules(&self, user_id: &UserId, rules: Arc<Ruleset>) {
        let mut known = self.known_push_rules();
        if known.len() >= MAX_KNOWN && !known.contains_key(user_id) {
            known.clear();
        }
        known.insert(user_id.to_owned(), rules);
    }

    fn known_push_rules(&self) -> MutexGuard<'_, HashMap<OwnedUserId, Arc<Ruleset>>> {
        self.accounts
            .push_rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of the `m.push_rules` event for `rules`.
///
/// # Errors
/// [`Error::Damaged`] if a rule cannot be written.
pub fn content_of(rules: &Ruleset) -> Result<JsonObject, Error> {
    let mut content = JsonObject::new();
    content.insert("global".into(), ruleset_json(rules)?);
    Ok(content)
}

/// `rules` with all five kinds, as clients expect them, also where there are none.
///
/// # Errors
/// [`Error::Damaged`] if a rule cannot be written.
pub fn ruleset_json(rules: &Ruleset) -> Result<Value, Error> {
    let mut json = json!({"content": [], "override": [], "room": [], "sender": [], "underride": []});
    let rules = serde_json::to_value(rules).map_err(|error| Error::Damaged(error.to_string()))?;
    if let (Value::Object(all), Value::Object(rules)) = (&mut json, rules) {
        all.extend(rules);
    }
    Ok(json)
}

/// The stored rules laid over the defaults.
fn merged(stored: Option<&JsonObject>, user_id: &UserId) -> Result<Ruleset, Error> {
    let default = Ruleset::server_default(user_id);
    let Some(global) = stored.and_then(|content| content.get("global")) else {
        return Ok(default);
    };
    let mut rules: Ruleset = serde_json::from_value(global.clone())
        .map_err(|error| Error::Damaged(format!("push rules: {error}")))?;
    rules.update_with_server_default(default);
    Ok(rules)
}

/// The user's rules for the room `old` as rules for `new`, as far as these are not there yet, with the ids of those
/// that they are copies of.
fn copies(rules: &Ruleset, old: &RoomId, new: &RoomId) -> Vec<(String, NewPushRule)> {
    let mut copies = Vec::new();
    if let Some(rule) = rules.room.get(old.as_str()).filter(|rule| rule.enabled) {
        let copy = NewSimplePushRule::new(new.to_owned(), rule.actions.clone());
        copies.push((old.to_string(), NewPushRule::Room(copy)));
    }
    let copy = |rule: &ConditionalPushRule| Some((rule.rule_id.clone(), for_room(rule, old, new)?));
    let overriding = rules.override_.iter().filter_map(copy);
    copies.extend(overriding.map(|(id, copy)| (id, NewPushRule::Override(copy))));
    let underriding = rules.underride.iter().filter_map(copy);
    copies.extend(underriding.map(|(id, copy)| (id, NewPushRule::Underride(copy))));
    copies.retain(|(_, copy)| rules.get(copy.kind(), copy.rule_id()).is_none());
    copies
}

/// `rule` for the room `new`, if it is one of the user's own for the room `old`.
fn for_room(rule: &ConditionalPushRule, old: &RoomId, new: &RoomId) -> Option<NewConditionalPushRule> {
    let mut conditions = rule.conditions.clone();
    let mut is_for_old = false;
    for condition in &mut conditions {
        if let PushCondition::EventMatch(field) = condition
            && field.key == "room_id"
            && field.pattern == old.as_str()
        {
            field.pattern = new.to_string();
            is_for_old = true;
        }
    }
    let id = match rule.rule_id.contains(old.as_str()) {
        true => rule.rule_id.replace(old.as_str(), new.as_str()),
        false => format!("{}.{new}", rule.rule_id),
    };
    let is_own = rule.enabled && !rule.default;
    (is_for_old && is_own).then(|| NewConditionalPushRule::new(id, conditions, rule.actions.clone()))
}

/// What the user's own rules may cost for every character of an event.
fn weight(rules: &Ruleset) -> usize {
    let of_pattern = |pattern: &str| match pattern.chars().count() {
        // It matches nothing.
        length if length > MAX_PATTERN => MAX_WEIGHT + 1,
        length => length + 1,
    };
    let of_condition = |condition: &PushCondition| match condition {
        PushCondition::EventMatch(field) if !SHORT.contains(&&*field.key) => of_pattern(&field.pattern),
        #[allow(deprecated, reason = "old clients still make such rules")]
        PushCondition::ContainsDisplayName => WEIGHT_OF_NAME,
        _ => 1,
    };
    let of_rule = |rule: AnyPushRuleRef<'_>| match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => {
            rule.conditions.iter().map(of_condition).sum()
        }
        AnyPushRuleRef::Content(rule) => of_pattern(&rule.pattern),
        _ => 0,
    };
    let own = rules.iter().filter(|rule| !rule.is_server_default());
    own.map(of_rule).sum()
}

fn no_such_rule() -> Error {
    Error::NotFound("no such push rule".into())
}
