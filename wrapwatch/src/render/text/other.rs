//! Stalls, degradations and losses.

use anstyle::Style;

use crate::model::{Degradation, Lost, Nanos, Stall, StallCause};

use super::details::kind;
use super::{BOLD, RED, Text, YELLOW, bare, base_name, fit};

/// Most columns of an address.
const ADDRESS: usize = 47;

impl Text {
    /// `accept thread blocked 7.3 s: PTR … → 10.1.1.53 unanswered, hosts.allow:17; 80 of 80 queued`
    pub fn stall(&self, stall: &Stall) -> String {
        let since = if stall.since_attach { "at least " } else { "" };
        let mut said =
            format!("accept thread blocked {since}{}: {}", Nanos(stall.blocked_ns), self.hangs_on(stall));
        if let Some(rule) = &stall.rule {
            put!(said, ", {}:{}", self.outside(base_name(&rule.file), 40), rule.line);
        } else if let Some(table) = &stall.table {
            put!(said, ", {} open", self.outside(base_name(table), 40));
        }
        match (stall.queued, stall.queue_limit) {
            (Some(queued), Some(limit)) => put!(said, "; {queued} of {limit} queued"),
            (Some(queued), None) => put!(said, "; {queued} queued"),
            _ => {}
        }
        if let (Some(conn), Some(peer)) = (stall.conn, stall.peer) {
            put!(said, " (#{conn} {})", self.outside(&peer.to_string(), ADDRESS));
        }
        let mut text = String::new();
        self.put_time(stall.at, &mut text);
        put!(text, " STALL {}", self.own(&said));
        self.block(RED | BOLD.get_effects(), &text)
    }

    fn hangs_on(&self, stall: &Stall) -> String {
        let server = stall.server.as_deref().map(|server| self.outside(bare(server), ADDRESS));
        match (stall.cause, server) {
            (StallCause::Dns, server) => {
                let what = stall.lookup.map_or("lookup", kind);
                let name = stall
                    .name
                    .as_deref()
                    .map_or(String::new(), |name| format!(" {}", self.outside(name, 60)));
                let server = server.unwrap_or_else(|| "nameserver".to_owned());
                format!("{what}{name} → {server} unanswered")
            }
            (StallCause::Ident, Some(server)) => format!("ident → {server} unanswered"),
            (StallCause::Ident, None) => "ident unanswered".to_owned(),
            (StallCause::Spawn, _) => "a spawned command has not ended".to_owned(),
            (StallCause::Syslog, _) => "syslog does not take its message".to_owned(),
            (StallCause::File, _) => "reading a file".to_owned(),
            (StallCause::OffCpu, _) => "nothing: the process is stopped or has no CPU".to_owned(),
            (StallCause::Other, Some(server)) => format!("waiting for {server}"),
            (StallCause::Other, None) => {
                "on nothing that is seen: off the CPU, or in a call of its own".to_owned()
            }
        }
    }

    /// What cannot be seen.
    pub fn degradation(&self, degradation: &Degradation) -> String {
        let pid = degradation.pid.map_or(String::new(), |pid| format!("pid {pid}: "));
        self.block(YELLOW, &format!("note: {pid}{}", self.outside(&degradation.message, usize::MAX)))
    }

    /// What was lost.
    pub fn lost(&self, lost: &Lost) -> String {
        let by: Vec<String> =
            lost.by.iter().map(|(name, n)| format!("{} {n}", self.outside(name, 30))).collect();
        let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
        if lost.events == 0 {
            return self.block(YELLOW, &format!("NOT SEEN: the kernel skipped calls{by}"));
        }
        let noun = if lost.events == 1 { "event" } else { "events" };
        self.block(YELLOW, &format!("LOST {} {noun}{by}", lost.events))
    }

    fn block(&self, style: Style, text: &str) -> String {
        let text = fit::wrap(text, self.width(), 4, self.mark());
        text.lines().map(|line| self.paint(style, line) + "\n").collect()
    }
}
