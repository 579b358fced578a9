//! Glob patterns of push conditions: `*` is any run of characters, `?` any one, case does not count.

/// The longest pattern that is tried, in characters. A longer one matches nothing.
pub(crate) const MAX_PATTERN: usize = 512;

/// Whether the whole of `text` matches `pattern`.
pub(super) fn matches_whole(pattern: &str, text: &str) -> bool {
    Matcher::new(pattern, true).is_some_and(|matcher| matcher.run(text, false))
}

/// Whether a part of `text` that begins and ends at word boundaries matches `pattern`.
///
/// Spec: Client-Server API, section 'Conditions for push rules', `event_match`.
pub(super) fn matches_words(pattern: &str, text: &str) -> bool {
    Matcher::new(pattern, true).is_some_and(|matcher| matcher.run(text, true))
}

/// Whether a part of `text` that begins and ends at word boundaries is `words`, in which `*` and `?` are themselves.
///
/// Spec: Client-Server API, section 'Conditions for push rules', `contains_display_name`.
pub(super) fn contains_words(words: &str, text: &str) -> bool {
    Matcher::new(words, false).is_some_and(|matcher| matcher.run(text, true))
}

/// Follows all ways to match at once, so that the time is at most (pattern × text) whatever they are.
struct Matcher {
    pattern: Vec<char>,
    /// Whether `*` and `?` stand for others.
    is_glob: bool,
}

impl Matcher {
    fn new(pattern: &str, is_glob: bool) -> Option<Self> {
        let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
        (pattern.len() <= MAX_PATTERN).then_some(Self { pattern, is_glob })
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
                (true, '*') if self.is_glob => self.reach(&mut next, at),
                (true, '?') if self.is_glob => self.reach(&mut next, at + 1),
                (true, wanted) if *wanted == char => self.reach(&mut next, at + 1),
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
            .take_while(|char| self.is_glob && **char == '*')
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
    fn names_in_texts() {
        for (name, text, expected) in [
            ("Alice", "hello alice!", true),
            ("Alice", "malice", false),
            ("*", "hello there", false),
            ("*", "hello * there", true),
            ("A*", "hello Alice", false),
            ("A*", "a*: hello", true),
            ("A*", "a*b", false),
            ("*?", "what*?", false),
            ("*?", "what *?", true),
            ("who?", "whom", false),
            ("who?", "(Who?)", true),
            ("a-a", "xa-a-a", true),
            ("a.c [x]", "hi a.c [x]", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(contains_words(name, text), expected, "{name} in {text}");
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
