//! From the headers of a request to a principal.
//!
//! Tokens are compared by digest in constant time. What was wrong with a credential is told as far
//! as it helps an honest caller: missing, malformed or unknown. Invariant: without [`Auth::layer`]
//! around the route the extractors fail closed.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, FromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;
use tidegate_proto::error::{ErrorCode, Problem};

use super::grants::{Grants, Principal};
use super::tickets::Tickets;
use crate::acquaintance::greet;
use crate::http::{ApiError, TicketParameter};
use crate::limits::TOKEN_LEN_MAX;
use crate::secret::SecretDigest;

/// The credentials that a listener accepts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {
    accepted: Arc<Accepted>,
    tickets: Tickets,
}

#[derive(Debug)]
enum Accepted {
    // The development server on loopback: everybody is `dev`.
    Dev(Principal),
    Tokens(Vec<(SecretDigest, Principal)>),
}

impl Auth {
    /// Everybody is the principal `dev` and may do everything. For loopback listeners only.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(Accepted::Dev(Principal::new("dev", Grants::all())))
    }

    /// The bearer of `token` is the principal `admin` and may do everything; others are refused.
    #[must_use]
    pub fn with_token(token: &str) -> Self {
        Self::with_tokens([(token, Principal::new("admin", Grants::all()))])
    }

    /// The bearer of the token with this digest is the principal `admin` and may do everything; others
    /// are refused. For processes that check the token and need not know it.
    #[must_use]
    pub fn with_digest(digest: SecretDigest) -> Self {
        let admin = Principal::new("admin", Grants::all());
        Self::new(Accepted::Tokens(vec![(digest, admin)]))
    }

    /// The bearer of each token is the principal beside it; others are refused.
    #[must_use]
    pub fn with_tokens<'a>(tokens: impl IntoIterator<Item = (&'a str, Principal)>) -> Self {
        let digested = tokens
            .into_iter()
            .map(|(token, principal)| (SecretDigest::of(token), principal));
        Self::new(Accepted::Tokens(digested.collect()))
    }

    fn new(accepted: Accepted) -> Self {
        Self {
            accepted: Arc::new(accepted),
            tickets: Tickets::new(),
        }
    }

    /// Lets the extractors of `router`'s handlers find these credentials.
    pub fn layer<S>(&self, router: Router<S>) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        router.layer(Extension(self.clone()))
    }

    /// Whether everybody is let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(*self.accepted, Accepted::Dev(_))
    }

    /// The tickets of this listener.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Who the bearer of the value of an `Authorization` header is; `None` when there is none.
    ///
    /// # Errors
    /// 401 `unauthenticated`.
    pub fn check(&self, authorization: Option<&str>) -> Result<Principal, Problem> {
        let tokens = match &*self.accepted {
            Accepted::Dev(principal) => return Ok(principal.clone()),
            Accepted::Tokens(tokens) => tokens,
        };
        let Some(value) = authorization else {
            return Err(refused(
                "this needs a credential: send Authorization: Bearer <token>",
            ));
        };
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        let token = token.trim();
        let is_malformed = token.is_empty() || token.len() > TOKEN_LEN_MAX || token.contains(' ');
        if !scheme.eq_ignore_ascii_case("bearer") || is_malformed {
            return Err(refused(
                "the Authorization header is not of the form Bearer <token>",
            ));
        }
        let digest = SecretDigest::of(token);
        // All are compared, so that time tells nothing about which one was close.
        let mut found = None;
        for (known, principal) in tokens {
            if *known == digest {
                found = Some(principal);
            }
        }
        found
            .cloned()
            .ok_or_else(|| refused("the token is not known here"))
    }

    /// As [`Self::check`], with a ticket in place of a missing header. The ticket is used up.
    ///
    /// # Errors
    /// 401 `unauthenticated`.
    pub fn check_with_ticket(
        &self,
        authorization: Option<&str>,
        ticket: Option<&str>,
    ) -> Result<Principal, Problem> {
        match (authorization, ticket) {
            (None, Some(ticket)) => self.tickets.redeem(ticket).ok_or_else(|| {
                refused("the ticket is unknown, used or expired: ask for a new one")
            }),
            _ => self.check(authorization),
        }
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(ErrorCode::Unauthenticated, detail)
}

/// Somebody with a bearer token.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Principal);

/// Somebody with a bearer token or, without that header, with `?ticket=`. To be listed before
/// `ApiQuery` in a handler's arguments, which then knows that the parameter is meant.
#[derive(Debug, Clone)]
pub struct AuthenticatedOrTicket(pub Principal);

fn auth_of(parts: &Parts) -> Result<&Auth, Problem> {
    parts.extensions.get::<Auth>().ok_or_else(|| {
        Problem::new(
            ErrorCode::Internal,
            "this route was set up without authentication",
        )
    })
}

fn authorization(parts: &Parts) -> Result<Option<&str>, Problem> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(refused("there is more than one Authorization header"));
    }
    // A header that is no text is malformed, not missing.
    Ok(first.map(|value| value.to_str().unwrap_or("")))
}

impl<S: Sync> FromRequestParts<S> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let principal = auth_of(parts)?.check(authorization(parts)?)?;
        greet(&parts.extensions);
        Ok(Self(principal))
    }
}

impl<S: Sync> FromRequestParts<S> for AuthenticatedOrTicket {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        // Tickets are base64url, so nothing in them is percent-encoded.
        let ticket = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("ticket="));
        let principal = auth_of(parts)?.check_with_ticket(authorization(parts)?, ticket)?;
        greet(&parts.extensions);
        parts.extensions.insert(TicketParameter);
        Ok(Self(principal))
    }
}

#[cfg(test)]
mod tests;
