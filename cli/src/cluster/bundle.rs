//! The archive of `tidegate cluster diagnose`: parts of bounded size, without secrets.
//!
//! Invariant: nothing is written that did not pass the filter of secrets, whether it is settings, a log, or
//! an answer.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::redaction::Secrets;

/// Bytes of one part; of a log, its end.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of all parts, before they are compressed.
const BUNDLE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// See the module.
pub(super) struct Bundle<W: Write> {
    archive: Builder<GzEncoder<W>>,
    secrets: Secrets,
    at_s: u64,
    left: usize,
}

impl<W: Write> Bundle<W> {
    /// An empty one; its parts were made at `at_s`.
    pub(super) fn new(file: W, secrets: Secrets, at_s: u64) -> Self {
        Self {
            archive: Builder::new(GzEncoder::new(file, Compression::default())),
            secrets,
            at_s,
            left: BUNDLE_BYTES_MAX,
        }
    }

    /// Adds a part; of one that is too long, the beginning.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text, false)
    }

    /// Adds a part; of one that is too long, the end.
    pub(super) fn add_end(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text, true)
    }

    fn put(&mut self, name: &str, text: &str, keeps_end: bool) -> io::Result<()> {
        let text = self.secrets.hide(text);
        let room = PART_BYTES_MAX.min(self.left);
        let part = if text.len() <= room {
            text
        } else {
            let (cut, length) = (text.len() - room, text.len());
            let mark = format!("[{cut} of {length} bytes were left out]\n");
            if keeps_end {
                format!("{mark}{}", &text[text.ceil_char_boundary(cut)..])
            } else {
                format!("{}\n{mark}", &text[..text.floor_char_boundary(room)])
            }
        };
        self.left = self.left.saturating_sub(part.len());
        let mut header = Header::new_gnu();
        header.set_size(part.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at_s);
        let path = format!("tidegate-diagnose/{name}");
        self.archive.append_data(&mut header, path, part.as_bytes())
    }

    /// Ends it; what it was written to.
    pub(super) fn finish(self) -> io::Result<W> {
        self.archive.into_inner()?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_to_their_size_and_say_so() {
        let mut bundle = Bundle::new(Vec::new(), Secrets::default(), 0);
        let long = "\u{e4}".repeat(PART_BYTES_MAX);
        bundle.add("beginning", &long).unwrap();
        bundle.add_end("end", &long).unwrap();
        let file = bundle.finish().unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*file));
        let sizes: Vec<u64> = archive
            .entries()
            .unwrap()
            .map(|part| part.unwrap().size())
            .collect();
        let bound = PART_BYTES_MAX as u64 + 64;
        assert!(
            sizes.len() == 2 && sizes.iter().all(|size| *size <= bound),
            "{sizes:?}"
        );
    }
}
