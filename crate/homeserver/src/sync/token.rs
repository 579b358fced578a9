//! The tokens that clients hand back: where a sync left off and where a page of history ends.
//!
//! Tokens are plain text and carry everything needed to read them after a restart. They are *not* secret and
//! give no rights: whoever uses one is checked as if they had named the position themselves.

use std::{fmt, str::FromStr};

use crate::Error;

/// Where a `/sync` left off: `s{position}_{typing}`, with `t` behind it if somebody was typing, `p{presence}` behind
/// that, and `d{to_device}` at the end if messages for the device were left for the next answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncToken {
    /// The last position of the log that the client has been told of.
    pub position: u64,
    /// The last change of typing notices that the client has been told of. Counted by the clock, so that it
    /// grows over restarts.
    pub typing: u64,
    /// Whether the client has been told that somebody is typing, and not yet that they stopped.
    pub anyone_typing: bool,
    /// The last change of presence that the client has been told of; 0 for none.
    pub presence: u64,
    /// The log position up to which the client has been given messages for its device: [`SyncToken::position`],
    /// unless there were too many for one answer.
    pub to_device: u64,
}

/// A gap between two events of a room's timeline: `t{order}`, just before the event of that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageToken(pub i64);

impl fmt::Display for SyncToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.anyone_typing { "t" } else { "" };
        write!(formatter, "s{}_{}{mark}", self.position, self.typing)?;
        if self.presence > 0 {
            write!(formatter, "p{}", self.presence)?;
        }
        match self.to_device == self.position {
            true => Ok(()),
            false => write!(formatter, "d{}", self.to_device),
        }
    }
}

impl FromStr for SyncToken {
    type Err = Error;

    fn from_str(token: &str) -> Result<Self, Error> {
        let parse = || {
            let (position, typing) = token.strip_prefix('s')?.split_once('_')?;
            let (typing, to_device) = match typing.split_once('d') {
                Some((typing, to_device)) => (typing, Some(to_device)),
                None => (typing, None),
            };
            let (typing, presence) = match typing.split_once('p') {
                Some((typing, presence)) => (typing, presence.parse().ok()?),
                None => (typing, 0),
            };
            let position = position.parse().ok()?;
            let anyone_typing = typing.ends_with('t');
            let typing = typing.strip_suffix('t').unwrap_or(typing);
            Some(Self {
                position,
                typing: typing.parse().ok()?,
                anyone_typing,
                presence,
                to_device: to_device.map_or(Ok(position), str::parse).ok()?,
            })
        };
        parse().ok_or_else(|| Error::InvalidParam(format!("{token:?} is not a sync token")))
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "t{}", self.0)
    }
}

impl FromStr for PageToken {
    type Err = Error;

    /// Reads a pagination token, or a sync token as the gap just after what that sync has told of.
    fn from_str(token: &str) -> Result<Self, Error> {
        if let Some(order) = token.strip_prefix('t').and_then(|order| order.parse().ok()) {
            return Ok(Self(order));
        }
        let position = token.parse::<SyncToken>()?.position;
        let order = i64::try_from(position).unwrap_or(i64::MAX).saturating_add(1);
        Ok(Self(order))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use super::*;

    #[test]
    fn tokens_survive_the_round_trip() {
        for (anyone_typing, to_device) in [(true, 7), (false, 7), (true, 5), (false, 0)] {
            let sync = SyncToken {
                position: 7,
                typing: 1_700_000_000_000,
                anyone_typing,
                presence: to_device * 3,
                to_device,
            };
            assert_eq!(sync.to_string().parse::<SyncToken>().unwrap(), sync);
        }
        for order in [i64::MIN, -1, 0, 5] {
            assert_eq!(
                PageToken(order).to_string().parse::<PageToken>().unwrap(),
                PageToken(order)
            );
        }
    }

    #[test]
    fn a_sync_token_is_a_page_token_just_after_it() {
        assert_eq!("s41_0".parse::<PageToken>().unwrap(), PageToken(42));
        assert_eq!(
            "s18446744073709551615_0".parse::<PageToken>().unwrap(),
            PageToken(i64::MAX)
        );
    }

    #[test]
    fn garbage_is_an_invalid_parameter() {
        for token in [
            "", "s", "s1", "s_1", "s-1_0", "t", "tx", "t1.5", "42", "s1_2_3", "s1_2d", "s1_2p", "s1_2ptd3",
            "s1_2d3p4", "s1_2dt", "💥",
        ] {
            assert!(
                matches!(token.parse::<SyncToken>(), Err(Error::InvalidParam(_))),
                "{token}"
            );
            assert!(
                matches!(token.parse::<PageToken>(), Err(Error::InvalidParam(_))),
                "{token}"
            );
        }
    }
}
