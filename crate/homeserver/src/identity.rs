//! Who this homeserver is: its key and its name. Every rule about names of servers lives here.
//!
//! The name of a Hearth homeserver is its Ed25519 public key in 64 lower-case hex digits, so the key of any
//! such server is known from its name alone. It is also the libp2p identity. A homeserver that is only served
//! over HTTP may carry another name; it cannot federate.

use hearth_storage::{Store, Table, WriteBatch};
use ruma_signatures::Ed25519KeyPair;

use crate::{Error, Rng};

const SEED_KEY: &[u8] = b"signing_key_seed";
/// The version part of the id of our signing key: the key never rotates, because it is the name.
pub const KEY_VERSION: &str = "1";

/// The signing key and name of this homeserver.
pub struct Identity {
    seed: [u8; 32],
    key_pair: Ed25519KeyPair,
    server_name: String,
}

impl Identity {
    /// Reads the key from `store`, or makes one with `rng` and stores it durably.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails, [`Error::Damaged`] if the stored key is not a key.
    pub async fn load_or_create(store: &dyn Store, rng: &dyn Rng) -> Result<Self, Error> {
        if let Some(seed) = store.get(Table::Meta, SEED_KEY).await? {
            let seed = seed
                .try_into()
                .map_err(|_| Error::Damaged("signing key".into()))?;
            return Self::from_seed(seed);
        }
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, SEED_KEY, seed).strict();
        store.commit(batch).await?;
        Self::from_seed(seed)
    }

    /// The identity whose Ed25519 private key is `seed`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if no key can be made from it.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, Error> {
        let key_pair = Ed25519KeyPair::from_der(&pkcs8(&seed), KEY_VERSION.to_owned())
            .map_err(|error| Error::Damaged(error.to_string()))?;
        let server_name = hex::encode(key_pair.public_key());
        Ok(Self {
            seed,
            key_pair,
            server_name,
        })
    }

    /// The same key under another server name, for a homeserver that is reached by HTTP and does not federate.
    #[must_use]
    pub fn named(mut self, server_name: String) -> Self {
        self.server_name = server_name;
        self
    }

    /// The server name.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The key pair that signs events and requests, as `ed25519:1`.
    pub fn key_pair(&self) -> &Ed25519KeyPair {
        &self.key_pair
    }

    /// The 32-byte Ed25519 private key, for the libp2p identity and for export.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

/// The public key of the server named `server_name`, if the name is a key.
pub fn public_key(server_name: &str) -> Option<[u8; 32]> {
    if server_name.len() != 64 || server_name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode(server_name).ok()?.try_into().ok()
}

/// Wraps an Ed25519 seed in PKCS #8 version 1 DER (RFC 8410, section 7).
fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    const HEADER: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    [&HEADER[..], seed].concat()
}
