//! Files that appear whole or not at all.
//!
//! Written beside their place, synced, renamed, and the directory synced, so that a power cut leaves
//! the old file or the new one. Invariant: what is secret has mode 0600 from its first byte on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::PkiError;

// Certificates and keys are a few KiB; anything larger is not one.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Secret,
    Public,
}

/// The text of the file, `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    let failed = |source| PkiError::File {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let size = file
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if size as u64 > FILE_BYTES_MAX {
        let reason = "is too large for a certificate or a key".to_owned();
        return Err(PkiError::Invalid {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(Some(text))
}

/// Makes a directory for its owner alone, unless it is there.
pub(super) fn make_dir(path: &Path) -> Result<(), PkiError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), PkiError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PkiError::File {
            path: path.to_owned(),
            source: error,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts `text` at `path`.
pub(super) fn write(path: &Path, text: &str, mode: Mode) -> Result<(), PkiError> {
    write_all(path, text, mode).map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}

fn write_all(path: &Path, text: &str, mode: Mode) -> io::Result<()> {
    let beside = path.with_extension(match path.extension() {
        Some(extension) => format!("{}.new", extension.to_string_lossy()),
        None => "new".to_owned(),
    });
    // Left over from a stop in the middle.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if mode == Mode::Secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    #[cfg(unix)]
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
