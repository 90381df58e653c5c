//! The settings of one role in a TOML file, each with its line.
//!
//! Reads everything and complains about everything: what does not parse, sections and names that are not
//! known (with the nearest that is), values of a kind that no setting has. Invariant: what it says never
//! holds a value, for it may be a secret.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Kind};
use super::nearest::nearest;

/// Sections that a file may have: one file may serve several roles.
const SECTIONS: [&str; 3] = ["sc", "spu", "gateway"];

/// What a file says of one role.
#[derive(Debug, Default)]
pub(super) struct FileSettings {
    /// By name in the file: the values as text, and the line.
    pub(super) values: BTreeMap<String, (Vec<String>, usize)>,
    pub(super) wrong: Vec<String>,
}

/// Reads `text`, which is of the file `path`.
pub(super) fn read(path: &Path, text: &str, section: &str, keys: &[Key]) -> FileSettings {
    let mut found = FileSettings::default();
    let place = |at: usize| format!("{}:{}", path.display(), line(text, at));
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        found
            .wrong
            .push(format!("{}: {}", place(at), error.message()));
    }
    for (name, value) in table.get_ref() {
        let at = place(name.span().start);
        let DeValue::Table(settings) = value.get_ref() else {
            let word: &str = name.get_ref();
            found.wrong.push(format!(
                "{at}: {word} stands outside of a section; put it under [{section}]"
            ));
            continue;
        };
        let word: &str = name.get_ref();
        if word == section {
            take(&mut found, text, &place, settings, keys);
        } else if !SECTIONS.contains(&word) {
            let mend = suggestion(word, SECTIONS, "sections are [sc], [spu] and [gateway]");
            found
                .wrong
                .push(format!("{at}: there is no section [{word}]; {mend}"));
        }
    }
    found
}

fn take(
    found: &mut FileSettings,
    text: &str,
    place: &dyn Fn(usize) -> String,
    settings: &DeTable<'_>,
    keys: &[Key],
) {
    for (name, value) in settings {
        let word: &str = name.get_ref();
        let start = name.span().start;
        let Some(key) = keys.iter().find(|key| key.field() == word) else {
            let fields: Vec<String> = keys.iter().map(Key::field).collect();
            let known = fields.iter().map(String::as_str);
            let mend = suggestion(word, known, "`--help` of the role lists all names");
            found
                .wrong
                .push(format!("{}: {word} is not a setting; {mend}", place(start)));
            continue;
        };
        match texts(value, key.kind) {
            Ok(texts) => {
                found
                    .values
                    .insert(word.to_owned(), (texts, line(text, start)));
            }
            Err(expected) => {
                found
                    .wrong
                    .push(format!("{}: {word}: expected {expected}", place(start)));
            }
        }
    }
}

fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(word, known) {
        Some(name) => format!("did you mean {name}?"),
        None => otherwise.to_owned(),
    }
}

fn texts(value: &Spanned<DeValue<'_>>, kind: Kind) -> Result<Vec<String>, &'static str> {
    let many = "a text or a list of texts";
    match (value.get_ref(), kind) {
        (DeValue::Array(list), Kind::Many) => list
            .iter()
            .map(|one| scalar(one.get_ref()).ok_or(many))
            .collect(),
        (DeValue::Boolean(is_on), Kind::Switch) => Ok(vec![is_on.to_string()]),
        (_, Kind::Switch) => Err("true or false"),
        (one, Kind::Many) => scalar(one).map(|text| vec![text]).ok_or(many),
        (one, Kind::One | Kind::Secret) => {
            let text = scalar(one).ok_or("a text or a number")?;
            Ok(vec![text])
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
