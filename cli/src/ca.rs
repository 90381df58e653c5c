//! `tidegate ca trust|untrust`: makes browsers and other programs of this machine accept the
//! server's certificate authority.
//!
//! Does it itself where one command does it and there is the right to (Debian-like and Fedora-like
//! Linux as root); otherwise says exactly what to type. Never asks for rights.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Subcommand};

use crate::connection::ConnectionArguments;
use crate::failure::Failure;
use crate::output;
use crate::profile::{self, DEFAULT_PROFILE};

/// Name of the certificate in a system's store.
const STORE_NAME: &str = "tidegate-local-ca";

/// Directories of extra trust roots, with the command that takes them up.
const LINUX_STORES: [(&str, &str, &[&str]); 2] = [
    (
        "/usr/local/share/ca-certificates",
        "update-ca-certificates",
        &[],
    ),
    (
        "/etc/pki/ca-trust/source/anchors",
        "update-ca-trust",
        &["extract"],
    ),
];

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Trust the certificate authority of a server.
    Trust(CaArguments),
    /// Undo `trust`.
    Untrust(CaArguments),
}

#[derive(Args, Debug)]
pub(crate) struct CaArguments {
    /// Print the steps, even if they could be done.
    #[arg(long)]
    pub(crate) print: bool,
}

pub(crate) fn run(command: &CaCommand, connection: &ConnectionArguments) -> Result<(), Failure> {
    match command {
        CaCommand::Trust(arguments) => {
            let ca = ca_path(connection)?;
            match store().filter(|_| !arguments.print) {
                Some(store) => trust(&ca, &store),
                None => output::print(&instructions(&ca, true)),
            }
        }
        CaCommand::Untrust(arguments) => match store().filter(|_| !arguments.print) {
            Some(store) => untrust(&store),
            None => output::print(&instructions(Path::new("ca.pem"), false)),
        },
    }
}

fn ca_path(connection: &ConnectionArguments) -> Result<PathBuf, Failure> {
    if let Some(path) = &connection.ca {
        return Ok(path.clone());
    }
    let name = connection.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
    let found = match profile::path(connection.config_home.as_deref()) {
        Some(path) => profile::read(&path, name)?.and_then(|profile| profile.ca),
        None => None,
    };
    found.ok_or_else(|| {
        Failure::usage(
            "which authority? Give --ca FILE; `tidegate up` keeps it as ca.pem in its data directory",
        )
    })
}

/// A system store that this process can change.
struct Store {
    file: PathBuf,
    command: &'static str,
    arguments: &'static [&'static str],
}

fn store() -> Option<Store> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let (directory, command, arguments) = LINUX_STORES
        .into_iter()
        .find(|(directory, ..)| Path::new(directory).is_dir())?;
    let file = Path::new(directory).join(format!("{STORE_NAME}.crt"));
    let probe = Path::new(directory).join(format!(".{STORE_NAME}.probe"));
    let writable = fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .is_ok();
    writable.then_some(Store {
        file,
        command,
        arguments,
    })
}

fn trust(ca: &Path, store: &Store) -> Result<(), Failure> {
    let pem = fs::read(ca)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", ca.display())))?;
    fs::write(&store.file, pem).map_err(|error| {
        Failure::failed(format!("cannot write {}: {error}", store.file.display()))
    })?;
    refresh(store)?;
    output::say(&format!(
        "trusted by this machine: {}\nBrowsers with a store of their own need one more step:\n{}",
        store.file.display(),
        browser_steps(ca, true)
    ));
    Ok(())
}

fn untrust(store: &Store) -> Result<(), Failure> {
    if !store.file.exists() {
        output::say("nothing to undo: the authority is not in this machine's store");
        return Ok(());
    }
    fs::remove_file(&store.file).map_err(|error| {
        Failure::failed(format!("cannot remove {}: {error}", store.file.display()))
    })?;
    refresh(store)?;
    output::say(&format!("no longer trusted: {}", store.file.display()));
    Ok(())
}

fn refresh(store: &Store) -> Result<(), Failure> {
    let status = Command::new(store.command)
        .args(store.arguments)
        .stdout(std::process::Stdio::null())
        .status()
        .map_err(|error| Failure::failed(format!("cannot run {}: {error}", store.command)))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} ended with {status}",
        store.command
    )))
}

fn instructions(ca: &Path, trust: bool) -> String {
    let path = ca.display();
    let system = match (std::env::consts::OS, trust) {
        ("macos", true) => format!(
            "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain \
             '{path}'"
        ),
        ("macos", false) => "sudo security delete-certificate -c 'Tidegate' \
             /Library/Keychains/System.keychain"
            .to_owned(),
        ("windows", true) => format!("certutil -addstore -user Root \"{path}\""),
        ("windows", false) => "certutil -delstore -user Root Tidegate".to_owned(),
        (_, true) => format!(
            "sudo cp '{path}' /usr/local/share/ca-certificates/{STORE_NAME}.crt && sudo \
             update-ca-certificates\n# Fedora and the like: sudo trust anchor '{path}'"
        ),
        (_, false) => format!(
            "sudo rm /usr/local/share/ca-certificates/{STORE_NAME}.crt && sudo \
             update-ca-certificates --fresh\n# Fedora and the like: sudo trust anchor --remove ca.pem"
        ),
    };
    format!(
        "# This machine:\n{system}\n# Browsers with a store of their own:\n{}",
        browser_steps(ca, trust)
    )
}

fn browser_steps(ca: &Path, trust: bool) -> String {
    if trust {
        format!(
            "certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n {STORE_NAME} -i '{}'  # Chromium, Linux\n\
             # Firefox: Settings > Privacy & Security > View Certificates > Authorities > Import",
            ca.display()
        )
    } else {
        format!(
            "certutil -d sql:$HOME/.pki/nssdb -D -n {STORE_NAME}  # Chromium, Linux\n\
             # Firefox: Settings > Privacy & Security > View Certificates > Authorities > Delete"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_name_the_file_and_can_be_undone() {
        let path = Path::new("/data/ca.pem");
        assert!(instructions(path, true).contains("/data/ca.pem"));
        assert!(instructions(path, false).contains("-D -n tidegate-local-ca"));
    }
}
