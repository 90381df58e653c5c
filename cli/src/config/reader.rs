//! Turns what was given into settings, and collects everything that is wrong with it.
//!
//! Flags win over the environment, which wins over the file. A value that does not parse is noted and
//! its default taken, so that reading goes on; the settings then never reach anybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::FileSettings;
use super::key::{Key, Kind};

/// A value, and where it is from.
#[derive(Debug)]
struct Given {
    texts: Vec<String>,
    place: String,
}

/// Reads the settings of one role.
#[derive(Debug)]
pub(crate) struct Reader {
    section: &'static str,
    keys: Vec<Key>,
    given: BTreeMap<&'static str, Given>,
    wrong: Vec<String>,
    missing: Vec<String>,
}

impl Reader {
    pub(super) fn new(section: &'static str, keys: Vec<Key>) -> Self {
        Self {
            section,
            keys,
            given: BTreeMap::new(),
            wrong: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Takes over what the file says, below everything else.
    pub(super) fn take_file(&mut self, path: &Path, mut file: FileSettings) {
        self.wrong.append(&mut file.wrong);
        for key in &self.keys {
            if let Some((texts, line)) = file.values.remove(&key.field()) {
                let place = format!("{}:{line}: {}", path.display(), key.field());
                self.given.insert(key.flag, Given { texts, place });
            }
        }
    }

    /// Takes over a flag or a variable.
    pub(super) fn take(&mut self, key: &Key, texts: Vec<String>, is_flag: bool) {
        let place = if is_flag {
            format!("--{}", key.flag)
        } else {
            key.env.to_owned()
        };
        self.given.insert(key.flag, Given { texts, place });
    }

    pub(super) fn complain(&mut self, words: String) {
        self.wrong.push(words);
    }

    /// What is wrong, and what must be given and is not.
    pub(super) fn verdict(self) -> (Vec<String>, Vec<String>) {
        (self.wrong, self.missing)
    }

    /// The value, if it was given.
    pub(crate) fn one<T>(
        &mut self,
        flag: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.many(flag, parse).pop()
    }

    /// The value, or what holds without one.
    pub(crate) fn or<T>(
        &mut self,
        flag: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.one(flag, parse).unwrap_or(default)
    }

    /// The value, which must be given.
    pub(crate) fn needed<T>(
        &mut self,
        flag: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let all = self.needed_many(flag, parse);
        all.into_iter().next_back()
    }

    /// All values, of which there must be one.
    pub(crate) fn needed_many<T>(
        &mut self,
        flag: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let is_given = self.given.get(flag).is_some_and(|it| !it.texts.is_empty());
        if !is_given {
            let key = self.key(flag);
            let (field, env) = (key.field(), key.env);
            self.missing.push(format!(
                "{field} is missing: give --{flag}, {env}, or {field} in [{}] of the file",
                self.section
            ));
        }
        self.many(flag, parse)
    }

    /// All values; those that do not parse are noted.
    pub(crate) fn many<T>(
        &mut self,
        flag: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let is_secret = self.key(flag).kind == Kind::Secret;
        let Some(given) = self.given.get(flag) else {
            return Vec::new();
        };
        let mut values = Vec::with_capacity(given.texts.len());
        for text in &given.texts {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(reason) if is_secret => {
                    self.wrong.push(format!("{}: {reason}", given.place));
                }
                Err(reason) => {
                    self.wrong
                        .push(format!("{} {text:?}: {reason}", given.place));
                }
            }
        }
        values
    }

    pub(crate) fn switch(&mut self, flag: &'static str) -> bool {
        self.or(flag, false, |text| {
            text.parse()
                .map_err(|_| "expected true or false".to_owned())
        })
    }

    pub(crate) fn text(&mut self, flag: &'static str) -> Option<String> {
        self.one(flag, |text| Ok(text.to_owned()))
    }

    pub(crate) fn path(&mut self, flag: &'static str) -> Option<PathBuf> {
        self.one(flag, |text| Ok(PathBuf::from(text)))
    }

    /// Notes that a setting does not fit another.
    pub(crate) fn refuse(&mut self, flag: &'static str, reason: &str) {
        let place = self.given.get(flag).map(|given| given.place.clone());
        let place = place.unwrap_or_else(|| self.key(flag).field());
        self.wrong.push(format!("{place}: {reason}"));
    }

    fn key(&self, flag: &'static str) -> Key {
        let known = self.keys.iter().find(|key| key.flag == flag);
        *known.unwrap_or_else(|| unreachable!("{flag} is not in the table of its role"))
    }
}
