//! Who is calling, by the credentials that the state holds.
//!
//! What `tidegate_kit::auth` extracts through a layer, without the layer: that costs every request a
//! boxed service and future. A handler that takes one of these cannot run without a credential, nor be
//! put on a router without a [`DataPlane`].

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tidegate_kit::acquaintance::greet;
use tidegate_kit::auth::Principal;
use tidegate_kit::http::ApiError;
use tidegate_proto::error::{ErrorCode, Problem};

use crate::state::DataPlane;

/// Somebody with a bearer token.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Principal);

/// Somebody with a bearer token or, without that header, with `?ticket=`.
#[derive(Debug)]
pub(crate) struct CallerOrTicket(pub(crate) Principal);

/// The value of the `Authorization` header, when there is one.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        let detail = "there is more than one Authorization header";
        return Err(Problem::new(ErrorCode::Unauthenticated, detail));
    }
    // A header that is no text is malformed, not missing.
    Ok(first.map(|value| value.to_str().unwrap_or("")))
}

impl FromRequestParts<DataPlane> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &DataPlane) -> Result<Self, ApiError> {
        let principal = state.auth().check(authorization(&parts.headers)?)?;
        greet(&parts.extensions);
        Ok(Self(principal))
    }
}

impl FromRequestParts<DataPlane> for CallerOrTicket {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &DataPlane) -> Result<Self, ApiError> {
        Ok(Self(authenticate_with_ticket(parts, state)?))
    }
}

/// What [`CallerOrTicket`] does, for a handler that no router calls.
pub(crate) fn authenticate_with_ticket(
    head: &Parts,
    state: &DataPlane,
) -> Result<Principal, Problem> {
    let query = head.uri.query().unwrap_or_default();
    // Tickets are base64url, so nothing in them is percent-encoded.
    let ticket = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("ticket="));
    let authorization = authorization(&head.headers)?;
    let principal = state.auth().check_with_ticket(authorization, ticket)?;
    greet(&head.extensions);
    Ok(principal)
}
