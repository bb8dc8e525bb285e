//! What the correlator is told from outside: clocks, what can be seen, the targets, and how much it may remember.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::ClockPair;
use crate::wrappers::Table;

/// How long the story of a connection that has ended is held back where calls may have been left out. Whoever feeds a correlator says so before its time goes
/// further beyond what is known than by half of this.
pub const HOLD_NS: u64 = 300_000_000;

/// Settings of a [`super::Correlator`].
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Turns event times into wall-clock times; see [`super::Correlator::set_clock`].
    pub clock: ClockPair,
    /// Whether `sock:inet_sock_set_state` is attached. Where it is not, a missing handshake is a known degradation and does not
    /// make a connection incomplete.
    pub sees_handshakes: bool,
    /// How much longer than else a connection's story is held back before it is told: see [`super::Correlator::note_skipped`].
    pub hold_ns: u64,
    /// Whether stories are told; else they are followed to their end and counted.
    pub tells: bool,
    /// Bounds of its memory.
    pub limits: Limits,
}

impl Config {
    /// Everything attached, the usual bounds.
    pub const fn new(clock: ClockPair) -> Self {
        Self { clock, sees_handshakes: true, hold_ns: 0, tells: true, limits: Limits::DEFAULT }
    }

    /// For a kernel that leaves out calls, or not.
    #[must_use]
    pub const fn skipping(self, skips: bool) -> Self {
        Self { hold_ns: if skips { HOLD_NS } else { 0 }, ..self }
    }
}

/// How much is remembered. What goes over a bound is counted in [`super::Stats`] and makes the connections it touches incomplete.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that have not sent their first packet yet.
    pub open: usize,
    /// Handshakes whose connection was not accepted yet.
    pub handshakes: usize,
    /// Accept threads.
    pub threads: usize,
    /// Finished checks remembered for each accept thread: a wait behind more of them than this is told in part.
    pub history: usize,
    /// Queries of one connection.
    pub queries: usize,
    /// Files, sockets and other things used by one connection, each.
    pub uses: usize,
    /// Waits and calls of one check that are kept apart.
    pub spans: usize,
    /// Nameservers told apart.
    pub servers: usize,
    /// Unix sockets of the targets whose path is remembered.
    pub unix_sockets: usize,
}

impl Limits {
    /// Enough for a server with thousands of threads; some tens of MB when all of it is full.
    pub const DEFAULT: Self = Self {
        open: 4096,
        handshakes: 16384,
        threads: 64,
        history: 4096,
        queries: 64,
        uses: 64,
        spans: 512,
        servers: 1024,
        unix_sockets: 4096,
    };
}

/// What a listening descriptor listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix,
}

/// A traced process.
#[derive(Clone, Debug, Default)]
pub struct TargetInfo {
    /// Inode of its network namespace; 0 where it is not known.
    pub netns: u32,
    /// Its listeners by descriptor. May lack some: they then match by the client's address alone.
    pub listeners: BTreeMap<i32, Listener>,
    /// Paths of its tables as it opens them (`hosts_allow_table`, `hosts_deny_table`).
    pub tables: TablePaths,
    /// The longest that its resolver waits for one answer, see [`longest_wait_ns`]. Time beyond it cannot be the nameserver's fault: the thread
    /// was not running. `None` where resolv.conf is not known.
    pub resolver_wait_ns: Option<u64>,
    /// Its name for libwrap, the base name of `argv[0]`: with it and the tables' texts, rules that could not be observed are inferred.
    pub daemon: Option<String>,
}

/// Paths of the two tables.
#[derive(Clone, Debug)]
pub struct TablePaths {
    /// `/etc/hosts.allow` unless the program changed it.
    pub allow: Arc<str>,
    /// `/etc/hosts.deny` unless the program changed it.
    pub deny: Arc<str>,
}

impl Default for TablePaths {
    fn default() -> Self {
        Self { allow: "/etc/hosts.allow".into(), deny: "/etc/hosts.deny".into() }
    }
}

/// The longest wait for one answer that glibc's resolver makes with these settings of resolv.conf(5): for server i (from 0) it is
/// max(1 s, `timeout` << i, divided by the number of servers for i > 0), the same in every round (glibc, `send_dg` in resolv/res_send.c).
pub fn longest_wait_ns(timeout_s: u32, servers: u32) -> u64 {
    let servers = servers.clamp(1, 3);
    let timeout = u64::from(timeout_s.clamp(1, 30));
    let waits = (0..servers).map(|i| {
        let wait = timeout << i;
        (if i > 0 { wait / u64::from(servers) } else { wait }).max(1)
    });
    waits.max().unwrap_or(timeout) * 1_000_000_000
}

/// A table as it was at some time, to quote rules from and to work out what libwrap did not say.
#[derive(Clone, Debug, Default)]
pub struct TableText {
    table: Table,
    /// Rules quoted before: most connections end at the same one.
    quoted: Vec<(u32, Option<Arc<str>>)>,
}

/// Longest quotation of a rule, in bytes.
const RULE_TEXT_MAX: usize = 1024;
/// Rules whose quotation is kept.
const QUOTED_MAX: usize = 4;

impl TableText {
    /// From the file's content.
    pub fn new(content: &str) -> Self {
        Table::parse(content.as_bytes()).into()
    }

    /// The table, taken apart.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        let quoted = self.quoted.iter().filter_map(|(_, text)| text.as_ref());
        self.table.memory_bytes() + quoted.map(|text| text.len()).sum::<usize>()
    }

    /// The rule whose last line is `line` (from 1): libwrap joins lines that end in a backslash and counts them all
    /// (`xgets` in libwrap's misc.c). `None` where that line is a comment, or not there.
    pub fn rule(&mut self, line: u32) -> Option<Arc<str>> {
        if let Some((_, quoted)) = self.quoted.iter().find(|(known, _)| *known == line) {
            return quoted.clone();
        }
        let rule = self.read_rule(line);
        if self.quoted.len() >= QUOTED_MAX {
            self.quoted.remove(0);
        }
        self.quoted.push((line, rule.clone()));
        rule
    }

    fn read_rule(&self, line: u32) -> Option<Arc<str>> {
        let mut text = self.table.text(&self.table.entry_at(line)?);
        text.truncate(text.floor_char_boundary(RULE_TEXT_MAX));
        Some(text.into())
    }
}

impl From<Table> for TableText {
    fn from(table: Table) -> Self {
        Self { table, quoted: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_quoted_with_its_continuation_lines() {
        let mut text =
            TableText::new("# comment\nmysqld: .corp.example \\\n  192.168. \\\n  10.77.\nALL: ALL\n");
        assert_eq!(text.rule(4).as_deref(), Some("mysqld: .corp.example   192.168.   10.77."));
        assert_eq!(text.rule(5).as_deref(), Some("ALL: ALL"));
        assert_eq!(text.rule(1), None, "a comment");
        assert_eq!(text.rule(0), None);
        assert_eq!(text.rule(6), None);
        let again = [4, 5, 1, 0, 6].map(|line| text.rule(line).is_some());
        assert_eq!(again, [true, true, false, false, false], "as often as it is asked");
    }

    #[test]
    fn the_longest_wait_is_glibcs() {
        let seconds = |timeout, servers| longest_wait_ns(timeout, servers) / 1_000_000_000;
        // Measured retry spacing with the default of 5 s: 5; 5, 5; 5, 3, 6.
        assert_eq!([seconds(5, 1), seconds(5, 2), seconds(5, 3)], [5, 5, 6]);
        assert_eq!([seconds(1, 1), seconds(1, 2), seconds(1, 3)], [1, 1, 1]);
        assert_eq!(seconds(u32::MAX, u32::MAX), 40);
    }
}
