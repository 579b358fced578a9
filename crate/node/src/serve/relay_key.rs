//! The relay's key, which is its libp2p identity and part of every address that leads to it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use libp2p::identity::Keypair;

const FILE: &str = "relay.key";

/// The key in `folder`, made on the first start; without a folder a new key.
pub(super) fn load_or_create(folder: Option<&Path>) -> Result<Keypair> {
    let Some(folder) = folder else {
        tracing::warn!("no --data: the relay's address changes with every start");
        return Ok(Keypair::generate_ed25519());
    };
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(encoded) => Keypair::from_protobuf_encoding(&encoded)
            .with_context(|| format!("{} holds no libp2p key", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(folder, &path),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn create(folder: &Path, path: &Path) -> Result<Keypair> {
    let key = Keypair::generate_ed25519();
    fs::create_dir_all(folder)?;
    // Written aside and renamed: an interrupted start leaves no half key.
    let unfinished = path.with_extension("key.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(&key.to_protobuf_encoding()?)?;
    file.sync_all()?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new");
        let first = load_or_create(Some(&data)).unwrap().public();
        assert_eq!(load_or_create(Some(&data)).unwrap().public(), first);
        assert_ne!(load_or_create(None).unwrap().public(), first);
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "damaged").unwrap();
        assert!(load_or_create(Some(folder.path())).is_err());
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), b"damaged");
    }
}
