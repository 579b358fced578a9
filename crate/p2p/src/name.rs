//! Server names and the libp2p peer ids of the same keys.

use hearth_homeserver::identity;
use libp2p::{
    PeerId,
    identity::{PublicKey, ed25519},
};

/// Multihash code 0: a peer id that holds its whole key.
const IDENTITY_HASH: u64 = 0;
/// What comes before the 32 bytes of an Ed25519 key in a peer id: the fields of its type and length in protobuf.
const ED25519: &[u8] = &[0x08, 0x01, 0x12, 0x20];

/// The peer id of the server named `server`, if the name is an Ed25519 key.
pub fn peer_id(server: &str) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&identity::public_key(server)?).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The server name of `peer`, if its id holds an Ed25519 key. Whether the key is one is not looked at, which would take
/// long: it has signed the handshake of whoever is connected.
pub fn server_name(peer: &PeerId) -> Option<String> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_HASH {
        return None;
    }
    let key = hash.digest().strip_prefix(ED25519)?;
    (key.len() == 32).then(|| hex::encode(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hearth_homeserver::Identity;
    use libp2p::identity::Keypair;

    use super::{peer_id, server_name};

    #[test]
    fn the_name_and_the_peer_id_are_one_key() {
        let identity = Identity::from_seed([7; 32]).unwrap();
        let keypair = Keypair::ed25519_from_bytes([7; 32]).unwrap();
        let peer = peer_id(identity.server_name()).unwrap();
        assert_eq!(peer, keypair.public().to_peer_id());
        assert_eq!(server_name(&peer).unwrap(), identity.server_name());
    }

    #[test]
    fn other_names_have_no_peer_id() {
        for name in [
            "",
            "example.org",
            "zz",
            &"G".repeat(64),
            &"A".repeat(64),
            &"a".repeat(63),
        ] {
            assert_eq!(peer_id(name), None, "{name}");
        }
    }

    #[test]
    fn a_hashed_peer_id_has_no_name() {
        let hashed = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert_eq!(server_name(&hashed), None);
    }
}
