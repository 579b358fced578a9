//! The HTTP face of a homeserver: one router for `/_matrix/**` and `/.well-known/matrix/**`.
//!
//! Each endpoint parses its request, calls one function of `hearth-homeserver` and serialises the answer.
//! Errors become Matrix `errcode`s here ([`error`]) and nowhere else. It speaks the types of the `http` crate
//! and knows no socket, no browser and no HTTP version; whoever embeds it brings those.

mod answer;
mod api;
mod auth;
pub mod body;
mod call;
mod client;
mod client_address;
mod cors;
mod error;
mod file;
mod json;
mod query;
mod rate_limit;
mod router;
mod server;
mod standing;
#[cfg(test)]
mod tests;

pub use api::{Api, ApiConfig, BaseUrl, Source, longest_body, may_be_abandoned};
pub use body::{Body, BodyError};
pub use client_address::ClientAddress;
pub use rate_limit::RateLimit;
pub use router::{aliases, route_of, routes};
