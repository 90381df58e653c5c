//! The handle that everything starts from: where Tidegate is and how to speak with it.
//!
//! A client is cheap to clone and shares its connections. Reads are retried here, because they have
//! no effect; what has one is retried only where the server makes the repeat harmless.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::backoff;
use crate::error::Error;
use crate::limits::{CONTROL_ATTEMPTS_MAX, REQUEST_TIMEOUT_DEFAULT};
use crate::transport::{Answer, Call, Transport};

/// Where Tidegate is, whom to trust and who is asking.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `https://host:port` or, for development servers, `http://host:port`.
    pub url: String,
    /// Further servers of the same Tidegate, such as its other gateways: tried in turn when one is away.
    pub more_urls: Vec<String>,
    /// The only trusted certificate authority; the machine's own ones when absent.
    pub ca_pem: Option<Vec<u8>>,
    /// API token, sent as bearer. Development servers need none.
    pub token: Option<String>,
    /// Deadline of control calls.
    pub request_timeout: Duration,
    /// Keeps to HTTP/1.1, where each request in flight has a connection of its own.
    pub http1_only: bool,
}

impl ClientConfig {
    /// A configuration with neither CA nor token.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            more_urls: Vec::new(),
            ca_pem: None,
            token: None,
            request_timeout: REQUEST_TIMEOUT_DEFAULT,
            http1_only: false,
        }
    }
}

/// A connection to one Tidegate. Connects when first used.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Checks the configuration; nothing is sent yet.
    ///
    /// # Errors
    /// `Error::Config` when URL, CA or token cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let urls = iter::once(&config.url).chain(&config.more_urls);
        let transport = Transport::new(
            &urls.map(String::as_str).collect::<Vec<_>>(),
            config.ca_pem.as_deref(),
            config.token.as_deref(),
            config.http1_only,
        )?;
        Ok(Self {
            transport: Arc::new(transport),
            config: Arc::new(config),
        })
    }

    /// The first URL as configured.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) async fn call(&self, call: Call) -> Result<Answer, Error> {
        self.transport.call(call).await
    }

    /// A call with a JSON body or none and an answer in JSON. Not retried.
    pub(crate) async fn send_json(
        &self,
        method: Method,
        path: String,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut headers = headers;
        headers.push((ACCEPT, HeaderValue::from_static("application/json")));
        let body = match body {
            Some(value) => {
                headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
                Bytes::from(value.to_string())
            }
            None => Bytes::new(),
        };
        let timeout = self.config.request_timeout;
        self.transport
            .call(Call {
                method,
                path,
                headers,
                body,
                timeout,
            })
            .await
    }

    /// Reads a JSON document, or fails at once.
    pub(crate) async fn get_json_once<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.send_json(Method::GET, path.to_owned(), Vec::new(), None);
        decode(&answer.await?, path)
    }

    /// Reads a JSON document, trying again while that may help.
    pub(crate) async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            match self
                .send_json(Method::GET, path.to_owned(), Vec::new(), None)
                .await
            {
                Ok(answer) => return decode(&answer, path),
                Err(error) if error.is_retryable() && failures + 1 < CONTROL_ATTEMPTS_MAX => {
                    failures += 1;
                    let pause = backoff::pause(failures, &error, backoff::random());
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

pub(crate) fn decode<T: DeserializeOwned>(answer: &Answer, request: &str) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| Error::Protocol {
        request: request.to_owned(),
        reason: format!(
            "status {} with a body that is not as expected: {error}",
            answer.status
        ),
    })
}
