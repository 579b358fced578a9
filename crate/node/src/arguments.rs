//! What the command line may say.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use hearth_homeserver::{RoomVersion, UnsupportedVersion};
use http::Uri;
use ruma_common::{IdParseError, RoomVersionId, ServerName};

/// The native Hearth node
#[derive(Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve the app's files and relay between browsers
    Serve(Serve),
    /// Run a homeserver that clients reach over HTTP
    Homeserver(Homeserver),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8008")]
    pub(crate) listen: SocketAddr,
    /// Folder of the built app; without it only the relay is served
    #[arg(long = "static", value_name = "DIR")]
    pub(crate) app: Option<PathBuf>,
    /// Folder of another Matrix client, served at /client/: its homeserver is the app's
    #[arg(long, value_name = "DIR", requires = "app")]
    pub(crate) client: Option<PathBuf>,
    /// Folder for the relay's key; without it every start has a new one
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Multiaddr by which browsers reach this relay, such as /dns4/example.org/tcp/443/tls/ws; else it is
    /// the address by which they loaded the app
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) public_address: Vec<libp2p::Multiaddr>,
    /// Certificate chain (PEM), for https and wss
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Further relay that the app is told of, as a multiaddr with /p2p/<id>
    #[arg(long = "relay", value_name = "MULTIADDR", value_parser = relay)]
    pub(crate) relays: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Homeserver {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8009")]
    pub(crate) listen: SocketAddr,
    /// URL by which clients reach this homeserver, if a proxy between them changes the host of requests; else it is told by
    /// the request itself
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<String>,
    /// Folder for the database; without it nothing outlives the process
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Name of the server; without it the name is its key, and only so it can federate
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub(crate) server_name: Option<String>,
    /// Let anybody register
    #[arg(long)]
    pub(crate) open_registration: bool,
    /// Let anybody in as a guest
    #[arg(long)]
    pub(crate) guests: bool,
    /// Version of rooms that are made without one
    #[arg(long, value_name = "VERSION", default_value = "12", value_parser = room_version)]
    pub(crate) default_room_version: RoomVersionId,
    /// Do not limit how many requests a user makes
    #[arg(long)]
    pub(crate) no_rate_limits: bool,
    /// Relay to federate through, as a multiaddr with /p2p/<id>
    #[arg(long = "relay", value_name = "MULTIADDR", value_parser = relay)]
    pub(crate) relays: Vec<String>,
    /// Address of a TURN server for calls, as turn:HOST or turns:HOST
    #[arg(long = "turn", value_name = "URI", value_parser = turn_uri, requires = "turn_secret")]
    pub(crate) turn_uris: Vec<String>,
    /// File with the secret that the TURN server knows too
    #[arg(long, value_name = "FILE", requires = "turn_uris")]
    pub(crate) turn_secret: Option<PathBuf>,
}

fn server_name(text: &str) -> Result<String, IdParseError> {
    ServerName::parse(text).map(Into::into)
}

fn room_version(text: &str) -> Result<RoomVersionId, UnsupportedVersion> {
    text.parse().map(RoomVersion::id)
}

/// Without the slash at its end.
fn public_url(text: &str) -> Result<String, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.query().is_none() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("not of the form https://HOST"),
    }
}

fn turn_uri(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("turn:").or_else(|| text.strip_prefix("turns:"));
    match host {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("not of the form turn:HOST or turns:HOST"),
    }
}

fn relay(text: &str) -> Result<String, hearth_p2p::InvalidRelay> {
    hearth_p2p::RelayAddress::parse(text).map(|address| address.to_string())
}
