//! Where connections to other nodes come from: the machine's sockets, or what a simulation puts there.
//!
//! A program never sets one: without it every connection is TCP with mutual TLS on it. It chooses no
//! address and knows nothing of protocols. Invariant: a stream whose other end is not known yet gets TLS.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that was made.
pub enum Dialled {
    /// Who answers is not known: TLS goes on it.
    Open(Box<dyn Wire>),
    /// Whoever made it knows who answers: nothing goes on it.
    Trusted(Box<dyn Wire>),
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Trusted(_) => "Trusted",
        })
    }
}

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Dialled>> + Send>>;

/// Makes connections in a simulation.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to `endpoint`, which is `host:port`.
    fn dial(&self, endpoint: &str) -> Dialling;
}
