//! Glob patterns of push conditions: `*` is any run of characters, `?` any one, case does not count.

/// The longest pattern that is tried, in characters. A longer one matches nothing.
const MAX_PATTERN: usize = 512;

/// Whether the whole of `text` matches `pattern`.
pub(super) fn matches_whole(pattern: &str, text: &str) -> bool {
    Matcher::new(pattern).is_some_and(|matcher| matcher.run(text, false))
}

/// Whether a part of `text` that begins and ends at word boundaries matches `pattern`.
///
/// Spec: Client-Server API, section 'Conditions for push rules', `event_match`.
pub(super) fn matches_words(pattern: &str, text: &str) -> bool {
    Matcher::new(pattern).is_some_and(|matcher| matcher.run(text, true))
}

/// Follows all ways to match at once, so that the time is at most (pattern × text) whatever they are.
struct Matcher {
    pattern: Vec<char>,
}

impl Matcher {
    fn new(pattern: &str) -> Option<Self> {
        let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
        (pattern.len() <= MAX_PATTERN).then_some(Self { pattern })
    }

    /// With `words`, a match may begin after and end before any character that is not part of a word.
    fn run(&self, text: &str, words: bool) -> bool {
        let mut reached = vec![false; self.pattern.len() + 1];
        self.reach(&mut reached, 0);
        for char in text.chars().flat_map(char::to_lowercase) {
            let boundary = words && !(char.is_ascii_alphanumeric() || char == '_');
            if boundary && self.is_done(&reached) {
                return true;
            }
            reached = self.step(&reached, char);
            if boundary {
                self.reach(&mut reached, 0);
            }
        }
        self.is_done(&reached)
    }

    fn is_done(&self, reached: &[bool]) -> bool {
        reached.last().copied().unwrap_or_default()
    }

    fn step(&self, reached: &[bool], char: char) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        for (at, wanted) in self.pattern.iter().enumerate() {
            match (reached.get(at).copied().unwrap_or_default(), wanted) {
                (true, '*') => self.reach(&mut next, at),
                (true, wanted) if *wanted == '?' || *wanted == char => self.reach(&mut next, at + 1),
                _ => {}
            }
        }
        next
    }

    /// Marks the place `at` and what can be reached from it without a character.
    fn reach(&self, reached: &mut [bool], at: usize) {
        let stars = self
            .pattern
            .iter()
            .skip(at)
            .take_while(|char| **char == '*')
            .count();
        reached
            .iter_mut()
            .skip(at)
            .take(stars + 1)
            .for_each(|place| *place = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_texts() {
        for (pattern, text, expected) in [
            ("m.notice", "m.notice", true),
            ("m.notice", "m.notices", false),
            ("M.Notice", "m.nOTICE", true),
            ("m.*", "m.room", true),
            ("m.?ice", "m.nice", true),
            ("*", "", true),
            ("**a", "bba", true),
            ("", "", true),
            ("", "x", false),
            ("ÄÖ", "äö", true),
        ] {
            assert_eq!(matches_whole(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn words_in_texts() {
        for (pattern, text, expected) in [
            ("alice", "hello alice!", true),
            ("alice", "ALICE: hi", true),
            ("alice", "malice", false),
            ("alice", "alices", false),
            ("alice", "alice_", false),
            ("al*e", "hi alabaste there", true),
            ("al?ce", "x-alxce", true),
            ("ex*ple", "An example event.", true),
            ("exam", "An example event.", false),
            ("foo bar", "a foo bar b", true),
            (":)", "hi :) there", true),
        ] {
            assert_eq!(matches_words(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let text = "a".repeat(20_000);
        assert!(!matches_words(
            &"a*".repeat(200),
            &format!("{text}b").replace('a', "b")
        ));
        assert!(!matches_whole(&"a".repeat(10_000), &text));
    }
}
