//! A server's longest check and its own lookups, against what its configuration allows a login.

use super::resolver::longest;
use super::{Case, paths};
use crate::{
    model::{
        Severity,
        doctor::{DoctorProblem, Limits, MaxStartups, ServerProblem as Kind},
    },
    wrappers::{bound, cost::SECOND_NS},
};

/// `refuse` in libwrap sleeps so long before it ends the process (clean_exit.c).
const REFUSED_S: u64 = 5;

pub(super) fn find(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let Some(login) = &case.target.login_limits else { return };
    let found = match login.limits {
        Limits::Sshd { login_grace_s, max_startups, use_dns } => {
            // With no limit there is nothing to outlast.
            let outlast = login_grace_s.filter(|_| use_dns).and_then(|grace| {
                own_lookups(case, "sshd looks each client up itself (UseDNS yes)", ("LoginGraceTime", grace))
            });
            [slots(case, max_startups, login_grace_s), outlast]
        }
        Limits::Postgres { authentication_timeout_s, log_hostname, names_in_hba } => {
            let who = "PostgreSQL looks up each client that comes to a name in pg_hba.conf";
            let timeout = ("authentication_timeout", authentication_timeout_s);
            let outlast = if names_in_hba == Some(true) { own_lookups(case, who, timeout) } else { None };
            [log_hostname.then(|| log_hostnames(case, authentication_timeout_s)), outlast]
        }
    };
    let doubt =
        login.doubt.as_ref().map_or_else(String::new, |why| format!(" (perhaps set otherwise: {why})"));
    let found = found.into_iter().flatten();
    out.extend(found.map(|problem| DoctorProblem { message: problem.message + &doubt, ..problem }));
}

/// A check takes one of sshd's places for connections that have not logged in. Its time for a login begins only after it.
fn slots(case: &Case<'_>, max: MaxStartups, grace_s: Option<u64>) -> Option<DoctorProblem> {
    if !case.wrapped || case.waits.is_empty() || case.is_bound_unknown() {
        return None;
    }
    let MaxStartups { start, rate, full } = max;
    let dropped = if start >= full || rate >= 100 {
        format!("sshd drops every new connection once {start} are in a check")
    } else {
        format!(
            "once {start} are in a check, sshd drops {rate} % of new connections, and all of them once {full} are"
        )
    };
    let grace = grace_s.map_or_else(String::new, |grace| {
        format!(" LoginGraceTime ({grace} s) begins after the check and does not end it.")
    });
    let message = format!(
        "A check can take {} ({}) and holds one of sshd's MaxStartups places all that time: {dropped}. A refused client holds its place {REFUSED_S} s longer.{grace}",
        longest(case.worst_ns()),
        case.parts()
    );
    // Ten seconds are what a nameserver that is down costs with settings that nobody has changed.
    let long = case.worst_ns().is_none_or(|worst| worst >= 10 * SECOND_NS);
    let severity = if long { Severity::Warning } else { Severity::Info };
    let problem = case.problem(Kind::ChecksTakeSlots, severity, message).file(paths::TABLES[0]);
    Some(problem.change(
        "Write rules by address; else set options timeout:1 attempts:1 in resolv.conf, and a higher MaxStartups.",
    ))
}

/// The server's own reverse and forward lookup, within its time for a login.
fn own_lookups(case: &Case<'_>, who: &str, (setting, seconds): (&str, u64)) -> Option<DoctorProblem> {
    let texts = case.texts;
    let steps = bound::Steps { names: true, ..bound::Steps::default() };
    let worst = bound::sum(&bound::worst(&texts.tables, ("", 0), &texts.resolver(), steps));
    let unknown = worst.is_none() && texts.conf.unknown.is_some();
    if unknown || worst.is_some_and(|worst| worst < seconds.saturating_mul(SECOND_NS)) {
        return None;
    }
    let message = format!(
        "{who}, within its {setting} of {seconds} s. The lookups can take {}: such a login fails.",
        longest(worst)
    );
    let problem =
        case.problem(Kind::LookupsOutlastLogin, Severity::Warning, message).file(paths::RESOLV_CONF);
    Some(
        problem.change("Set options timeout:1 attempts:1 in resolv.conf; or use addresses instead of names."),
    )
}

/// PostgreSQL's lookup for its log: for each connection, and before its time for a login begins.
fn log_hostnames(case: &Case<'_>, timeout_s: u64) -> DoctorProblem {
    let message = format!(
        "log_hostname is on: PostgreSQL looks up each client's name before it reads the first packet. authentication_timeout ({timeout_s} s) begins only after that."
    );
    let problem = case.problem(Kind::OwnLookups, Severity::Info, message);
    problem.change("Set log_hostname = off, if the log needs no names.")
}
