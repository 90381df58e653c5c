//! The task that keeps a node's certificate in force.
//!
//! Looks at the files for what somebody else put there, renews in time, and says how many days are left.
//! Invariant: a certificate is in force in the process only when it is on the disk.

use std::time::{Duration, Instant};

use metrics::gauge;
use tidegate_proto::control::CertificateRequest;
use tidegate_proto::node::NodeRole;
use tracing::Span;

use super::ask::{self, AskError};
use super::{Enrolment, credentials_of};
use crate::backoff::Backoff;
use crate::channel::{Channel, ChannelConfig};
use crate::clock;
use crate::limits::{RENEWAL_RETRY_BASE, RENEWAL_RETRY_MAX};
use crate::secret::random_u64;
use crate::tasks::{TaskKind, Tasks};
use crate::tls::{Expect, IdentityDir, NodeCredentials, NodeKey, NodeTls, PkiError};

pub(super) struct Keeper {
    dir: IdentityDir,
    tls: NodeTls,
    controllers: Vec<String>,
    poll_interval: Duration,
    tasks: Tasks,
    /// What was read last, in force or not.
    read: NodeCredentials,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(
        enrolment: &Enrolment,
        dir: IdentityDir,
        tls: NodeTls,
        read: NodeCredentials,
        tasks: Tasks,
    ) -> Self {
        let seed = random_u64().unwrap_or_default();
        Self {
            dir,
            tls,
            controllers: enrolment.controllers.clone(),
            poll_interval: enrolment.poll_interval,
            tasks,
            read,
            backoff: Backoff::new(RENEWAL_RETRY_BASE, RENEWAL_RETRY_MAX, seed),
            retry_at: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.reload().await;
            let now_s = clock::now_s();
            let left_s = self.tls.validity_s().1 - now_s;
            gauge!("tidegate_node_certificate_days_left").set(left_s as f64 / 86_400.0);
            let is_due = self.tls.until_renewal(now_s).is_zero();
            let may_try = self.retry_at.is_none_or(|at| at <= clock::monotonic());
            if is_due && may_try {
                self.renew().await;
            }
            let until = clock::monotonic() + self.poll_interval;
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Takes over what somebody else put into the files.
    async fn reload(&mut self) {
        let dir = self.dir.clone();
        let loading = self.blocking(move || dir.load());
        let found = match loading.await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the identity of this node cannot be read");
                return;
            }
        };
        if is_same(&found, &self.read) {
            return;
        }
        match self.tls.replace(&found) {
            Ok(()) => tracing::info!("took over a certificate from the files"),
            Err(error) => {
                tracing::warn!(%error, "the files of this node's identity are left alone");
            }
        }
        self.read = found;
    }

    async fn renew(&mut self) {
        match self.renewed().await {
            Ok(credentials) => {
                self.read = credentials;
                self.backoff.reset();
                self.retry_at = None;
                tracing::info!("certificate renewed");
            }
            Err(reason) => {
                let left_s = self.tls.validity_s().1 - clock::now_s();
                tracing::warn!(reason, left_s, "the certificate was not renewed");
                self.retry_at = Some(clock::monotonic() + self.backoff.next_delay());
            }
        }
    }

    async fn renewed(&self) -> Result<NodeCredentials, String> {
        let key = NodeKey::generate().map_err(|error| error.to_string())?;
        let asked = CertificateRequest {
            request_pem: key.signing_request().map_err(|error| error.to_string())?,
        };
        let channel = Channel::new(&ChannelConfig {
            endpoints: self.controllers.clone(),
            tls: self.tls.clone(),
            expect: Expect::Role(NodeRole::Sc),
            tasks: self.tasks.clone(),
        });
        let channel = channel.map_err(|error| error.to_string())?;
        let answer = ask::renew(&channel, &asked).await.map_err(text)?;
        let credentials = credentials_of(&key, answer);
        // Looked at before it takes the place of one that is good.
        let next = NodeTls::new(&credentials).map_err(|error| error.to_string())?;
        if next.identity() != self.tls.identity() {
            return Err(format!(
                "the answer is the certificate of {}",
                next.identity()
            ));
        }
        let (dir, kept) = (self.dir.clone(), credentials.clone());
        let saving = self.blocking(move || dir.save(&kept));
        saving.await.map_err(|error| error.to_string())?;
        let replaced = self.tls.replace(&credentials);
        replaced.map_err(|error| error.to_string())?;
        Ok(credentials)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PkiError> + Send + 'static,
    ) -> Result<T, PkiError> {
        let done = self
            .tasks
            .spawn_blocking(TaskKind::Blocking, Span::current(), work);
        done.await
            .unwrap_or_else(|error| Err(PkiError::Make(error.to_string())))
    }
}

fn text(error: AskError) -> String {
    match error {
        AskError::Refused(problem) => problem.to_string(),
        AskError::NoAnswer(reason) => reason,
    }
}

fn is_same(a: &NodeCredentials, b: &NodeCredentials) -> bool {
    // Line ends of a file that was put there by hand are not what a certificate is about.
    let same = |a: &str, b: &str| a.lines().eq(b.lines());
    same(&a.chain_pem, &b.chain_pem)
        && same(a.key_pem.expose(), b.key_pem.expose())
        && same(&a.authorities_pem, &b.authorities_pem)
}
