//! The URL by which clients reach the homeserver: what its operator says, or else what the client itself used.

use hearth_api::BaseUrl;
use http::{HeaderMap, HeaderName, header, uri::Authority};

/// Set by proxies, for who speaks TLS with them. The homeserver itself speaks plain HTTP.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `url`, if there is one; else as each request says.
pub(super) fn told(url: Option<String>) -> BaseUrl {
    match url {
        Some(url) => Box::new(move |_| Some(url.clone())),
        None => Box::new(used),
    }
}

/// By which URL a request with `headers` was sent.
fn used(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host: Authority = text(header::HOST)?.parse().ok()?;
    if host.as_str().contains('@') {
        return None;
    }
    let scheme = match text(FORWARDED_PROTO) {
        Some("https") => "https",
        _ => "http",
    };
    Some(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_is_told_the_url_that_it_used() {
        for (host, proto, url) in [
            ("localhost:8009", None, Some("http://localhost:8009")),
            ("192.0.2.1", None, Some("http://192.0.2.1")),
            ("[::1]:8009", None, Some("http://[::1]:8009")),
            ("hearth.example", Some("https"), Some("https://hearth.example")),
            (
                "hearth.example:80",
                Some("http"),
                Some("http://hearth.example:80"),
            ),
            ("hearth.example", Some("gopher"), Some("http://hearth.example")),
            ("someone@hearth.example", None, None),
            ("not a host", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(proto) = proto {
                headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
            }
            assert_eq!(told(None)(&headers).as_deref(), url, "{host}");
        }
        assert_eq!(told(None)(&HeaderMap::new()), None);
    }
}
