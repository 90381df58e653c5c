//! Asking controllers for certificates: one request, one answer.
//!
//! The first is asked for as nobody, of a server that is known by the pin of its authority; later ones over
//! a channel, as the node that asks. No retries here.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::Authority;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_proto::control::{CertificateAnswer, CertificateRequest, JoinRequest};
use tidegate_proto::error::Problem;
use tidegate_proto::node::NodeRole;
use tokio::time::timeout;

use crate::channel::Channel;
use crate::channel::connect::Connector;
use crate::http::read_body;
use crate::limits::{ENROL_ANSWER_BYTES_MAX, ENROL_TIMEOUT};
use crate::tls::{Expect, PkiError, pinned_client_config};

/// There is no certificate.
#[derive(Debug)]
pub(super) enum AskError {
    /// It would be the same the next time.
    Refused(Box<Problem>),
    /// Another time, or another controller, may do.
    NoAnswer(String),
}

/// The way to a controller for who is nobody yet.
pub(super) struct Joining {
    connector: Connector,
}

impl Joining {
    pub(super) fn new(pin: &str) -> Result<Self, PkiError> {
        let config = pinned_client_config(pin, Expect::Role(NodeRole::Sc))?;
        Ok(Self {
            connector: Connector::new(config, None),
        })
    }

    pub(super) async fn ask(
        &self,
        endpoint: &Authority,
        asked: &JoinRequest,
    ) -> Result<CertificateAnswer, AskError> {
        within(self.ask_now(endpoint, asked)).await
    }

    async fn ask_now(
        &self,
        endpoint: &Authority,
        asked: &JoinRequest,
    ) -> Result<CertificateAnswer, AskError> {
        let connected = self.connector.connect(endpoint).await;
        let (mut sender, driven) = connected.map_err(no_answer)?;
        let request = request(&format!("https://{endpoint}/internal/v1/join"), asked)?;
        let answered = async {
            let request = request.map(axum::body::Body::new);
            let answer = sender.send_request(request).await.map_err(no_answer)?;
            read(answer).await
        };
        tokio::select! {
            biased;
            answer = answered => answer,
            ended = driven => Err(AskError::NoAnswer(match ended {
                Ok(()) => "closed the connection".to_owned(),
                Err(error) => error.to_string(),
            })),
        }
    }
}

/// The next certificate of who is somebody.
pub(super) async fn renew(
    channel: &Channel,
    asked: &CertificateRequest,
) -> Result<CertificateAnswer, AskError> {
    within(async {
        let request = request("/internal/v1/certificate", asked)?;
        let answer = channel.send(request).await.map_err(no_answer)?;
        read(answer).await
    })
    .await
}

async fn within<T>(asking: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
    let late = || {
        let waited_s = ENROL_TIMEOUT.as_secs();
        Err(AskError::NoAnswer(format!("no answer within {waited_s} s")))
    };
    timeout(ENROL_TIMEOUT, asking)
        .await
        .unwrap_or_else(|_| late())
}

fn request(uri: &str, asked: &impl Serialize) -> Result<Request<Full<Bytes>>, AskError> {
    let body = serde_json::to_vec(asked).map_err(no_answer)?;
    Request::post(uri)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(no_answer)
}

async fn read<T, B>(answer: Response<B>) -> Result<T, AskError>
where
    T: DeserializeOwned,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let status = answer.status();
    let body = axum::body::Body::new(answer.into_body());
    let body = read_body(body, ENROL_ANSWER_BYTES_MAX).await;
    let body = body.map_err(no_answer)?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(no_answer);
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if !problem.code().is_retryable() && status.is_client_error() => {
            Err(AskError::Refused(Box::new(problem)))
        }
        Ok(problem) => Err(no_answer(problem)),
        Err(_) => Err(AskError::NoAnswer(format!("status {status}"))),
    }
}

fn no_answer(error: impl std::fmt::Display) -> AskError {
    AskError::NoAnswer(error.to_string())
}
