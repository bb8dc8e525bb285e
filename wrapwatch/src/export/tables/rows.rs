//! The rows: what a trace's lines come to in each table. The fields are the columns, in order, and their comments are the columns' descriptions.

use super::column::table;
use crate::model::{Connection, Finding, Lookup, Query, RuleRef, Severity, Stall, WallTime, missing_line};

/// Which recording the rows are of.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) recording: WallTime,
}

impl Default for Origin {
    fn default() -> Self {
        Self { host: String::new(), recording: WallTime(jiff::Timestamp::UNIX_EPOCH) }
    }
}

table! {
    /// An accepted connection, and where its client's time went.
    struct ConnectionRow<'a> {
        /// Name of the machine.
        host: &'a str,
        /// When the recording began; with the host, it tells recordings apart.
        recording: WallTime,
        /// Number of the connection within the recording.
        conn: u64,
        /// It is no connection, but a request: a client that was checked or looked up otherwise than when it connected.
        request: bool,
        /// Of a request: the connection on which it came, where that is known.
        within: Option<u64>,
        /// The server's command.
        command: Option<&'a str>,
        /// Server process.
        pid: u32,
        /// Thread that accepted it.
        tid: u32,
        /// The client's address; `unix` for a client of the unix socket.
        peer_address: Option<String>,
        /// The client's port.
        peer_port: Option<u16>,
        /// The server's address.
        local_address: Option<String>,
        /// The server's port.
        local_port: Option<u16>,
        /// TCP handshake completed; null where that was not seen or is ambiguous.
        established: Option<WallTime>,
        /// `accept` returned.
        accepted: WallTime,
        /// What became of it: greeted, server_error, refused, unfinished, handed_over, dropped; of a request admitted, refused, looked_up, unfinished; of a login logged_in, server_error, encrypted, aborted.
        outcome: &'static str,
        /// Code in the server's first packet where that was an error.
        error_code: Option<u16>,
        /// How the client left before it was greeted: fin, rst.
        client_left: Option<&'static str>,
        /// When it left, from ESTABLISHED.
        client_left_ns: Option<u64>,
        /// ESTABLISHED to accept; null where that was not seen.
        queued_ns: Option<u64>,
        /// When the wrapper check began, from accept: later than 0 where the server itself looked the client up before.
        check_at_ns: u64,
        /// The wrapper check, from its begin to its end.
        wrapper_ns: u64,
        /// Of the check: waiting for nameservers.
        dns_ns: u64,
        /// Of the check: inside calls on files.
        files_ns: u64,
        /// Of the check: ident.
        ident_ns: u64,
        /// Of the check: waiting for a spawned command.
        spawn_ns: u64,
        /// Of the check: inside calls on syslog's socket.
        syslog_ns: u64,
        /// Of the check: the rest. These six add up to wrapper_ns.
        other_ns: u64,
        /// End of the check until the connection thread took over.
        handover_ns: Option<u64>,
        /// The server's own lookups, outside the check.
        resolve_ns: u64,
        /// Of queued_ns: the accept thread was in the server's own lookups for earlier clients.
        queued_resolve_ns: u64,
        /// ESTABLISHED (else accept) to the first packet or the close, as far as it was seen.
        waited_ns: u64,
        /// Of the wait, how much is unknown: neither seen to be a lookup nor seen to be none.
        unknown_ns: u64,
        /// Accept to the first packet.
        greeting_ns: Option<u64>,
        /// ESTABLISHED (else accept) to the first packet, or the close.
        total_ns: Option<u64>,
        /// How long it held the accept thread.
        service_ns: u64,
        /// The connection that held the accept thread longest while this one was queued.
        queued_behind: Option<u64>,
        /// How many held it meanwhile.
        queued_behind_count: u64,
        /// What explains most of the wait in queue and check: dns, ident, spawn, syslog, file, other, off_cpu.
        blame_cause: Option<&'static str>,
        /// The nameserver, where that is dns.
        blame_server: Option<&'a str>,
        /// How much of the wait that explains.
        blame_ns: Option<u64>,
        /// Table of the rule that forced the first lookup.
        rule_file: Option<&'a str>,
        /// Line of that rule.
        rule_line: Option<u32>,
        /// Text of that rule; null where the table's copy is not in the trace.
        rule_text: Option<&'a str>,
        /// Table of the rule that decided.
        verdict_rule_file: Option<&'a str>,
        /// Line of that rule.
        verdict_rule_line: Option<u32>,
        /// Text of that rule.
        verdict_rule_text: Option<&'a str>,
        /// How many lookups it had.
        lookups: u64,
        /// Whether everything about it was seen.
        complete: bool,
        /// What was not, and why; null where complete.
        missing: Option<String>,
    }
}

table! {
    /// A name (or user) that was looked up for a connection.
    struct LookupRow<'a> {
        /// Name of the machine.
        host: &'a str,
        /// When the recording began.
        recording: WallTime,
        /// Number of the connection.
        conn: u64,
        /// Number of the lookup within the connection, from 0.
        lookup_n: u64,
        /// What was looked up: reverse, forward, ident, other.
        kind: &'static str,
        /// Name asked for; null where no query showed it.
        name: Option<&'a str>,
        /// Which thread waited: accept (everybody waits), checker, connection (only this client waits).
        thread: &'static str,
        /// How it ended: found, not_found, failed, answered, unfinished.
        outcome: &'static str,
        /// When it began.
        began: WallTime,
        /// When it began, from accept.
        at_ns: u64,
        /// From its first call to its last.
        dur_ns: u64,
        /// How many queries it took.
        queries: u64,
    }
}

table! {
    /// A packet to a nameserver, and what came back.
    struct QueryRow<'a> {
        /// Name of the machine.
        host: &'a str,
        /// When the recording began.
        recording: WallTime,
        /// Number of the connection.
        conn: u64,
        /// Number of the lookup within the connection.
        lookup_n: u64,
        /// Number of the query within the lookup, from 0.
        query_n: u64,
        /// Which thread waited, as in lookup.
        thread: &'static str,
        /// What was looked up: reverse, forward, ident, other. Ident asks the client's host, which is no nameserver.
        lookup_kind: &'static str,
        /// Nameserver, address:port, or the unix socket's path; where lookup_kind is ident, the client's host.
        nameserver: &'a str,
        /// What carried it: udp, tcp, nscd, resolved.
        transport: &'static str,
        /// DNS message id.
        message_id: Option<u16>,
        /// PTR, A, AAAA and so on; null where it was not seen.
        qtype: Option<&'a str>,
        /// Name asked for.
        qname: Option<&'a str>,
        /// When it was sent.
        sent: WallTime,
        /// When it was sent, from accept.
        at_ns: u64,
        /// Sent to answered; for a timeout the time waited; null while or where unseen.
        rtt_ns: Option<u64>,
        /// How it ended: answered, timeout, unreachable, unseen.
        outcome: &'static str,
        /// NOERROR, NXDOMAIN, SERVFAIL and so on; null without an answer.
        rcode: Option<&'a str>,
        /// The answers, separated by spaces.
        answers: Option<String>,
        /// The answer was cut and asked for again over TCP.
        truncated: bool,
    }
}

table! {
    /// An accept thread that had been in one check for longer than --slow; once a second while that lasts.
    struct StallRow<'a> {
        /// Name of the machine.
        host: &'a str,
        /// When the recording began.
        recording: WallTime,
        /// When this was found.
        found: WallTime,
        /// The server's command.
        command: Option<&'a str>,
        /// Server process.
        pid: u32,
        /// The accept thread.
        tid: u32,
        /// The connection in the check; null where it was accepted before and is not known.
        conn: Option<u64>,
        /// The client's address.
        peer_address: Option<String>,
        /// How long the check has lasted.
        blocked_ns: u64,
        /// The check began before wrapwatch attached: blocked_ns is a lower bound.
        since_attach: bool,
        /// What it hangs on: dns, ident, spawn, syslog, file, other, off_cpu.
        cause: &'static str,
        /// The lookup, where it is one: reverse, forward, ident, other.
        lookup_kind: Option<&'static str>,
        /// Name being looked up.
        name: Option<&'a str>,
        /// Nameserver or other address that does not answer.
        nameserver: Option<&'a str>,
        /// The table that is open.
        table_file: Option<&'a str>,
        /// Table of the rule that asked.
        rule_file: Option<&'a str>,
        /// Line of that rule.
        rule_line: Option<u32>,
        /// Text of that rule.
        rule_text: Option<&'a str>,
        /// Connections waiting in the accept queue.
        queued: Option<u32>,
        /// The queue's limit.
        queue_limit: Option<u32>,
    }
}

table! {
    /// A finding of the report on the whole trace.
    struct FindingRow<'a> {
        /// Name of the machine.
        host: &'a str,
        /// When the recording began.
        recording: WallTime,
        /// Last moment of the trace.
        until: Option<WallTime>,
        /// Number within the report, worst first, from 0.
        finding_n: u64,
        /// Which, as in the report: nameserver-silent and so on.
        finding: String,
        /// How bad: info, warning, critical.
        severity: &'static str,
        /// One sentence.
        message: &'a str,
        /// What to change; null where nothing of the server's can be.
        change: Option<&'a str>,
        /// The nameserver it is about.
        nameserver: Option<&'a str>,
        /// Table of the rule it is about.
        rule_file: Option<&'a str>,
        /// Line of that rule.
        rule_line: Option<u32>,
        /// Text of that rule.
        rule_text: Option<&'a str>,
        /// Connections that show it; 0 where it is not of connections.
        connections: u64,
        /// The one that shows it most.
        conn: Option<u64>,
        /// The numbers that prove it, a sentence each.
        facts: String,
    }
}

/// File, line, text.
fn parts(rule: Option<&RuleRef>) -> (Option<&str>, Option<u32>, Option<&str>) {
    rule.map_or((None, None, None), |rule| (Some(&*rule.file), Some(rule.line), rule.text.as_deref()))
}

impl<'a> ConnectionRow<'a> {
    pub(super) fn new(
        origin: &'a Origin,
        command: Option<&'a str>,
        connection: &'a Connection,
        request: bool,
    ) -> Self {
        let parts_ns = &connection.parts;
        let most = connection.blame.iter().max_by_key(|blame| blame.own_ns.saturating_add(blame.queued_ns));
        let (rule_file, rule_line, rule_text) = parts(connection.rule.as_ref());
        let (verdict_rule_file, verdict_rule_line, verdict_rule_text) =
            parts(connection.verdict_rule.as_ref());
        Self {
            host: &origin.host,
            recording: origin.recording,
            conn: connection.conn,
            request,
            within: connection.within,
            command,
            pid: connection.pid,
            tid: connection.tid,
            peer_address: connection
                .peer
                .map(|peer| peer.ip().map_or_else(|| peer.to_string(), |ip| ip.to_string())),
            peer_port: connection.peer.and_then(|peer| Some(peer.addr()?.port())),
            local_address: connection.local.map(|local| local.ip().to_canonical().to_string()),
            local_port: connection.local.map(|local| local.port()),
            established: connection.established,
            accepted: connection.accepted,
            outcome: connection.outcome.into(),
            error_code: connection.error_code,
            client_left: connection.client_left.map(|left| left.how.into()),
            client_left_ns: connection.client_left.and_then(|left| left.after_ns),
            queued_ns: connection.queued_ns,
            check_at_ns: connection.check_at_ns,
            wrapper_ns: connection.wrapper_ns,
            dns_ns: parts_ns.dns_ns,
            files_ns: parts_ns.files_ns,
            ident_ns: parts_ns.ident_ns,
            spawn_ns: parts_ns.spawn_ns,
            syslog_ns: parts_ns.syslog_ns,
            other_ns: parts_ns.other_ns,
            handover_ns: connection.handover_ns,
            resolve_ns: connection.resolve_ns,
            queued_resolve_ns: connection.queued_resolve_ns,
            waited_ns: connection.waited_ns,
            unknown_ns: connection.unknown_ns,
            greeting_ns: connection.greeting_ns,
            total_ns: connection.total_ns,
            service_ns: connection.service_ns,
            queued_behind: connection.queued_behind.first().copied(),
            queued_behind_count: connection.queued_behind_count,
            blame_cause: most.map(|blame| blame.cause.into()),
            blame_server: most.and_then(|blame| blame.server.as_deref()),
            blame_ns: most.map(|blame| blame.own_ns.saturating_add(blame.queued_ns)),
            rule_file,
            rule_line,
            rule_text,
            verdict_rule_file,
            verdict_rule_line,
            verdict_rule_text,
            lookups: connection.lookups.len() as u64,
            complete: connection.complete,
            missing: (!connection.complete).then(|| missing_line(&connection.missing)),
        }
    }
}

impl<'a> LookupRow<'a> {
    pub(super) fn new(origin: &'a Origin, connection: &Connection, n: usize, lookup: &'a Lookup) -> Self {
        Self {
            host: &origin.host,
            recording: origin.recording,
            conn: connection.conn,
            lookup_n: n as u64,
            kind: lookup.kind.into(),
            name: lookup.name.as_deref(),
            thread: lookup.thread.into(),
            outcome: lookup.outcome.into(),
            began: connection.at(lookup.at_ns),
            at_ns: lookup.at_ns,
            dur_ns: lookup.dur_ns,
            queries: lookup.queries.len() as u64,
        }
    }
}

impl<'a> QueryRow<'a> {
    pub(super) fn new(
        origin: &'a Origin,
        connection: &Connection,
        (n, lookup): (usize, &'a Lookup),
        m: usize,
        query: &'a Query,
    ) -> Self {
        Self {
            host: &origin.host,
            recording: origin.recording,
            conn: connection.conn,
            lookup_n: n as u64,
            query_n: m as u64,
            thread: lookup.thread.into(),
            lookup_kind: lookup.kind.into(),
            nameserver: &query.server,
            transport: query.transport.into(),
            message_id: query.id,
            qtype: query.qtype.as_deref(),
            qname: query.qname.as_deref(),
            sent: connection.at(query.at_ns),
            at_ns: query.at_ns,
            rtt_ns: query.rtt_ns,
            outcome: query.outcome.into(),
            rcode: query.rcode.as_deref(),
            answers: (!query.answers.is_empty()).then(|| query.answers.join(" ")),
            truncated: query.truncated,
        }
    }
}

impl<'a> StallRow<'a> {
    pub(super) fn new(origin: &'a Origin, command: Option<&'a str>, stall: &'a Stall) -> Self {
        let (rule_file, rule_line, rule_text) = parts(stall.rule.as_ref());
        Self {
            host: &origin.host,
            recording: origin.recording,
            found: stall.at,
            command,
            pid: stall.pid,
            tid: stall.tid,
            conn: stall.conn,
            peer_address: stall
                .peer
                .map(|peer| peer.ip().map_or_else(|| peer.to_string(), |ip| ip.to_string())),
            blocked_ns: stall.blocked_ns,
            since_attach: stall.since_attach,
            cause: stall.cause.into(),
            lookup_kind: stall.lookup.map(Into::into),
            name: stall.name.as_deref(),
            nameserver: stall.server.as_deref(),
            table_file: stall.table.as_deref(),
            rule_file,
            rule_line,
            rule_text,
            queued: stall.queued,
            queue_limit: stall.queue_limit,
        }
    }
}

impl<'a> FindingRow<'a> {
    pub(super) fn new(origin: &'a Origin, n: usize, finding: &'a Finding, until: Option<WallTime>) -> Self {
        let evidence = &finding.evidence;
        let (rule_file, rule_line, rule_text) = parts(evidence.rule.as_ref());
        Self {
            host: &origin.host,
            recording: origin.recording,
            until,
            finding_n: n as u64,
            finding: finding.id.name(),
            severity: match finding.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            },
            message: &finding.message,
            change: finding.change.as_deref(),
            nameserver: evidence.server.as_deref(),
            rule_file,
            rule_line,
            rule_text,
            connections: evidence.count,
            conn: evidence.connections.first().copied(),
            facts: evidence.facts.join("; "),
        }
    }
}
