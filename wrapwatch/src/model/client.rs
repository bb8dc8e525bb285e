//! Who connected.

use std::fmt;
use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A client, written `address:port` (`[address]:port` for IPv6), or `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// Of the unix socket.
    Unix,
    /// Of a TCP listener.
    Ip(SocketAddr),
}

impl Client {
    /// Its address and port, where it has one.
    pub const fn addr(self) -> Option<SocketAddr> {
        match self {
            Self::Unix => None,
            Self::Ip(addr) => Some(addr),
        }
    }

    /// Its address, a v4-mapped one as v4.
    pub fn ip(self) -> Option<IpAddr> {
        self.addr().map(|addr| addr.ip().to_canonical())
    }
}

impl Client {
    /// As it is displayed, behind what is there. Each connection's line has one, and formatting takes many times as long.
    pub(crate) fn append_to(self, text: &mut String) {
        let Self::Ip(SocketAddr::V4(addr)) = self else {
            use fmt::Write as _;
            let _ = write!(text, "{self}");
            return;
        };
        let mut digits = itoa::Buffer::new();
        for (octet, behind) in addr.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
            text.push_str(digits.format(octet));
            text.push(behind);
        }
        text.push_str(digits.format(addr.port()));
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.pad("unix"),
            Self::Ip(addr) => addr.fmt(f),
        }
    }
}

impl FromStr for Client {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        if text == "unix" { Ok(Self::Unix) } else { text.parse().map(Self::Ip) }
    }
}

impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unix => serializer.collect_str(self),
            Self::Ip(addr) => addr.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Client {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_back() {
        for text in ["unix", "10.0.3.7:40112", "[2001:db8::1]:3306", "[fe80::1%2]:1"] {
            let client: Client = text.parse().unwrap();
            assert_eq!(client.to_string(), text);
            let mut behind = "by ".to_owned();
            client.append_to(&mut behind);
            assert_eq!(behind, format!("by {text}"));
            let json = serde_json::to_string(&client).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Client>(&json).unwrap(), client);
        }
        assert!("10.0.3.7".parse::<Client>().is_err() && "\x1b[2J".parse::<Client>().is_err());
    }
}
