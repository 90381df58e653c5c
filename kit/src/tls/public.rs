//! The certificate that the public is shown, replaced while the process runs.
//!
//! A certificate and its key are two files that somebody else may replace, one after the other; every
//! handshake uses the last two that belonged together. The own authority's certificate is renewed as well
//! when it comes to its end in a process that is never restarted. Clients are not verified.
//! Invariant: what is damaged leaves in force what was good before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::gauge;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::Span;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{SERVER_KEY, SERVER_PEM};
use super::{Pki, PkiError, files, provider};
use crate::clock;
use crate::limits::CERTIFICATE_RENEW_BEFORE;
use crate::tasks::{TaskKind, Tasks};

/// A certificate with its key, shown to the public. Clones are the same.
#[derive(Debug, Clone)]
pub struct PublicTls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    chain_path: PathBuf,
    key_path: PathBuf,
    /// Whose certificate it is, when it is our own authority's: directory and names.
    own: Option<(PathBuf, Vec<String>)>,
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    expires_at_s: i64,
}

/// What was read, as text.
#[derive(PartialEq, Eq)]
struct Texts {
    chain: String,
    key: String,
}

impl PublicTls {
    /// A chain and a key (PEM) that somebody else made.
    ///
    /// # Errors
    /// [`PkiError::Unusable`] when they do not belong together; [`PkiError::File`].
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, PkiError> {
        Self::read(chain.to_owned(), key.to_owned(), None)
    }

    /// The certificate of our own authority in `dir`, made when it is not there or not for `sans`.
    ///
    /// # Errors
    /// Those of [`Pki::ensure`].
    pub fn from_own(dir: &Path, sans: &[String]) -> Result<(Self, Pki), PkiError> {
        let pki = Pki::ensure(dir, sans)?;
        let own = Some((dir.to_owned(), sans.to_vec()));
        let tls = Self::read(dir.join(SERVER_PEM), dir.join(SERVER_KEY), own)?;
        Ok((tls, pki))
    }

    pub(super) fn read(
        chain_path: PathBuf,
        key_path: PathBuf,
        own: Option<(PathBuf, Vec<String>)>,
    ) -> Result<Self, PkiError> {
        let current = Texts::read(&chain_path, &key_path)?.parse(&chain_path, &key_path)?;
        Ok(Self {
            shared: Arc::new(Shared {
                chain_path,
                key_path,
                own,
                current: RwLock::new(Arc::new(current)),
            }),
        })
    }

    /// For listeners: TLS 1.2 and 1.3, the protocols `alpn`, no early data. Follows what is in force.
    ///
    /// # Errors
    /// [`PkiError::Make`] when the cryptography of this build has no TLS.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, PkiError> {
        let resolver = Arc::clone(&self.shared) as Arc<dyn ResolvesServerCert>;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| PkiError::Make(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The end of the certificate in force, in seconds since 1970.
    #[must_use]
    pub fn expires_at_s(&self) -> i64 {
        self.shared.current().expires_at_s
    }

    /// Looks at the files as the task does.
    #[cfg(test)]
    pub(super) fn look(&self) {
        self.shared.look(None);
    }

    /// Looks at the files every so often, for as long as `tasks` run.
    pub fn spawn_reload(&self, tasks: &Tasks, interval: Duration) {
        let (shared, stage) = (Arc::clone(&self.shared), tasks.clone());
        let span = tracing::info_span!("certificate", file = %shared.chain_path.display());
        tasks.spawn(TaskKind::Upkeep, span, async move {
            let mut seen = None;
            loop {
                let looking = Arc::clone(&shared);
                let before = seen.take();
                let work = move || looking.look(before);
                let looked = stage.spawn_blocking(TaskKind::Blocking, Span::current(), work);
                seen = looked.await.unwrap_or_default();
                let left_s = shared.current().expires_at_s - clock::now_s();
                gauge!("tidegate_public_certificate_days_left").set(left_s as f64 / 86_400.0);
                tokio::time::sleep_until((clock::monotonic() + interval).into()).await;
            }
        });
    }
}

impl Shared {
    fn current(&self) -> Arc<Current> {
        let slot = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slot)
    }

    /// Takes over what has changed since `before`; gives what is there now, or `before` when that cannot
    /// be read. What is wrong is told once for each change.
    fn look(&self, before: Option<Texts>) -> Option<Texts> {
        self.renew_own();
        let found = match Texts::read(&self.chain_path, &self.key_path) {
            Ok(found) => found,
            Err(error) => {
                // Once: the next look finds nothing before.
                if before.is_some() {
                    tracing::warn!(%error, "the certificate in force stays");
                }
                return None;
            }
        };
        if before.as_ref() == Some(&found) {
            return before;
        }
        match found.parse(&self.chain_path, &self.key_path) {
            Ok(current) if current.certified.cert == self.current().certified.cert => {}
            Ok(current) => {
                tracing::info!("took over a certificate from the files");
                let mut slot = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *slot = Arc::new(current);
            }
            Err(error) => tracing::warn!(%error, "the certificate in force stays"),
        }
        Some(found)
    }

    /// Makes the next certificate when it is our own and due.
    fn renew_own(&self) {
        let Some((dir, sans)) = &self.own else { return };
        let due_s = CERTIFICATE_RENEW_BEFORE.as_secs().cast_signed();
        if self.current().expires_at_s - clock::now_s() >= due_s {
            return;
        }
        if let Err(error) = Pki::ensure(dir, sans) {
            tracing::warn!(%error, "the certificate was not renewed");
        }
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }
}

impl Texts {
    fn read(chain_path: &Path, key_path: &Path) -> Result<Self, PkiError> {
        let read = |path: &Path| {
            let missing = || unusable(path, "there is no such file");
            files::read(path)?.ok_or_else(missing)
        };
        Ok(Self {
            chain: read(chain_path)?,
            key: read(key_path)?,
        })
    }

    fn parse(&self, chain_path: &Path, key_path: &Path) -> Result<Current, PkiError> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(chain_path, error))?;
        let leaf = chain
            .first()
            .ok_or_else(|| unusable(chain_path, "there is no certificate in it"))?;
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|error| unusable(chain_path, error))?;
        let expires_at_s = parsed.validity().not_after.timestamp();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| unusable(key_path, error))?;
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| unusable(key_path, error))?;
        let certified = CertifiedKey::new(chain, key);
        certified
            .keys_match()
            .map_err(|_| unusable(key_path, "it is not the key of the certificate"))?;
        Ok(Current {
            certified: Arc::new(certified),
            expires_at_s,
        })
    }
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> PkiError {
    PkiError::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
