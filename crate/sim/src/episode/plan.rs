//! What is to happen in an episode: it follows from the seed alone, not from what the servers do.

use std::{fmt, time::Duration};

use hearth_homeserver::RoomVersion;

use super::{Fault, Operation, Options};
use crate::random::Random;

/// The longest pause between two steps.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How many users there are beyond one on each server.
const MORE_USERS: usize = 2;

/// One step of an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A user does something. Nobody waits until it is done.
    Act(usize, Operation),
    /// Something goes wrong.
    Fault(Fault),
    /// Time passes.
    Pass(Duration),
    /// Everything that went wrong ends, the servers settle, and the invariants are checked.
    Quiet,
}

/// An episode before it happens.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version of the room.
    pub version: RoomVersion,
    /// On which server each user is.
    pub users: Vec<usize>,
    /// How many of the users are in the room when it begins.
    pub members: usize,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of `seed`.
    #[must_use]
    pub fn new(seed: u64, options: &Options) -> Self {
        let random = Random::new(seed, "plan");
        let servers = options.servers.max(1);
        let users: Vec<_> = (0..servers + MORE_USERS).map(|user| user % servers).collect();
        let version = RoomVersion::ALL.get(random.index(RoomVersion::ALL.len()));
        let mut steps = Vec::with_capacity(2 * options.steps);
        for number in 1..=options.steps {
            steps.push(match random.index(100) {
                0..22 => Step::Fault(Fault::random(&random, servers)),
                _ => Step::Act(
                    random.index(users.len()),
                    Operation::random(&random, users.len(), servers),
                ),
            });
            if random.index(2) == 0 {
                steps.push(Step::Pass(LONGEST_PAUSE / 100 * random.below(100) as u32));
            }
            if number % options.round.max(1) == 0 || number == options.steps {
                steps.push(Step::Quiet);
            }
        }
        Self {
            version: version.copied().unwrap_or_default(),
            members: users.len().min(2 + random.index(users.len())),
            users,
            steps,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(user, operation) => write!(formatter, "user{user} {operation}"),
            Self::Fault(fault) => write!(formatter, "{fault}"),
            Self::Pass(duration) => write!(formatter, "{} ms pass", duration.as_millis()),
            Self::Quiet => write!(formatter, "everything heals and settles"),
        }
    }
}
