//! resolv.conf as glibc 2.36 reads it (res_init.c): nameservers, search list, options.

use std::net::IpAddr;

use super::inet;
use super::options::lossy;

/// glibc asks no more nameservers than this (`MAXNS`).
pub const MAX_NAMESERVERS: usize = 3;
const MAX_TIMEOUT_S: i32 = 30;
const MAX_ATTEMPTS: i32 = 5;
const MAX_NDOTS: i32 = 15;

/// The resolver's settings. `RES_OPTIONS` and `LOCALDOMAIN` in the server's environment would come on top; they are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Nameservers in the order they are asked, three at most; without any, 127.0.0.1.
    pub nameservers: Vec<IpAddr>,
    /// Nameserver lines beyond the third.
    pub ignored_nameservers: usize,
    /// Search list; none where no line sets it, and the domain of the host's own name is used.
    pub search: Option<Vec<String>>,
    /// A name with at least so many dots is tried as it is first.
    pub ndots: u32,
    /// Seconds to wait for the first server in the first round, before glibc's arithmetic (`timeout:`).
    pub timeout_s: i32,
    /// Rounds (`attempts:`); none at all where it is 0 or less.
    pub attempts: i32,
    /// Each query starts with another server.
    pub rotate: bool,
    /// Queries go over TCP.
    pub use_vc: bool,
    /// No AAAA queries: they are taken as answered without data.
    pub no_aaaa: bool,
    /// Lines glibc does not understand, with their numbers from 1.
    pub ignored_lines: Vec<(u32, String)>,
}

impl Default for ResolvConf {
    /// What glibc does without the file.
    fn default() -> Self {
        Self {
            nameservers: vec![IpAddr::from([127, 0, 0, 1])],
            ignored_nameservers: 0,
            search: None,
            ndots: 1,
            timeout_s: 5,
            attempts: 2,
            rotate: false,
            use_vc: false,
            no_aaaa: false,
            ignored_lines: Vec::new(),
        }
    }
}

impl ResolvConf {
    /// Reads the file's text.
    pub fn parse(text: &[u8]) -> Self {
        let mut conf = Self { nameservers: Vec::new(), ..Self::default() };
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            conf.line(number, line.split(|&byte| byte == 0).next().unwrap_or_default());
        }
        if conf.nameservers.is_empty() {
            conf.nameservers = Self::default().nameservers;
        }
        conf
    }

    fn line(&mut self, number: u32, line: &[u8]) {
        let mut ignored = || self.ignored_lines.push((number, lossy(line)));
        if matches!(line.first(), None | Some(b'#' | b';')) || line.iter().all(|&byte| inet::is_space(byte)) {
            return;
        }
        let Some((keyword, rest)) =
            line.iter().position(|byte| b" \t".contains(byte)).map(|at| line.split_at(at))
        else {
            return ignored();
        };
        let words = || rest.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
        match keyword {
            b"nameserver" => match words().next().and_then(nameserver) {
                Some(_) if self.nameservers.len() == MAX_NAMESERVERS => self.ignored_nameservers += 1,
                Some(address) => self.nameservers.push(address),
                None => ignored(),
            },
            b"search" if words().next().is_some() => self.search = Some(words().map(lossy).collect()),
            b"domain" if words().next().is_some() => self.search = Some(words().take(1).map(lossy).collect()),
            b"search" | b"domain" | b"sortlist" => {}
            b"options" => words().for_each(|word| self.option(word)),
            _ => ignored(),
        }
    }

    /// One option. glibc compares beginnings only and takes unknown ones in silence.
    fn option(&mut self, word: &[u8]) {
        let number = |prefix: &[u8]| word.strip_prefix(prefix).map(inet::strtol_int);
        if let Some(ndots) = number(b"ndots:") {
            self.ndots = u32::try_from(ndots.min(MAX_NDOTS)).unwrap_or(0);
        } else if let Some(timeout) = number(b"timeout:") {
            self.timeout_s = timeout.min(MAX_TIMEOUT_S);
        } else if let Some(attempts) = number(b"attempts:") {
            self.attempts = attempts.min(MAX_ATTEMPTS);
        } else if word.starts_with(b"rotate") {
            self.rotate = true;
        } else if word.starts_with(b"use-vc") {
            self.use_vc = true;
        } else if word.starts_with(b"no-aaaa") {
            self.no_aaaa = true;
        }
    }
}

/// A nameserver's address: IPv4 in any form inet_aton(3) takes, or IPv6 with or without a scope.
fn nameserver(word: &[u8]) -> Option<IpAddr> {
    if let Some(v4) = inet::inet_aton(word, true) {
        return Some(IpAddr::V4(v4));
    }
    let address = word.split(|&byte| byte == b'%').next().unwrap_or_default();
    inet::numeric_v6(address, &|_| false).map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_glibc_reads_them() {
        let conf = ResolvConf::parse(
            b"nameserver 127.0.1.1x\nnameserver foo\n nameserver 127.0.1.2\nnameserver\t127.257 # c\n;nameserver 127.0.1.4\n\
              nameserver ::1%lo\noptions timeout:1x attempts:9 rotatefoo\noptions ndots:20\nsearch a.test\ndomain b.test c.test\nsearch \n",
        );
        assert_eq!(conf.nameservers, ["127.0.1.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!((conf.timeout_s, conf.attempts, conf.ndots, conf.rotate), (1, 5, 15, true));
        assert_eq!(conf.search.as_deref(), Some(&["b.test".to_owned()][..]));
        assert_eq!(conf.ignored_lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn without_servers_there_is_the_host_itself() {
        assert_eq!(ResolvConf::parse(b"").nameservers, ResolvConf::default().nameservers);
    }

    #[test]
    fn the_fourth_server_is_not_asked() {
        let conf = ResolvConf::parse(
            b"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
        );
        assert_eq!((conf.nameservers.len(), conf.ignored_nameservers), (3, 1));
    }
}
