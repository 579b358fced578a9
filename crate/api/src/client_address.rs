//! Where a client's request comes from, if whoever embeds the API knows it.

use std::net::IpAddr;

/// The address of a client: an extension of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);
