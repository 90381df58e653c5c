//! Randomness for secrets, their digests, and comparing without telling by time.
//!
//! Secrets are kept as SHA-256 digests: they are 256 random bits, so a slow hash would add nothing.
//! Invariant: a [`Secret`] never shows its text through `Debug` or `Display`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

/// The machine gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the machine's source of randomness failed")]
pub struct NoRandomness;

/// A text that must not be shown. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends or stores it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a secret. Equality takes the same time whatever differs.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// Digest of `secret`.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(bytes)
    }

    /// As hexadecimal digits, for who has to name the secret without telling it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A digest that was taken elsewhere, so that the secret itself need not be known here.
    #[must_use]
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl SecretDigest {
    /// The digest itself, for where it is kept. It gives nothing away.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        let difference = self
            .0
            .iter()
            .zip(&other.0)
            .fold(0_u8, |sum, (a, b)| sum | (a ^ b));
        black_box(difference) == 0
    }
}

impl Eq for SecretDigest {}

impl Hash for SecretDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(***)")
    }
}

/// `N` random bytes from the operating system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A random number, to seed what needs no secrecy (jitter, sampling).
pub fn random_u64() -> Result<u64, NoRandomness> {
    random_bytes::<8>().map(u64::from_le_bytes)
}

/// 256 random bits as 43 characters of base64url: safe in headers, files and query strings.
pub fn random_token() -> Result<String, NoRandomness> {
    random_bytes::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// `N` random bytes as `2 * N` hexadecimal digits.
pub fn random_hex<const N: usize>() -> Result<String, NoRandomness> {
    use fmt::Write as _;
    let bytes = random_bytes::<N>()?;
    let mut text = String::with_capacity(2 * N);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new("planted-canary");
        let shown = format!(
            "{secret} {secret:?} {:?}",
            SecretDigest::of(secret.expose())
        );
        assert!(!shown.contains("planted"), "{shown}");
    }

    #[test]
    fn digests_are_equal_exactly_when_the_texts_are() {
        assert_eq!(SecretDigest::of("a"), SecretDigest::of("a"));
        assert_ne!(SecretDigest::of("a"), SecretDigest::of("b"));
        assert_ne!(SecretDigest::of(""), SecretDigest::of("\0"));
    }

    #[test]
    fn tokens_are_long_distinct_and_safe_in_urls() {
        let (a, b) = (random_token().unwrap(), random_token().unwrap());
        assert_eq!(a.len(), 43);
        assert_ne!(a, b);
        assert!(
            a.bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        );
        assert_eq!(random_hex::<8>().unwrap().len(), 16);
    }
}
