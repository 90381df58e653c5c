//! `tidegate-histcheck FILE ..`: checks histories on disk, one after the other, and says what it found.
//!
//! Exit code 0: all clean; 1: an anomaly; 2: a file that is no history.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::process::ExitCode;

use tidegate_histcheck::{Verdict, check, lines};

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        say(
            "Usage: tidegate-histcheck FILE ..\n\nEach holds one history: one event as JSON on each line.",
        );
        return ExitCode::from(2);
    }
    let mut worst = 0;
    for file in files {
        let code = match judge(&file) {
            Ok(verdict) => {
                say(&format!("{file}: {verdict}"));
                u8::from(!verdict.is_clean())
            }
            Err(reason) => {
                say(&format!("{file}: {reason}"));
                2
            }
        };
        worst = worst.max(code);
    }
    ExitCode::from(worst)
}

fn judge(file: &str) -> Result<Verdict, String> {
    let opened = File::open(file).map_err(|error| error.to_string())?;
    let history = lines::read(BufReader::new(opened)).map_err(|error| error.to_string())?;
    check(&history).map_err(|error| error.to_string())
}

fn say(text: &str) {
    // Nobody to tell when the reader went away.
    writeln!(io::stdout().lock(), "{text}").ok();
}
