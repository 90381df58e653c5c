//! The directory in which a node keeps who it is.
//!
//! `node.pem` has the private key and the certificate chain in one file, so that they change together;
//! `cluster-ca.pem` has the authorities that the node trusts. An operator may put others there; they are
//! found by whoever looks again. Invariant: a node that was cut off while it joined finds the key under
//! which it had asked.

use std::path::{Path, PathBuf};

use super::PkiError;
use super::files::{self, Mode};
use super::node::NodeCredentials;
use super::request::NodeKey;
use crate::secret::Secret;

const NODE_FILE: &str = "node.pem";
const AUTHORITIES_FILE: &str = "cluster-ca.pem";
const JOINING_FILE: &str = "joining.key";

/// Where the identity of a node lies.
#[derive(Debug, Clone)]
pub struct IdentityDir {
    dir: PathBuf,
}

impl IdentityDir {
    /// Makes the directory, for its owner alone, unless it is there.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        files::make_dir(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The file with key and certificate.
    #[must_use]
    pub fn node_path(&self) -> PathBuf {
        self.dir.join(NODE_FILE)
    }

    /// What is there; `None` when the node has not joined. What the texts are worth is not looked at.
    ///
    /// # Errors
    /// [`PkiError::File`]; [`PkiError::Unusable`] when the authorities are missing.
    pub fn load(&self) -> Result<Option<NodeCredentials>, PkiError> {
        let Some(node) = files::read(&self.node_path())? else {
            return Ok(None);
        };
        let path = self.dir.join(AUTHORITIES_FILE);
        let authorities_pem = files::read(&path)?.ok_or_else(|| PkiError::Unusable {
            path,
            reason: "there is no such file".to_owned(),
        })?;
        let (key, chain_pem) = parted(&node);
        Ok(Some(NodeCredentials {
            chain_pem,
            key_pem: Secret::new(key),
            authorities_pem,
        }))
    }

    /// Keeps credentials, in place of those that are there.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, credentials: &NodeCredentials) -> Result<(), PkiError> {
        let authorities = self.dir.join(AUTHORITIES_FILE);
        // First, for the certificate may be one of a new authority.
        files::write(&authorities, &credentials.authorities_pem, Mode::Public)?;
        let node = format!("{}{}", credentials.key_pem.expose(), credentials.chain_pem);
        files::write(&self.node_path(), &node, Mode::Secret)?;
        files::remove(&self.dir.join(JOINING_FILE))
    }

    /// The key to join with: the one of an attempt before this, or a new one that is kept.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn joining_key(&self) -> Result<NodeKey, PkiError> {
        let path = self.dir.join(JOINING_FILE);
        if let Some(pem) = files::read(&path)? {
            return NodeKey::from_pem(&pem);
        }
        let key = NodeKey::generate()?;
        files::write(&path, key.pem().expose(), Mode::Secret)?;
        Ok(key)
    }
}

/// The private key in a PEM text, and everything else.
fn parted(pem: &str) -> (String, String) {
    let (mut key, mut rest) = (String::new(), String::new());
    let mut is_key = false;
    for line in pem.lines() {
        is_key |= line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----");
        let to = if is_key { &mut key } else { &mut rest };
        to.push_str(line);
        to.push('\n');
        is_key &= !line.starts_with("-----END ");
    }
    (key, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_chain_are_told_apart_in_any_order() {
        let key = "-----BEGIN PRIVATE KEY-----\nk\n-----END PRIVATE KEY-----\n";
        let chain = "-----BEGIN CERTIFICATE-----\nc\n-----END CERTIFICATE-----\n";
        let expected = (key.to_owned(), chain.to_owned());
        assert_eq!(parted(&format!("{key}{chain}")), expected);
        assert_eq!(parted(&format!("{chain}{key}")), expected);
        let (found, rest) = parted(&format!("{chain}{key}{chain}"));
        assert_eq!((found.as_str(), rest), (key, format!("{chain}{chain}")));
        assert_eq!(parted("junk").0, "");
    }
}
