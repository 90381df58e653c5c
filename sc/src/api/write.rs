//! Writes: who asks and under which conditions, and how what they ask is carried out.
//!
//! The same for every resource: `dry_run` tells and does nothing, a request key makes the repeat of a
//! request get the first answer. Decisions are the core's. Invariant: the answer that is kept under a key
//! was written together with the change it tells of.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderName, Request as HttpRequest};
use axum::response::{IntoResponse as _, Response};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_kit::auth::{Authenticated, Principal};
use tidegate_kit::http::{ApiError, ApiResult, RequestId, json_body, read_body};
use tidegate_kit::limits::JSON_BODY_BYTES_MAX;
use tidegate_proto::api::topic::DryRun;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::IDEMPOTENCY_KEY_LEN_MAX;
use tidegate_sc_core::decision::{Decision, IfMatch, Request};
use tidegate_sc_core::model::Model;
use utoipa::IntoParams;

use super::Api;
use super::answer::{Answer, Kept, refusal_text};
use super::condition::if_match;
use crate::controller::{Answered, Decided, Once, Origin};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Parameters of a write.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WriteQuery {
    /// Say what would be done, and do nothing.
    #[serde(default)]
    #[param(default = false)]
    pub(super) dry_run: bool,
}

/// The request key as a header, for the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "describes the header; read from the request itself"
)]
pub(super) struct KeyHeader {
    /// A repeated request with this key, within 24 hours and from the same principal, gets the first
    /// answer again, with `Tidegate-Duplicate: true`, and does nothing. Refusals that are not worth a retry
    /// (`retryable: false`) are such answers too: what was refused is not done later by a copy of the
    /// request that was under way. 1 to 255 bytes; a UUID is a good one.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// Whoever writes, and on what conditions.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) principal: Principal,
    pub(super) if_match: Option<IfMatch>,
    request_id: RequestId,
    key: Option<Key>,
}

/// A request key, and the digest of the request but for its body.
#[derive(Debug)]
struct Key {
    text: String,
    head_hash: [u8; 32],
}

/// A JSON body, with its bytes as they came.
#[derive(Debug)]
pub(super) struct Body<T> {
    pub(super) value: T,
    pub(super) bytes: Vec<u8>,
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub(super) struct OptionalBody<T>(pub(super) Body<T>);

impl<S: Sync> FromRequestParts<S> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Authenticated(principal) = Authenticated::from_request_parts(parts, state).await?;
        let Ok(request_id) = RequestId::from_request_parts(parts, state).await;
        Ok(Self {
            principal,
            request_id,
            if_match: if_match(&parts.headers)?,
            key: key(parts)?,
        })
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest<axum::body::Body>, _: &S) -> Result<Self, ApiError> {
        let (value, bytes) = json_body::<T, JSON_BODY_BYTES_MAX>(request).await?;
        let bytes = bytes.to_vec();
        Ok(Self { value, bytes })
    }
}

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(
        request: HttpRequest<axum::body::Body>,
        state: &S,
    ) -> Result<Self, ApiError> {
        if request.headers().contains_key(CONTENT_TYPE) {
            return Body::from_request(request, state).await.map(Self);
        }
        let (parts, body) = request.into_parts();
        let bytes = read_body(body, JSON_BODY_BYTES_MAX).await?;
        if bytes.is_empty() {
            let (value, bytes) = (T::default(), Vec::new());
            return Ok(Self(Body { value, bytes }));
        }
        let request = HttpRequest::from_parts(parts, axum::body::Body::from(bytes));
        Body::from_request(request, state).await.map(Self)
    }
}

impl Writer {
    /// Refuses `If-Match` where there is nothing yet that it could be about.
    pub(super) fn refuse_if_match(&self, when: &str) -> Result<(), Problem> {
        if self.if_match.is_none() {
            return Ok(());
        }
        let what = format!("has no meaning when {when}; PUT takes it");
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("If-Match {what}"));
        Err(problem.at("If-Match", what))
    }

    /// Refuses `If-Match` where what is asked for does not depend on a version.
    pub(super) fn refuse_version(&self) -> Result<(), Problem> {
        if self.if_match.is_none() {
            return Ok(());
        }
        let what = "is not taken here";
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("If-Match {what}"));
        Err(problem.at("If-Match", what))
    }

    /// The answer that this request got before, under the same key.
    ///
    /// # Errors
    /// 409 when it was another request; 503 when the store cannot be read.
    pub(super) async fn answered(&self, api: &Api, body: &[u8]) -> ApiResult<Option<Response>> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let hash = key.hash(body);
        let name = self.principal.name.as_ref();
        let text = api.controller.answered(name, &key.text, hash).await?;
        Ok(text.map(|text| Kept::read(&text).into_response(true)))
    }

    /// Refuses what is asked before it is carried out. With a key the refusal is kept, unless a retry is
    /// worth it: then it is the answer, or that of a twin which was faster.
    ///
    /// # Errors
    /// The refusal without a key; 503 when the store cannot be written.
    pub(super) async fn refuse(
        &self,
        api: &Api,
        body: &[u8],
        refusal: Problem,
    ) -> ApiResult<Response> {
        let Some(key) = self.key.as_ref().filter(|_| !refusal.is_retryable()) else {
            return Err(refusal.into());
        };
        let (name, text) = (self.principal.name.as_ref(), refusal_text(&refusal));
        let kept = api.controller.keep(name, &key.text, key.hash(body), text);
        let Answered { text, is_repeat } = kept.await?;
        Ok(Kept::read(&text).into_response(is_repeat))
    }

    /// Does what is asked, or with `dry_run` says what it would be. `shape` makes the answer from what
    /// was decided and the state with it.
    pub(super) async fn carry_out(
        &self,
        api: &Api,
        query: WriteQuery,
        body: &[u8],
        request: Request,
        shape: impl Fn(&Decision, &Model) -> Answer + Send + Sync + 'static,
    ) -> ApiResult<Response> {
        if query.dry_run {
            let Decision {
                result,
                differences: changes,
                warnings,
                ..
            } = api.controller.preview(&request)?;
            let answer = DryRun {
                result,
                changes,
                warnings,
            };
            return Ok(Json(answer).into_response());
        }
        let origin = Origin {
            actor: self.principal.name.to_string(),
            request_id: self.request_id.as_str().to_owned(),
        };
        let Some(key) = &self.key else {
            let Decided { decision, model } = api.controller.change(request, origin).await?;
            return Ok(shape(&decision, &model).into_response());
        };
        let once = Once {
            principal: self.principal.name.to_string(),
            key: key.text.clone(),
            request_hash: key.hash(body),
            answer: Arc::new(move |decision, model| shape(decision, model).text()),
            refusal: refusal_text,
        };
        let Answered { text, is_repeat } =
            api.controller.change_once(request, origin, once).await?;
        Ok(Kept::read(&text).into_response(is_repeat))
    }
}

impl Key {
    fn hash(&self, body: &[u8]) -> [u8; 32] {
        sha256(&[&self.head_hash, body])
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn key(parts: &Parts) -> Result<Option<Key>, Problem> {
    let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bad = |what: String| {
        let problem = Problem::new(
            ErrorCode::InvalidParameter,
            format!("Idempotency-Key {what}"),
        );
        problem.at("Idempotency-Key", what)
    };
    if values.next().is_some() {
        return Err(bad("is given twice".to_owned()));
    }
    let text = value.to_str().map_err(|_| bad("is not text".to_owned()))?;
    if !(1..=IDEMPOTENCY_KEY_LEN_MAX).contains(&text.len()) {
        let what = format!(
            "has 1 to {IDEMPOTENCY_KEY_LEN_MAX} bytes, not {}",
            text.len()
        );
        return Err(bad(what));
    }
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let condition = parts.headers.get(IF_MATCH);
    let condition = condition.map_or(&[][..], |value| value.as_bytes());
    let method = parts.method.as_str().as_bytes();
    Ok(Some(Key {
        text: text.to_owned(),
        head_hash: sha256(&[method, b"\n", path.as_bytes(), b"\n", condition, b"\n"]),
    }))
}
