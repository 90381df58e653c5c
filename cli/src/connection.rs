//! Which server a client command speaks to: flags before environment before profile.
//!
//! Invariant: the token of a profile is never sent to another URL than one of the profile's, unless the
//! profile was named as well.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_client::{Client, ClientConfig};

use crate::failure::Failure;
use crate::output;
use crate::profile::{self, DEFAULT_PROFILE, Profile};

/// Options of every command that speaks to a server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Server to speak to, such as https://127.0.0.1:8443. Several gateways of one cluster, with commas
    /// between them, are tried in turn.
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

impl ConnectionArguments {
    /// Those that are given, by flag or variable.
    pub(crate) fn urls(&self) -> Vec<String> {
        given(self.url.as_ref()).map_or_else(Vec::new, |text| urls(text))
    }

    /// Writes the profile that is named, or that of those who name none; which one it is. Not being able to
    /// is worth a word, not a failure.
    pub(crate) fn keep(&self, content: &Profile) -> Option<String> {
        let path = profile::path(self.config_home.as_deref())?;
        let name = given(self.profile.as_ref());
        let name = name.map_or(DEFAULT_PROFILE, String::as_str);
        let before = profile::read(&path, name).ok().flatten();
        if let Err(error) = profile::write(&path, name, content) {
            output::say(&format!(
                "the profile {name:?} was not written to {}: {error}. Client commands need --url, \
                 --ca and --token; --no-profile silences this.",
                path.display()
            ));
            return None;
        }
        let is_other = |before: &Profile| !is_of(content, &before.url);
        if let Some(other) = before.filter(is_other) {
            output::say(&format!(
                "the profile {name:?} pointed to {} and points here now; --profile NAME keeps them \
                 apart",
                other.url
            ));
        }
        Some(name.to_owned())
    }
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
        config.more_urls = chosen.more_urls;
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
    let urls = arguments.urls();
    let token = given(arguments.token.as_ref());
    let ca = arguments
        .ca
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty());
    let trusted = profile.filter(|profile| {
        given(arguments.profile.as_ref()).is_some() || urls.iter().all(|url| is_of(profile, url))
    });
    let base = trusted.unwrap_or_default();
    let mut urls = urls.into_iter();
    let (url, more_urls) = match urls.next() {
        Some(url) => (url, urls.collect()),
        None => (base.url, base.more_urls),
    };
    if url.is_empty() {
        return Err(Failure::usage(
            "no server is known. Start one with `tidegate up`, which also writes the profile \
             `local`, or a cluster with `tidegate cluster start`; or name one with --url, \
             TIDEGATE_URL or --profile.",
        ));
    }
    Ok(Profile {
        url,
        more_urls,
        ca: ca.cloned().or(base.ca),
        token: token.cloned().or(base.token),
    })
}

/// Those of a list with commas.
fn urls(text: &str) -> Vec<String> {
    let urls = text.split(',').map(str::trim);
    urls.filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_of(profile: &Profile, url: &str) -> bool {
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    let mut own = std::iter::once(&profile.url).chain(&profile.more_urls);
    own.any(|own| bare(own) == bare(url))
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
            more_urls: vec!["https://a:2".to_owned()],
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
        // An empty TIDEGATE_PROFILE names none.
        let unnamed = choose(&flags(Some("https://b:1"), Some("")), profile()).unwrap();
        assert_eq!((unnamed.token, unnamed.ca), (None, None));
    }

    #[test]
    fn several_servers_are_given_with_commas_and_trusted_when_all_are_of_the_profile() {
        let chosen = choose(&flags(Some("https://a:2/, https://a:1,"), None), profile()).unwrap();
        assert_eq!(chosen.url, "https://a:2/");
        assert_eq!(chosen.more_urls, ["https://a:1"]);
        assert_eq!(chosen.token.as_deref(), Some("secret"));
        let chosen = choose(&flags(Some("https://a:1,https://b:1"), None), profile()).unwrap();
        assert_eq!((chosen.token, chosen.ca), (None, None));
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
