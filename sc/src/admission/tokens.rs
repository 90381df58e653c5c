//! Join tokens: made, listed and taken back by operators.
//!
//! Rights are checked by the caller. Invariant: the secret of a token is in the answer to its creation and
//! nowhere else; the ledger has its hash.

use serde::{Deserialize, Serialize};
use tidegate_kit::clock;
use tidegate_kit::secret::{SecretDigest, random_token};
use tidegate_proto::api::join::{JoinToken as Shown, JoinTokenRequest, JoinTokenUse};
use tidegate_proto::control::JoinTicket;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};

use super::Admission;
use crate::limits::{JOIN_TOKEN_TTL, JOIN_TOKEN_TTL_MAX, JOIN_TOKENS_MAX};
use crate::store::{JoinToken, StoreError};

/// What the issuer of a token fixed, as the ledger keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Scope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<NodeName>,
}

impl Scope {
    pub(super) fn of(token: &JoinToken) -> Result<(NodeRole, Self), StoreError> {
        let damaged = || StoreError::Damaged("a join token".to_owned());
        let role = token.role.parse().map_err(|_| damaged())?;
        let scope = serde_json::from_str(&token.scope).map_err(|_| damaged())?;
        Ok((role, scope))
    }
}

impl Admission {
    /// Makes a token. The answer is the one place where it can be read.
    ///
    /// # Errors
    /// 400 for a role, a name or a time that cannot be; 409 when too many wait to be used; 503.
    pub async fn create_token(
        &self,
        request: &JoinTokenRequest,
        created_by: &str,
    ) -> Result<Shown, Problem> {
        self.check(request)?;
        let ttl_s = request.ttl_s.unwrap_or(JOIN_TOKEN_TTL.as_secs());
        let tokens = self.tokens().await?;
        let waiting = tokens.iter().filter(|token| token.used.is_none()).count();
        if waiting >= JOIN_TOKENS_MAX {
            let detail = format!("{waiting} tokens wait to be used; take some of them back first");
            return Err(Problem::new(ErrorCode::Conflict, detail));
        }
        let secret =
            random_token().map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
        let scope = Scope {
            name: request.name.clone(),
        };
        let now_ms = clock::now_ms();
        let token = JoinToken {
            hash: *SecretDigest::of(&secret).as_bytes(),
            role: request.role.to_string(),
            scope: serde_json::to_string(&scope).unwrap_or_default(),
            created_by: created_by.to_owned(),
            created_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add_unsigned(ttl_s.saturating_mul(1000)),
            used: None,
        };
        self.controller.store().add_join_token(&token).await?;
        let ticket = JoinTicket {
            secret,
            pin: self.authority.pin(),
        };
        let mut shown = shown(&token)?;
        tracing::info!(
            id = shown.id,
            role = token.role,
            created_by,
            "join token made"
        );
        shown.token = Some(ticket.expose());
        Ok(shown)
    }

    /// The tokens that have not expired, the oldest first.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn tokens(&self) -> Result<Vec<Shown>, Problem> {
        let now_ms = clock::now_ms();
        let tokens = self.controller.store().join_tokens().await?;
        let alive = tokens.iter().filter(|token| token.expires_at_ms > now_ms);
        Ok(alive.map(shown).collect::<Result<_, _>>()?)
    }

    /// Takes a token back; false when there is none of that id. Of one that was used, too: whoever used it
    /// cannot ask with it again. The node that joined keeps its certificate and its right to the next one.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn revoke_token(&self, id: &str) -> Result<bool, Problem> {
        let store = self.controller.store();
        let tokens = store.join_tokens().await?;
        let Some(token) = tokens.iter().find(|token| id_of(token) == id) else {
            return Ok(false);
        };
        let revoked = store.revoke_join_token(&token.hash).await?;
        let used_by = shown(token)?.used.map(|used| used.by);
        tracing::info!(id, revoked, used_by, "join token taken back");
        Ok(revoked)
    }

    fn check(&self, request: &JoinTokenRequest) -> Result<(), Problem> {
        let invalid = |field: &str, what: &str| {
            Problem::new(ErrorCode::InvalidParameter, format!("{field} {what}"))
                .at(format!("/{field}"), what)
        };
        if request.role == NodeRole::Sc {
            let what = "is not sc: controllers have the key of the authority and need no token";
            return Err(invalid("role", what));
        }
        let cluster_id = self.authority.cluster_id();
        if let Some(name) = &request.name
            && let Err(error) = NodeIdentity::new(cluster_id, request.role, name.clone())
        {
            return Err(invalid("name", &format!("does not fit: {error}")));
        }
        let longest_s = JOIN_TOKEN_TTL_MAX.as_secs();
        let is_possible = |ttl_s: u64| (1..=longest_s).contains(&ttl_s);
        if !request.ttl_s.is_none_or(is_possible) {
            return Err(invalid("ttl_s", &format!("is from 1 to {longest_s}")));
        }
        Ok(())
    }
}

fn shown(token: &JoinToken) -> Result<Shown, StoreError> {
    let (role, scope) = Scope::of(token)?;
    let used = token.used.as_ref().map(|used| JoinTokenUse {
        by: used.by.split(' ').next().unwrap_or_default().to_owned(),
        at: used.at_ms,
    });
    Ok(Shown {
        id: id_of(token),
        role,
        name: scope.name,
        created_by: token.created_by.clone(),
        created_at: token.created_at_ms,
        expires_at: token.expires_at_ms,
        used,
        token: None,
    })
}

/// A part of the hash tells tokens apart and is no help in finding a secret of 256 bits.
fn id_of(token: &JoinToken) -> String {
    let bytes = token.hash[..8].iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
