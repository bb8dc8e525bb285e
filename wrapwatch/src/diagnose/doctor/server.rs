//! The server itself: whether it accepts, its queues, whether it is wrapped and what for.

use super::{Case, TableDoubt, paths};
use crate::{
    model::Severity,
    model::doctor::{DoctorProblem, Limits, ListenerState, Relation, ServerProblem as Kind, Wrapped},
    wrappers::daemons::{self, Blocking},
};

pub(super) fn find(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    if case.target.state == "T" || case.target.state == "t" {
        let message = "The process is stopped (SIGSTOP, or a debugger): the kernel completes handshakes until the queue is full, and nobody is greeted.";
        out.push(
            case.problem(Kind::Stopped, Severity::Critical, message)
                .change(format!("kill -CONT {}, or let the debugger go.", case.target.pid)),
        );
    }
    for listener in case.target.listeners.iter().flatten() {
        queue(case, listener, out);
        out.extend(shared(case, listener));
    }
    out.extend(accepted_elsewhere(case));
    out.extend(confined(case));
    overflows(case, out);
    time_wait(case, out);
    connections(case, out);
    tables(case, out);
    wrapped(case, out);
}

/// Tables that nobody can look into from here, and those that libwrap does not get past either.
fn tables(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    if case.target.libwrap.state == Wrapped::No {
        return;
    }
    for (path, doubt) in paths::TABLES.into_iter().zip(&case.texts.doubts) {
        let problem = match doubt {
            None => continue,
            Some(TableDoubt::NotLookedAt(why)) => {
                let message =
                    format!("wrapwatch did not read {path} ({why}), so it knows nothing of the rules.");
                case.problem(Kind::TableNotKnown, Severity::Warning, message)
                    .change("Check what it is; wrapwatch reads only regular files of up to 1 MiB.")
            }
            Some(TableDoubt::Fifo) => {
                let message = format!(
                    "{path} is a FIFO: libwrap opens it for each client and waits until somebody writes to it."
                );
                case.problem(Kind::TableBlocks, Severity::Critical, message)
                    .change("Put a regular file in its place.")
            }
        };
        out.push(problem.file(path));
    }
}

fn queue(case: &Case<'_>, listener: &ListenerState, out: &mut Vec<DoctorProblem>) {
    let ListenerState { local, queued, limit, .. } = listener;
    let who = match daemons::blocking(&case.target.daemon) {
        Blocking::AcceptThread | Blocking::Unknown => "the accept thread",
        Blocking::EventLoop | Blocking::PerConnection | Blocking::Pool => "the server",
    };
    let rules = if case.wrapped && case.looks_up { " Rules by address alone need no DNS." } else { "" };
    let behind = &format!("Find out what {who} waits for: wrapwatch live.{rules}");
    // The kernel drops what comes when there are more than the limit (sk_acceptq_is_full).
    if *limit > 0 && queued >= limit {
        let message = format!(
            "{queued} of {limit} connections wait in the accept queue of {local}: it is full. Further clients get no answer and try again \
             after 1 s, 3 s, 7 s."
        );
        out.push(case.problem(Kind::QueueFull, Severity::Critical, message).change(behind.as_str()));
    } else if *limit > 0 && u64::from(*queued) * 2 > u64::from(*limit) {
        let message = format!("{queued} of {limit} connections wait in the accept queue of {local}.");
        out.push(case.problem(Kind::QueueFilling, Severity::Warning, message).change(behind.as_str()));
    }
    let asked = case.target.counters.as_ref().and_then(|counters| counters.back_log);
    let Some(somaxconn) = case.target.network.somaxconn else { return };
    if let Some(asked) = asked.filter(|asked| *asked > u64::from(*limit) && *limit == somaxconn) {
        let message = format!(
            "The accept queue of {local} holds {limit}: net.core.somaxconn cuts the {asked} that back_log asks for."
        );
        let change = format!("sysctl net.core.somaxconn={asked}, then restart the server.");
        out.push(case.problem(Kind::QueueCut, Severity::Warning, message).change(change));
    }
}

/// A listener that others hold as well.
fn shared(case: &Case<'_>, listener: &ListenerState) -> Option<DoctorProblem> {
    let holders = listener.held_by.as_deref()?;
    let first =
        holders.iter().find(|holder| holder.relation == Relation::Other).or_else(|| holders.first())?;
    let who = format!("{} (pid {})", first.comm, first.pid);
    let more = match (holders.len() - 1, listener.held_by_complete) {
        (0, true) => String::new(),
        (0, false) => ", perhaps by more".to_owned(),
        (more, true) => format!(" and {more} more"),
        (more, false) => format!(" and at least {more} more"),
    };
    let local = &listener.local;
    // The first process of a container may be anything.
    let manager = first.comm == "systemd";
    let (severity, message, change) = match first.relation {
        Relation::Parent | Relation::Other if manager => (
            Severity::Info,
            format!(
                "{local} was opened by {who}, which holds it too{more}: socket activation. Its queue's length is the socket unit's (Backlog=)."
            ),
            "While the server is down, clients wait in that queue.".to_owned(),
        ),
        Relation::Child => (
            Severity::Info,
            format!(
                "{local} is also held by a child of the server, {who}{more}, which inherited it: the child may accept clients too, and the port stays taken when the server ends."
            ),
            format!("Look at the child too: wrapwatch live -p {} -p {}", case.target.pid, first.pid),
        ),
        Relation::Parent => (
            Severity::Info,
            format!(
                "{local} is also held by {who}{more}, which started the server: either may accept clients."
            ),
            format!("Look at both: wrapwatch live -p {} -p {}", case.target.pid, first.pid),
        ),
        Relation::Sibling => (
            Severity::Info,
            format!(
                "{local} is also held by {who}{more}, which the same process started as this server: either may accept clients."
            ),
            format!("Look at both: wrapwatch live -p {} -p {}", case.target.pid, first.pid),
        ),
        Relation::Other => (
            Severity::Warning,
            format!("{local} is also held by {who}{more}: clients that it accepts never get to this server."),
            format!(
                "Find out why; and look at it too: wrapwatch live -p {} -p {}",
                case.target.pid, first.pid
            ),
        ),
    };
    Some(case.problem(Kind::ListenerShared, severity, message).change(change))
}

/// AppArmor: what the profile allows cannot be read back from the kernel.
fn confined(case: &Case<'_>) -> Option<DoctorProblem> {
    // What is not wrapped opens no tables.
    let confined =
        case.target.confined.as_ref().filter(|confined| case.wrapped && confined.mode != "complain")?;
    let message = format!(
        "AppArmor confines the server (profile {}, {}); wrapwatch does not know whether the profile allows the tables and the resolver's files. If libwrap cannot open hosts.allow, it goes on as if that were empty; if it cannot open hosts.deny, it refuses everybody whom hosts.allow does not admit.",
        confined.profile, confined.mode
    );
    let change = "See whether the kernel's log has apparmor=\"DENIED\" with this profile and hosts.allow, hosts.deny, resolv.conf or nsswitch.conf.";
    Some(case.problem(Kind::Confined, Severity::Info, message).change(change))
}

fn overflows(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let network = &case.target.network;
    if let Some(overflows) = network.listen_overflows.filter(|overflows| *overflows > 0) {
        let drops = network.listen_drops.unwrap_or(overflows);
        let message = format!(
            "{overflows} times a client met a full accept queue (ListenOverflows; ListenDrops {drops}), in this network namespace \
             since it began."
        );
        out.push(
            case.problem(Kind::QueueOverflowed, Severity::Info, message)
                .change("See whether it still rises: nstat -az TcpExtListenOverflows"),
        );
    }
    if let Some(cookies) = network.syncookies_sent.filter(|cookies| *cookies > 0) {
        let message = format!(
            "The kernel has sent {cookies} SYN cookies (SyncookiesSent) in this network namespace since it began. It keeps nothing of such a client: if the \
             queue is full when the client answers, the client hangs, and no trace can list it."
        );
        let change = "See whether it still rises: nstat -az TcpExtSyncookiesSent";
        out.push(case.problem(Kind::SynCookies, Severity::Info, message).change(change));
    }
}

fn time_wait(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let network = &case.target.network;
    let (Some(time_wait), Some((first, last))) = (network.time_wait, network.port_range) else { return };
    let ports = u64::from(last.saturating_sub(first)) + 1;
    if time_wait * 5 >= ports * 4 {
        let message = format!(
            "{time_wait} sockets in TIME_WAIT, {ports} ports in ip_local_port_range ({first} to {last}): connections from here to one address and \
             port may run out of ports. Those that clients made to this server take none."
        );
        out.push(
            case.problem(Kind::TimeWait, Severity::Warning, message)
                .change("Let applications keep their connections; a wider range or tcp_tw_reuse does not make a slow accept thread faster."),
        );
    }
}

fn connections(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let Some(counters) = &case.target.counters else { return };
    if let (Some(connected), Some(max)) = (counters.threads_connected, counters.max_connections)
        && connected * 10 >= max * 9
    {
        let message = format!("{connected} of max_connections {max} are taken: soon clients get error 1040.");
        out.push(
            case.problem(Kind::MaxConnections, Severity::Warning, message)
                .change("Find who holds them (SHOW PROCESSLIST), or raise max_connections."),
        );
    }
    if let Some(refused) = counters.connection_errors_tcpwrap.filter(|refused| *refused > 0) {
        let message = format!(
            "libwrap has refused {refused} connections since the server's start (Connection_errors_tcpwrap)."
        );
        out.push(
            case.problem(Kind::RefusedByWrappers, Severity::Info, message)
                .change("See whom: the system log says \"refused connect from\"."),
        );
    }
    match counters.skip_name_resolve {
        Some(true) if case.wrapped && case.looks_up => {
            let message = "skip_name_resolve is ON and does not help: libwrap looks clients up before the server gets to see them.";
            out.push(
                case.problem(Kind::SkipNameResolveInVain, Severity::Info, message)
                    .change("Make the rules address-only."),
            );
        }
        Some(false) => {
            let message = "skip_name_resolve is OFF: the server itself looks up each new client address too, in the connection's thread.";
            out.push(
                case.problem(Kind::OwnLookups, Severity::Info, message)
                    .change("Set skip_name_resolve=ON, if grants are by address."),
            );
        }
        _ => {}
    }
}

fn wrapped(case: &Case<'_>, out: &mut Vec<DoctorProblem>) {
    let state = &case.target.libwrap;
    let drop_it = "Run a build without libwrap, and keep clients out by firewall or grants.";
    if state.state == Wrapped::Static {
        let message = "libwrap is not mapped, but the program contains the names of its tables: libwrap is probably linked in statically. wrapwatch can only infer which rule asks.";
        out.push(case.problem(Kind::StaticLibwrap, Severity::Info, message));
    }
    if let (true, Some(by)) = (case.wrapped, &case.target.named_by) {
        let message = format!(
            "This server gives libwrap a name of its configuration ({by}), so wrapwatch does not know which rules are its own."
        );
        let change = "Look at each name's rules: wrapwatch lint --daemon NAME";
        out.push(case.problem(Kind::DaemonNameConfigured, Severity::Info, message).change(change));
    }
    if case.wrapped && case.has_rules == Some(false) {
        let message = "libwrap reads both tables for every connection, but no rule is about this server: it costs time for nothing.";
        out.push(case.problem(Kind::WrappedWithoutRules, Severity::Info, message).change(drop_it));
    } else if case.wrapped {
        let blocking = daemons::blocking(&case.target.daemon);
        let asks_nobody = daemons::call(&case.target.daemon) == daemons::Call::HostsCtl;
        let message = match blocking {
            _ if asks_nobody => {
                "Clients are checked by libwrap, which looks nothing up for this server (it calls hosts_ctl): their names are those that the server gives, if any."
                    .to_owned()
            }
            Blocking::AcceptThread => {
                "Every TCP connection is checked by libwrap in the accept thread, one after another."
                    .to_owned()
            }
            Blocking::Unknown => "Every TCP connection is checked by libwrap.".to_owned(),
            _ => {
                let (held, others) = (blocking.held(), blocking.others());
                format!("Every TCP connection is checked by libwrap. A check holds {held}{others}.")
            }
        };
        let change = "Address-only rules cost next to nothing; or run a build without libwrap.";
        out.push(case.problem(Kind::Wrapped, Severity::Info, message).change(change));
    }
    if state.state == Wrapped::No {
        out.push(without(case));
    }
    let differs = match (state.needed, state.needed_on_disk) {
        (Some(now), Some(then)) if now != then => Some(then),
        _ => None,
    };
    if let Some(then) = differs {
        let (with, severity) = if then { ("with", Severity::Warning) } else { ("without", Severity::Info) };
        let message = format!(
            "The program on disk is not the one that runs: from its next start on the server runs {with} libwrap."
        );
        out.push(case.problem(Kind::WrappedAfterRestart, severity, message));
    }
}

/// A server without libwrap: whether others check its clients.
fn without(case: &Case<'_>) -> DoctorProblem {
    let libwrap = &case.target.libwrap;
    if let Some(child) = libwrap.wrapped_child {
        let message = format!(
            "The server itself does not use libwrap, but pid {child}, which it started, does and may check its clients."
        );
        let change = format!("Look at that one too: wrapwatch doctor -p {child}");
        return case.problem(Kind::CheckedElsewhere, Severity::Info, message).change(change);
    }
    if let Some(helper) = daemons::find(&case.target.daemon).and_then(|daemon| daemon.helper) {
        let message = format!(
            "The server itself does not use libwrap. Its clients may still be checked, by {}: that is set by {}. This process does not show whether clients wait for a check.",
            helper.program, helper.set_by
        );
        let change = "Check that setting; wrapwatch live shows the checks of the programs that the server hands its clients to.";
        return case.problem(Kind::CheckedElsewhere, Severity::Info, message).change(change);
    }
    if !libwrap.children_seen {
        let message = "No sign of libwrap in the server itself. wrapwatch could not look at all processes that it started: they may check its clients.";
        let change = "Run as root (CAP_SYS_PTRACE).";
        return case.problem(Kind::CheckedElsewhere, Severity::Info, message).change(change);
    }
    if let Some(installed) = &libwrap.installed {
        let message = format!(
            "No sign of libwrap in this server or in processes of it that run now. A program that it starts for a client would find libwrap ({installed}): whether clients are checked is not known."
        );
        let change = "wrapwatch live shows the checks of the programs that the server hands its clients to.";
        return case.problem(Kind::CheckedElsewhere, Severity::Info, message).change(change);
    }
    if let Some(why) = &libwrap.installed_not_seen {
        let message = format!(
            "No sign of libwrap in this server or in processes of it that run now. Whether a program that it starts for a client would find libwrap is not known: {why}."
        );
        let change = "wrapwatch live shows the checks of the programs that the server hands its clients to.";
        return case.problem(Kind::CheckedElsewhere, Severity::Info, message).change(change);
    }
    let (then, change) = match looks_up_itself(case) {
        Some(true) => (": but it looks clients up itself", None),
        Some(false) => (": if clients wait, look elsewhere", None),
        None => (
            ". Whether it looks clients up itself is not known",
            Some(
                "wrapwatch live shows a server's own lookups; of MySQL and MariaDB --mysql-defaults tells whether there are any.",
            ),
        ),
    };
    let message = format!("No sign of libwrap in this server or in processes of it that run now{then}.");
    let problem = case.problem(Kind::NotWrapped, Severity::Info, message);
    match change {
        Some(change) => problem.change(change),
        None => problem,
    }
}

/// Whether the server asks for its clients' names without libwrap; None where its settings are not known, or in doubt.
fn looks_up_itself(case: &Case<'_>) -> Option<bool> {
    if let Some(login) = &case.target.login_limits {
        let looks_up = match login.limits {
            Limits::Sshd { use_dns, .. } => Some(use_dns),
            Limits::Postgres { log_hostname: true, .. } => Some(true),
            Limits::Postgres { names_in_hba, .. } => names_in_hba,
        };
        return looks_up.filter(|_| login.doubt.is_none());
    }
    case.target.counters.as_ref()?.skip_name_resolve.map(|skips| !skips)
}

/// A process without a listener, whose clients another one accepts.
fn accepted_elsewhere(case: &Case<'_>) -> Option<DoctorProblem> {
    let parent = case.target.accepts_for_it.as_ref()?;
    let message = format!(
        "This process has no listener. {} (pid {}), which started it, has one and may accept its clients.",
        parent.comm, parent.pid
    );
    let change = format!("Look at that one: wrapwatch doctor -p {}", parent.pid);
    Some(case.problem(Kind::AcceptedElsewhere, Severity::Info, message).change(change))
}
