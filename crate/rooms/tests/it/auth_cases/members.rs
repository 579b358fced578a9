//! Inviting, leaving, kicking, banning and unbanning; and memberships that are none.

use hearth_rooms::RoomVersion;

use super::{
    Allowed::{Always, From, Never},
    BAN, INVITE, JOIN, KNOCK, LEAVE, Said, case, check, levels, member,
};

const CHARLIE_IS_IN: Said = member("@charlie", "@charlie", JOIN);
const BOB_HAS_50: Said = levels("@alice", r#"{"users": {"@alice": 100, "@bob": 50}}"#);
const BOTH_HAVE_50: Said = levels(
    "@alice",
    r#"{"users": {"@alice": 100, "@bob": 50, "@charlie": 50}}"#,
);
const CHARLIE_IS_BANNED: Said = member("@alice", "@charlie", BAN);
const TO_INVITE_TAKES_50: Said = levels("@alice", r#"{"users": {"@alice": 100}, "invite": 50}"#);
const BOB_RANKS_AS_HIGH: Said = levels("@alice", r#"{"users": {"@alice": 100, "@bob": 100}}"#);

#[test]
fn what_is_no_membership() {
    let no_key = Said {
        key: None,
        ..CHARLIE_IS_IN
    };
    check(&[
        case("not in the state", &[], no_key, Never),
        case("of nobody", &[], member("@charlie", "charlie", JOIN), Never),
        case("none", &[], member("@charlie", "@charlie", "{}"), Never),
        case(
            "no text",
            &[],
            member("@charlie", "@charlie", r#"{"membership": 1}"#),
            Never,
        ),
        case(
            "an unknown one",
            &[],
            member("@charlie", "@charlie", r#"{"membership": "org.example.lurk"}"#),
            Never,
        ),
    ]);
}

#[test]
fn invites() {
    let invites = member("@bob", "@charlie", INVITE);
    check(&[
        case("by a member", &[], invites, Always),
        case("by a stranger", &[], member("@zara", "@charlie", INVITE), Never),
        case(
            "by who was invited",
            &[member("@alice", "@zara", INVITE)],
            member("@zara", "@charlie", INVITE),
            Never,
        ),
        case("of the banned", &[CHARLIE_IS_BANNED], invites, Never),
        case("of a member", &[], member("@alice", "@bob", INVITE), Never),
        case(
            "of the invited",
            &[member("@alice", "@charlie", INVITE)],
            invites,
            Always,
        ),
        case(
            "of who knocked",
            &[member("@charlie", "@charlie", KNOCK)],
            invites,
            Always,
        ),
        case("by who has no power to", &[TO_INVITE_TAKES_50], invites, Never),
        case(
            "by who has the power to",
            &[TO_INVITE_TAKES_50],
            member("@alice", "@charlie", INVITE),
            Always,
        ),
    ]);
}

#[test]
fn leaving() {
    let leaves = member("@charlie", "@charlie", LEAVE);
    check(&[
        case("who was never in", &[], leaves, Never),
        case(
            "who left",
            &[CHARLIE_IS_IN, member("@charlie", "@charlie", LEAVE)],
            leaves,
            Never,
        ),
        case("a member", &[], member("@bob", "@bob", LEAVE), Always),
        case(
            "the invited",
            &[member("@alice", "@charlie", INVITE)],
            leaves,
            Always,
        ),
        case(
            "who knocked",
            &[member("@charlie", "@charlie", KNOCK)],
            leaves,
            From(RoomVersion::V7),
        ),
        case("the banned", &[CHARLIE_IS_BANNED], leaves, Never),
    ]);
}

#[test]
fn kicks() {
    let kicks_bob = member("@alice", "@bob", LEAVE);
    let kicks_charlie = member("@bob", "@charlie", LEAVE);
    check(&[
        case("with enough power", &[], kicks_bob, Always),
        case("by a stranger", &[], member("@zara", "@bob", LEAVE), Never),
        case(
            "by who left",
            &[member("@alice", "@alice", LEAVE)],
            kicks_bob,
            Never,
        ),
        case("without power", &[CHARLIE_IS_IN], kicks_charlie, Never),
        case(
            "of who ranks higher",
            &[BOB_HAS_50],
            member("@bob", "@alice", LEAVE),
            Never,
        ),
        case(
            "of who ranks as high",
            &[BOB_RANKS_AS_HIGH],
            member("@bob", "@alice", LEAVE),
            Never,
        ),
        case(
            "of who ranks as high, and is no creator",
            &[CHARLIE_IS_IN, BOTH_HAVE_50],
            kicks_charlie,
            Never,
        ),
        case(
            "of who ranks lower",
            &[CHARLIE_IS_IN, BOB_HAS_50],
            kicks_charlie,
            Always,
        ),
        case(
            "of the invited",
            &[member("@alice", "@charlie", INVITE), BOB_HAS_50],
            kicks_charlie,
            Always,
        ),
        case(
            "where that takes more",
            &[
                CHARLIE_IS_IN,
                levels("@alice", r#"{"users": {"@alice": 100, "@bob": 50}, "kick": 51}"#),
            ],
            kicks_charlie,
            Never,
        ),
    ]);
}

#[test]
fn unbans() {
    let unbans = member("@bob", "@charlie", LEAVE);
    check(&[
        case(
            "with enough power",
            &[CHARLIE_IS_BANNED],
            member("@alice", "@charlie", LEAVE),
            Always,
        ),
        case("without power", &[CHARLIE_IS_BANNED], unbans, Never),
        case(
            "by who may kick, but not ban",
            &[
                CHARLIE_IS_BANNED,
                levels(
                    "@alice",
                    r#"{"users": {"@alice": 100, "@bob": 50}, "kick": 50, "ban": 60}"#,
                ),
            ],
            unbans,
            Never,
        ),
        case(
            "by who may ban, but not kick",
            &[
                CHARLIE_IS_BANNED,
                levels(
                    "@alice",
                    r#"{"users": {"@alice": 100, "@bob": 50}, "kick": 60, "ban": 50}"#,
                ),
            ],
            unbans,
            Never,
        ),
        case(
            "by who may do both",
            &[CHARLIE_IS_BANNED, BOB_HAS_50],
            unbans,
            Always,
        ),
    ]);
}

#[test]
fn bans() {
    let bans_charlie = member("@bob", "@charlie", BAN);
    check(&[
        case("with enough power", &[], member("@alice", "@bob", BAN), Always),
        case("by a stranger", &[], member("@zara", "@bob", BAN), Never),
        case("without power", &[], member("@bob", "@alice", BAN), Never),
        case("of who is not in the room", &[BOB_HAS_50], bans_charlie, Always),
        case(
            "of who ranks higher",
            &[BOB_HAS_50],
            member("@bob", "@alice", BAN),
            Never,
        ),
        case(
            "of who ranks as high",
            &[BOB_RANKS_AS_HIGH],
            member("@bob", "@alice", BAN),
            Never,
        ),
        case(
            "of who ranks as high, and is no creator",
            &[CHARLIE_IS_IN, BOTH_HAVE_50],
            bans_charlie,
            Never,
        ),
        case("of oneself", &[BOB_HAS_50], member("@bob", "@bob", BAN), Never),
    ]);
}
