//! What a failed start means for the person who started it: an exit code and a paragraph that says
//! what to do.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tidegate_kit::tls::PkiError;
use tidegate_sc::store::StoreError;
use tidegate_spu::NodeError;

use crate::failure::Failure;
use crate::up::directory::disk;

/// The address cannot be listened on.
pub(crate) fn bind(address: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            Failure::PORT_TAKEN,
            format!(
                "{address} is taken by another program (perhaps another Tidegate). Stop it, or choose \
                 another port: --listen {}",
                SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024)),
            ),
        ),
        io::ErrorKind::PermissionDenied => Failure::failed(format!(
            "this user may not listen on port {}: choose one above 1023 with --listen",
            address.port()
        )),
        io::ErrorKind::AddrNotAvailable => Failure::usage(format!(
            "{} is no address of this machine; 0.0.0.0 listens on all of them",
            address.ip()
        )),
        _ => Failure::failed(format!("cannot listen on {address}: {error}")),
    }
}

/// Certificates cannot be made or read.
pub(crate) fn pki(error: &PkiError) -> Failure {
    match error {
        PkiError::File { path, source } => disk(path, "cannot be used", source),
        PkiError::Name { name } => Failure::usage(format!(
            "--san {name:?} is neither a host name nor an address"
        )),
        PkiError::Invalid { .. }
        | PkiError::Unusable { .. }
        | PkiError::Make(_)
        | PkiError::Authority { .. }
        | PkiError::Request(_)
        | PkiError::Credentials(_) => Failure::failed(error.to_string()),
    }
}

/// The metadata store cannot be opened.
pub(crate) fn store(path: &Path, error: &StoreError) -> Failure {
    match error {
        StoreError::InUse(path) => Failure::new(
            Failure::IN_USE,
            format!(
                "the metadata store {} is in use by another process. Stop that one, or give \
                 --data-dir another directory.",
                path.display()
            ),
        ),
        StoreError::NotWritable { path, .. } => {
            let reason = io::Error::other(chain(error));
            disk(path, "cannot be written", &reason)
        }
        StoreError::Full(_) => disk(
            path,
            "cannot be written",
            &io::Error::from(io::ErrorKind::StorageFull),
        ),
        StoreError::SchemaTooNew { .. }
        | StoreError::SchemaDiffers { .. }
        | StoreError::Damaged(_)
        | StoreError::Database(_)
        // Those of a server, which `up` does not use.
        | StoreError::SchemaTooOld { .. }
        | StoreError::SchemaMissing
        | StoreError::Address(_)
        | StoreError::Unreachable(_)
        | StoreError::ReadOnly
        | StoreError::Slow(_)
        | StoreError::Refused => Failure::failed(chain(error)),
    }
}

/// An error with its causes, outermost first.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let reason = next.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = next.source();
    }
    text
}

/// The storage node cannot be opened or started.
pub(crate) fn node(directory: &Path, error: &NodeError) -> Failure {
    match error {
        NodeError::InUse { dir } => Failure::new(
            Failure::IN_USE,
            format!(
                "the data directory {} is in use by another process. Stop that one, or give \
                 --data-dir another directory.",
                dir.display()
            ),
        ),
        NodeError::NotWritable(_) | NodeError::Io(_) => match io_cause(error) {
            Some(cause) => disk(directory, "cannot be used", cause),
            None => Failure::new(Failure::DISK, chain(error)),
        },
        NodeError::Corrupt(_) => Failure::new(
            Failure::DISK,
            format!(
                "{}. Nothing was changed. Restore the directory from a copy, or start on an empty \
                 one with --data-dir.",
                chain(error)
            ),
        ),
        NodeError::DiskFailed(_) => Failure::new(
            Failure::DISK_FAILED,
            format!(
                "{}. What was acknowledged before that may be lost, whatever the disk does now, so \
                 nothing was opened or changed. Look at the disk first (`dmesg`, `smartctl`); replace \
                 it if you can. To go on with what it holds, to be read and not written:\n  \
                 tidegate disk accept --data-dir {}",
                chain(error),
                directory.parent().unwrap_or(directory).display()
            ),
        ),
        NodeError::LogDead(_) => Failure::new(Failure::DISK, chain(error)),
        NodeError::AlreadyStarted => Failure::failed(error.to_string()),
    }
}

/// The error of the file system behind an error.
fn io_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(here) = cause {
        if let Some(found) = here.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = here.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_has_its_exit_code_and_another_port_to_try() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8443));
        let failure = bind(address, &io::Error::from(io::ErrorKind::AddrInUse));
        assert_eq!(failure.exit, Failure::PORT_TAKEN);
        assert!(
            failure.message.contains("--listen 127.0.0.1:8444"),
            "{failure}"
        );
    }

    #[test]
    fn a_store_in_use_and_a_full_disk_are_told_apart() {
        let path = Path::new("/d/meta.db");
        let used = store(path, &StoreError::InUse(path.to_owned()));
        assert_eq!(used.exit, Failure::IN_USE);
        let node_used = node(Path::new("/d"), &NodeError::InUse { dir: "/d".into() });
        assert_eq!(node_used.exit, Failure::IN_USE);
    }
}
