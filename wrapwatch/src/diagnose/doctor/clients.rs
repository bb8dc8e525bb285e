//! Names of the server's own recent clients: slow, not to be had, or not there.

use super::resolver::{REFUSALS, SLOW_NS};
use super::{Case, paths};
use crate::model::{
    Nanos, QueryOutcome, Severity,
    doctor::{ClientName, DoctorProblem, NameserverState, ServerProblem as Kind},
};

/// Clients that are named in a sentence.
const NAMED: usize = 3;

pub(super) fn find(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let Some(clients) = &case.target.clients else { return };
    let matters = case.wrapped && case.looks_up;
    for server in &case.target.resolver.nameservers {
        // One that does not even answer for itself has been told.
        if server.outcome == Some(QueryOutcome::Answered) {
            out.extend(slow(case, server, &clients.asked, matters));
        }
    }
    out.extend(nameless(case, &clients.asked, matters));
}

/// What a nameserver does for this client that it does not do for itself.
fn trouble(answer: &NameserverState) -> Option<String> {
    match (answer.outcome?, answer.rcode.as_deref()) {
        (QueryOutcome::Timeout, _) => Some("silent for 1 s".to_owned()),
        (QueryOutcome::Answered, Some(rcode)) if REFUSALS.contains(&rcode) => Some(rcode.to_owned()),
        (QueryOutcome::Answered, _) => {
            answer.rtt_ns.filter(|rtt| *rtt >= SLOW_NS).map(|rtt| Nanos(rtt).to_string())
        }
        (QueryOutcome::Unreachable, _) => answer.error.clone().or_else(|| Some("unreachable".to_owned())),
        (QueryOutcome::Unseen, _) => None,
    }
}

fn slow(
    case: &Case<'_>,
    server: &NameserverState,
    clients: &[ClientName],
    matters: bool,
) -> Option<DoctorProblem> {
    let of = |client: &ClientName| {
        let answer = client.answers.iter().find(|answer| answer.server == server.server)?;
        Some(format!("{} ({})", client.client, trouble(answer)?))
    };
    let found: Vec<String> = clients.iter().filter_map(of).collect();
    let first = found.first()?;
    let all = clients.len();
    let message = if let [only] = found.as_slice() {
        format!(
            "Nameserver {} answers for itself, but is slow or fails for a recent client's name: {only}.",
            server.server
        )
    } else {
        let more = found
            .get(1..NAMED.min(found.len()))
            .unwrap_or_default()
            .iter()
            .map(|client| format!(", {client}"));
        format!(
            "Nameserver {} answers for itself, but is slow or fails for the names of {} of {all} recent clients: {first}{}.",
            server.server,
            found.len(),
            more.collect::<String>()
        )
    };
    let severity = if matters { Severity::Warning } else { Severity::Info };
    let change = "Find out who serves these addresses' reverse zone (dig -x ADDRESS +trace); put the clients into /etc/hosts, or match by address.";
    Some(case.problem(Kind::ClientNamesSlow, severity, message).file(paths::RESOLV_CONF).change(change))
}

/// Clients for whom a nameserver says that there is no name.
fn nameless(case: &Case<'_>, clients: &[ClientName], matters: bool) -> Option<DoctorProblem> {
    let no_name = |answer: &NameserverState| answer.found == Some(false);
    // The first that answers decides for glibc.
    let answered = |client: &&ClientName| {
        client
            .answers
            .iter()
            .find(|answer| answer.outcome == Some(QueryOutcome::Answered))
            .is_some_and(no_name)
    };
    let found: Vec<String> =
        clients.iter().filter(answered).map(|client| client.client.to_string()).collect();
    if found.is_empty() || !matters {
        return None;
    }
    let named = found.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let message = format!(
        "{} of {} recent clients have no name in DNS ({named}): for rules by name they are unknown.",
        found.len(),
        clients.len()
    );
    let problem = case.problem(Kind::ClientsWithoutName, Severity::Info, message);
    Some(problem.change("Add their PTR records, put them into /etc/hosts, or match by address."))
}
