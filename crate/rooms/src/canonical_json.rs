//! Canonical JSON: the one text of a value that is hashed and signed. Spec: Appendices, "Canonical JSON".
//!
//! From room version 6 on only integers that a JavaScript number can hold are numbers ([`Numbers::Strict`]).
//! Before, and in bodies of requests, every number is allowed and written as Python's `json` writes it, because
//! that is what the servers of the time hashed ([`Numbers::Lenient`]).
//!
//! What a number's text was is not known here any more. So `-0` is taken for `-0.0`, and what does not fit into
//! 64 bits is refused, since an integer of that size reads as the float that is nearest to it.

use serde_json::{Map, Number, Value};

use crate::ordered::object;

/// A JSON object. Its fields are in the order of their code points, as canonical JSON wants it.
pub type JsonObject = Map<String, Value>;

/// The greatest integer of strict canonical JSON; its negative is the least.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Which numbers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Integers up to [`MAX_INTEGER`].
    Strict,
    /// Integers of 64 bits and floats.
    Lenient,
}

/// Why a value has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// A float where there are none.
    #[error("a number is not an integer")]
    Float,
    /// An integer that is too great.
    #[error("a number is out of range")]
    OutOfRange,
}

/// The canonical text of `value`.
///
/// # Errors
/// [`NotCanonical`] if it holds a number that `numbers` does not allow.
pub fn encode(value: &Value, numbers: Numbers) -> Result<String, NotCanonical> {
    let mut text = String::new();
    write(&mut text, value, numbers)?;
    Ok(text)
}

/// The canonical text of `object` without the fields `without`.
///
/// # Errors
/// As [`encode`].
pub fn encode_object(
    object: &JsonObject,
    without: &[&str],
    numbers: Numbers,
) -> Result<String, NotCanonical> {
    let mut text = String::new();
    let fields = object
        .iter()
        .filter(|(name, _)| !without.contains(&name.as_str()));
    write_fields(&mut text, fields, |text, value| write(text, value, numbers))?;
    Ok(text)
}

/// A value, or what is kept of an object.
pub(crate) enum Part<'a> {
    /// All of it.
    Whole(&'a Value),
    /// These fields, in their order.
    Fields(Vec<(&'a String, Part<'a>)>),
}

impl Part<'_> {
    /// The canonical text of the part.
    pub(crate) fn encode(&self, numbers: Numbers) -> Result<String, NotCanonical> {
        let mut text = String::new();
        self.write(&mut text, numbers)?;
        Ok(text)
    }

    fn write(&self, text: &mut String, numbers: Numbers) -> Result<(), NotCanonical> {
        match self {
            Self::Whole(value) => write(text, value, numbers),
            Self::Fields(fields) => {
                let fields = fields.iter().map(|(name, part)| (*name, part));
                write_fields(text, fields, |text, part| part.write(text, numbers))
            }
        }
    }

    /// A copy of the part.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Whole(value) => (*value).clone(),
            Self::Fields(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, part)| ((*name).clone(), part.to_value()));
                Value::Object(object(fields))
            }
        }
    }
}

fn write(text: &mut String, value: &Value, numbers: Numbers) -> Result<(), NotCanonical> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(text, number, numbers)?,
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, item, numbers)?;
            }
            text.push(']');
        }
        Value::Object(object) => {
            write_fields(text, object.iter(), |text, value| write(text, value, numbers))?;
        }
    }
    Ok(())
}

fn write_fields<'a, V>(
    text: &mut String,
    fields: impl Iterator<Item = (&'a String, V)>,
    write_value: impl Fn(&mut String, V) -> Result<(), NotCanonical>,
) -> Result<(), NotCanonical> {
    text.push('{');
    for (index, (name, value)) in fields.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(text, name);
        text.push(':');
        write_value(text, value)?;
    }
    text.push('}');
    Ok(())
}

/// Writes a string with the shortest escapes, and only where there must be one.
fn write_string(text: &mut String, string: &str) {
    text.push('"');
    let mut rest = string;
    while let Some((plain, escaped, after)) = next_escape(rest) {
        text.push_str(plain);
        match escaped {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control => text.push_str(&format!("\\u{:04x}", u32::from(control))),
        }
        rest = after;
    }
    text.push_str(rest);
    text.push('"');
}

/// What is before the first character that needs an escape, that character, and what is after it.
fn next_escape(string: &str) -> Option<(&str, char, &str)> {
    let needs_escape = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let at = string.bytes().position(needs_escape)?;
    let (plain, rest) = string.split_at(at);
    let mut rest = rest.chars();
    let escaped = rest.next()?;
    Some((plain, escaped, rest.as_str()))
}

fn write_number(text: &mut String, number: &Number, numbers: Numbers) -> Result<(), NotCanonical> {
    match (number.as_i64(), number.as_f64(), numbers) {
        (Some(integer), _, Numbers::Strict) if !(-MAX_INTEGER..=MAX_INTEGER).contains(&integer) => {
            Err(NotCanonical::OutOfRange)
        }
        (None, _, Numbers::Strict) if number.is_u64() => Err(NotCanonical::OutOfRange),
        (None, _, Numbers::Strict) => Err(NotCanonical::Float),
        (None, Some(float), Numbers::Lenient) if number.is_f64() => {
            text.push_str(&python_float(float)?);
            Ok(())
        }
        _ => {
            text.push_str(&number.to_string());
            Ok(())
        }
    }
}

/// A float as Python's `repr` writes it: the fewest digits that read back as the same float.
fn python_float(float: f64) -> Result<String, NotCanonical> {
    const BEYOND_I64: f64 = -9_223_372_036_854_775_808.0;
    const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;
    if !(BEYOND_I64..BEYOND_U64).contains(&float) {
        return Err(NotCanonical::OutOfRange);
    }
    let shortest = format!("{:e}", float.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let digits = mantissa.replace('.', "");
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    Ok(match exponent {
        0..16 => {
            let missing = exponent + 1 - i32::try_from(digits.len()).unwrap_or_default();
            let digits = digits + &zeros(missing);
            let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or_default());
            let fraction = if fraction.is_empty() { "0" } else { fraction };
            format!("{sign}{whole}.{fraction}")
        }
        -4..0 => format!("{sign}0.{}{digits}", zeros(-exponent - 1)),
        _ => {
            let exponent_sign = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs())
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    /// Made with `repr()` of Python 3.
    const PYTHON: [(f64, &str); 20] = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (0.30000000000000004, "0.30000000000000004"),
        (51.507351, "51.507351"),
        (100.0, "100.0"),
        (123456789.125, "123456789.125"),
        (1e10, "10000000000.0"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (123456789012345680.0, "1.2345678901234568e+17"),
        (9007199254740993.0, "9007199254740992.0"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (5e-324, "5e-324"),
        (2.2250738585072014e-308, "2.2250738585072014e-308"),
    ];

    #[test]
    fn floats_are_those_of_python() {
        for (float, expected) in PYTHON {
            assert_eq!(python_float(float).unwrap(), expected);
            let read: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(encode(&read, Numbers::Lenient).unwrap(), expected);
        }
    }

    #[test]
    fn what_may_have_been_a_great_integer_is_refused() {
        for text in [
            "18446744073709551616",
            "-9223372036854775809000",
            "1e300",
            "-1e19",
        ] {
            let read: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                encode(&read, Numbers::Lenient),
                Err(NotCanonical::OutOfRange),
                "{text}"
            );
        }
        for text in ["18446744073709551615", "-9223372036854775808", "9007199254740993"] {
            let read: Value = serde_json::from_str(text).unwrap();
            assert_eq!(encode(&read, Numbers::Lenient).unwrap(), text);
        }
    }

    #[test]
    fn strict_numbers_are_javascript_integers() {
        let strict = |text: &str| encode(&serde_json::from_str::<Value>(text).unwrap(), Numbers::Strict);
        assert_eq!(strict("9007199254740991").unwrap(), "9007199254740991");
        assert_eq!(strict("-9007199254740991").unwrap(), "-9007199254740991");
        for text in ["9007199254740992", "-9007199254740992", "18446744073709551615"] {
            assert_eq!(strict(text), Err(NotCanonical::OutOfRange), "{text}");
        }
        for text in ["1.5", "1e10", "1.0", "-0.0", "1e300"] {
            assert_eq!(strict(text), Err(NotCanonical::Float), "{text}");
        }
    }

    #[test]
    fn every_control_character_is_escaped_as_short_as_can_be() {
        let all: String = (0..0x80_u8)
            .map(char::from)
            .chain(['é', '\u{2028}', '😀'])
            .collect();
        let value = Value::String(all);
        assert_eq!(
            encode(&value, Numbers::Strict).unwrap(),
            serde_json::to_string(&value).unwrap()
        );
    }

    /// Canonical JSON sorts by code points; another order of a `Map` would change every hash.
    #[test]
    fn objects_are_sorted() {
        let value: Value =
            serde_json::from_str(r#"{"b": 1, "é": 2, "a": {"z": 1, "y": 2}, "B": 3}"#).unwrap();
        let expected = r#"{"B":3,"a":{"y":2,"z":1},"b":1,"é":2}"#;
        assert_eq!(encode(&value, Numbers::Strict).unwrap(), expected);
    }
}
