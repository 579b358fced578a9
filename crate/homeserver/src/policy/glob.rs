//! The globs of access lists and policy rules. Spec: appendices, section 'Glob-style matching'.

/// Whether `text` matches `pattern`, in which `*` stands for any characters and `?` for one. Case does not count.
///
/// Takes at most the product of the two lengths in steps.
pub(crate) fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(in_text) => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((star_at, matched)) = star else {
                    return false;
                };
                star = Some((star_at, matched + 1));
                at = star_at + 1;
                in_text = matched + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_the_spec_says() {
        for (pattern, text, expected) in [
            ("*", "evil.example", true),
            ("*.evil.example", "a.evil.example", true),
            ("*.evil.example", "evil.example", false),
            ("ev?l", "EVIL", true),
            ("evil", "evils", false),
            ("", "", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxbd", false),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
