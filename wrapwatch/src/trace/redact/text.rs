//! Text → text: tables, hosts, resolv.conf, and whatever else is kept. Lines stay lines, so that a rule keeps its number; comments go.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::names::Names;
use crate::trace::SnapshotRole;

mod table;

/// Words of paths and messages that are nobody's name, also where a host is called so.
const WELL_KNOWN: &[&str] = &[
    "all",
    "allow",
    "bin",
    "conf",
    "deny",
    "dev",
    "dns",
    "etc",
    "files",
    "gai",
    "group",
    "home",
    "host",
    "hosts",
    "io",
    "lib",
    "lib64",
    "libwrap",
    "local",
    "localdomain",
    "localhost",
    "log",
    "mariadb",
    "mariadbd",
    "mysql",
    "mysqld",
    "netgroup",
    "nscd",
    "nsswitch",
    "passwd",
    "pid",
    "proc",
    "protocols",
    "resolv",
    "resolve",
    "root",
    "run",
    "sbin",
    "server",
    "services",
    "so",
    "sock",
    "socket",
    "sys",
    "system",
    "systemd",
    "tmp",
    "unix",
    "usr",
    "var",
    "wrapwatch",
];

/// Most names remembered for [`Text::scrub`].
const KNOWN_MAX: usize = 1 << 16;

/// Maps text.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) names: Names,
    known: HashSet<String>,
}

impl Text {
    pub(super) fn new(names: Names) -> Self {
        Self { names, known: HashSet::new() }
    }

    /// Remembers the labels of a name, so that they are found in paths and messages.
    pub(super) fn learn(&mut self, name: &str) {
        for label in name.split('.') {
            let label = label.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
            let numeric = label.bytes().all(|b| b.is_ascii_digit());
            let short = label.len() < 2 || numeric;
            if !short && !WELL_KNOWN.contains(&label.as_str()) && self.known.len() < KNOWN_MAX {
                self.known.insert(label);
            }
        }
    }

    /// Remembers the names in a file.
    pub(super) fn learn_from(&mut self, role: SnapshotRole, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines() {
            let line = without_comment(line, role);
            let mut words = line.split([' ', '\t', ',', '@', ':', '/', '[', ']', '(', ')', '=']);
            let named = match role {
                SnapshotRole::NsswitchConf => continue,
                SnapshotRole::ResolvConf => matches!(words.next(), Some("search" | "domain" | "nameserver")),
                _ => true,
            };
            for word in words.filter(|_| named) {
                if !table::is_keyword(word) && word.parse::<IpAddr>().is_err() {
                    self.learn(word);
                }
            }
        }
    }

    /// A file's bytes.
    pub(super) fn file(&self, role: SnapshotRole, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        let map: fn(&Self, &str) -> String = match role {
            SnapshotRole::HostsAllow | SnapshotRole::HostsDeny => return self.table(&text).into_bytes(),
            SnapshotRole::Hosts => |t, line| t.hosts_line(line),
            SnapshotRole::ResolvConf => |t, line| t.resolv_line(line),
            SnapshotRole::NsswitchConf => {
                |t, line| t.scrub(without_comment(line, SnapshotRole::NsswitchConf))
            }
            // A file of patterns, one or more a line.
            SnapshotRole::Other => |t, line| t.clients(without_comment(line, SnapshotRole::Other)),
        };
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let inner = line.strip_suffix('\n');
            out.push_str(&map(self, inner.unwrap_or(line)));
            if inner.is_some() {
                out.push('\n');
            }
        }
        out.into_bytes()
    }

    /// hosts(5): an address, then names.
    fn hosts_line(&self, line: &str) -> String {
        let mut first = true;
        words(without_comment(line, SnapshotRole::Hosts), |word| {
            let is_address = std::mem::take(&mut first);
            if is_address {
                self.address(word).unwrap_or_else(|| "0.0.0.0".to_owned())
            } else {
                self.names.text(word)
            }
        })
    }

    /// resolv.conf(5): a keyword, then its values.
    fn resolv_line(&self, line: &str) -> String {
        let mut keyword = None;
        words(without_comment(line, SnapshotRole::ResolvConf), |word| {
            let Some(keyword) = &keyword else {
                keyword = Some(word.to_owned());
                return if ["nameserver", "search", "domain", "options", "sortlist"].contains(&word) {
                    word.to_owned()
                } else {
                    self.names.text(word)
                };
            };
            match keyword.as_str() {
                "options" => self.scrub(word),
                "nameserver" | "sortlist" => self.net(word).unwrap_or_else(|| self.names.text(word)),
                _ => self.names.text(word),
            }
        })
    }

    /// An address, with its scope.
    pub(super) fn address(&self, text: &str) -> Option<String> {
        let (ip, scope) = text.split_once('%').map_or((text, None), |(ip, scope)| (ip, Some(scope)));
        let mapped = self.names.addresses().ip(ip.parse().ok()?);
        Some(scope.map_or_else(|| mapped.to_string(), |scope| format!("{mapped}%{scope}")))
    }

    /// An address, or a network with its mask or length.
    fn net(&self, text: &str) -> Option<String> {
        let Some((net, mask)) = text.split_once('/') else { return self.address(text) };
        let net: IpAddr = net.parse().ok()?;
        match net {
            IpAddr::V4(v4) => {
                let len = mask_len(mask)?;
                let bits = if len == 0 { 0 } else { u32::MAX << (32 - len) };
                let mut mapped = self.names.addresses().v4_prefix(v4, len);
                if v4.to_bits() & !bits != 0 {
                    // A network with host bits matches nothing, and goes on matching nothing.
                    mapped = Ipv4Addr::from_bits(mapped.to_bits() | 1);
                }
                Some(format!("{mapped}/{mask}"))
            }
            IpAddr::V6(v6) => {
                let len = mask.parse::<u32>().ok().filter(|len| *len <= 128)?;
                Some(format!("{}/{mask}", self.names.addresses().v6_prefix(v6, len)))
            }
        }
    }

    /// Text of no known form that is kept for what else it says: addresses and names known from elsewhere are replaced.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
            let start = rest.find(word).unwrap_or(rest.len());
            let (between, after) = rest.split_at(start);
            out.push_str(between);
            let end = after.find(|c| !word(c)).unwrap_or(after.len());
            let (token, after) = after.split_at(end);
            out.push_str(&self.scrub_token(token));
            rest = after;
        }
        out
    }

    fn scrub_token(&self, token: &str) -> String {
        let trimmed = token.trim_end_matches(['.', ':', '-']);
        let tail = &token[trimmed.len()..];
        if let Ok(SocketAddr::V4(sock)) = trimmed.parse() {
            return format!("{}:{}{tail}", self.names.addresses().v4(*sock.ip()), sock.port());
        }
        if let Some(address) = self.address(trimmed) {
            return address + tail;
        }
        if trimmed.to_ascii_lowercase().ends_with(".arpa") {
            return self.names.text(trimmed) + tail;
        }
        // Labels, whole or as part of what hyphens and underscores hold together.
        let mut out = String::with_capacity(token.len());
        for piece in token.split_inclusive(['.', ':', '_']) {
            let label = piece.trim_end_matches(['.', ':', '_']);
            let separator = &piece[label.len()..];
            out.push_str(&self.scrub_label(label));
            out.push_str(separator);
        }
        out
    }

    fn scrub_label(&self, label: &str) -> String {
        let known = |label: &str| self.known.contains(&label.to_ascii_lowercase());
        let map = |label: &str| String::from_utf8_lossy(&self.names.label(label.as_bytes())).into_owned();
        if known(label) {
            return map(label);
        }
        let parts: Vec<String> =
            label.split('-').map(|part| if known(part) { map(part) } else { part.to_owned() }).collect();
        parts.join("-")
    }

    /// A path, or a unix socket's name, as records carry it.
    pub(super) fn path(&self, path: &[u8]) -> Vec<u8> {
        match path.strip_prefix(b"\0") {
            Some(name) => [b"\0", self.path(name).as_slice()].concat(),
            None => self.scrub(&String::from_utf8_lossy(path)).into_bytes(),
        }
    }
}

/// The line without its comment, where its kind of file has comments behind text.
fn without_comment(line: &str, role: SnapshotRole) -> &str {
    let end = match role {
        SnapshotRole::HostsAllow | SnapshotRole::HostsDeny => line.starts_with('#').then_some(0),
        SnapshotRole::ResolvConf => line.find(['#', ';']),
        _ => line.find('#'),
    };
    end.map_or(line, |end| line.get(..end).unwrap_or_default().trim_end())
}

/// Maps the words of a line; what is between them stays.
fn words(line: &str, map: impl FnMut(&str) -> String) -> String {
    words_between(line, |c| c.is_ascii_whitespace(), map)
}

fn words_between(
    line: &str,
    separates: impl Fn(char) -> bool,
    mut map: impl FnMut(&str) -> String,
) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let start = rest.find(|c| !separates(c)).unwrap_or(rest.len());
        let (between, after) = rest.split_at(start);
        out.push_str(between);
        let end = after.find(&separates).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        if !word.is_empty() {
            out.push_str(&map(word));
        }
        rest = after;
    }
    out
}

/// Bits of a mask, written as a length or as an address; `None` for one with holes.
fn mask_len(mask: &str) -> Option<u32> {
    if let Ok(len) = mask.parse::<u32>() {
        return (len <= 32).then_some(len);
    }
    let bits = mask.parse::<Ipv4Addr>().ok()?.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() >= 32).then(|| bits.leading_ones())
}

#[cfg(test)]
mod tests;
