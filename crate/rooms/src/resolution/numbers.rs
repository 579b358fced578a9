//! Small numbers for names, so that a resolution hashes each name once and compares numbers from then on.

use std::{collections::HashMap, fmt, io::Write as _};

/// Numbers from 0 up for names, each of which is a text and a type of events.
#[derive(Default)]
pub(super) struct Numbers {
    numbers: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
    scratch: Vec<u8>,
}

impl Numbers {
    /// The number of `text` with `event_type`, and whether it was given just now.
    pub(super) fn of(&mut self, text: &str, event_type: &impl fmt::Display) -> (usize, bool) {
        self.scratch.clear();
        // Where the text ends must not depend on what is in it.
        self.scratch.extend_from_slice(&text.len().to_le_bytes());
        self.scratch.extend_from_slice(text.as_bytes());
        // Writing to memory does not fail.
        let _ = write!(self.scratch, "{event_type}");
        if let Some(number) = self.numbers.get(self.scratch.as_slice()) {
            return (*number, false);
        }
        let number = self.numbers.len();
        self.numbers.insert(self.scratch.as_slice().into(), number);
        (number, true)
    }
}
