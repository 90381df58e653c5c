//! How a command ends when it does not succeed: one paragraph for people, one number for scripts.
//!
//! 1 the command failed, 2 wrong usage, 3 the port is taken, 4 the data directory is in use, 5 the
//! disk cannot be used, 6 the disk failed in an earlier run and nobody accepted that, 7 another process
//! took this storage unit's place, 130 interrupted before the end. A reader that closed our standard output is no failure.

use std::fmt;
use std::io;

use tidegate_client::{Error, ErrorCode};
use tidegate_kit::signal::Signals;

/// Listens for interrupts from now on.
pub(crate) fn interrupts() -> Result<Signals, Failure> {
    Signals::new().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
}

/// What the client's HTTP says of an answer that is none, as a TLS server gives it to a client without TLS.
const NOT_HTTP: &str = "invalid HTTP version";

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const PORT_TAKEN: u8 = 3;
    pub(crate) const IN_USE: u8 = 4;
    pub(crate) const DISK: u8 = 5;
    /// The disk failed before; only `tidegate disk accept` goes on.
    pub(crate) const DISK_FAILED: u8 = 6;
    /// A later registration took this storage unit's place (S5).
    pub(crate) const SUPERSEDED: u8 = 7;
    /// Never an exit code: the process starts over by itself.
    pub(crate) const AGAIN: u8 = 255;
    /// What a shell reports for a program that an interrupt ended.
    pub(crate) const INTERRUPTED: u8 = 130;

    pub(crate) fn new(exit: u8, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Self::FAILED, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Self::USAGE, message)
    }

    /// The reader of our output went away, as `head` does: end without a word.
    pub(crate) fn quiet() -> Self {
        Self::new(0, "")
    }

    /// Standard output cannot be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::quiet()
        } else {
            Self::failed(format!("cannot write to standard output: {error}"))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = match &error {
            Error::Config(_) => return Self::usage(error.to_string()),
            Error::Connect { .. } => {
                "\nDoes it run? `tidegate up` starts a server, and `tidegate cluster status` shows the \
                 processes of a cluster on this machine; --url, TIDEGATE_URL or a profile say where it is."
            }
            Error::Tls { .. } => {
                "\nThe server's certificate must come from the authority given by --ca, TIDEGATE_CA \
                 or the profile (`ca.pem` in the data directory of `tidegate up`; that of a cluster on \
                 this machine is told by `tidegate cluster env`), and name the host of the URL (`tidegate \
                 up --san NAME` adds names)."
            }
            Error::Problem(problem) => match problem.code() {
                ErrorCode::Unauthenticated => {
                    "\nGive the token with --token, TIDEGATE_TOKEN or a profile; `tidegate up` and \
                     `tidegate cluster start` keep it in the file `token` of their data directory."
                }
                ErrorCode::SpuNotFound => {
                    "\n`tidegate spu list` shows the storage units there are."
                }
                ErrorCode::OperationNotFound => {
                    "\n`tidegate operation list --all` shows those that are remembered."
                }
                ErrorCode::AlreadyExists => {
                    "\n`tidegate topic alter` changes a topic, `tidegate spu alter` a storage unit; `topic create \
                     --if-missing` is content with what there is."
                }
                ErrorCode::TopicNotFound => "\n`tidegate topic list` shows the topics there are.",
                _ => "",
            },
            Error::Transport { reason, .. } if reason.contains(NOT_HTTP) => {
                "\nThe server may expect TLS: try https:// instead of http:// (--url, TIDEGATE_URL or the \
                 profile)."
            }
            Error::Transport { .. }
            | Error::Timeout { .. }
            | Error::Protocol { .. }
            | Error::Record(_)
            | Error::Closed => "",
        };
        Self::failed(format!("{error}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_expects_tls_is_told_from_a_connection_that_broke() {
        let told = |reason: &str| {
            let request = "GET /v1/topics".to_owned();
            let reason = reason.to_owned();
            Failure::from(Error::Transport { request, reason }).message
        };
        assert!(told("invalid HTTP version parsed").contains("try https://"));
        assert!(!told("connection reset by peer").contains("https://"));
    }
}
