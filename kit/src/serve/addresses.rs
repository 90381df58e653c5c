//! How many connections each address has open.
//!
//! One client, before anybody knows who it is, can take a part of the connections and not all of
//! them. IPv6 clients are counted by their /64, which is what one of them is given. The table holds
//! only addresses with open connections, so it is bounded by those.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone)]
pub(super) struct Addresses {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    each_max: usize,
    bounds_loopback: bool,
}

/// One connection of an address; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    counted: Option<(Addresses, IpAddr)>,
}

impl Addresses {
    /// At most `each_max` of one address; of this machine itself only when `bounds_loopback`.
    pub(super) fn new(each_max: usize, bounds_loopback: bool) -> Self {
        Self {
            open: Arc::default(),
            each_max,
            bounds_loopback,
        }
    }

    /// A place for one more connection of `address`, unless it has too many.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        if address.is_loopback() && !self.bounds_loopback {
            return Some(Place { counted: None });
        }
        let mut open = self.lock();
        let count = open.entry(address).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Place {
            counted: Some((self.clone(), address)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if !six.is_loopback() => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        other => other,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, address)) = self.counted.take() else {
            return;
        };
        let mut open = addresses.lock();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_part_of_the_connections_and_gives_them_back() {
        let addresses = Addresses::new(2, false);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = addresses.admit(ip("192.0.2.1")).unwrap();
        let _second = addresses.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert!(addresses.admit(ip("192.0.2.1")).is_none());
        assert!(addresses.admit(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.admit(ip("192.0.2.1")).is_some());
        assert_eq!(addresses.lock().len(), 1, "others are forgotten");
    }

    #[test]
    fn a_network_of_version_six_is_one_client() {
        let addresses = Addresses::new(1, false);
        let _one = addresses.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(addresses.admit("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(
            addresses
                .admit("2001:db8:0:1::1".parse().unwrap())
                .is_some()
        );
    }

    #[test]
    fn this_machine_is_bounded_only_when_asked() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let free = Addresses::new(0, false);
        assert!(free.admit(loopback).is_some() && free.lock().is_empty());
        assert!(Addresses::new(0, true).admit(loopback).is_none());
    }
}
