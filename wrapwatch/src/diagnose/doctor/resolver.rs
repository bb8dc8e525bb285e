//! The server's resolver: nameservers that keep silent, refuse or take long, and names that come another way.

use super::{Case, paths};
use crate::{
    model::{
        Nanos, QueryOutcome, Severity,
        doctor::{DoctorProblem, Forwarder, NameserverState, ServerProblem as Kind},
    },
    wrappers::cost::{Nameserver, SECOND_NS, question},
    wrappers::daemons,
};

/// From here on a nameserver is slow: a cache in the same building answers in a millisecond, any in a few dozen.
pub(super) const SLOW_NS: u64 = 100_000_000;
/// Response codes with which a nameserver says that it does not serve this host.
pub(super) const REFUSALS: [&str; 3] = ["REFUSED", "SERVFAIL", "NOTIMP"];

pub(super) fn find(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    out.extend(not_known(case));
    nameservers(case, out);
    upstreams(case, out);
    services(case, out);
    outlasts(case, out);
}

/// Settings that nobody could look at from here.
fn not_known(case: &Case<'_>) -> Option<DoctorProblem> {
    let why = case.texts.conf.unknown.as_ref()?;
    let severity = if case.wrapped && case.looks_up { Severity::Warning } else { Severity::Info };
    let message = format!(
        "wrapwatch did not read {} ({why}), so it does not know whom the server asks for names, and how long that takes.",
        paths::RESOLV_CONF
    );
    let problem = case.problem(Kind::ResolverNotKnown, severity, message).file(paths::RESOLV_CONF);
    Some(problem.change("Check what it is; wrapwatch reads only regular files of up to 1 MiB."))
}

fn dead(server: &NameserverState) -> bool {
    matches!(server.outcome, Some(QueryOutcome::Timeout | QueryOutcome::Unreachable))
}

fn nameservers(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let servers = &case.target.resolver.nameservers;
    // Where no check asks them, a dead one is worth knowing, not worth waking anybody.
    let matters = case.wrapped && case.looks_up;
    let severity = |worst| if matters { worst } else { Severity::Info };
    let asks_dns = case.target.resolver.services.iter().any(|service| service == "dns");
    if !asks_dns {
        return;
    }
    for server in servers {
        if let Some(problem) = one(case, server, severity(Severity::Warning)) {
            out.push(problem.file(paths::RESOLV_CONF));
        }
    }
    let asked = servers.iter().filter(|server| server.outcome.is_some()).count();
    if asked == 0 {
        return;
    }
    let each = wait(case);
    if servers.iter().all(dead) {
        let message = format!("No nameserver answers: every lookup fails{each}.");
        out.push(
            case.problem(Kind::AllNameserversDead, severity(Severity::Critical), message)
                .file(paths::RESOLV_CONF)
                .change("List nameservers that answer, or make the rules address-only."),
        );
    } else if let Some(first) = servers.first().filter(|server| dead(server)) {
        let next = servers
            .iter()
            .find(|server| !dead(server))
            .map_or_else(String::new, |next| next.server.to_string());
        let message = format!(
            "The first nameserver, {}, does not answer: every lookup begins with it{each}.",
            first.server
        );
        out.push(
            case.problem(Kind::FirstNameserverDead, severity(Severity::Critical), message)
                .file(paths::RESOLV_CONF)
                .change(format!(
                    "Put nameserver {next} first, or remove {}; and set options timeout:1 attempts:1",
                    first.server
                )),
        );
    }
}

/// Nameservers behind systemd-resolved, and behind other programs of this host.
fn upstreams(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let severity = if case.wrapped && case.looks_up { Severity::Warning } else { Severity::Info };
    let problem = |who: &str, server: &NameserverState| {
        let message =
            format!("Nameserver {}, which {who} asks for this server, {}.", server.server, fails(server)?);
        Some(case.problem(Kind::UpstreamFails, severity, message))
    };
    for server in &case.target.resolver.upstreams {
        let Some(problem) = problem("systemd-resolved", server) else { continue };
        out.push(problem.file(UPSTREAMS).change(
            "resolvectl status says on which link it is set; change it there or in /etc/systemd/resolved.conf.",
        ));
    }
    for forwarder in &case.target.resolver.forwarders {
        let who = format!("{} (from its configuration file)", forwarder.name());
        for server in &forwarder.upstreams {
            let Some(problem) = problem(&who, server) else { continue };
            let files = forwarder.files.join(", ");
            let problem = problem.file(forwarder.files.first().map_or("", String::as_str));
            out.push(problem.change(format!("Repair it, or stop asking it: {files}")));
        }
    }
}

/// What is wrong with a nameserver that this host's own one asks.
fn fails(server: &NameserverState) -> Option<String> {
    Some(match (server.outcome?, server.rcode.as_deref()) {
        (QueryOutcome::Timeout, _) => "keeps silent (asked from the server's network, 1 s)".to_owned(),
        (QueryOutcome::Unreachable, _) => {
            format!("refuses: {}", server.error.as_deref().unwrap_or("unreachable"))
        }
        (QueryOutcome::Answered, Some(rcode)) if REFUSALS.contains(&rcode) => format!("answers {rcode}"),
        (QueryOutcome::Answered, _) => {
            format!("takes {} to answer", Nanos(server.rtt_ns.filter(|rtt| *rtt >= SLOW_NS)?))
        }
        _ => return None,
    })
}

/// The file that systemd-resolved writes about them.
const UPSTREAMS: &str = "/run/systemd/resolve/resolv.conf";

/// What one lookup costs with the nameservers as they are.
fn wait(case: &Case<'_>) -> String {
    let states: Vec<Nameserver> = case
        .target
        .resolver
        .nameservers
        .iter()
        .map(|server| match server.outcome {
            Some(QueryOutcome::Timeout) => Nameserver::Silent,
            Some(QueryOutcome::Unreachable) => Nameserver::Refuses,
            _ => Nameserver::Answers,
        })
        .collect();
    match question(&case.texts.conf, &states).ns {
        Some(0) => String::new(),
        Some(ns) => {
            let others = daemons::blocking(&case.target.daemon).others();
            format!(" and takes {}{others}", Nanos(ns))
        }
        None => " and takes as long as the kernel tries to connect".to_owned(),
    }
}

fn one(case: &Case<'_>, server: &NameserverState, severity: Severity) -> Option<DoctorProblem> {
    let address = server.server;
    let remove = repair(case, address);
    Some(match (server.outcome?, server.rcode.as_deref()) {
        (QueryOutcome::Timeout, _) => {
            let message =
                format!("Nameserver {address} keeps silent (asked from the server's network, 1 s).");
            case.problem(Kind::NameserverSilent, severity, message).change(remove)
        }
        (QueryOutcome::Unreachable, _) => {
            let why = server.error.as_deref().unwrap_or("unreachable");
            let message = format!("Nameserver {address} refuses: {why}.");
            case.problem(Kind::NameserverRefuses, severity, message).change(remove)
        }
        (QueryOutcome::Answered, Some(rcode)) if REFUSALS.contains(&rcode) => {
            let message = format!("Nameserver {address} answers {rcode}: it does not serve this host.");
            case.problem(Kind::NameserverRefuses, severity, message)
                .change(format!("Let it answer this host, or remove nameserver {address}."))
        }
        _ => {
            let rtt = server.rtt_ns.filter(|rtt| *rtt >= SLOW_NS)?;
            let message = format!("Nameserver {address} takes {} to answer.", Nanos(rtt));
            let change = if address.is_loopback() {
                upstream(case, address)
            } else {
                "Use a nearer one, or a cache on this host.".to_owned()
            };
            case.problem(Kind::NameserverSlow, severity, message).change(change)
        }
    })
}

/// Who gives up while a check lasts, and after what time, where nobody set it otherwise. The timers of sshd (LoginGraceTime) and PostgreSQL
/// (authentication_timeout) are no bounds: they begin after the lookups. Connector/Python waits 10 s, mysqlnd and Connector/J do not; mosquitto's and
/// Paho's clients have a keep-alive of 60 s; check_nrpe's -t is 10 s.
fn patience(daemon: &str) -> Option<(u64, &'static str)> {
    Some(match daemon {
        "mysqld" | "mariadbd" => (10, "Many MySQL clients give up after about 10 s"),
        "mosquitto" => (60, "MQTT clients take a broker for dead after their keep-alive, mostly 60 s"),
        "nrpe" => (10, "check_nrpe gives up after 10 s"),
        _ => return None,
    })
}

/// Whether the longest check is longer than anybody waits for it.
fn outlasts(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let Some((seconds, who)) =
        patience(&case.target.daemon).filter(|_| case.wrapped && !case.waits.is_empty())
    else {
        return;
    };
    let worst = case.worst_ns();
    if case.is_bound_unknown() || worst.is_some_and(|worst| worst < seconds * SECOND_NS) {
        return;
    }
    let message = format!("A check can take {} ({}). {who}.", longest(worst), case.parts());
    let problem = case.problem(Kind::CheckOutlastsClients, Severity::Warning, message).file(paths::TABLES[0]);
    out.push(problem.change("Write rules by address; else set options timeout:1 attempts:1 and a short search list in resolv.conf."));
}

/// The longest time of something, as the object of "can take".
pub(super) fn longest(worst: Option<u64>) -> String {
    worst.map_or_else(|| "a time with no known limit".to_owned(), |worst| format!("up to {}", Nanos(worst)))
}

/// What to do about a nameserver that does not answer.
fn repair(case: &Case<'_>, address: std::net::IpAddr) -> String {
    if let Some(why) = &case.texts.conf.cannot_open {
        return format!(
            "The server cannot open resolv.conf ({why}), so glibc asks 127.0.0.1: make the file, and each folder above it, readable for the server's user."
        );
    }
    if case.texts.conf.default_nameserver {
        return "No line of resolv.conf names a nameserver that glibc can use, so it asks 127.0.0.1: write nameserver lines as resolv.conf(5) wants them (wrapwatch lint says what is wrong with those that are there).".to_owned();
    }
    if address.is_loopback() {
        return format!("It is this host's own: see whether it runs. {}", upstream(case, address));
    }
    format!("Remove nameserver {address}, or repair it.")
}

/// Who is behind a nameserver of this host.
fn upstream(case: &Case<'_>, address: std::net::IpAddr) -> String {
    if address.to_string() == "127.0.0.53" {
        return "It forwards: its nameservers are shown by resolvectl status, and set in /etc/systemd/resolved.conf or by the network's configuration.".to_owned();
    }
    let known = case.target.resolver.forwarders.iter().find(|forwarder| forwarder.server == address);
    match known {
        Some(forwarder) if forwarder.recursive => {
            let name = forwarder.name();
            format!("It is {name}, which asks each zone's servers itself (from its configuration file).")
        }
        Some(forwarder) if !forwarder.upstreams.is_empty() => {
            let servers: Vec<String> = forwarder.upstreams.iter().map(|server| server.server.to_string()).collect();
            let others = if forwarder.others || forwarder.doubt.is_some() { ", perhaps others too" } else { "" };
            let (name, servers) = (forwarder.name(), servers.join(" and "));
            format!("It is {name}, which asks {servers}{others} (from its configuration file): see how these answer.")
        }
        Some(Forwarder { program: Some(program), pid: Some(pid), .. }) => {
            format!("It is {program} (pid {pid}). wrapwatch does not know whom it asks: look at the nameservers in its own configuration, and ask each of them.")
        }
        _ => "It forwards: look at the nameservers in its own configuration (dnsmasq, unbound, named), and ask each of them.".to_owned(),
    }
}

fn services(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let resolver = &case.target.resolver;
    let present = |service: &str| {
        resolver.sockets.iter().any(|socket| socket.service == service && socket.present == Some(true))
    };
    let uses_resolve = resolver.services.iter().any(|service| service == "resolve");
    if uses_resolve && present("systemd-resolved") {
        let message = "Names come from systemd-resolved over a unix socket: the server itself sends nothing to port 53, and resolv.conf's timeouts do not hold.";
        out.push(
            case.problem(Kind::NamesOtherwise, Severity::Info, message)
                .file(paths::NSSWITCH_CONF)
                .change("Look at its nameservers with: resolvectl status"),
        );
    } else if uses_resolve {
        let message =
            "nsswitch.conf names resolve, but systemd-resolved's socket is not there: glibc skips it.";
        out.push(
            case.problem(Kind::ServiceMissing, Severity::Info, message)
                .file(paths::NSSWITCH_CONF)
                .change("Start systemd-resolved, or remove resolve from the hosts line."),
        );
    }
    if present("nscd") {
        let message = "glibc asks nscd first: lookups that it has in its cache send nothing to port 53.";
        out.push(case.problem(Kind::NamesOtherwise, Severity::Info, message));
    }
}
