//! What a wrapper check asks of the world: names, users, files. The evaluator stays pure by asking an [`Environment`].

use std::net::IpAddr;

/// What the forward lookup of a name gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The canonical name; libwrap wants it to be the name it asked for (`localhost` excepted).
    pub canonical: Option<String>,
    /// Addresses of the client's family.
    pub addresses: Vec<IpAddr>,
}

/// A file named in a rule: `/file` patterns, banners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileText {
    /// Not there.
    Missing,
    /// There, and cannot be opened; why.
    Unreadable(String),
    /// On another host, and not known here.
    Elsewhere,
    /// There, and not looked at, which says nothing of libwrap; why.
    NotKnown(String),
    /// Its bytes.
    Text(Vec<u8>),
}

/// Answers the questions libwrap puts to the resolver, the client and the host. The methods with a body answer what is usual.
pub trait Environment {
    /// The name of an address (getnameinfo(3) with `NI_NAMEREQD`). v4-mapped addresses are asked for as IPv4.
    fn reverse(&mut self, address: IpAddr) -> Option<String>;

    /// The addresses of a name in one family (getaddrinfo(3)).
    fn forward(&mut self, name: &str, ipv6: bool) -> Option<Addresses>;

    /// The client's user by ident (RFC 1413).
    fn ident(&mut self) -> Option<String> {
        None
    }

    /// Whether a host is in a netgroup (innetgr(3)).
    fn netgroup(&mut self, group: &str, host: &str) -> bool {
        let _ = (group, host);
        false
    }

    /// A file's text.
    fn file(&mut self, path: &str) -> FileText {
        let _ = path;
        FileText::Missing
    }

    /// Whether a user exists.
    fn user(&mut self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Whether a group exists.
    fn group(&mut self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Whether the host has a network interface of this name; a scope in a pattern (`[fe80::1%eth0]`) needs one.
    fn interface(&self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Whether an `aclexec` command succeeds.
    fn aclexec(&mut self, command: &[u8]) -> bool {
        let _ = command;
        true
    }
}

/// A world with one answer for each question about names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedNames {
    /// The client's name; none: the reverse lookup fails.
    pub name: Option<String>,
    /// Whether the name leads back to the address; if not, the forward lookup fails.
    pub verified: bool,
    /// The address it leads back to.
    pub address: Option<IpAddr>,
}

impl FixedNames {
    /// The reverse lookup fails: the client is "unknown".
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The reverse lookup gives `name`, the forward lookup fails: the client is "paranoid".
    pub fn paranoid(name: &str) -> Self {
        Self { name: Some(name.to_owned()), verified: false, address: None }
    }

    /// Both lookups agree.
    pub fn verified(name: &str, address: IpAddr) -> Self {
        Self { name: Some(name.to_owned()), verified: true, address: Some(address) }
    }
}

impl Environment for FixedNames {
    fn reverse(&mut self, _: IpAddr) -> Option<String> {
        self.name.clone()
    }

    fn forward(&mut self, name: &str, _: bool) -> Option<Addresses> {
        let addresses = vec![self.address?.to_canonical()];
        self.verified.then(|| Addresses { canonical: Some(name.to_owned()), addresses })
    }
}
