//! The verdict: one or two sentences that blame what the clients waited for, and acquit what they did not.

use crate::model::{NameserverStats, Nanos, Percentiles, Share, Waiting};

/// What the verdict is about.
pub(super) struct Facts<'a> {
    pub connections: u64,
    pub still_queued: u64,
    pub total: &'a Percentiles,
    pub waiting: &'a Waiting,
    /// Most explained first.
    pub nameservers: &'a [NameserverStats],
    /// Most frequent first.
    pub errors: &'a [(u16, u64)],
}

/// From here on the wrappers are the main cause.
const MOST: f64 = 0.5;
/// Below this they are acquitted.
const LITTLE: f64 = 0.1;
/// Nobody notices a wait below this.
const SHORT_NS: u64 = 20_000_000;
/// A part as large as this is all of it.
const ALL: f64 = 0.97;

/// Where a filter leaves none of so many connections.
pub(super) fn of_nobody(all: u64) -> String {
    format!("None of the trace's {all} connections is among those asked for.")
}

pub(super) fn verdict(facts: &Facts<'_>) -> String {
    if facts.connections == 0 {
        return match facts.still_queued {
            0 => "No connection was accepted.".to_owned(),
            n => format!(
                "No connection was accepted, and {n} clients are waiting: the server does not take them."
            ),
        };
    }
    let mut said =
        if facts.total.count > 0 && facts.total.max_ns < SHORT_NS { short(facts) } else { wrappers(facts) };
    if let Some(errors) = server_errors(facts) {
        said.push(' ');
        said.push_str(&errors);
    }
    said
}

fn short(facts: &Facts<'_>) -> String {
    let (half, longest) = (Nanos(facts.total.p50_ns), Nanos(facts.total.max_ns));
    let share = Share::of(facts.waiting.explained(), facts.waiting.total_ns);
    format!(
        "Nobody waited long: half of the clients {half} or less, the longest {longest}. Wrappers explain {share} of it."
    )
}

fn wrappers(facts: &Facts<'_>) -> String {
    let share = Share::of(facts.waiting.explained(), facts.waiting.total_ns);
    if share.0 >= MOST {
        format!("Wrappers explain {share} of the wait, {}.", main_cause(facts))
    } else if share.0 >= LITTLE {
        format!("Wrappers explain {share} of the wait, {}; {}.", main_cause(facts), elsewhere(facts))
    } else {
        format!("Wrappers explain {share}: look elsewhere; {}.", elsewhere(facts))
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
    if waiting.dns_ns >= ns { dns(facts, explained) } else { part(name, ns, explained) }
}

fn dns(facts: &Facts<'_>, explained: u64) -> String {
    let named: Vec<&NameserverStats> =
        facts.nameservers.iter().filter(|server| server.explained_ns > 0).collect();
    let (Some(first), rest) = (named.first(), named.get(1..).unwrap_or_default()) else {
        return part("DNS", facts.waiting.dns_ns, explained);
    };
    let text = part(&format!("DNS server {}", bare(&first.server)), first.explained_ns, explained);
    match rest.first() {
        Some(second) if Share::of(second.explained_ns, explained).0 >= 0.05 => {
            format!("{text}, {} {}", bare(&second.server), Share::of(second.explained_ns, explained))
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
    let causes = [
        (
            waiting.off_cpu_ns,
            "the accept thread was in a check but off the CPU, or in a call that is not seen",
        ),
        (
            waiting.queue_other_ns,
            "clients were queued while the accept thread was in no check (stopped, short of CPU, or busy)",
        ),
        (waiting.handover_ns, "connections waited for their thread after the check"),
        (
            waiting.resolve_ns,
            "mysqld looked clients up itself, in the connection thread (skip_name_resolve is off)",
        ),
        (waiting.rest_ns, "connection threads took it before the first packet"),
    ];
    let (ns, what) = causes.into_iter().max_by_key(|(ns, _)| *ns).unwrap_or((0, ""));
    format!("for {} of the wait {what}", Share::of(ns, waiting.total_ns))
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
