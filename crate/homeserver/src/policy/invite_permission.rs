//! Whose invites a user takes: the account data `m.invite_permission_config` (spec: Client-Server API, section
//! 'Invite permission') and `org.matrix.msc4155.invite_permission_config` (MSC4155), whose lists are finer.

use ruma_common::UserId;
use serde::Deserialize;

use super::{Verdict, glob::glob_matches};
use crate::JsonObject;

/// The account data of the spec.
pub(super) const STABLE: &str = "m.invite_permission_config";
/// The account data of MSC4155.
pub(super) const UNSTABLE: &str = "org.matrix.msc4155.invite_permission_config";
/// The most patterns of one list that are looked at.
const MAX_PATTERNS: usize = 1000;

/// Whose invites a user takes. Without it: everybody's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InvitePermission {
    default_action: Option<String>,
    enabled: Option<bool>,
    allowed_users: Vec<String>,
    ignored_users: Vec<String>,
    blocked_users: Vec<String>,
    allowed_servers: Vec<String>,
    ignored_servers: Vec<String>,
    blocked_servers: Vec<String>,
}

impl InvitePermission {
    /// Reads the account data. Malformed lists allow everybody.
    pub(super) fn parse(content: JsonObject) -> Self {
        Self::deserialize(serde_json::Value::Object(content)).unwrap_or_default()
    }

    /// What becomes of an invite by `sender`. The first of the lists that names them decides, users before servers.
    pub(super) fn verdict(&self, sender: &UserId) -> Verdict {
        if self.enabled == Some(false) {
            return Verdict::Allowed;
        }
        let lists = [
            (&self.allowed_users, sender.as_str(), Verdict::Allowed),
            (&self.ignored_users, sender.as_str(), Verdict::Ignored),
            (&self.blocked_users, sender.as_str(), Verdict::Blocked),
            (
                &self.allowed_servers,
                sender.server_name().host(),
                Verdict::Allowed,
            ),
            (
                &self.ignored_servers,
                sender.server_name().host(),
                Verdict::Ignored,
            ),
            (
                &self.blocked_servers,
                sender.server_name().host(),
                Verdict::Blocked,
            ),
        ];
        for (patterns, name, verdict) in lists {
            let mut patterns = patterns.iter().take(MAX_PATTERNS);
            if patterns.any(|pattern| glob_matches(pattern, name)) {
                return verdict;
            }
        }
        match self.default_action.as_deref() {
            Some("block") => Verdict::Blocked,
            _ => Verdict::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use ruma_common::UserId;
    use serde_json::json;

    use super::*;

    fn verdict(config: serde_json::Value, sender: &str) -> Verdict {
        let config = InvitePermission::parse(config.as_object().unwrap().clone());
        config.verdict(&UserId::parse(sender).unwrap())
    }

    #[test]
    fn without_a_word_everybody_may_invite() {
        assert_eq!(verdict(json!({}), "@a:x"), Verdict::Allowed);
        assert_eq!(
            verdict(json!({"default_action": "allow"}), "@a:x"),
            Verdict::Allowed
        );
        assert_eq!(verdict(json!({"default_action": 1}), "@a:x"), Verdict::Allowed);
    }

    #[test]
    fn users_come_before_servers() {
        let config = json!({
            "enabled": true,
            "allowed_users": ["@good*:evil.example"],
            "ignored_servers": ["dull.example"],
            "blocked_servers": ["*"],
        });
        assert_eq!(verdict(config.clone(), "@good1:evil.example"), Verdict::Allowed);
        assert_eq!(verdict(config.clone(), "@bad:evil.example"), Verdict::Blocked);
        assert_eq!(verdict(config.clone(), "@bad:dull.example"), Verdict::Ignored);
        let mut off = config;
        off["enabled"] = json!(false);
        assert_eq!(verdict(off, "@bad:evil.example"), Verdict::Allowed);
    }

    #[test]
    fn blocking_is_for_all() {
        assert_eq!(
            verdict(json!({"default_action": "block"}), "@a:x"),
            Verdict::Blocked
        );
    }
}
