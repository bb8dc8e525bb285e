//! What libwrap knows about one connection, and what it finds out: its `request_info`, with the host and user names filled in when a
//! rule first asks for them.

use std::net::IpAddr;

use super::environment::Environment;
use super::evaluation::{Lookup, LookupKind, Subject};
use super::{inet, pattern};

/// Strings in libwrap's `request_info` hold 127 bytes and a NUL.
const STRING_LENGTH: usize = 127;

/// One end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address, as the socket has it: a client of an IPv6 socket may be v4-mapped.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// The scope as getnameinfo(3) prints it (`eth0`), for link-local addresses.
    pub scope: Option<String>,
}

impl Endpoint {
    /// An end without scope.
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port, scope: None }
    }

    /// The address as libwrap sees it, a string.
    fn text(&self) -> String {
        let address = match self.address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => inet::print_v6(v6),
        };
        match &self.scope {
            Some(scope) => format!("{address}%{scope}"),
            None => address,
        }
    }
}

/// One connection to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The daemon's name: the base name of the server's `argv[0]`.
    pub daemon: String,
    /// The client; none where getpeername(2) failed, because it was gone already.
    pub client: Option<Endpoint>,
    /// The server's end of the connection.
    pub server: Option<Endpoint>,
    /// The server's process id (`%p`).
    pub pid: u32,
    /// Whether the process has checked somebody before: from the second check on, twist refuses instead of replacing the process.
    pub resident: bool,
    /// Whether the last `aclexec` of this process failed. libwrap never forgets it: until one succeeds, *every* rule with options that
    /// matches counts as one that does not.
    pub aclexec_failed: bool,
    /// The client's name as a server that calls `hosts_ctl` gives it ("unknown" where it has none): libwrap then looks nothing up.
    pub given_name: Option<String>,
}

impl Request {
    /// A client of a server that has been running for a while.
    pub fn new(daemon: &str, client: Endpoint) -> Self {
        Self {
            daemon: daemon.to_owned(),
            client: Some(client),
            server: None,
            pid: 0,
            resident: true,
            aclexec_failed: false,
            given_name: None,
        }
    }
}

/// One end and what has been found out about it.
#[derive(Debug)]
pub(super) struct Host {
    endpoint: Option<Endpoint>,
    subject: Subject,
    address: Vec<u8>,
    name: Option<Vec<u8>>,
}

pub(super) const UNKNOWN: &[u8] = b"unknown";
pub(super) const PARANOID: &[u8] = b"paranoid";

impl Host {
    pub(super) fn new(endpoint: Option<Endpoint>, subject: Subject) -> Self {
        let address =
            endpoint.as_ref().map_or_else(|| UNKNOWN.to_vec(), |endpoint| endpoint.text().into_bytes());
        Self { endpoint, subject, address, name: None }
    }

    /// With a name that is known before anybody asks.
    pub(super) fn named(self, name: Option<&str>) -> Self {
        let name = name.map(|name| {
            let mut name = name.to_owned();
            truncate(&mut name);
            name.into_bytes()
        });
        Self { name, ..self }
    }

    /// The address as a string (`eval_hostaddr`).
    pub(super) fn address(&self) -> &[u8] {
        &self.address
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.endpoint.as_ref().map(|endpoint| endpoint.port)
    }

    /// The name if it is known and has been looked up already, else the address (`eval_hostinfo`); never looks anything up.
    pub(super) fn info(&self) -> &[u8] {
        match &self.name {
            Some(name) if is_known(name) => name,
            _ => &self.address,
        }
    }

    /// The string behind a %-expansion, for libwrap overwrites what the shell might misread in place.
    pub(super) fn name_mut(&mut self) -> Option<&mut Vec<u8>> {
        self.name.as_mut()
    }

    pub(super) fn address_mut(&mut self) -> &mut Vec<u8> {
        &mut self.address
    }

    pub(super) fn info_mut(&mut self) -> &mut Vec<u8> {
        match &mut self.name {
            Some(name) if is_known(name) => name,
            _ => &mut self.address,
        }
    }

    /// The name (`eval_hostname`), looked up when first asked for.
    pub(super) fn name(&mut self, env: &mut dyn Environment, seen: &mut dyn FnMut(Lookup)) -> &[u8] {
        if self.name.is_none() {
            self.name = Some(self.look_up(env, seen));
        }
        self.name.as_deref().unwrap_or(UNKNOWN)
    }

    /// libwrap's `sock_hostname`: the name of the address, if that name is not an address itself, is its own canonical name and has the
    /// address among its own.
    fn look_up(&self, env: &mut dyn Environment, seen: &mut dyn FnMut(Lookup)) -> Vec<u8> {
        let Some(endpoint) = &self.endpoint else { return UNKNOWN.to_vec() };
        let address = endpoint.address.to_canonical();
        let mut note = |kind, question: String, found| {
            seen(Lookup { kind, subject: self.subject, question, found, place: None });
        };
        let name = env.reverse(address).filter(|name| !name.is_empty());
        note(LookupKind::Reverse, address.to_string(), name.is_some());
        let Some(mut name) = name else { return UNKNOWN.to_vec() };
        truncate(&mut name);
        if is_numeric(name.as_bytes(), address) {
            return PARANOID.to_vec();
        }
        let forward = env.forward(&name, address.is_ipv6());
        note(LookupKind::Forward, name.clone(), forward.is_some());
        let Some(forward) = forward else { return PARANOID.to_vec() };
        let canonical = forward.canonical.is_some_and(|canonical| canonical.eq_ignore_ascii_case(&name));
        let itself = canonical || name.eq_ignore_ascii_case("localhost");
        // Addresses from the resolver have no scope; a client's that has one is never among them.
        let leads_back = endpoint.scope.is_none() && forward.addresses.contains(&address);
        if itself && leads_back { name.into_bytes() } else { PARANOID.to_vec() }
    }
}

/// Neither "unknown" nor "paranoid" (`HOSTNAME_KNOWN`).
pub(super) fn is_known(name: &[u8]) -> bool {
    !name.eq_ignore_ascii_case(UNKNOWN) && !name.eq_ignore_ascii_case(PARANOID)
}

fn truncate(name: &mut String) {
    let mut end = STRING_LENGTH.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
}

/// Whether getaddrinfo(3) with `AI_NUMERICHOST` takes a name for an address of the family.
fn is_numeric(name: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => inet::inet_aton(name, true).is_some() || pattern::mapped_v4(name).is_some(),
        IpAddr::V6(_) => inet::numeric_v6(name, &|_| false).is_some(),
    }
}

/// A client's user by ident, cut to what libwrap keeps.
pub(super) fn user_name(mut user: String) -> Vec<u8> {
    truncate(&mut user);
    user.into_bytes()
}
