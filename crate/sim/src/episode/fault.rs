//! What goes wrong in an episode.

use std::{fmt, time::Duration};

use crate::{World, random::Random};

/// Something that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The link between two servers is cut.
    Cut(usize, usize),
    /// The link between two servers heals.
    Heal(usize, usize),
    /// The servers fall into groups, by the group of each: links between groups are cut, those within heal.
    Partition(Vec<usize>),
    /// All links heal.
    HealAll,
    /// Messages between two servers take up to so much longer.
    Slow(usize, usize, Duration),
    /// A server is killed so many steps from now, and stays down.
    Crash(usize, usize),
    /// A server that is down starts; one that runs is killed so many steps from now and starts again.
    Restart(usize, usize),
}

impl Fault {
    /// Something that may happen to `servers` servers.
    pub(crate) fn random(random: &Random, servers: usize) -> Self {
        let (one, other) = (random.index(servers), random.index(servers));
        let steps = random.index(40);
        match random.index(100) {
            0..20 => Self::Cut(one, other),
            20..38 => Self::Heal(one, other),
            38..50 => Self::Partition((0..servers).map(|_| random.index(3)).collect()),
            50..58 => Self::HealAll,
            58..68 => Self::Slow(one, other, Duration::from_secs(random.index(30) as u64)),
            68..80 => Self::Crash(one, steps),
            _ => Self::Restart(one, steps),
        }
    }

    /// Lets it happen.
    pub(crate) fn happen(&self, world: &mut World) {
        match self {
            Self::Cut(a, b) => cut(world, *a, *b, true),
            Self::Heal(a, b) => cut(world, *a, *b, false),
            Self::Partition(groups) => part(world, |a, b| groups.get(a) != groups.get(b)),
            Self::HealAll => part(world, |_, _| false),
            Self::Slow(a, b, delay) => world.set_slow(*a, *b, *delay),
            Self::Crash(server, steps) => {
                world.run_steps(*steps);
                world.crash(*server);
            }
            Self::Restart(server, steps) => {
                world.run_steps(*steps);
                world.restart(*server);
            }
        }
    }
}

/// Ends everything that goes wrong: all links work, all servers run.
pub(crate) fn end_all(world: &mut World) {
    world.set_unreliability(crate::Unreliability::default());
    for server in 0..world.server_count() {
        for other in 0..server {
            world.set_slow(server, other, Duration::ZERO);
        }
        if world.server(server).homeserver().is_none() {
            world.start(server);
        }
    }
    part(world, |_, _| false);
}

/// Cuts the links that `is_cut` says, and heals all others.
fn part(world: &World, is_cut: impl Fn(usize, usize) -> bool) {
    for a in 0..world.server_count() {
        for b in 0..a {
            cut(world, a, b, is_cut(a, b));
        }
    }
}

fn cut(world: &World, a: usize, b: usize, cut: bool) {
    if a == b || world.is_cut(a, b) == cut {
        return;
    }
    if cut {
        world.cut(a, b);
    } else {
        world.heal(a, b);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(a, b) => write!(formatter, "s{a} and s{b} are cut off from each other"),
            Self::Heal(a, b) => write!(formatter, "s{a} and s{b} reach each other"),
            Self::Partition(groups) => write!(formatter, "the servers fall into groups {groups:?}"),
            Self::HealAll => write!(formatter, "all links heal"),
            Self::Slow(a, b, delay) => write!(formatter, "s{a}-s{b} takes up to {delay:?} longer"),
            Self::Crash(server, steps) => write!(formatter, "s{server} crashes after {steps} steps"),
            Self::Restart(server, steps) => write!(formatter, "s{server} restarts after {steps} steps"),
        }
    }
}
