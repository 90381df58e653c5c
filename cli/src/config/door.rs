//! A listener that other nodes dial.
//!
//! What it is bound to need not be what others reach it by. Invariant: no node tells others an address
//! that means all addresses of a machine, for whoever dials that meets itself.

use std::net::SocketAddr;

use super::parse;
use super::reader::Reader;

/// Where it listens, and how others reach that.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listen: SocketAddr,
    /// As told; otherwise it follows from the address once that is known.
    pub(crate) advertise: Option<String>,
}

impl Door {
    /// Reads the setting `advertise`, of what listens by the setting `listens`.
    pub(super) fn read(
        reader: &mut Reader,
        listen: SocketAddr,
        advertise: &'static str,
        listens: &'static str,
    ) -> Self {
        let advertised = reader.one(advertise, parse::endpoint);
        if advertised.is_none() && listen.ip().is_unspecified() {
            let setting = advertise.replace('-', "_");
            let words = format!(
                "this is all addresses of the machine, which others cannot dial: say by which URL they \
                 reach it with {setting}, or listen on one address"
            );
            reader.refuse(listens, &words);
        }
        Self {
            listen,
            advertise: advertised,
        }
    }
}
