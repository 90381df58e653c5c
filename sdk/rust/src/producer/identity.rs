//! The producer id under which batches are numbered, leased when first needed.
//!
//! All partitions of a producer share one id. A partition whose sequence broke asks for another
//! one; the others keep theirs until they fail themselves.

use http::Method;
use serde::Deserialize;
use tidegate_proto::id::ProducerId;

use crate::backoff;
use crate::client::{Client, decode};
use crate::clock;
use crate::error::Error;

/// Path of the lease call.
const PATH: &str = "/v1/producers";

/// A leased identity.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: ProducerId,
    pub(crate) producer_epoch: u16,
}

#[derive(Debug)]
pub(crate) struct Identities {
    client: Client,
    current: tokio::sync::Mutex<Option<Identity>>,
}

impl Identities {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            current: tokio::sync::Mutex::new(None),
        }
    }

    /// The identity at hand, unless it is `broken`; leases one otherwise. Leases are never
    /// returned and cost the server a counter, so that repeating the call does no harm.
    pub(crate) async fn get(
        &self,
        broken: Option<Identity>,
        patience: std::time::Duration,
    ) -> Result<Identity, Error> {
        let mut current = self.current.lock().await;
        if let Some(identity) = *current
            && Some(identity) != broken
        {
            return Ok(identity);
        }
        let leased = self.lease(clock::now() + patience).await?;
        *current = Some(leased);
        Ok(leased)
    }

    async fn lease(&self, deadline: tokio::time::Instant) -> Result<Identity, Error> {
        let mut failures = 0;
        loop {
            let body = serde_json::json!({});
            let sent =
                self.client
                    .send_json(Method::POST, PATH.to_owned(), Vec::new(), Some(&body));
            match sent.await {
                Ok(answer) => return decode(&answer, PATH),
                Err(error) if error.is_retryable() => {
                    failures += 1;
                    let next = clock::now() + backoff::pause(failures, &error, backoff::random());
                    if next >= deadline {
                        return Err(error);
                    }
                    tokio::time::sleep_until(next).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
