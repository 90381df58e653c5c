//! The real input: 231,083 flights, cut into lines without touching a byte of them.

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Rows in the file of vega-datasets 2.11.0.
pub const FLIGHTS: usize = 231_083;

/// Where `npm ci` put the packages that the tests use.
///
/// # Panics
/// When they are not installed.
#[must_use]
pub fn node_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    let installed = folder.join("node_modules").exists();
    assert!(
        installed,
        "run `cargo xtask test`, or `npm ci` in tests/node"
    );
    folder
}

/// The flights, a row each, as the bytes between the commas of the array.
///
/// # Panics
/// When the file is not the pinned one.
#[must_use]
pub fn flights() -> Vec<Bytes> {
    let file = node_folder().join("node_modules/vega-datasets/data/flights-200k.json");
    let text = Bytes::from(std::fs::read(file).expect("the package has its data"));
    let rows = cut_rows(&text);
    assert_eq!(rows.len(), FLIGHTS, "another version of the data");
    rows
}

/// The rows joined as lines, as a shell would pipe them.
#[must_use]
pub fn lines(rows: &[Bytes]) -> Bytes {
    let mut text = Vec::with_capacity(rows.iter().map(|row| row.len() + 1).sum());
    for row in rows {
        text.extend_from_slice(row);
        text.push(b'\n');
    }
    text.into()
}

/// Cuts `[{..},{..}]` of flat objects into its objects.
fn cut_rows(text: &Bytes) -> Vec<Bytes> {
    let mut rows = Vec::new();
    let mut start = None;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'{' => start = Some(at),
            b'}' => {
                let start = start.take().expect("rows are flat objects");
                rows.push(text.slice(start..=at));
            }
            _ => {}
        }
    }
    rows
}
