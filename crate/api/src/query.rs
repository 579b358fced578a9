//! Query strings and percent-encoding, decoded once and strictly.

use percent_encoding::percent_decode_str;
use ruma_common::{OwnedServerName, ServerName};

use crate::error::ApiError;

/// The most parameters that a query may have.
const MAX_PARAMETERS: usize = 128;

/// The parameters of a query string, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads an `application/x-www-form-urlencoded` query.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is badly encoded or has too many parameters.
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        if pairs.len() > MAX_PARAMETERS {
            return Err(ApiError::invalid_param("The query has too many parameters"));
        }
        pairs.into_iter().map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of `name`.
    ///
    /// # Errors
    /// `M_MISSING_PARAM` if there is none.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name)
            .ok_or_else(|| ApiError::missing_param(format!("Missing query parameter {name}")))
    }

    /// Every value of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The whole number `name`.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is not a number from 0 up.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.parsed(name, |value| value.parse().ok())
    }

    /// The boolean `name`.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if it is neither `true` nor `false`.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.parsed(name, |value| value.parse().ok())
    }

    /// The servers named by `via`, or by the older `server_name`. They are offers, often taken from an event of somebody
    /// else: what is no server name is left out.
    pub(crate) fn servers(&self) -> Vec<OwnedServerName> {
        let named = self.all("via").chain(self.all("server_name"));
        named.filter_map(|name| ServerName::parse(name).ok()).collect()
    }

    /// `name` turned into a `T` by `parse`.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if `parse` gives nothing.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let invalid = |value: &str| ApiError::invalid_param(format!("{value:?} is no value for {name}"));
        self.get(name)
            .map(|value| parse(value).ok_or_else(|| invalid(value)))
            .transpose()
    }
}

fn pair(pair: &str) -> Result<(String, String), ApiError> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok((decode(&key.replace('+', " "))?, decode(&value.replace('+', " "))?))
}

/// Undoes percent-encoding.
///
/// # Errors
/// `M_INVALID_PARAM` if a `%` is not followed by two hex digits, or if the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Result<String, ApiError> {
    let invalid = || ApiError::invalid_param(format!("{text:?} is badly percent-encoded"));
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let mut digits = after.bytes().take(2);
        let well_formed = digits.len() == 2 && digits.all(|byte| byte.is_ascii_hexdigit());
        rest = if well_formed { after } else { return Err(invalid()) };
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn decodes_once() {
        assert_eq!(decode("a%2Fb%252F").unwrap(), "a/b%2F");
        assert_eq!(decode("%E2%9C%93").unwrap(), "✓");
    }

    #[test]
    fn refuses_bad_encodings() {
        for text in ["%", "%2", "%zz", "%C3", "%FF", "a%", "%€1"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_parameters() {
        let query = Query::parse("via=a&via=b.c&limit=5&x=a+b%2B&flag").unwrap();
        assert_eq!(query.all("via").collect::<Vec<_>>(), ["a", "b.c"]);
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert_eq!(query.get("x"), Some("a b+"));
        assert_eq!(query.get("flag"), Some(""));
        assert!(query.number("x").is_err());
        assert!(query.required("missing").is_err());
    }

    #[test]
    fn leaves_out_what_is_no_server_name() {
        let query = Query::parse("via=bad_host&server_name=b&via=a.c:1&via=").unwrap();
        assert_eq!(query.servers(), ["a.c:1", "b"]);
    }

    #[test]
    fn refuses_too_many_parameters() {
        assert!(Query::parse(&"a=b&".repeat(MAX_PARAMETERS + 1)).is_err());
    }
}
