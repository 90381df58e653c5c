//! What may be wrong with a store, whichever it is, and what that is to a client; and the form of
//! every answer.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The store did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another controller has the file open.
    #[error("another controller uses the metadata store {}", .0.display())]
    InUse(PathBuf),
    /// The store was written by a newer version.
    #[error(
        "the metadata store has schema {found}, this version knows {known} at most; \
         start it with the version that wrote it, or a newer one"
    )]
    SchemaTooNew { found: i64, known: i64 },
    /// Migrations have not been run.
    #[error(
        "the metadata store has schema {found}, this version needs {needed}: run `tidegate sc migrate` \
         with this version first"
    )]
    SchemaTooOld { found: i64, needed: i64 },
    /// There is no schema.
    #[error("the database is empty: run `tidegate sc migrate` first")]
    SchemaMissing,
    /// The store's schema was not made by this project's migrations.
    #[error(
        "migration {version} of the metadata store is not the one that this version has: was the \
         database made by another program, or edited by hand?"
    )]
    SchemaDiffers { version: i64 },
    /// The address of the database makes no sense. The text has no password in it.
    #[error("the address of the database cannot be used: {0}")]
    Address(String),
    /// The database cannot be reached, or refuses the connection.
    #[error("the metadata store cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The database answers, but takes no writes: a standby, or one that was told so.
    #[error("the metadata store is read-only: a standby is not asked, only the primary")]
    ReadOnly,
    /// The database did not answer in time.
    #[error("the metadata store did not answer within {0:?}")]
    Slow(Duration),
    /// The file cannot be made or written.
    #[error("the metadata store {} cannot be opened for writing", path.display())]
    NotWritable {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    /// No room on the disk.
    #[error("no space is left for the metadata store")]
    Full(#[source] sqlx::Error),
    /// What is stored makes no sense.
    #[error("the metadata store is damaged: {0}")]
    Damaged(String),
    /// It was closed, or a fault was injected.
    #[error("the metadata store refused")]
    Refused,
    /// Anything else that the database says.
    #[error("the metadata store failed")]
    Database(#[source] sqlx::Error),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Full(_) => ErrorCode::DiskFull,
            StoreError::Damaged(_) => ErrorCode::Internal,
            _ => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}
