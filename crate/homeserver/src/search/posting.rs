//! Where a word is found: postings, packed.

/// That a word is found in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posting {
    /// The event's place in the timeline.
    pub(super) order: i64,
    /// How often the word is found.
    pub(super) count: u64,
    /// How many words the event has.
    pub(super) length: u64,
}

/// Packs postings, newest first, into a row whose key ends with the place `end`, which is no less than theirs.
pub(super) fn pack(end: i64, postings: &[Posting]) -> Vec<u8> {
    let mut row = Vec::with_capacity(postings.len() * 4);
    let mut last = end;
    for posting in postings {
        push(&mut row, last.wrapping_sub(posting.order).cast_unsigned());
        push(&mut row, posting.count);
        push(&mut row, posting.length);
        last = posting.order;
    }
    row
}

/// What [`pack`] packed; `None` if it is damaged.
pub(super) fn unpack(end: i64, mut row: &[u8]) -> Option<Vec<Posting>> {
    let mut postings = Vec::new();
    let mut last = end;
    while !row.is_empty() {
        last = last.wrapping_sub(take(&mut row)?.cast_signed());
        postings.push(Posting {
            order: last,
            count: take(&mut row)?,
            length: take(&mut row)?,
        });
    }
    Some(postings)
}

/// Appends a number in groups of seven bits, the lowest first (LEB128).
fn push(row: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        row.push((number as u8) | 0x80);
        number >>= 7;
    }
    row.push(number as u8);
}

fn take(row: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = row.split_first()?;
        *row = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_survive_packing() {
        let places = [7, 6, 0, -1, -300, i64::MIN];
        let postings = places.map(|order| Posting {
            order,
            count: 1,
            length: order.unsigned_abs(),
        });
        for end in [7, 8, i64::MAX] {
            assert_eq!(unpack(end, &pack(end, &postings)).as_deref(), Some(&postings[..]));
        }
        assert_eq!(unpack(0, &[]), Some(Vec::new()));
    }

    #[test]
    fn damaged_rows_are_noticed() {
        for row in [&[1][..], &[1, 2], &[0x80], &[0xff; 30]] {
            assert_eq!(unpack(0, row), None, "{row:?}");
        }
    }
}
