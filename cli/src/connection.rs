//! Which server a client command speaks to: flags before environment before profile.
//!
//! Invariant: the token of a profile is never sent to another URL than the profile's, unless the
//! profile was named as well.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_client::{Client, ClientConfig};

use crate::failure::Failure;
use crate::profile::{self, DEFAULT_PROFILE, Profile};

/// Options of every command that speaks to a server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Server to speak to, such as https://127.0.0.1:8443.
    #[arg(long, global = true, env = "TIDEGATE_URL", value_name = "URL")]
    pub(crate) url: Option<String>,

    /// PEM file of the certificate authority to trust.
    #[arg(long, global = true, env = "TIDEGATE_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// API token.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,

    /// Profile of the configuration file to use [default: local].
    #[arg(long, global = true, env = "TIDEGATE_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Base directory of configuration files.
    #[arg(
        long,
        global = true,
        env = "XDG_CONFIG_HOME",
        value_name = "DIR",
        hide = true
    )]
    pub(crate) config_home: Option<PathBuf>,
}

/// Everything needed to make clients.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    config: ClientConfig,
}

impl Connection {
    /// Puts flags, environment and profile together and reads the CA.
    pub(crate) fn resolve(arguments: &ConnectionArguments) -> Result<Self, Failure> {
        let profile = match profile::path(arguments.config_home.as_deref()) {
            Some(path) => named_profile(arguments, &path)?,
            None => None,
        };
        let chosen = choose(arguments, profile)?;
        let mut config = ClientConfig::new(chosen.url);
        config.token = chosen.token;
        config.ca_pem = chosen.ca.as_deref().map(read_ca).transpose()?;
        Ok(Self { config })
    }

    /// Where, whom to trust, who asks.
    pub(crate) const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// A client with connections of its own.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.config.clone())?)
    }

    /// A client that opens one connection per request in flight and shares none with others.
    pub(crate) fn separate_client(&self) -> Result<Client, Failure> {
        Ok(Client::new(ClientConfig {
            http1_only: true,
            ..self.config.clone()
        })?)
    }

    pub(crate) fn url(&self) -> &str {
        &self.config.url
    }
}

fn named_profile(arguments: &ConnectionArguments, path: &Path) -> Result<Option<Profile>, Failure> {
    let named = given(arguments.profile.as_ref());
    let name = named.map_or(DEFAULT_PROFILE, String::as_str);
    match profile::read(path, name)? {
        None if named.is_some() => Err(Failure::usage(format!(
            "there is no profile {name:?} in {}",
            path.display()
        ))),
        found => Ok(found),
    }
}

/// An empty variable is as good as none.
fn given(value: Option<&String>) -> Option<&String> {
    value.filter(|text| !text.is_empty())
}

fn choose(arguments: &ConnectionArguments, profile: Option<Profile>) -> Result<Profile, Failure> {
    let url = given(arguments.url.as_ref());
    let token = given(arguments.token.as_ref());
    let ca = arguments
        .ca
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty());
    let trusted = profile.filter(|profile| {
        arguments.profile.is_some()
            || url.is_none_or(|url| url.trim_end_matches('/') == profile.url.trim_end_matches('/'))
    });
    let base = trusted.unwrap_or_default();
    let url = url.cloned().unwrap_or(base.url);
    if url.is_empty() {
        return Err(Failure::usage(
            "no server is known. Start one with `tidegate up`, which also writes the profile \
             `local`, or name one with --url or TIDEGATE_URL.",
        ));
    }
    Ok(Profile {
        url,
        ca: ca.cloned().or(base.ca),
        token: token.cloned().or(base.token),
    })
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::usage(format!(
            "cannot read the certificate authority {}: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Option<Profile> {
        Some(Profile {
            url: "https://a:1".to_owned(),
            ca: Some("/a.pem".into()),
            token: Some("secret".to_owned()),
        })
    }

    fn flags(url: Option<&str>, profile: Option<&str>) -> ConnectionArguments {
        ConnectionArguments {
            url: url.map(str::to_owned),
            profile: profile.map(str::to_owned),
            ..ConnectionArguments::default()
        }
    }

    #[test]
    fn the_profile_serves_when_nothing_is_given() {
        assert_eq!(
            Some(choose(&flags(None, None), profile()).unwrap()),
            profile()
        );
    }

    #[test]
    fn a_token_is_not_sent_to_another_server() {
        let chosen = choose(&flags(Some("https://b:1"), None), profile()).unwrap();
        assert_eq!(
            (chosen.url.as_str(), chosen.token, chosen.ca),
            ("https://b:1", None, None)
        );
        let same = choose(&flags(Some("https://a:1/"), None), profile()).unwrap();
        assert_eq!(same.token.as_deref(), Some("secret"));
        let named = choose(&flags(Some("https://b:1"), Some("local")), profile()).unwrap();
        assert_eq!(named.token.as_deref(), Some("secret"));
    }

    #[test]
    fn flags_win_over_the_profile() {
        let arguments = ConnectionArguments {
            token: Some("other".to_owned()),
            ca: Some("/b.pem".into()),
            ..ConnectionArguments::default()
        };
        let chosen = choose(&arguments, profile()).unwrap();
        assert_eq!(chosen.token.as_deref(), Some("other"));
        assert_eq!(chosen.ca, Some("/b.pem".into()));
    }

    #[test]
    fn without_any_server_the_message_says_how_to_get_one() {
        let failure = choose(&flags(Some(""), None), None).unwrap_err();
        assert_eq!(failure.exit, Failure::USAGE);
        assert!(failure.message.contains("tidegate up"));
    }
}
