//! How a process becomes a node of the cluster, and stays one.
//!
//! With a join token it asks a controller for its first certificate, which it knows by the pin in the token;
//! later starts find the certificate on the disk. A task renews it when half of its life is over, and
//! takes over files that somebody else put there. Nothing is decided here about what the node may do.
//! Invariant: what is damaged is never overwritten, and what was in force stays in force until something
//! better is there.

mod ask;
mod keep;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tidegate_proto::control::{CertificateAnswer, JoinRequest, JoinTicket, NoJoinTicket};
use tidegate_proto::error::Problem;
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};

use crate::backoff::Backoff;
use crate::channel::{ChannelConfigError, parse_endpoint};
use crate::clock;
use crate::limits::{ENROL_RETRY_BASE, ENROL_RETRY_MAX};
use crate::secret::{Secret, random_u64};
use crate::tasks::{TaskKind, Tasks};
use crate::tls::{IdentityDir, NodeCredentials, NodeKey, NodeTls, PkiError};
use ask::{AskError, Joining};
use keep::Keeper;

/// Who a process is to be, and who can say so.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Where the identity is kept.
    pub dir: PathBuf,
    /// What the process is.
    pub role: NodeRole,
    /// Its name, when it is settled here; else the token's, or the one of an earlier start.
    pub name: Option<NodeName>,
    /// Private endpoints of the controllers, `host:port`.
    pub controllers: Vec<String>,
    /// To join with, unless the process has joined before.
    pub token: Option<Secret>,
    /// How often the files are looked at: [`CERTIFICATE_POLL_INTERVAL`](crate::limits::CERTIFICATE_POLL_INTERVAL).
    pub poll_interval: Duration,
}

/// Why a process is not a node.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// There is neither a certificate nor a token.
    #[error("there is no certificate in {}, and no join token to ask for one", .0.display())]
    NoToken(PathBuf),
    /// The token is none.
    #[error(transparent)]
    Token(#[from] NoJoinTicket),
    /// The certificate is over, and there is no token to ask for another.
    #[error(
        "the certificate in {} has expired; join again with a new token",
        .0.display()
    )]
    Expired(PathBuf),
    /// The certificate is another node's.
    #[error("{} is the certificate of {found}, and this is {expected}", path.display())]
    Other {
        path: PathBuf,
        found: NodeIdentity,
        /// Role and name as far as they are settled.
        expected: String,
    },
    /// Files are missing, damaged, or cannot be written.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The controllers' addresses are none.
    #[error(transparent)]
    Endpoint(#[from] ChannelConfigError),
    /// A controller said no.
    #[error("the cluster refuses this node: {0}")]
    Refused(Box<Problem>),
    /// The process is being stopped.
    #[error("stopped before the node had joined")]
    Stopped,
}

impl Enrolment {
    /// The identity of this process: that on the disk, or a new one. Waits while no controller can be
    /// reached; whoever does not want to wait drops the future. Renewal and reloading go on as long as
    /// `tasks` run.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub async fn enrol(self, tasks: &Tasks) -> Result<NodeTls, EnrolError> {
        let dir = IdentityDir::open(&self.dir)?;
        let found = dir.load()?;
        let (credentials, tls) = match self.in_force(&dir, found)? {
            Some(found) => found,
            None => tokio::select! {
                joined = self.join(&dir) => joined?,
                () = tasks.cancelled() => return Err(EnrolError::Stopped),
            },
        };
        let span = tracing::info_span!("identity", node = %tls.identity());
        let keeper = Keeper::new(&self, dir, tls.clone(), credentials, tasks.clone());
        tasks.spawn(TaskKind::Upkeep, span, keeper.run());
        Ok(tls)
    }

    /// What was found, when it is this node's and not over.
    fn in_force(
        &self,
        dir: &IdentityDir,
        found: Option<NodeCredentials>,
    ) -> Result<Option<(NodeCredentials, NodeTls)>, EnrolError> {
        let Some(credentials) = found else {
            return Ok(None);
        };
        let tls = NodeTls::new(&credentials)?;
        self.check(dir, tls.identity())?;
        if tls.validity_s().1 > clock::now_s() {
            return Ok(Some((credentials, tls)));
        }
        match &self.token {
            Some(_) => Ok(None),
            None => Err(EnrolError::Expired(dir.node_path())),
        }
    }

    fn check(&self, dir: &IdentityDir, found: &NodeIdentity) -> Result<(), EnrolError> {
        let is_name = |name: &NodeName| name == found.name();
        if found.role() == self.role && self.name.as_ref().is_none_or(is_name) {
            return Ok(());
        }
        let name = self.name.as_ref().map_or("any", NodeName::as_str);
        Err(EnrolError::Other {
            path: dir.node_path(),
            found: found.clone(),
            expected: format!("{}/{name}", self.role),
        })
    }

    async fn join(&self, dir: &IdentityDir) -> Result<(NodeCredentials, NodeTls), EnrolError> {
        let token = self.token.as_ref();
        let token = token.ok_or_else(|| EnrolError::NoToken(dir.node_path()))?;
        let ticket: JoinTicket = token.expose().trim().parse()?;
        let key = dir.joining_key()?;
        let request = JoinRequest {
            secret: ticket.secret,
            role: self.role,
            name: self.name.clone(),
            request_pem: key.signing_request()?,
        };
        let endpoints = self.controllers.iter().map(|text| parse_endpoint(text));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ChannelConfigError::NoEndpoint.into());
        }
        let joining = Joining::new(&ticket.pin)?;
        let seed = random_u64().unwrap_or_default();
        let mut backoff = Backoff::new(ENROL_RETRY_BASE, ENROL_RETRY_MAX, seed);
        let mut said = String::new();
        loop {
            for endpoint in &endpoints {
                match joining.ask(endpoint, &request).await {
                    Ok(answer) => return self.take(dir, &key, answer),
                    Err(AskError::Refused(problem)) => return Err(EnrolError::Refused(problem)),
                    Err(AskError::NoAnswer(reason)) => {
                        let now = format!("{endpoint}: {reason}");
                        // Once for each new reason, and not with every attempt.
                        if now != said {
                            tracing::warn!(reason = now, "not joined yet, trying again");
                            said = now;
                        }
                    }
                }
            }
            let until = clock::monotonic() + backoff.next_delay();
            tokio::time::sleep_until(until.into()).await;
        }
    }

    fn take(
        &self,
        dir: &IdentityDir,
        key: &NodeKey,
        answer: CertificateAnswer,
    ) -> Result<(NodeCredentials, NodeTls), EnrolError> {
        let credentials = credentials_of(key, answer);
        let tls = NodeTls::new(&credentials)?;
        self.check(dir, tls.identity())?;
        dir.save(&credentials)?;
        tracing::info!(node = %tls.identity(), "joined the cluster");
        Ok((credentials, tls))
    }
}

fn credentials_of(key: &NodeKey, answer: CertificateAnswer) -> NodeCredentials {
    NodeCredentials {
        chain_pem: answer.chain_pem,
        key_pem: key.pem(),
        authorities_pem: answer.authorities_pem,
    }
}
