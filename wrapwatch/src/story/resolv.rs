//! resolv.conf(5), as glibc reads what matters to a wait.

use std::net::IpAddr;

use crate::correlate::longest_wait_ns;

/// Most nameservers glibc uses (`MAXNS`).
const SERVERS_MAX: usize = 3;

/// The settings of a copy of resolv.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Nameservers in order, three at most; without any, the one on the loopback.
    pub nameservers: Vec<IpAddr>,
    /// Seconds for the first server, 5 where nothing else is said; at most 30.
    pub timeout_s: u32,
    /// Rounds, 2 where nothing else is said; at most 5.
    pub attempts: u32,
    /// Domains appended to names.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// From the file's text.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self { nameservers: Vec::new(), timeout_s: 5, attempts: 2, search: Vec::new() };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if conf.nameservers.len() < SERVERS_MAX => {
                    // glibc takes a scope too; it plays no role here.
                    let address: Option<IpAddr> =
                        words.next().and_then(|word| word.split('%').next()?.parse().ok());
                    conf.nameservers.extend(address);
                }
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| conf.option(option)),
                _ => {}
            }
        }
        if conf.nameservers.is_empty() {
            conf.nameservers.push(IpAddr::from([127, 0, 0, 1]));
        }
        conf
    }

    fn option(&mut self, option: &str) {
        let value = |name| option.strip_prefix(name).and_then(|n: &str| n.parse::<u32>().ok());
        if let Some(n) = value("timeout:") {
            self.timeout_s = n.min(30);
        }
        if let Some(n) = value("attempts:") {
            self.attempts = n.min(5);
        }
    }

    /// The longest wait for one answer.
    pub fn longest_wait_ns(&self) -> u64 {
        longest_wait_ns(self.timeout_s, u32::try_from(self.nameservers.len()).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_glibc_takes_is_taken() {
        let conf = ResolvConf::parse(
            "# x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver bad\nsearch a.example b.example\n\
             options timeout:1 rotate attempts:9\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n",
        );
        assert_eq!(conf.nameservers.len(), 3);
        assert_eq!((conf.timeout_s, conf.attempts), (1, 5));
        assert_eq!(conf.search, ["a.example", "b.example"]);
        let default = ResolvConf::parse("");
        assert_eq!(default.nameservers, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(default.longest_wait_ns(), 5_000_000_000);
    }
}
