//! Writes the seeds of the log's fuzz targets into `fuzz/seeds`, cut out of directories that a log
//! writes now. Run it when a format changes: old seeds then test little but refusals.

use std::fs;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (target, name, bytes) in tidegate_log::fuzz::seeds() {
        let folder = root.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
