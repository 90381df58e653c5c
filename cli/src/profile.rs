//! The profile file: which servers this user knows. `tidegate up` adds to it, every client command
//! reads it.
//!
//! Invariant: writing one profile keeps everything else in the file, and the file, which holds
//! tokens, is readable by its owner only. It is replaced whole, never half written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::files::write_private;

/// The profile that is used when none is named.
pub(crate) const DEFAULT_PROFILE: &str = "local";

/// What a profile may say.
const SETTINGS: [&str; 4] = ["url", "more_urls", "ca", "token"];

/// One server, or one cluster.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Profile {
    pub(crate) url: String,
    /// Other gateways of the same cluster, for when that one is away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) more_urls: Vec<String>,
    /// Path of the certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

/// Settings of other profiles are not looked at: a newer version may have written them.
#[derive(Deserialize)]
struct ProfileFile {
    #[serde(default)]
    profiles: BTreeMap<String, toml::Table>,
}

/// Where the file is: `$XDG_CONFIG_HOME/tidegate/config.toml`, by default below `~/.config`.
pub(crate) fn path(config_home: Option<&Path>) -> Option<PathBuf> {
    let home = match config_home {
        // The specification says that relative paths are to be ignored.
        Some(home) if home.is_absolute() => home.to_owned(),
        _ => std::env::home_dir()?.join(".config"),
    };
    Some(home.join("tidegate").join("config.toml"))
}

/// Reads one profile; `None` when the file or the profile is not there.
pub(crate) fn read(path: &Path, name: &str) -> Result<Option<Profile>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::failed(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    let mut file: ProfileFile = toml::from_str(&text).map_err(|error| {
        Failure::failed(format!("{} is not a profile file: {error}", path.display()))
    })?;
    let Some(table) = file.profiles.remove(name) else {
        return Ok(None);
    };
    if let Some(unknown) = table.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
        return Err(Failure::usage(format!(
            "{}: profile {name} has a setting {unknown:?} that is not known; known are {}",
            path.display(),
            SETTINGS.join(", ")
        )));
    }
    let profile = table
        .try_into()
        .map_err(|error| Failure::usage(format!("{}: profile {name}: {error}", path.display())))?;
    Ok(Some(profile))
}

/// Adds or replaces one profile.
pub(crate) fn write(path: &Path, name: &str, profile: &Profile) -> io::Result<()> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let merged = merge(&before, name, profile).map_err(io::Error::other)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    write_private(path, merged.as_bytes())
}

fn merge(before: &str, name: &str, profile: &Profile) -> Result<String, String> {
    let mut table: toml::Table = before.parse().map_err(|error| format!("{error}"))?;
    let profiles = table
        .entry("profiles")
        .or_insert_with(|| toml::Value::Table(toml::Table::new()))
        .as_table_mut()
        .ok_or("`profiles` is not a table")?;
    let entry = toml::Value::try_from(profile).map_err(|error| error.to_string())?;
    profiles.insert(name.to_owned(), entry);
    toml::to_string_pretty(&table).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Profile {
        Profile {
            url: "https://127.0.0.1:8443".to_owned(),
            more_urls: vec!["https://127.0.0.1:8444".to_owned()],
            ca: Some("/data/ca.pem".into()),
            token: Some("t".to_owned()),
        }
    }

    #[test]
    fn a_profile_is_added_to_an_empty_file() {
        let text = merge("", "local", &local()).unwrap();
        let file: ProfileFile = toml::from_str(&text).unwrap();
        let written: Profile = file.profiles["local"].clone().try_into().unwrap();
        assert_eq!(written, local());
    }

    #[test]
    fn a_setting_that_is_not_known_is_named_where_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let text = "[profiles.a]\nurl = 'https://a'\ntokn = 'x'\n[profiles.b]\nurl = 'https://b'\n";
        fs::write(&path, text).unwrap();
        let failure = read(&path, "a").unwrap_err();
        assert_eq!(failure.exit, Failure::USAGE);
        assert!(failure.message.contains("\"tokn\""), "{failure}");
        assert_eq!(read(&path, "b").unwrap().unwrap().url, "https://b");
        assert_eq!(read(&path, "c").unwrap(), None);
    }

    #[test]
    fn other_profiles_and_unknown_settings_stay() {
        let before = "colour = true\n[profiles.prod]\nurl = 'https://prod'\nzone = 'b'\n\
                      [profiles.local]\nurl = 'http://old'\ntoken = 'old'\n";
        let text = merge(
            before,
            "local",
            &Profile {
                token: None,
                ..local()
            },
        )
        .unwrap();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["colour"].as_bool(), Some(true));
        assert_eq!(table["profiles"]["prod"]["zone"].as_str(), Some("b"));
        assert_eq!(
            table["profiles"]["local"]["url"].as_str(),
            Some("https://127.0.0.1:8443")
        );
        assert!(table["profiles"]["local"].get("token").is_none());
    }

    #[test]
    fn a_file_that_is_not_ours_is_left_alone() {
        assert!(merge("not toml at all [", "local", &local()).is_err());
        assert!(merge("profiles = 3", "local", &local()).is_err());
    }

    #[test]
    fn relative_configuration_homes_are_ignored() {
        assert_eq!(
            path(Some(Path::new("/x"))),
            Some(PathBuf::from("/x/tidegate/config.toml"))
        );
        assert_ne!(
            path(Some(Path::new("x"))),
            Some(PathBuf::from("x/tidegate/config.toml"))
        );
    }
}
