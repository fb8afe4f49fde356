//! The origin of a connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An IPv4 address, or the network of an IPv6 address: the first 64 bits, since one machine may have all addresses of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_machine_are_one_peer() {
        let peer = |text: &str| Peer::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(peer("10.0.0.1:80"), peer("10.0.0.1:81"));
        assert_eq!(peer("10.0.0.1:80"), peer("[::ffff:10.0.0.1]:80"));
        assert_ne!(peer("10.0.0.1:80"), peer("10.0.0.2:80"));
        assert_eq!(peer("[2001:db8::1]:80"), peer("[2001:db8::ffff:0:0:1]:80"));
        assert_ne!(peer("[2001:db8::1]:80"), peer("[2001:db8:0:1::1]:80"));
    }
}
