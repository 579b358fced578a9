//! Nodes as bytes. There is exactly one encoding of a node; decoding accepts nothing else.
//!
//! A bucket is `0`, the number of entries, then of each entry type, state key and event id, each with its
//! length in front. A branch is `1`, the length of the prefix, its nibbles, the number of children, then of
//! each its nibble, hash and count. Numbers are LEB128.

use std::collections::BTreeMap;

use ruma_common::EventId;

use super::{
    node::{BUCKET, Branch, Child, Entry, Node, NodeHash},
    path::NIBBLES,
};

const BUCKET_TAG: u8 = 0;
const BRANCH_TAG: u8 = 1;

pub(super) fn encode(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    match node {
        Node::Bucket(entries) => {
            bytes.push(BUCKET_TAG);
            put_number(&mut bytes, entries.len() as u64);
            for entry in entries {
                put_text(&mut bytes, &entry.event_type);
                put_text(&mut bytes, &entry.state_key);
                put_text(&mut bytes, entry.event_id.as_str());
            }
        }
        Node::Branch(branch) => {
            bytes.push(BRANCH_TAG);
            put_number(&mut bytes, branch.prefix.len() as u64);
            bytes.extend(&branch.prefix);
            put_number(&mut bytes, branch.children.len() as u64);
            for (nibble, child) in &branch.children {
                bytes.push(*nibble);
                bytes.extend(child.hash.as_bytes());
                put_number(&mut bytes, child.count);
            }
        }
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<Node> {
    let mut input = Input(bytes);
    let node = match input.byte()? {
        BUCKET_TAG => Node::Bucket(input.bucket()?),
        BRANCH_TAG => Node::Branch(input.branch()?),
        _ => return None,
    };
    input.0.is_empty().then_some(node)
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_number(bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number in its shortest form.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }

    fn length(&mut self, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let length = usize::try_from(self.number()?).ok()?;
        range.contains(&length).then_some(length)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        Some(std::str::from_utf8(self.take(length)?).ok()?.to_owned())
    }

    fn bucket(&mut self) -> Option<Vec<Entry>> {
        let length = self.length(1..=BUCKET)?;
        let entries = (0..length).map(|_| self.entry()).collect::<Option<Vec<_>>>()?;
        entries
            .is_sorted_by(|a, b| a.path() < b.path())
            .then_some(entries)
    }

    fn entry(&mut self) -> Option<Entry> {
        let (event_type, state_key) = (self.text()?, self.text()?);
        let event_id = EventId::parse(self.text()?).ok()?;
        Some(Entry {
            event_type,
            state_key,
            event_id,
        })
    }

    fn branch(&mut self) -> Option<Branch> {
        let length = self.length(0..=NIBBLES)?;
        let prefix = self.take(length)?.to_vec();
        let length = self.length(2..=16)?;
        let mut children = BTreeMap::new();
        for _ in 0..length {
            let nibble = self.byte()?;
            let follows = children.last_key_value().is_none_or(|(last, _)| *last < nibble);
            children.insert(nibble, self.child()?);
            if !follows {
                return None;
            }
        }
        let nibbles_only = prefix.iter().chain(children.keys()).all(|nibble| *nibble < 16);
        let branch = Branch { prefix, children };
        (nibbles_only && branch.count() > BUCKET as u64).then_some(branch)
    }

    fn child(&mut self) -> Option<Child> {
        let hash = NodeHash::from_bytes(self.take(32)?.try_into().ok()?);
        let count = self.number()?;
        (count > 0).then_some(Child { hash, count })
    }
}
