//! `/internal/v1/join` and `/internal/v1/certificate`: nodes get certificates.
//!
//! A token is looked at before anything else and in full before it is used up, so that strangers cost a
//! look and a mistake of its bearer costs nothing. Whoever used it may ask again with the same key while it
//! is good: an answer that got lost is not the end of the node. Only a token that names the node lets it
//! take the place of another. Invariant: a certificate is handed out after it was noted.

use axum::Json;
use axum::extract::State;
use tidegate_kit::clock;
use tidegate_kit::http::{ApiError, ApiJson, ApiResult};
use tidegate_kit::peer::{PeerIdentity, PeerSerial};
use tidegate_kit::secret::SecretDigest;
use tidegate_kit::tls::{PkiError, SigningRequest};
use tidegate_proto::control::{CertificateAnswer, CertificateRequest, JoinRequest};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::node::NodeIdentity;

use super::tokens::Scope;
use super::{Admission, AdmissionError, node_text};
use crate::limits::{JOIN_BODY_BYTES_MAX, JOINS_AT_ONCE_MAX, NODE_CERTIFICATE_LIFE};
use crate::store::{JoinToken, Redeemed};

/// A node that nobody knows asks for its first certificate.
pub(super) async fn join(
    State(admission): State<Admission>,
    ApiJson(asked): ApiJson<JoinRequest, JOIN_BODY_BYTES_MAX>,
) -> ApiResult<Json<CertificateAnswer>> {
    // Whoever has a token comes again; nobody waits, for those who wait may all be strangers.
    let _place = admission.joins.try_acquire().map_err(|_| {
        let detail = format!("{JOINS_AT_ONCE_MAX} nodes are joining; come again");
        ApiError(Problem::new(ErrorCode::Overloaded, detail).retry_after(1))
    })?;
    let hash = *SecretDigest::of(&asked.secret).as_bytes();
    let store = admission.controller.store();
    let token = store.join_token(&hash).await.map_err(Problem::from)?;
    let token = token.ok_or_else(|| unusable("unknown"))?;
    let now_ms = clock::now_ms();
    if token.expires_at_ms <= now_ms {
        return Err(unusable("expired"));
    }
    let request = SigningRequest::from_pem(&asked.request_pem).map_err(refused_request)?;
    let node = admission.named(&token, &asked)?;
    admission.check_present(&node)?;
    let by = format!("{} {}", node_text(&node), request.key_digest());
    let (_, scope) = Scope::of(&token).map_err(Problem::from)?;
    if scope.name.is_none() && token.used.is_none() {
        admission.check_free(&node, now_ms).await?;
    }
    let text = node_text(&node);
    let took = scope.name.is_none().then_some(text.as_str());
    let redeemed = store.redeem_join_token(&hash, &by, took, now_ms).await;
    match redeemed.map_err(Problem::from)? {
        Redeemed::Now(_) => {}
        Redeemed::Before(used) if used.by == by => {}
        Redeemed::Before(_) => return Err(unusable("used")),
        Redeemed::NameTaken => return Err(name_taken(&node)),
        Redeemed::Expired => return Err(unusable("expired")),
        Redeemed::Unknown => return Err(unusable("unknown")),
    }
    // The name is the newcomer's now: who had it before does not get another certificate. Also when it
    // asks again, for the first time may have ended before this.
    let replaced = store.revoke_certificates(&text, now_ms).await;
    let replaced = replaced.map_err(Problem::from)?;
    tracing::info!(%node, replaced, "node joins");
    admission.certify(&node, &request).await
}

/// A node asks for its next certificate, under the one that it has.
pub(super) async fn renew(
    State(admission): State<Admission>,
    PeerIdentity(node): PeerIdentity,
    PeerSerial(serial): PeerSerial,
    ApiJson(asked): ApiJson<CertificateRequest, JOIN_BODY_BYTES_MAX>,
) -> ApiResult<Json<CertificateAnswer>> {
    let request = SigningRequest::from_pem(&asked.request_pem).map_err(refused_request)?;
    admission.check_present(&node)?;
    let store = admission.controller.store();
    let known = store.certificate(&serial).await.map_err(Problem::from)?;
    // One that is not noted was issued before the store was restored: the authority's word holds.
    if known.is_some_and(|known| known.revoked_at_ms.is_some()) {
        let detail = "this certificate was taken back: another node has joined under its name";
        return Err(ApiError::new(ErrorCode::Forbidden, detail));
    }
    admission.certify(&node, &request).await
}

impl Admission {
    /// The node that the bearer of a token becomes.
    fn named(&self, token: &JoinToken, asked: &JoinRequest) -> ApiResult<NodeIdentity> {
        let (role, scope) = Scope::of(token).map_err(Problem::from)?;
        let forbidden = |what: String| ApiError::new(ErrorCode::Forbidden, what);
        let invalid = |what: &str| {
            let problem = Problem::new(ErrorCode::InvalidParameter, format!("name {what}"));
            ApiError(problem.at("/name", what))
        };
        if asked.role != role {
            let what = format!("the token is for a node of role {role}, not {}", asked.role);
            return Err(forbidden(what));
        }
        let name = match (scope.name, &asked.name) {
            (Some(fixed), Some(asked)) if fixed != *asked => {
                return Err(forbidden(format!("the token is for {fixed}, not {asked}")));
            }
            (Some(fixed), _) => fixed,
            (None, Some(asked)) => asked.clone(),
            (None, None) => return Err(invalid("is missing, and the token has none")),
        };
        let cluster_id = self.authority.cluster_id();
        NodeIdentity::new(cluster_id, role, name)
            .map_err(|error| invalid(&format!("does not fit: {error}")))
    }

    /// A storage unit that was removed does not come back under its number.
    fn check_present(&self, node: &NodeIdentity) -> ApiResult<()> {
        let model = self.controller.model();
        let row = node.spu_id().and_then(|spu| model.spus.get(&spu));
        if row.is_some_and(|row| row.removed) {
            let detail = format!("{} was removed from the cluster", node.name());
            return Err(ApiError::new(ErrorCode::Conflict, detail));
        }
        Ok(())
    }

    /// A name that a node has, or a number whose unit was there, is taken over only with a token that
    /// says so: whoever made one without a name meant a newcomer.
    async fn check_free(&self, node: &NodeIdentity, now_ms: i64) -> ApiResult<()> {
        let was_there = {
            let model = self.controller.model();
            let row = node.spu_id().and_then(|spu| model.spus.get(&spu));
            row.is_some_and(|row| row.storage_id.is_some())
        };
        let text = node_text(node);
        let certified = self.controller.store().is_certified(&text, now_ms).await;
        if !was_there && !certified.map_err(Problem::from)? {
            return Ok(());
        }
        Err(name_taken(node))
    }

    async fn certify(
        &self,
        node: &NodeIdentity,
        request: &SigningRequest,
    ) -> ApiResult<Json<CertificateAnswer>> {
        let now_s = clock::now_s();
        let signed = self
            .authority
            .sign(node, request, now_s, NODE_CERTIFICATE_LIFE)
            .map_err(failed)?;
        let noted = self.note(node, signed.serial, signed.expires_at_s).await;
        noted.map_err(|error| match error {
            AdmissionError::Store(error) => ApiError(error.into()),
            other => failed(other),
        })?;
        Ok(Json(CertificateAnswer {
            node: node.clone(),
            chain_pem: signed.chain_pem,
            authorities_pem: self.authority.trusted_pem().to_owned(),
            expires_at_ms: signed.expires_at_s.saturating_mul(1000),
        }))
    }
}

fn name_taken(node: &NodeIdentity) -> ApiError {
    let name = node.name();
    let detail = format!(
        "there is a node {name} already; to put another in its place, make a token with the name {name}"
    );
    ApiError::new(ErrorCode::Conflict, detail)
}

fn refused_request(error: PkiError) -> ApiError {
    let what = error.to_string();
    let problem = Problem::new(ErrorCode::InvalidParameter, what.clone());
    problem.at("/request_pem", what).into()
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Internal, error.to_string())
}

/// With 256 random bits nothing is given away by saying why.
fn unusable(reason: &'static str) -> ApiError {
    let detail = match reason {
        "used" => "another node has joined with this token: each is good for one",
        "expired" => "the join token has expired",
        _ => "there is no such join token, or it was taken back",
    };
    let problem = Problem::new(ErrorCode::Unauthenticated, detail);
    problem.with("reason", reason).into()
}
