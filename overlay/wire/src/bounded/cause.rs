//! Who caused an entry, as a path from the standing down to one account or neighbour.

use crate::sha256;
use std::net::IpAddr;

/// What we owe whoever caused it, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Our own realms, and what we do ourselves.
    Own,
    /// Pinned realms, and realms with stake.
    Trusted,
    /// A phone of ours called one of theirs.
    Met,
    Other,
}

impl Standing {
    pub const COUNT: usize = 4;
    pub const ALL: [Standing; Standing::COUNT] =
        [Standing::Own, Standing::Trusted, Standing::Met, Standing::Other];
}

/// A path. Levels that do not apply are 0, which is a child like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub standing: Standing,
    /// [`network_of`] the source.
    pub network: u64,
    /// [`Cause::name`] of the realm.
    pub realm: u64,
    /// [`Cause::name`] of an account or a neighbour.
    pub who: u64,
}

impl Cause {
    /// Ourselves.
    pub const OWN: Cause = Cause { standing: Standing::Own, network: 0, realm: 0, who: 0 };

    pub const fn new(standing: Standing) -> Cause {
        Cause { standing, network: 0, realm: 0, who: 0 }
    }
    pub fn from(self, ip: IpAddr) -> Cause {
        Cause { network: network_of(ip), ..self }
    }
    pub fn of_realm(self, realm: &[u8]) -> Cause {
        Cause { realm: Cause::name(realm), ..self }
    }
    pub fn by(self, who: &[u8]) -> Cause {
        Cause { who: Cause::name(who), ..self }
    }

    /// A name as a level of a path: 64 bits of its hash. Whoever makes two names collide pays for both.
    pub fn name(name: &[u8]) -> u64 {
        let hash = sha256(name);
        hash.0.iter().take(8).fold(0, |n, byte| (n << 8) | u64::from(*byte))
    }
}

/// What one stranger can have many addresses of counts as one: of IPv4 the /24, of IPv6 the /48.
pub fn network_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8) | 1 << 63,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => network_of(v4.into()),
            None => u64::try_from(v6.to_bits() >> 80).unwrap_or_default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_cause() {
        let at = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(at("192.0.2.1"), at("192.0.2.250"));
        assert_ne!(at("192.0.2.1"), at("192.0.3.1"));
        assert_eq!(at("2001:db8:1:2::3"), at("2001:db8:1:ffff::1"));
        assert_ne!(at("2001:db8:1::1"), at("2001:db8:2::1"));
        assert_eq!(at("::ffff:192.0.2.9"), at("192.0.2.1"), "mapped");
    }
}
