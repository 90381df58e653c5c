//! Asking before records are deleted.
//!
//! The topic's name is typed again when a person is there; a script says `--yes`.

use std::io;

use tidegate_client::TopicName;

use crate::failure::Failure;
use crate::output;

/// Goes on when the name was typed. `doing` says what would be done, as in "deleting topic t deletes
/// its records".
pub(crate) fn confirm(name: &TopicName, doing: &str, url: &str) -> Result<(), Failure> {
    if !(output::is_typed() && output::is_interactive()) {
        return Err(Failure::usage(format!(
            "{doing}; say --yes to do it without being asked"
        )));
    }
    output::say(&format!(
        "On {url}, {doing}. Type the topic's name to go on:"
    ));
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    if line.trim() == name.as_str() {
        Ok(())
    } else {
        Err(Failure::failed("that is not the name; nothing was deleted"))
    }
}
