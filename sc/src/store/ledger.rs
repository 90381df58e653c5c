//! What the controllers have to remember beside the topology, in the same store and as durable.
//!
//! Receipts of control requests (`Idempotency-Key`), one-time tokens with which nodes join, and the
//! certificates that nodes were given. None of it is topology: it makes no revision and no event, and
//! is not part of a snapshot. Only hashes of secrets are kept.

use serde::{Deserialize, Serialize};

use super::fault::{BoxFuture, StoreError};

/// The answer to a control request that carried an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub principal: String,
    /// As the client gave it.
    pub key: String,
    /// SHA-256 of method, path and body: the same key with another request is refused.
    #[serde(with = "hexadecimal")]
    pub request_hash: [u8; 32],
    /// What was answered, as the API wrote it down.
    pub answer: String,
    pub expires_at_ms: i64,
}

/// A secret that lets one node join, once. The secret itself is known to its bearer alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "JoinTokenForm", into = "JoinTokenForm")]
pub struct JoinToken {
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What the bearer may become: `spu`, `gateway`, `sc`.
    pub role: String,
    /// What else the issuer fixed (a group, an id, a rack), as JSON.
    pub scope: String,
    pub created_by: String,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
    /// Who used it, and when.
    pub used: Option<Use>,
}

/// The one use of a join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub by: String,
    pub at_ms: i64,
}

/// A token as its table has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinTokenForm {
    #[serde(with = "hexadecimal")]
    hash: [u8; 32],
    role: String,
    scope: String,
    created_by: String,
    created_at_ms: i64,
    expires_at_ms: i64,
    used_by: Option<String>,
    used_at_ms: Option<i64>,
}

impl From<JoinToken> for JoinTokenForm {
    fn from(token: JoinToken) -> Self {
        let (used_by, used_at_ms) = token.used.map(|used| (used.by, used.at_ms)).unzip();
        Self {
            hash: token.hash,
            role: token.role,
            scope: token.scope,
            created_by: token.created_by,
            created_at_ms: token.created_at_ms,
            expires_at_ms: token.expires_at_ms,
            used_by,
            used_at_ms,
        }
    }
}

impl TryFrom<JoinTokenForm> for JoinToken {
    type Error = &'static str;

    fn try_from(form: JoinTokenForm) -> Result<Self, Self::Error> {
        let used = match (form.used_by, form.used_at_ms) {
            (Some(by), Some(at_ms)) => Some(Use { by, at_ms }),
            (None, None) => None,
            _ => return Err("a join token was used by somebody at some time, or not at all"),
        };
        Ok(Self {
            hash: form.hash,
            role: form.role,
            scope: form.scope,
            created_by: form.created_by,
            created_at_ms: form.created_at_ms,
            expires_at_ms: form.expires_at_ms,
            used,
        })
    }
}

/// 32 bytes as 64 digits.
mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use tidegate_proto::chain::ChainHash;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        ChainHash(*bytes).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        ChainHash::deserialize(from).map(|hash| hash.0)
    }
}

/// What became of an attempt to use a join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// It was good, and is used up now.
    Now(JoinToken),
    /// Another use was faster.
    Before(Use),
    /// Another token was faster to take the name; this one is as good as before.
    NameTaken,
    Expired,
    Unknown,
}

/// A certificate that the cluster's authority gave to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCertificate {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// The node: its role and its name, `spu/spu-3`, `gateway/a`.
    pub node: String,
    pub issued_at_ms: i64,
    pub expires_at_ms: i64,
    pub revoked_at_ms: Option<i64>,
}

/// The ledger of one store.
pub trait Ledger {
    /// The receipt for that principal and key, unless it has expired by `now_ms`.
    fn receipt<'a>(
        &'a self,
        principal: &'a str,
        key: &'a str,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Option<Receipt>, StoreError>>;

    /// Keeps a receipt for a request that changed nothing; false when there is one already. Those of
    /// changes are written with them ([`Commit::receipt`](super::Commit::receipt)).
    fn put_receipt<'a>(
        &'a self,
        receipt: &'a Receipt,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Adds a token; false when its hash is there already.
    fn add_join_token<'a>(
        &'a self,
        token: &'a JoinToken,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The token with that hash.
    fn join_token<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<JoinToken>, StoreError>>;

    /// Uses a token up for the node `by`. With one that names no node its bearer takes the name `took`,
    /// which one token alone has as long as it is kept.
    fn redeem_join_token<'a>(
        &'a self,
        hash: &'a [u8; 32],
        by: &'a str,
        took: Option<&'a str>,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Redeemed, StoreError>>;

    /// The tokens there are, used ones too, oldest first, at most
    /// [`LEDGER_ROWS_MAX`](crate::limits::LEDGER_ROWS_MAX).
    fn join_tokens(&self) -> BoxFuture<'_, Result<Vec<JoinToken>, StoreError>>;

    /// Takes a token back, used or not: nobody joins with it from then on, whoever used it neither.
    /// False when it is not there.
    fn revoke_join_token<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Notes a certificate; false when its serial number is taken.
    fn add_certificate<'a>(
        &'a self,
        certificate: &'a NodeCertificate,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The certificate with that serial number.
    fn certificate<'a>(
        &'a self,
        serial: &'a str,
    ) -> BoxFuture<'a, Result<Option<NodeCertificate>, StoreError>>;

    /// Whether `node` has a certificate that neither expired by `now_ms` nor was revoked.
    fn is_certified<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The certificates of `node` (`None`: of all), by node and age, at most
    /// [`LEDGER_ROWS_MAX`](crate::limits::LEDGER_ROWS_MAX).
    fn certificates<'a>(
        &'a self,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<NodeCertificate>, StoreError>>;

    /// Marks all certificates of a node as revoked; those that are keep their time. How many there were.
    fn revoke_certificates<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Drops receipts, tokens and certificates that expired before `now_ms`. How many there were.
    fn drop_expired(&self, now_ms: i64) -> BoxFuture<'_, Result<u64, StoreError>>;
}
