//! How a node that nobody knows becomes one of the cluster, and how it stays one.
//!
//! An operator gives it a [`JoinTicket`]: a secret that is good once, and the pin of the cluster's
//! authority, by which the node tells the controller from an impostor before it shows the secret.
//! Certificates are asked for with a signing request (PKCS #10) whose key never leaves the node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::node::{NodeIdentity, NodeName, NodeRole};

/// Tells tokens from other texts, for people and for programs that look for leaked secrets.
const PREFIX: &str = "tgjoin1";
/// 256 bits in base64url.
const PART_LEN: usize = 43;

/// What an operator hands to a node that is to join: `tgjoin1.<secret>.<pin>`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinTicket {
    /// Good once. Shown to nobody but a controller of the cluster.
    pub secret: String,
    /// SHA-256 of the certificate of the cluster's authority, base64url.
    pub pin: String,
}

/// The text is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a join token: those are of the form {PREFIX}.<secret>.<pin>")]
pub struct NoJoinTicket;

impl JoinTicket {
    /// The text to hand over. It is a secret.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{PREFIX}.{}.{}", self.secret, self.pin)
    }
}

impl FromStr for JoinTicket {
    type Err = NoJoinTicket;

    fn from_str(text: &str) -> Result<Self, NoJoinTicket> {
        let mut parts = text.splitn(3, '.');
        if parts.next() != Some(PREFIX) {
            return Err(NoJoinTicket);
        }
        let is_good = |part: &&str| {
            part.len() == PART_LEN
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let mut part = || parts.next().filter(is_good).ok_or(NoJoinTicket);
        Ok(Self {
            secret: part()?.to_owned(),
            pin: part()?.to_owned(),
        })
    }
}

impl fmt::Debug for JoinTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTicket")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

/// `POST /internal/v1/join`: by a node that has no certificate yet. The same request may be sent again
/// when its answer was lost: for the same key and node a token is good until it expires.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Of the [`JoinTicket`].
    pub secret: String,
    /// What the node is.
    pub role: NodeRole,
    /// Its name, unless the token has one.
    #[serde(default)]
    pub name: Option<NodeName>,
    /// Signing request with the node's key, PEM.
    pub request_pem: String,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("role", &self.role)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// `POST /internal/v1/certificate`: by a node whose certificate is still good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// Signing request with the node's next key, PEM.
    pub request_pem: String,
}

/// The certificate of a node: the answer to both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateAnswer {
    /// Whom it is for.
    pub node: NodeIdentity,
    /// The certificate and that of the authority, PEM.
    pub chain_pem: String,
    /// All authorities that the node is to trust, PEM.
    pub authorities_pem: String,
    /// Its end, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_one_text_and_back_and_hides_its_secret() {
        let (secret, pin) = ("s".repeat(43), "P-_".to_owned() + &"0".repeat(40));
        let ticket = JoinTicket {
            secret: secret.clone(),
            pin,
        };
        assert_eq!(ticket.expose().parse(), Ok(ticket.clone()));
        let shown = format!("{ticket:?}");
        assert!(!shown.contains(&secret), "{shown}");
        for bad in [
            String::new(),
            ticket.expose() + "x",
            format!(" {}", ticket.expose()),
            ticket.expose().replace("tgjoin1", "tgjoin2"),
            ticket.expose().replace("P-_", "P-+"),
            format!("tgjoin1.{secret}"),
            format!("tgjoin1..{secret}"),
        ] {
            assert_eq!(bad.parse::<JoinTicket>(), Err(NoJoinTicket), "{bad}");
        }
    }
}
