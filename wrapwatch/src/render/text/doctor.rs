//! What `doctor` found, and what wrapwatch touches.

use anstyle::Style;

use super::{BOLD, DIM, GREEN, RED, Text, YELLOW, cost::percent, fit};
use crate::model::{
    Cost, Nanos, QueryOutcome, Severity,
    doctor::{
        Access, Doctor, DoctorProblem, FileState, Forwarder, HookKind, HookState, Kernel, Limits,
        ListenerState, LoginLimits, MaxStartups, Missing, NameserverState, Network, RecentClients,
        ResolverState, ServerCounters, Target, Use, View, WrapState, Wrapped,
    },
};

/// Columns of what a line is about.
const LABEL: usize = 14;

/// The set that is taken, and what that costs whom while a trace lasts; docs/performance.md has the figures.
const fn taken(kind: HookKind) -> Option<&'static str> {
    match kind {
        HookKind::Trampoline => Some("trampolines: calls that are not hooked cost nobody anything"),
        HookKind::RawTracepoint => {
            Some("raw hooks: each system call of every process on this machine costs some 0.14 µs more")
        }
        HookKind::Tracepoint => Some(
            "perf hooks: each system call of every process on this machine costs some 0.07 µs more, a hooked one 0.3 µs",
        ),
        HookKind::Uprobe => None,
    }
}

impl Text {
    /// Everything.
    pub fn doctor(&self, doctor: &Doctor) -> String {
        let mut text = String::new();
        self.seen(&mut text, doctor);
        if doctor.targets.is_empty() {
            put!(text, "\n{}\n", self.paint(BOLD, "No mysqld or mariadbd runs here"));
        }
        for target in &doctor.targets {
            self.target(&mut text, target);
        }
        self.problems(&mut text, doctor);
        if let Some(cost) = &doctor.measured {
            text.push('\n');
            self.section(&mut text, "What tracing costs here, measured");
            self.measured(&mut text, cost);
        }
        text
    }

    fn measured(&self, text: &mut String, cost: &Cost) {
        let over = format!("{} events in {}", cost.events, Nanos(cost.span_ns));
        self.say(text, "seen", &format!("{over}, {:.0} a second, {} lost", cost.events_per_s, cost.lost));
        let own =
            format!("{} of a core, {} MB", percent(cost.cpu_share), cost.rss_max_bytes.div_ceil(1 << 20));
        self.say(text, "wrapwatch", &own);
        let server = cost.server.map_or_else(
            || "not measured: it takes CAP_SYS_ADMIN".to_owned(),
            |server| {
                let way = match server.way_ns_per_run {
                    ns if ns > 0.0 => format!("{ns:.0} of them the kernel's way there"),
                    _ => "the kernel's way there not measured".to_owned(),
                };
                format!(
                    "{} of a core in {:.0} runs of programs a second, {:.0} ns each, {way}; at most {} in any {} ms",
                    percent(server.share),
                    server.runs_per_s,
                    server.ns_per_run,
                    percent(server.share_max),
                    200
                )
            },
        );
        self.say(text, "server pays", &server);
    }

    pub(super) fn section(&self, text: &mut String, heading: &str) {
        for line in fit::wrap(heading, self.width(), 2, self.mark()).lines() {
            put!(text, "{}\n", self.paint(BOLD, line));
        }
    }

    /// `  label         what is said of it, wrapped`
    pub(super) fn say(&self, text: &mut String, label: &str, said: &str) {
        self.say_in(text, Style::new(), label, said);
    }

    pub(super) fn say_in(&self, text: &mut String, style: Style, label: &str, said: &str) {
        let label = fit::left(label, LABEL, self.mark());
        for (i, line) in
            fit::wrap(&self.own(said), self.width() - LABEL - 2, 0, self.mark()).lines().enumerate()
        {
            let label = if i == 0 { self.paint(DIM, &label) } else { " ".repeat(LABEL) };
            put!(text, "  {label}{}\n", self.paint(style, line));
        }
    }

    fn seen(&self, text: &mut String, doctor: &Doctor) {
        let kernel = &doctor.kernel;
        let system = format!("What can be seen here: Linux {} ({})", kernel.release, kernel.machine);
        self.section(text, &self.outside(&system, usize::MAX));
        for (label, kind) in [
            ("trampolines", HookKind::Trampoline),
            ("raw hooks", HookKind::RawTracepoint),
            ("perf hooks", HookKind::Tracepoint),
            ("uprobes", HookKind::Uprobe),
        ] {
            let hooks: Vec<_> = doctor.hooks.iter().filter(|hook| hook.kind == kind).collect();
            if hooks.is_empty() {
                continue;
            }
            let works = hooks.iter().filter(|hook| hook.state == HookState::Works).count();
            // Nobody needs them: what there is instead is shown above.
            if kind == HookKind::Trampoline
                && works == 0
                && let Some(why) = hooks.iter().find_map(|hook| hook.error.as_deref())
            {
                self.say(text, label, &format!("not here: {}", self.outside(why, usize::MAX)));
                continue;
            }
            let tried = hooks.iter().any(|hook| hook.state != HookState::NotTried);
            let said = if tried {
                format!("{works} of {} attached for real and taken off again", hooks.len())
            } else {
                format!("none of {} tried", hooks.len())
            };
            self.say_in(text, if works == hooks.len() { GREEN } else { YELLOW }, label, &said);
        }
        if let Some(taken) = doctor.taken.and_then(taken) {
            self.say(text, "taken", taken);
        }
        self.kernel(text, kernel);
        for missing in &doctor.degradations {
            self.missing(text, missing);
        }
    }

    fn kernel(&self, text: &mut String, kernel: &Kernel) {
        let yes = |there: bool| if there { "yes" } else { "no" };
        let ring = kernel.ring_buffer.map_or("not tried", yes);
        let number = |n: Option<i64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        self.say(text, "kernel has", &format!("BTF {}, ring buffer {ring}", yes(kernel.btf)));
        let lockdown = self.outside(kernel.lockdown.as_deref().unwrap_or("?"), 20);
        let settings = format!(
            "lockdown {lockdown}, perf_event_paranoid {}, unprivileged_bpf_disabled {}",
            number(kernel.perf_event_paranoid),
            number(kernel.unprivileged_bpf_disabled)
        );
        self.say(text, "allows", &settings);
        self.say(text, "tracefs", kernel.tracefs.as_deref().unwrap_or("not visible"));
        let capabilities = match (kernel.capabilities.as_slice(), kernel.capabilities_missing.as_slice()) {
            (_, []) => "all that are needed".to_owned(),
            ([], missing) => format!("none; missing: {}", missing.join(", ")),
            (have, missing) => format!("{}; missing: {}", have.join(", "), missing.join(", ")),
        };
        self.say(text, "capabilities", &capabilities);
        let container = if kernel.container.is_empty() {
            "no sign of one".to_owned()
        } else {
            kernel.container.join("; ")
        };
        self.say(text, "container", &self.outside(&container, usize::MAX));
    }

    fn missing(&self, text: &mut String, missing: &Missing) {
        let pid = missing.pid.map_or_else(String::new, |pid| format!("pid {pid}: "));
        self.say_in(text, YELLOW, "missing", &format!("{pid}{}", self.outside(&missing.message, usize::MAX)));
        if let Some(change) = &missing.change {
            self.say(text, "", &format!("{} {}", self.arrow(), self.outside(change, usize::MAX)));
        }
    }

    fn target(&self, text: &mut String, target: &Target) {
        text.push('\n');
        let since =
            target.started.map_or_else(String::new, |at| at.0.strftime(", since %F %T UTC").to_string());
        let name = self.outside(&target.comm, 20);
        self.section(text, &format!("{name}, pid {}{since}", target.pid));
        if let Some(exe) = &target.exe {
            self.say(text, "program", &self.outside(exe, self.width() - LABEL - 2));
        }
        let here = match (&target.own_namespaces, target.view) {
            (_, View::Here) => "cannot be entered: files and names are shown as seen from here".to_owned(),
            (Some(own), _) if own.is_empty() => "those that wrapwatch is in".to_owned(),
            (Some(own), _) => format!("its own: {}", own.join(", ")),
            (None, _) => "not known".to_owned(),
        };
        self.say(text, "namespaces", &here);
        if let Some(confined) = &target.confined {
            let said = format!("AppArmor profile {}, {}", confined.profile, confined.mode);
            self.say(text, "confined", &self.outside(&said, usize::MAX));
        }
        self.wrapped(text, &target.libwrap);
        let daemon = self.outside(&target.daemon, 60);
        let daemon = match &target.named_by {
            Some(by) => format!("{daemon}? libwrap gets {}", self.outside(by, usize::MAX)),
            None => daemon,
        };
        self.say(text, "daemon name", &daemon);
        for (i, table) in target.tables.iter().enumerate() {
            self.say(text, if i == 0 { "tables" } else { "" }, &self.file(table, "rule", "counts as empty"));
        }
        self.sockets(text, target);
        self.network(text, &target.network);
        if let Some(counters) = &target.counters {
            self.counters(text, counters);
        }
        if let Some(limits) = &target.login_limits {
            self.login_limits(text, limits);
        }
        self.resolver(text, &target.resolver);
        if let Some(clients) = &target.clients {
            self.clients(text, clients);
        }
    }

    fn wrapped(&self, text: &mut String, libwrap: &WrapState) {
        let path = self.outside(libwrap.library.as_deref().unwrap_or_default(), 60);
        let mut said = match libwrap.state {
            Wrapped::Mapped => format!("yes: {path} is mapped"),
            Wrapped::Static => "probably: libwrap is linked in statically".to_owned(),
            Wrapped::NextStart => "not now, but the program on disk is linked with libwrap".to_owned(),
            Wrapped::No => "no sign of libwrap".to_owned(),
            Wrapped::Unknown => match (libwrap.needed, libwrap.strings) {
                (Some(true), _) => "probably: the program is linked with libwrap".to_owned(),
                (_, Some(true)) => "probably: the program contains the names of its tables".to_owned(),
                (Some(false), Some(false)) => {
                    "probably not: the program is not linked with libwrap".to_owned()
                }
                _ => "unknown".to_owned(),
            },
        };
        if libwrap.library_deleted {
            said.push_str(" (its file has been replaced since)");
        }
        if libwrap.state == Wrapped::Mapped && libwrap.needed == Some(false) {
            said.push_str("; the program itself is not linked with it, it came by preloading or a plugin");
        }
        if libwrap.program_replaced == Some(true) {
            said.push_str("; the program's file has been replaced since its start");
        }
        self.say(text, "wrapped", &said);
    }

    /// `path: 3 rules`, or why not.
    fn file(&self, file: &FileState, entry: &str, if_missing: &str) -> String {
        let entries = file.entries.map(|n| format!("{n} {entry}{}", if n == 1 { "" } else { "s" }));
        let said = match (file.exists, &file.error, entries) {
            (_, Some(error), Some(entries)) => {
                format!("{entries} ({})", self.outside(error, usize::MAX))
            }
            // An error that names the file says everything.
            (_, Some(error), None) if error.contains(&file.path) => return self.outside(error, usize::MAX),
            (_, Some(error), None) => self.outside(error, usize::MAX),
            (Some(false), ..) => format!("not there, {if_missing}"),
            (_, None, Some(entries)) => entries,
            _ => "not known".to_owned(),
        };
        format!("{}: {said}", self.outside(&file.path, 60))
    }

    fn sockets(&self, text: &mut String, target: &Target) {
        match target.listeners.as_deref() {
            None => self.say(text, "listeners", "unknown"),
            Some([]) => self.say(text, "listeners", "none: it accepts no TCP connections"),
            Some(listeners) => {
                for (i, listener) in listeners.iter().enumerate() {
                    let full = listener.limit > 0 && listener.queued >= listener.limit;
                    let said =
                        format!("{}: {} of {} queued", listener.local, listener.queued, listener.limit);
                    let style = if full { RED } else { Style::new() };
                    self.say_in(text, style, if i == 0 { "listeners" } else { "" }, &said);
                    self.holders(text, listener);
                }
            }
        }
        let connections =
            target.connections.map_or_else(String::new, |n| format!("{n} established to its listeners; "));
        let state = if target.state == "T" { ", stopped" } else { "" };
        self.say(
            text,
            "connections",
            &format!(
                "{connections}{} thread{}{state}",
                target.threads,
                if target.threads == 1 { "" } else { "s" }
            ),
        );
    }

    /// Who else holds a listener.
    fn holders(&self, text: &mut String, listener: &ListenerState) {
        let Some(holders) = &listener.held_by else {
            return self.say_in(text, DIM, "", "cannot tell whether other processes hold it too");
        };
        let named: Vec<String> = holders
            .iter()
            .map(|holder| format!("{} ({})", self.outside(&holder.comm, 20), holder.pid))
            .collect();
        let not_all = match (listener.held_by_complete, named.is_empty()) {
            (true, _) => "",
            (false, true) => "not all processes could be looked at",
            (false, false) => "perhaps others too",
        };
        match (named.is_empty(), not_all) {
            (true, "") => {}
            (true, _) => self.say_in(text, DIM, "", &format!("held by nobody else that was seen; {not_all}")),
            (false, "") => self.say(text, "", &format!("also held by {}", named.join(", "))),
            (false, _) => self.say(text, "", &format!("also held by {}; {not_all}", named.join(", "))),
        }
    }

    /// The names of recent clients: who, by which nameserver, how long, what came of it.
    fn clients(&self, text: &mut String, clients: &RecentClients) {
        let asked = clients.asked.len() as u64;
        let left_out = clients.seen.saturating_sub(clients.need_no_dns).saturating_sub(asked);
        let no_dns = match clients.need_no_dns {
            0 => String::new(),
            n => format!(", {n} need no DNS"),
        };
        let left_out = if left_out > 0 { format!(", {left_out} not asked for") } else { String::new() };
        self.say(text, "clients", &format!("{} seen lately{no_dns}{left_out}", clients.seen));
        if let Some(error) = &clients.error {
            let error = self.outside(error, usize::MAX);
            self.say_in(text, YELLOW, "", &format!("they could not be looked at: {error}"));
        }
        for client in &clients.asked {
            for answer in &client.answers {
                let (style, said) = self.nameserver(answer);
                let nameless = if answer.found == Some(false) { ", no name" } else { "" };
                self.say_in(text, style, "", &format!("{} by {said}{nameless}", client.client));
            }
        }
    }

    fn network(&self, text: &mut String, network: &Network) {
        let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let ports = network.port_range.map_or_else(String::new, |(first, last)| {
            format!(" (port range {first}-{last}: {} ports)", u64::from(last.saturating_sub(first)) + 1)
        });
        let said = format!(
            "somaxconn {}, TIME_WAIT {}{ports}, ListenOverflows {}, ListenDrops {}, SyncookiesSent {}",
            number(network.somaxconn.map(u64::from)),
            number(network.time_wait),
            number(network.listen_overflows),
            number(network.listen_drops),
            number(network.syncookies_sent)
        );
        self.say(text, "network", &said);
    }

    fn counters(&self, text: &mut String, counters: &ServerCounters) {
        let numbers = [
            ("back_log", counters.back_log),
            ("max_connections", counters.max_connections),
            ("Threads_connected", counters.threads_connected),
            ("Threads_cached", counters.threads_cached),
            ("Max_used_connections", counters.max_used_connections),
            ("Aborted_connects", counters.aborted_connects),
            ("Aborted_clients", counters.aborted_clients),
            ("Connection_errors_tcpwrap", counters.connection_errors_tcpwrap),
        ];
        let mut said: Vec<String> =
            counters.version.iter().map(|version| self.outside(version, 40)).collect();
        if let Some(on) = counters.skip_name_resolve {
            said.push(format!("skip_name_resolve {}", if on { "ON" } else { "OFF" }));
        }
        said.extend(numbers.iter().filter_map(|(name, n)| n.map(|n| format!("{name} {n}"))));
        self.say(text, "says", &said.join(", "));
    }

    fn resolver(&self, text: &mut String, resolver: &ResolverState) {
        let order = if resolver.services.is_empty() {
            "nobody".to_owned()
        } else {
            resolver.services.join(", then ")
        };
        self.say(text, "names from", &self.outside(&order, usize::MAX));
        for file in &resolver.files {
            let (entry, if_missing) = match file.path.rsplit('/').next() {
                Some("hosts") => ("line", "counts as empty"),
                Some("resolv.conf") => ("nameserver", "127.0.0.1 is asked"),
                _ => ("service", "files, then dns"),
            };
            self.say(text, "", &self.file(file, entry, if_missing));
        }
        for socket in &resolver.sockets {
            let there = match socket.present {
                Some(true) => "is there",
                Some(false) => "no socket",
                None => "unknown",
            };
            self.say(text, "", &format!("{}: {there}", socket.service));
        }
        let search = if resolver.search.is_empty() {
            String::new()
        } else {
            format!(", search {}", self.outside(&resolver.search.join(" "), 60))
        };
        if resolver.doubt.is_none() {
            let settings = format!("timeout:{} attempts:{}{search}", resolver.timeout_s, resolver.attempts);
            self.say(text, "", &settings);
        }
        for (i, server) in resolver.nameservers.iter().enumerate() {
            let (style, said) = self.nameserver(server);
            self.say_in(text, style, if i == 0 { "nameservers" } else { "" }, &said);
        }
        for server in &resolver.upstreams {
            let (style, said) = self.nameserver(server);
            self.say_in(text, style, "", &format!("behind systemd-resolved: {said}"));
        }
        for forwarder in &resolver.forwarders {
            self.forwarder(text, forwarder);
        }
    }

    /// Whom a nameserver of this host asks.
    fn forwarder(&self, text: &mut String, forwarder: &Forwarder) {
        let name = self.outside(&forwarder.name(), 40);
        for server in &forwarder.upstreams {
            let (style, said) = self.nameserver(server);
            let said = format!("behind {name}, from its configuration file: {said}");
            self.say_in(text, style, "", &said);
        }
        if forwarder.recursive {
            let said = format!("{name} asks each zone's servers itself, from its configuration file");
            self.say(text, "", &said);
        }
        if forwarder.others {
            self.say(text, "", &format!("{name} asks others for some domains, from its configuration file"));
        }
        if let Some(doubt) = &forwarder.doubt {
            let whom =
                if forwarder.upstreams.is_empty() { "whom it asks" } else { "whether it asks others too" };
            let said = format!("behind {name}: {whom} is not known: {}", self.outside(doubt, usize::MAX));
            self.say_in(text, YELLOW, "", &said);
        }
    }

    /// What the server's configuration allows a login.
    fn login_limits(&self, text: &mut String, login: &LoginLimits) {
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let said = match login.limits {
            Limits::Sshd { login_grace_s, max_startups: MaxStartups { start, rate, full }, use_dns } => {
                let grace = login_grace_s.map_or_else(|| "none".to_owned(), |grace| format!("{grace} s"));
                let use_dns = if use_dns { "yes" } else { "no" };
                format!("LoginGraceTime {grace}, MaxStartups {start}:{rate}:{full}, UseDNS {use_dns}")
            }
            Limits::Postgres { authentication_timeout_s, log_hostname, names_in_hba } => {
                let names = match names_in_hba {
                    Some(true) => "has names",
                    Some(false) => "has no names",
                    None => "not read",
                };
                let log = on(log_hostname);
                format!(
                    "authentication_timeout {authentication_timeout_s} s, log_hostname {log}, pg_hba.conf {names}"
                )
            }
        };
        self.say(text, "its logins", &said);
        if let Some(doubt) = &login.doubt {
            let doubt = format!("perhaps set otherwise: {}", self.outside(doubt, usize::MAX));
            self.say_in(text, YELLOW, "", &doubt);
        }
    }

    fn nameserver(&self, server: &NameserverState) -> (Style, String) {
        let address = server.server;
        let error = server.error.as_deref().map(|error| self.outside(error, usize::MAX));
        match server.outcome {
            Some(QueryOutcome::Answered) => {
                let rtt = server.rtt_ns.map_or_else(String::new, |rtt| format!(" in {}", Nanos(rtt)));
                let rcode = server.rcode.as_deref().unwrap_or("?");
                (GREEN, format!("{address}: answers{rtt} ({rcode})"))
            }
            Some(QueryOutcome::Timeout) => (RED, format!("{address}: silent for 1 s")),
            Some(QueryOutcome::Unreachable) => {
                (RED, format!("{address}: refuses: {}", error.unwrap_or_else(|| "unreachable".to_owned())))
            }
            Some(QueryOutcome::Unseen) => (YELLOW, format!("{address}: {}", error.unwrap_or_default())),
            None => (
                DIM,
                format!(
                    "{address}: not asked{}",
                    error.map_or_else(String::new, |error| format!(" ({error})"))
                ),
            ),
        }
    }

    fn problems(&self, text: &mut String, doctor: &Doctor) {
        text.push('\n');
        if doctor.problems.is_empty() {
            self.section(text, "No problems found");
            return;
        }
        let count = |severity| doctor.problems.iter().filter(|problem| problem.severity == severity).count();
        let plural =
            |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let counts = format!(
            "Problems: {} critical, {}, {}",
            count(Severity::Critical),
            plural(count(Severity::Warning), "warning"),
            plural(count(Severity::Info), "note")
        );
        self.section(text, &counts);
        let several = doctor.targets.len() > 1;
        for problem in &doctor.problems {
            self.problem(text, problem, several);
        }
    }

    fn problem(&self, text: &mut String, problem: &DoctorProblem, several: bool) {
        let (style, label) = match problem.severity {
            Severity::Critical => (RED, "critical"),
            Severity::Warning => (YELLOW, "warning"),
            Severity::Info => (Style::new(), "info"),
        };
        let mut place = if several { format!("pid {}: ", problem.pid) } else { String::new() };
        match (&problem.file, problem.line) {
            (Some(file), Some(line)) => put!(place, "{}:{line}: ", self.outside(file, 60)),
            (Some(file), None) => put!(place, "{}: ", self.outside(file, 60)),
            _ => {}
        }
        self.say_in(text, style, label, &format!("{place}{}", self.outside(&problem.message, usize::MAX)));
        if let Some(change) = &problem.change {
            self.say(text, "", &format!("{} {}", self.arrow(), self.outside(change, usize::MAX)));
        }
    }

    /// What wrapwatch touches.
    pub fn access(&self, access: &Access) -> String {
        let mut text = String::new();
        let lists = [("Hooks", &access.hooks), ("BPF helpers", &access.helpers), ("BPF maps", &access.maps)];
        for (heading, list) in lists {
            self.section(&mut text, &format!("{heading} ({})", list.len()));
            for entry in list {
                put!(text, "  {}\n", self.outside(entry, self.width() - 2));
            }
            text.push('\n');
        }
        let uses = [
            ("Files, read only", &access.files),
            ("Capabilities", &access.capabilities),
            ("Calls that reach further", &access.calls),
        ];
        for (i, (heading, list)) in uses.into_iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            self.section(&mut text, heading);
            for Use { what, purpose } in list {
                put!(text, "  {}\n", self.outside(what, self.width() - 2));
                self.note(&mut text, DIM, purpose);
            }
        }
        text
    }
}
