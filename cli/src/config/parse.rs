//! How the text of a setting becomes its value: addresses, digests, endpoints.
//!
//! Every function says in its error what is expected, never what was given.

use std::net::SocketAddr;

use tidegate_kit::http::OriginRules;
use tidegate_kit::memory::MEMORY_BYTES_MIN;
use tidegate_proto::id::SpuId;

use super::reader::Reader;
use crate::units;

/// Which pages may call, and the same as given.
pub(crate) fn origins(reader: &mut Reader) -> (Option<OriginRules>, Vec<String>) {
    let pages = reader.many("cors-origin", |text| {
        let one = [text.to_owned()];
        OriginRules::parse(&one).map_err(|error| error.to_string())?;
        Ok(text.to_owned())
    });
    (OriginRules::parse(&pages).ok(), pages)
}

/// A node that is no controller must know one.
pub(crate) fn controllers(reader: &mut Reader) {
    reader.needed_many("controller", |_| Ok(()));
}

/// An address with a port; names mean what the machine's resolver makes of them and are refused.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:8443 or 0.0.0.0:8443".to_owned()
    })
}

/// Scheme, host and port of a node, as it is written into the topology.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let expected = || "expected https://HOST:PORT".to_owned();
    let rest = text.strip_prefix("https://").ok_or_else(expected)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(expected)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    if is_port && is_host {
        Ok(format!("https://{rest}"))
    } else {
        Err(expected())
    }
}

/// SHA-256 as hexadecimal digits.
pub(crate) fn digest(text: &str) -> Result<[u8; 32], String> {
    let expected = || "expected 64 hexadecimal digits, as `sha256sum` prints them".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(expected());
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| expected())?;
    }
    Ok(bytes)
}

pub(crate) fn spu_id(text: &str) -> Result<SpuId, String> {
    text.parse()
        .map_err(|_| "expected the number of the storage unit, such as 3".to_owned())
}

pub(crate) fn count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "expected a number above zero".to_owned())
}

pub(crate) fn memory(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(units::bytes(text)?).unwrap_or(usize::MAX);
    if bytes < MEMORY_BYTES_MIN {
        return Err("at least 64MiB are needed".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_scheme_a_host_and_a_port_and_nothing_else() {
        for good in ["https://spu-1.example:7443", "https://[::1]:7443/"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://h:1",
            "https://h",
            "https://:1",
            "https://u@h:1",
            "https://h:0",
            "https://h:1/x",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_64_digits() {
        assert_eq!(digest(&"0f".repeat(32)), Ok([15; 32]));
        assert!(digest(&"0g".repeat(32)).is_err() && digest("ab").is_err());
        assert!(digest(&"é".repeat(32)).is_err());
    }
}
