//! The verdict: a word, and one or two sentences that blame what the clients waited for, acquit what they did not, and say what is not known.
//!
//! Every verdict is about the wait until the first byte, and about requests that were checked or looked up after it or without a connection. Blame needs what was seen to explain half of it; acquittal (`elsewhere`, `queue`, `nobody_waited`)
//! needs that nearly all of it was seen. What is between the two is `cannot_tell`, with what would have to be done to tell.

use crate::model::{
    NameserverStats, Nanos, Percentiles, Share, UnknownReason, UnknownTotal, VerdictKind, Waiting,
};

/// What the verdict is about.
pub(super) struct Facts<'a> {
    pub connections: u64,
    pub refused: u64,
    /// What libwrap was asked, or was looked up, otherwise than when a client connected, and how often libwrap said no.
    pub requests: Percentiles,
    pub requests_refused: u64,
    /// Requests of which it was not seen when they came.
    pub arrivals_unseen: u64,
    pub still_queued: u64,
    /// Clients in accept queues by the last sample.
    pub queued_by_samples: Option<u32>,
    /// It is not mysqld.
    pub other_server: bool,
    pub total: &'a Percentiles,
    pub waiting: &'a Waiting,
    /// Most explained first.
    pub nameservers: &'a [NameserverStats],
    /// Most frequent first.
    pub errors: &'a [(u16, u64)],
    /// Most first.
    pub unknown: &'a [UnknownTotal],
    /// Connections whose wait went on where it was not seen.
    pub ends_unseen: u64,
    /// The longest that any client waited, as far as it was seen.
    pub longest_ns: u64,
    /// Connections of which nothing was seen: their accept was lost, or there was no room to follow them.
    pub never_seen: u64,
    /// Connections whose time in the queue is not known.
    pub queue_unseen: u64,
    /// The longest that an accept thread was busy without a pause.
    pub busy_longest_ns: u64,
    /// Lookups of which it is not known whether the wrappers asked.
    pub unclear_ns: u64,
    /// Some of these were not in the accept thread.
    pub unclear_elsewhere: bool,
    /// Questions to libwrap that there was no room to follow.
    pub unowned_checks: u64,
    /// Questions to libwrap otherwise than for a connection are not seen.
    pub checks_unseen: bool,
}

/// The verdict.
#[derive(Debug)]
pub(super) struct Verdict {
    pub kind: VerdictKind,
    pub text: String,
}

/// From here on something is the main cause.
const MOST: f64 = 0.5;
/// Below this the wrappers are acquitted.
const LITTLE: f64 = 0.1;
/// More than this not seen, and nothing is acquitted.
const UNKNOWN_MAX: f64 = 0.05;
/// Nobody notices a wait below this.
pub(super) const SHORT_NS: u64 = 20_000_000;
/// A part as large as this is all of it.
const ALL: f64 = 0.97;

/// Where a filter leaves none of so many connections.
pub(super) fn of_nobody(all: u64) -> String {
    format!("The filter matched none of the trace's {all} connections.")
}

impl Facts<'_> {
    fn share(&self, ns: u64) -> Share {
        Share::of(ns, self.waiting.total_ns)
    }

    fn ends_share(&self) -> f64 {
        let all = self.connections.saturating_add(self.never_seen);
        Share::of(self.ends_unseen.saturating_add(self.never_seen), all).0
    }

    /// Of the waiting, what is unknown; of connections whose wait went on unseen, no time is known, so their number counts.
    pub(super) fn unknown_share(&self) -> Option<f64> {
        let known = self.waiting.total_ns > 0 || self.ends_unseen > 0 || self.never_seen > 0;
        known.then(|| self.share(self.waiting.unknown_ns).0.max(self.ends_share()))
    }

    fn is_unknown(&self) -> bool {
        self.unknown_share().is_none_or(|share| share > UNKNOWN_MAX)
    }

    /// All waits were short, and their ends were seen; where the queue was not, nobody can have been in it for long.
    fn nobody_waited(&self) -> bool {
        let told = self.total.count > 0 || (self.connections == 0 && self.requests.count > 0);
        let short = told && self.total.max_ns.max(self.requests.max_ns) < SHORT_NS && !self.may_have_waited();
        let ends_seen = self.total.count.saturating_mul(20) >= self.connections.saturating_mul(19);
        let no_queue =
            self.queue_unseen.saturating_mul(20) <= self.connections || self.busy_longest_ns < SHORT_NS;
        short && ends_seen && no_queue && self.ends_share() <= UNKNOWN_MAX
    }

    fn kind(&self) -> VerdictKind {
        let waiting = self.waiting;
        let (wrappers, own) = (self.share(waiting.explained()).0, self.share(waiting.resolve_ns).0);
        if self.nobody_waited() && !self.times_unknown() {
            return if self.unowned_checks > 0 { VerdictKind::CannotTell } else { VerdictKind::NobodyWaited };
        }
        // Of those that were seen nobody waited long: what explains that little says nothing of those that were not.
        let short = self.longest_ns.max(self.requests.max_ns) < SHORT_NS;
        let short_as_seen = short && (self.ends_share() > UNKNOWN_MAX || self.may_have_waited());
        if self.is_unclear() || short_as_seen {
            return VerdictKind::CannotTell;
        }
        if wrappers + own >= MOST {
            return if wrappers >= own { VerdictKind::Wrappers } else { VerdictKind::ServerLookups };
        }
        if self.is_unknown() || self.unowned_checks > 0 {
            return VerdictKind::CannotTell;
        }
        let elsewhere = waiting.off_cpu_ns + waiting.handover_ns + waiting.rest_ns;
        let parts = [
            (waiting.explained(), VerdictKind::Wrappers),
            (waiting.resolve_ns, VerdictKind::ServerLookups),
            (waiting.queue_other_ns, VerdictKind::Queue),
            (elsewhere, VerdictKind::Elsewhere),
        ];
        parts.into_iter().max_by_key(|(ns, _)| *ns).map_or(VerdictKind::CannotTell, |(_, kind)| kind)
    }

    /// What the verdict is about.
    fn wait(&self) -> String {
        let n = self.requests.count;
        let requests = if n == 1 { "1 request".to_owned() } else { format!("{n} requests") };
        match (self.connections, n) {
            (_, 0) => "the wait until the first byte".to_owned(),
            (0, _) => format!("the wait in {requests}"),
            _ => format!("the wait until the first byte and in {requests} otherwise"),
        }
    }

    /// So many requests may have waited before libwrap was asked that none can be said to have come through at once.
    fn may_have_waited(&self) -> bool {
        let all = self.connections.saturating_add(self.requests.count);
        Share::of(self.arrivals_unseen, all).0 > UNKNOWN_MAX
    }

    /// Clients wait after the first byte, and not for it.
    fn waited_later(&self) -> bool {
        self.connections > 0 && self.total.max_ns < SHORT_NS && self.requests.max_ns >= SHORT_NS
    }

    fn times_unknown(&self) -> bool {
        self.unknown.iter().any(|part| part.reason == UnknownReason::NoTimes)
    }

    /// Lookups explain most, and of so many it was not seen who asked that it may have been the wrappers or the server itself.
    fn is_unclear(&self) -> bool {
        let (wrappers, own) = (self.waiting.explained(), self.waiting.resolve_ns);
        let most = self.share(wrappers.saturating_add(own)).0 >= MOST;
        most && wrappers.abs_diff(own) < self.unclear_ns.saturating_mul(2)
    }
}

pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    if facts.connections == 0 && facts.requests.count == 0 {
        return nothing_accepted(facts);
    }
    let kind = facts.kind();
    let mut said = match kind {
        VerdictKind::NobodyWaited => short(facts),
        VerdictKind::CannotTell => cannot_tell(facts),
        VerdictKind::ServerLookups => server_lookups(facts),
        _ => wrappers(facts),
    };
    // Whoever asks why clients do not get in has to hear of this first, unless their wait has a cause of its own.
    if facts.waited_later() {
        let longest = Nanos(facts.requests.max_ns);
        said = format!(
            "{said} Clients waited after the first byte (in a login or another request), {longest} at most."
        );
    }
    let all = facts.connections.saturating_add(facts.requests.count);
    let refused = facts.refused.saturating_add(facts.requests_refused).saturating_mul(2) >= all;
    let kind = match kind {
        VerdictKind::NobodyWaited | VerdictKind::Queue | VerdictKind::Elsewhere if refused => {
            said = format!("{} {said}", refusals(facts));
            VerdictKind::Refusals
        }
        kind => {
            if refused {
                said = format!("{said} {}", refusals(facts));
            }
            kind
        }
    };
    if let Some(errors) = server_errors(facts) {
        said.push(' ');
        said.push_str(&errors);
    }
    Verdict { kind, text: said }
}

/// What shows where clients wait that are not followed.
const TO_TELL_UNOWNED: &str =
    "look at the server's calls (`strace -f -p PID`), or at what the nameservers answer (`wrapwatch doctor`)";

fn nothing_accepted(facts: &Facts<'_>) -> Verdict {
    let (kind, text) = match (facts.still_queued, facts.queued_by_samples) {
        (0, _) if facts.unowned_checks > 0 => (
            VerdictKind::CannotTell,
            format!(
                "Cannot tell what the clients waited for: libwrap was asked {} times about clients that wrapwatch had no room to follow. To find out: {TO_TELL_UNOWNED}.",
                facts.unowned_checks
            ),
        ),
        (0, _) if facts.checks_unseen => (
            VerdictKind::CannotTell,
            "Cannot tell what the clients waited for: no connection was accepted, and whether libwrap was asked otherwise, as for datagrams, was not seen. \
             To find out: trace as root with uprobes, which take CAP_SYS_ADMIN."
                .to_owned(),
        ),
        (0, _) => (VerdictKind::CannotTell, "No connection was accepted.".to_owned()),
        (n, Some(queued)) if queued > 0 => (
            VerdictKind::Queue,
            format!(
                "No connection was accepted, and {n} clients are waiting: the server does not take them."
            ),
        ),
        (n, _) => (
            VerdictKind::CannotTell,
            format!(
                "No accept was seen, and {n} clients connected: either the server does not take them, or its accepts cannot be seen from here. \
                 To find out: look at the queue (ss -ltn), and run wrapwatch outside of any container, as root."
            ),
        ),
    };
    Verdict { kind, text }
}

fn short(facts: &Facts<'_>) -> String {
    let (half, longest) = (Nanos(facts.total.p50_ns), Nanos(facts.total.max_ns));
    let share = facts.share(facts.waiting.explained());
    let queue = if facts.queue_unseen > 0 { " after accept" } else { "" };
    if facts.requests.count > 0 {
        return short_requests(facts, queue);
    }
    format!(
        "Nobody waited long{queue} for the first byte: half of the clients {half} or less, the longest {longest}. Wrappers explain {share} of it. \
         What comes after the first byte (TLS, authentication) was not looked at."
    )
}

/// The same where there were requests.
fn short_requests(facts: &Facts<'_>, queue: &str) -> String {
    let share = facts.share(facts.waiting.explained());
    let (asked, asked_longest) = (facts.requests.count, Nanos(facts.requests.max_ns));
    let first = if facts.connections == 0 {
        "Nobody waited long".to_owned()
    } else {
        let (half, longest) = (Nanos(facts.total.p50_ns), Nanos(facts.total.max_ns));
        format!(
            "Nobody waited long{queue} for the first byte: half of the clients {half} or less, the longest {longest}"
        )
    };
    format!(
        "{first}; {asked} requests (logins, datagrams, later checks) took {asked_longest} at most. Wrappers explain {share} of it. \
         What else comes after the first byte (TLS, authentication) was not looked at."
    )
}

fn wrappers(facts: &Facts<'_>) -> String {
    let share = facts.share(facts.waiting.explained());
    let wait = facts.wait();
    if share.0 >= MOST {
        format!("Wrappers explain {share} of {wait}, {}.", main_cause(facts))
    } else if share.0 >= LITTLE {
        format!("Wrappers explain {share} of {wait}, {}; {}.", main_cause(facts), elsewhere(facts))
    } else {
        format!("Wrappers explain {share} of {wait}: look elsewhere; {}.", elsewhere(facts))
    }
}

fn server_lookups(facts: &Facts<'_>) -> String {
    let (own, wrappers) = (facts.waiting.resolve_ns, facts.waiting.explained());
    format!(
        "The server's own lookups explain {} of {}, {}; wrappers explain {}.",
        facts.share(own),
        facts.wait(),
        dns(facts, own, |server| server.own_ns),
        facts.share(wrappers)
    )
}

/// What was seen, what was not, and what to do about it.
fn cannot_tell(facts: &Facts<'_>) -> String {
    if facts.is_unclear() {
        let place = if facts.unclear_elsewhere { "" } else { " in the accept thread" };
        let has = |reason| facts.unknown.iter().any(|part| part.reason == reason);
        let (why, reason) = if has(UnknownReason::ChecksUnseen) {
            ("calls of libwrap were not seen", UnknownReason::ChecksUnseen)
        } else if has(UnknownReason::EventsLost) {
            ("opens of hosts.allow are not in the trace", UnknownReason::EventsLost)
        } else {
            ("opens of hosts.allow are not in the trace", UnknownReason::NotTraced)
        };
        return format!(
            "Lookups{place} explain {} of {}, {}. Cannot tell whether the wrappers or the server itself asked: {why}. To find out: {}.",
            facts.share(facts.unclear_ns),
            facts.wait(),
            dns(facts, facts.unclear_ns, |server| server.own_ns.saturating_add(server.explained_ns)),
            to_tell(reason)
        );
    }
    if facts.unowned_checks > 0 && !facts.is_unknown() {
        return format!(
            "Cannot tell what the clients waited for: libwrap was asked {} times about clients that wrapwatch had no room to follow. Of {}, wrappers explain {} and the server's own lookups {}. To find out: {TO_TELL_UNOWNED}.",
            facts.unowned_checks,
            facts.wait(),
            facts.share(facts.waiting.explained()),
            facts.share(facts.waiting.resolve_ns)
        );
    }
    if facts.may_have_waited() && !facts.is_unknown() {
        return format!(
            "Cannot tell what the clients waited for: for {} of {} requests wrapwatch did not see when they came, so they may have waited before libwrap was asked. What was seen took {} at most. To find out: compare with the clients' own clocks.",
            facts.arrivals_unseen,
            facts.requests.count,
            Nanos(facts.requests.max_ns)
        );
    }
    let reason = facts.unknown.first().map_or(UnknownReason::Other, |part| part.reason);
    let by_time = facts.share(facts.waiting.unknown_ns);
    let (unseen, reason) = if facts.never_seen > facts.ends_unseen && facts.ends_share() > by_time.0 {
        let all = facts.connections.saturating_add(facts.never_seen);
        (format!("nothing was seen of {} of {all} connections", facts.never_seen), UnknownReason::EventsLost)
    } else if facts.ends_share() > by_time.0 {
        let is_there = |reason: &UnknownReason| facts.unknown.iter().any(|part| part.reason == *reason);
        let ended = [UnknownReason::HandedOver, UnknownReason::TraceEnded].into_iter().find(is_there);
        let reason = match reason {
            UnknownReason::Other => UnknownReason::HandedOver,
            reason => reason,
        };
        let reason = ended.unwrap_or(reason);
        (
            format!(
                "{} of {} connections went on where wrapwatch does not look",
                facts.ends_unseen, facts.connections
            ),
            reason,
        )
    } else if facts.waiting.total_ns == 0 || facts.unknown.is_empty() {
        ("too little of it was seen".to_owned(), reason)
    } else {
        (format!("{by_time} of {} was not seen", facts.wait()), reason)
    };
    let why = if reason == UnknownReason::Other { String::new() } else { format!(" ({})", reason.message()) };
    let seen = if facts.waiting.total_ns == 0 {
        String::new()
    } else {
        format!(
            " As far as was seen, wrappers explain {} of it and the server's own lookups {}.",
            facts.share(facts.waiting.explained()),
            facts.share(facts.waiting.resolve_ns)
        )
    };
    format!("Cannot tell what the clients waited for: {unseen}{why}.{seen} To find out: {}.", to_tell(reason))
}

/// What would have to be done to see what was not.
const fn to_tell(reason: UnknownReason) -> &'static str {
    match reason {
        UnknownReason::BeganBefore => "let the trace run until new clients connect",
        UnknownReason::TraceEnded => "let the trace run until the clients are served",
        UnknownReason::EventsLost | UnknownReason::QueueUnseen | UnknownReason::Forgotten => {
            "trace again for a shorter time, with CPU to spare for wrapwatch"
        }
        UnknownReason::CallsSkipped => "trace again as root, so that the kernel's other hooks can be used",
        UnknownReason::NotTraced
        | UnknownReason::NoTimes
        | UnknownReason::LogCut
        | UnknownReason::QueryUnseen => {
            "trace with `wrapwatch record`, or with `strace -f -ttt -T -yy -s 600 -p PID -o LOG`"
        }
        UnknownReason::ChecksUnseen => "trace as root with uprobes, which take CAP_SYS_ADMIN",
        UnknownReason::NotFollowed => {
            "trace all of the server's processes and threads (strace -f from its first one)"
        }
        UnknownReason::HandedOver | UnknownReason::ServerReplaced => {
            "trace the process that serves them (-p PID; `ps --ppid PID` lists the children)"
        }
        UnknownReason::WorkersBusy => {
            "see whether the server has a pool of threads (thread_handling) that was busy with lookups"
        }
        UnknownReason::UnwatchedCall | UnknownReason::WorkerUnseen | UnknownReason::Other => {
            "look at where the server's threads wait (`strace -f -p PID`, or /proc/PID/task/*/stack)"
        }
    }
}

fn refusals(facts: &Facts<'_>) -> String {
    let (refused, all) = (facts.refused, facts.connections);
    let (asked, no) = (facts.requests.count, facts.requests_refused);
    match (all, asked) {
        (_, 0) => format!("The wrapper check refused {refused} of {all} connections."),
        (0, _) => format!("The wrapper check refused {no} of {asked} requests."),
        _ => {
            format!("The wrapper check refused {refused} of {all} connections and {no} of {asked} requests.")
        }
    }
}

fn server_errors(facts: &Facts<'_>) -> Option<String> {
    let (code, count) = facts.errors.first()?;
    let (of, name) = (facts.connections, error_name(*code));
    Some(format!("The server itself turned away {count} of {of} connections with error {code}{name}."))
}

/// The part of the wrappers' share that weighs most.
fn main_cause(facts: &Facts<'_>) -> String {
    let waiting = facts.waiting;
    let explained = waiting.explained();
    let causes = [
        (waiting.files_ns, "reading files"),
        (waiting.ident_ns, "ident"),
        (waiting.spawn_ns, "spawned commands"),
        (waiting.syslog_ns, "syslog"),
        (waiting.computing_ns, "computing"),
    ];
    let (ns, name) = causes.into_iter().max_by_key(|(ns, _)| *ns).unwrap_or((0, "computing"));
    if waiting.dns_ns >= ns {
        dns(facts, explained, |server| server.explained_ns.saturating_sub(server.own_ns))
    } else {
        part(name, ns, explained)
    }
}

/// Which nameservers it was; `of` says what of a nameserver's time counts.
fn dns(facts: &Facts<'_>, explained: u64, of: impl Fn(&NameserverStats) -> u64) -> String {
    let mut named: Vec<(u64, &NameserverStats)> =
        facts.nameservers.iter().map(|server| (of(server), server)).collect();
    named.retain(|(ns, _)| *ns > 0);
    named.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    let (Some((ns, first)), rest) = (named.first(), named.get(1..).unwrap_or_default()) else {
        return part("DNS", facts.waiting.lookups().min(explained), explained);
    };
    let text = part(&format!("nameserver {}", bare(&first.server)), *ns, explained);
    match rest.first() {
        Some((ns, second)) if Share::of(*ns, explained).0 >= 0.05 => {
            format!("{text}, {} {}", bare(&second.server), Share::of(*ns, explained))
        }
        _ => text,
    }
}

fn part(name: &str, ns: u64, explained: u64) -> String {
    let share = Share::of(ns, explained);
    if share.0 >= ALL { format!("{name} all of it") } else { format!("{name} {share} of it") }
}

/// What weighs most of what wrappers do not explain.
fn elsewhere(facts: &Facts<'_>) -> String {
    let waiting = facts.waiting;
    let (handed_on, served) = if facts.other_server {
        (
            "clients waited after the check for the process or thread that serves them",
            "the server itself took it before the first byte, and looked nothing up",
        )
    } else {
        (
            "connections waited for their thread after the check",
            "connection threads took it before the first packet, and looked nothing up",
        )
    };
    let causes = [
        (waiting.off_cpu_ns, "the accept thread was in a check but off the CPU (stopped, or short of CPU)"),
        (
            waiting.queue_other_ns,
            "clients were queued while the accept thread was in no check (stopped, short of CPU, or busy)",
        ),
        (waiting.handover_ns, handed_on),
        (waiting.resolve_ns, "the server looked clients up itself"),
        (waiting.rest_ns, served),
        (waiting.unknown_ns, "the trace does not show what it was spent on"),
    ];
    let (ns, what) = causes.into_iter().max_by_key(|(ns, _)| *ns).unwrap_or((0, ""));
    format!("for {} of the wait {what}", facts.share(ns))
}

/// A nameserver's address without the port that all have.
pub fn bare(server: &str) -> &str {
    let Some(host) = server.strip_suffix(":53") else { return server };
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// What the server means by the errors that come instead of a greeting (MySQL's errmsg).
const fn error_name(code: u16) -> &'static str {
    match code {
        1040 => " (too many connections)",
        1129 => " (host blocked)",
        1130 => " (host not allowed)",
        1203 => " (too many connections of one user)",
        _ => "",
    }
}
