//! An index over auth chains: whether one event rests on another is told from the two events alone.
//!
//! Events that may authorise others are laid out in chains. An event continues the chain of the event that it
//! replaces (the one of its own type and state key among its `auth_events`) unless another already did, and else
//! begins one (always, if it was rejected: such events cannot take the places of others). Within a chain each event rests on all before it, so the auth chain of an event is told by how
//! far it reaches into each chain: its cover.
//!
//! A [`Position`] never changes, so it is stored with its event. An event has none if one of its `auth_events`
//! has none, or if its cover would be wider than [`MAX_WIDTH`]; its auth chain has to be walked as far as the
//! first events that have one. Nothing here stores or loads.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ruma_common::{EventId, OwnedEventId};
use ruma_events::TimelineEventType;
use sha2::{Digest, Sha256};

use crate::Pdu;

/// The most chains that a cover may reach into.
pub const MAX_WIDTH: usize = 256;
const CHAIN_BYTES: usize = 16;

/// The name of a chain: half of the SHA-256 of its first event's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId([u8; CHAIN_BYTES]);

impl ChainId {
    fn beginning_with(event_id: &EventId) -> Self {
        let mut name = [0; CHAIN_BYTES];
        let hash = Sha256::digest(event_id.as_bytes());
        name.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(name)
    }

    /// The name as bytes.
    pub fn as_bytes(&self) -> &[u8; CHAIN_BYTES] {
        &self.0
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Where an event stands in the chain cover of its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its chain.
    pub chain: ChainId,
    /// Its place in the chain, from 1.
    pub sequence: u32,
    /// Of a power levels event: the power levels that its chain's first event rests on.
    pub base: Option<OwnedEventId>,
    /// How far its auth chain reaches into each chain, its own up to itself included; sorted.
    pub cover: Arc<[(ChainId, u32)]>,
}

/// What [`place`] has to know of an event that another names as its authorisation.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    /// The event.
    pub pdu: &'a Pdu,
    /// Its position.
    pub position: &'a Position,
    /// Whether another event continues its chain already.
    pub continued: bool,
}

/// The position of `pdu`, whose `auth_events` are `authorities`, all of them; `None` if it can have none.
///
/// If the chain of an authority is continued ([`Position::continues`]), that has to be noted with it.
pub fn place(pdu: &Pdu, authorities: &[Authority<'_>]) -> Option<Position> {
    if authorities.len() != pdu.auth_events().len() {
        return None;
    }
    let mut cover: BTreeMap<ChainId, u32> = BTreeMap::new();
    for (chain, sequence) in authorities.iter().flat_map(|event| event.position.cover.iter()) {
        let reached = cover.entry(*chain).or_default();
        *reached = (*reached).max(*sequence);
    }
    let replaced = replaced_by(pdu, authorities);
    let (chain, sequence, base) = match replaced {
        Some(replaced) if !replaced.continued && !pdu.rejected() => {
            let before = replaced.position;
            (before.chain, before.sequence.checked_add(1)?, before.base.clone())
        }
        _ => {
            let base = replaced.filter(|_| is_power_levels(pdu));
            let base = base.map(|replaced| replaced.pdu.event_id().to_owned());
            (ChainId::beginning_with(pdu.event_id()), 1, base)
        }
    };
    cover.insert(chain, sequence);
    (cover.len() <= MAX_WIDTH).then(|| Position {
        chain,
        sequence,
        base,
        cover: cover.into_iter().collect(),
    })
}

/// The event among `authorities` that has the place in the room's state that `pdu` takes.
fn replaced_by<'a>(pdu: &Pdu, authorities: &'a [Authority<'a>]) -> Option<&'a Authority<'a>> {
    let state_key = pdu.state_key()?;
    authorities
        .iter()
        .find(|event| event.pdu.is_state(pdu.event_type(), state_key))
}

fn is_power_levels(pdu: &Pdu) -> bool {
    pdu.is_state(&TimelineEventType::RoomPowerLevels, "")
}

impl Position {
    /// Whether an event here rests on an event at `other`, or is that event.
    pub fn reaches(&self, other: &Self) -> bool {
        self.reach_into(other.chain) >= other.sequence
    }

    /// How far the auth chain reaches into `chain`; 0 if not at all.
    pub fn reach_into(&self, chain: ChainId) -> u32 {
        let found = self.cover.binary_search_by_key(&chain, |(chain, _)| *chain);
        found
            .ok()
            .and_then(|index| self.cover.get(index))
            .map_or(0, |(_, sequence)| *sequence)
    }

    /// Whether an event here is the next in its chain after one at `other`.
    pub fn continues(&self, other: &Self) -> bool {
        self.chain == other.chain && self.sequence.checked_sub(1) == Some(other.sequence)
    }

    /// The position as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let base = self.base.as_ref().map_or("", |id| id.as_str());
        let mut bytes =
            Vec::with_capacity(CHAIN_BYTES + 8 + base.len() + self.cover.len() * (CHAIN_BYTES + 2));
        bytes.extend(self.chain.0);
        put_number(&mut bytes, self.sequence);
        put_number(&mut bytes, u32::try_from(base.len()).unwrap_or_default());
        bytes.extend(base.as_bytes());
        for (chain, sequence) in self.cover.iter() {
            bytes.extend(chain.0);
            put_number(&mut bytes, *sequence);
        }
        bytes
    }

    /// The position that was encoded as `bytes`; `None` if none was.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = bytes;
        let chain = take_chain(&mut input)?;
        let sequence = take_number(&mut input)?;
        let length = usize::try_from(take_number(&mut input)?).ok()?;
        let (base, rest) = input.split_at_checked(length)?;
        input = rest;
        let base = match base {
            [] => None,
            base => Some(EventId::parse(std::str::from_utf8(base).ok()?).ok()?),
        };
        let mut cover = Vec::new();
        while !input.is_empty() && cover.len() < MAX_WIDTH {
            cover.push((take_chain(&mut input)?, take_number(&mut input)?));
        }
        let sorted = cover.is_sorted_by(|(a, _), (b, _)| a < b);
        (input.is_empty() && sorted).then(|| Self {
            chain,
            sequence,
            base,
            cover: cover.into(),
        })
    }
}

/// LEB128.
fn put_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(input: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_chain(input: &mut &[u8]) -> Option<ChainId> {
    let (chain, rest) = input.split_at_checked(CHAIN_BYTES)?;
    *input = rest;
    Some(ChainId(chain.try_into().ok()?))
}
