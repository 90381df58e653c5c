//! `tidegate cluster env`: what a shell needs to speak with a cluster on this machine.

use serde_json::json;

use super::arguments::PlaceArguments;
use super::manifest::Manifest;
use super::status::state;
use crate::failure::Failure;
use crate::output::{self, Output};

/// Prints it; nothing when no cluster is ready there.
pub(super) fn run(arguments: &PlaceArguments, output: Output) -> Result<(), Failure> {
    let manifest = Manifest::ready(&arguments.data_dir)?;
    let mut doors = manifest.doors();
    // Whoever takes one only, as `curl` does, gets one that answers.
    doors.sort_by_key(|door| state(door).1 != "ready");
    let urls: Vec<&str> = doors.iter().map(|door| door.url.as_str()).collect();
    if output == Output::Json {
        let (ca, token) = (&manifest.ca, &manifest.token);
        return output::print_json(&json!({ "urls": urls, "ca": ca, "token": token }));
    }
    let pairs = [
        ("TIDEGATE_URL", urls.join(",")),
        ("TIDEGATE_CA", manifest.ca.display().to_string()),
        ("TIDEGATE_TOKEN", manifest.token.clone()),
    ];
    let lines = pairs.map(|(name, value)| format!("export {name}={}", quoted(&value)));
    output::print(&lines.join("\n"))
}

/// A word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_of_the_shell() {
        for value in ["/a b/ca.pem", "it's", "$(rm x) \"`", ""] {
            let script = format!("printf %s {}", quoted(value));
            let shown = std::process::Command::new("sh")
                .args(["-c", &script])
                .output();
            assert_eq!(String::from_utf8(shown.unwrap().stdout).unwrap(), value);
        }
    }
}
