//! `--check`: what was found as a monitoring plugin says it (Monitoring Plugins Development Guidelines): a state, one sentence, numbers.

use std::time::Duration;

use crate::model::{
    Nanos, Severity,
    doctor::{Doctor, DoctorProblem, Target, View, Wrapped},
    ping::{Ping, PingOutcome},
};

/// The state, which is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// 0
    Ok,
    /// 1
    Warning,
    /// 2
    Critical,
    /// 3
    Unknown,
}

impl State {
    /// The exit status.
    pub const fn status(self) -> u8 {
        self as u8
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A number with what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: Value,
    /// From here on it is a warning, and critical.
    pub limits: [Option<Value>; 2],
    /// The least and the most that it can be.
    pub range: [Option<u64>; 2],
}

/// What kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A counter that only grows.
    Counter(u64),
    /// A time in nanoseconds; said in seconds.
    Time(u64),
}

/// What a plugin says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The state.
    pub state: State,
    /// One sentence.
    pub text: String,
    /// The numbers.
    pub numbers: Vec<Number>,
}

impl Check {
    /// Nothing could be looked at.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { state: State::Unknown, text: why.into(), numbers: Vec::new() }
    }
}

/// A ping's: by the slowest connection, and by those that were not greeted.
pub fn ping(ping: &Ping, warning: Option<Duration>, critical: Option<Duration>) -> Check {
    let ns = |limit: Option<Duration>| limit.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    let limits = [ns(warning), ns(critical)];
    let made = ping.attempts.len() as u64;
    let greeted =
        ping.attempts.iter().filter(|attempt| attempt.outcome == PingOutcome::Greeted).count() as u64;
    let slowest = ping.total.filter(|_| greeted > 0).map(|times| times.max_ns);
    // Whoever was not greeted had to wait all the same.
    let longest = ping.attempts.iter().map(|attempt| attempt.total_ns).max();
    let over = |limit: Option<u64>| limit.zip(longest).is_some_and(|(limit, longest)| longest >= limit);
    let state = match () {
        () if made == 0 => State::Unknown,
        () if greeted == 0 || over(limits[1]) => State::Critical,
        () if greeted < made || over(limits[0]) => State::Warning,
        () => State::Ok,
    };
    let first = ping.problems.first().map(|problem| problem.message.clone());
    let text = match slowest {
        Some(slowest) if greeted == made => {
            format!("{greeted} of {made} greeted, the slowest after {}", Nanos(slowest))
        }
        Some(slowest) => format!(
            "{greeted} of {made} greeted, the slowest after {}; {}",
            Nanos(slowest),
            first.unwrap_or_default()
        ),
        None => first.unwrap_or_else(|| "no connection was made".to_owned()),
    };
    let time = |label: &str, ns: u64, limits: [Option<u64>; 2]| Number {
        label: label.to_owned(),
        value: Value::Time(ns),
        limits: limits.map(|limit| limit.map(Value::Time)),
        range: [Some(0), None],
    };
    let mut numbers = Vec::new();
    numbers.extend(slowest.map(|ns| time("time", ns, limits)));
    numbers.extend(ping.connect.map(|times| time("connect", times.max_ns, [None; 2])));
    numbers.extend(ping.greeting.map(|times| time("greeting", times.max_ns, [None; 2])));
    numbers.extend(ping.resolve_ns.map(|ns| time("resolve", ns, [None; 2])));
    let count = |label: &str, value: u64| Number {
        label: label.to_owned(),
        value: Value::Count(value),
        limits: [None; 2],
        range: [Some(0), Some(made)],
    };
    numbers.push(count("greeted", greeted));
    numbers.push(count("failed", made - greeted));
    Check { state, text, numbers }
}

/// A doctor's: by the worst problem.
pub fn doctor(report: &Doctor) -> Check {
    if report.targets.is_empty() {
        return Check::unknown("no server found");
    }
    let of = |severity| report.problems.iter().filter(|problem| problem.severity == severity).count() as u64;
    let (critical, warning, info) = (of(Severity::Critical), of(Severity::Warning), of(Severity::Info));
    let unseen = unseen(report);
    let state = match (critical, warning, unseen.is_some()) {
        (1.., ..) => State::Critical,
        (0, 1.., _) => State::Warning,
        (0, 0, true) => State::Unknown,
        (0, 0, false) => State::Ok,
    };
    let worst = report
        .problems
        .iter()
        .filter(|problem| problem.severity > Severity::Info)
        .reduce(|first, other| if other.severity > first.severity { other } else { first });
    let text = match (worst, unseen) {
        (Some(worst), unseen) => {
            let more = unseen.map_or(String::new(), |unseen| format!(" ({unseen})"));
            format!("{}: {}{}{more}", counted(critical, warning), place(report, worst), worst.message)
        }
        (None, Some(unseen)) => unseen,
        (None, None) => format!("{} without problems", plural(report.targets.len())),
    };
    let count = |label: String, value: u64, range| Number {
        label,
        value: Value::Count(value),
        limits: [None; 2],
        range,
    };
    let mut numbers = vec![
        count("critical".to_owned(), critical, [Some(0), None]),
        count("warning".to_owned(), warning, [Some(0), None]),
        count("info".to_owned(), info, [Some(0), None]),
    ];
    for target in &report.targets {
        for listener in target.listeners.iter().flatten() {
            let limit = u64::from(listener.limit);
            let limits = [limit / 2, limit].map(|limit| (limit > 0).then_some(Value::Count(limit)));
            let label = format!("queued {}", listener.local);
            numbers.push(Number { limits, ..count(label, u64::from(listener.queued), [Some(0), None]) });
        }
        if let Some(overflows) = target.network.listen_overflows {
            let label = format!("listen_overflows {}", target.pid);
            numbers.push(Number { value: Value::Counter(overflows), ..count(label, 0, [Some(0), None]) });
        }
        for server in &target.resolver.nameservers {
            if let Some(rtt) = server.rtt_ns {
                let label = format!("nameserver {}", server.server);
                numbers.push(Number { value: Value::Time(rtt), ..count(label, 0, [Some(0), None]) });
            }
        }
    }
    // Several servers of a host share listeners' names and nameservers: each label once.
    let mut seen = std::collections::HashSet::new();
    numbers.retain(|number| seen.insert(number.label.clone()));
    Check { state, text, numbers }
}

/// What could not be looked at of the first server of which that is so: that nothing was found there says nothing.
fn unseen(report: &Doctor) -> Option<String> {
    let parts_of = |target: &Target| {
        let parts = [
            ("libwrap", target.libwrap.state == Wrapped::Unknown),
            ("its own files and nameservers", target.view == View::Here),
            ("its accept queues", target.listeners.is_none()),
        ];
        let parts: Vec<&str> =
            parts.into_iter().filter(|(_, unseen)| *unseen).map(|(part, _)| part).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    };
    let (parts, target) = report.targets.iter().find_map(|target| Some((parts_of(target)?, target)))?;
    Some(format!("not looked at in {} (pid {}): {parts}; run it as root", target.daemon, target.pid))
}

/// Where a problem is: which server, where there are several, and which line.
fn place(report: &Doctor, problem: &DoctorProblem) -> String {
    let target = report.targets.iter().find(|target| target.pid == problem.pid);
    let mut out = match target.filter(|_| report.targets.len() > 1) {
        Some(target) => format!("{} (pid {}): ", target.daemon, target.pid),
        None => String::new(),
    };
    match (&problem.file, problem.line) {
        (Some(file), Some(line)) => out += &format!("{file}:{line}: "),
        (Some(file), None) => out += &format!("{file}: "),
        (None, _) => {}
    }
    out
}

/// `1 critical, 2 warnings`; what there is none of is left out.
fn counted(critical: u64, warning: u64) -> String {
    let warnings = if warning == 1 { "1 warning".to_owned() } else { format!("{warning} warnings") };
    match (critical, warning) {
        (0, _) => warnings,
        (_, 0) => format!("{critical} critical"),
        _ => format!("{critical} critical, {warnings}"),
    }
}

fn plural(servers: usize) -> String {
    if servers == 1 { "1 server".to_owned() } else { format!("{servers} servers") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Protocol, WallTime,
        doctor::{DoctorProblem, DoctorProblemKind, Kernel, ServerProblem},
        ping::PingAttempt,
    };

    const MS: u64 = 1_000_000;

    fn attempt(greeting_ns: Option<u64>) -> PingAttempt {
        PingAttempt {
            number: 1,
            started: WallTime(jiff::Timestamp::UNIX_EPOCH),
            local: None,
            outcome: if greeting_ns.is_some() { PingOutcome::Greeted } else { PingOutcome::Closed },
            syn_retries: 0,
            connect_ns: Some(MS),
            greeting_ns,
            first_byte_ns: greeting_ns,
            said: None,
            total_ns: MS + greeting_ns.unwrap_or(0),
            error_code: None,
            error: None,
        }
    }

    /// Not greeted within five seconds.
    const LONG: Option<u64> = Some(u64::MAX);

    /// Of pings that waited so long for their greeting, or got none.
    fn of(waits: &[Option<u64>]) -> Ping {
        let given_up = || PingAttempt { total_ns: 5_000 * MS, outcome: PingOutcome::Silent, ..attempt(None) };
        let one = |wait: Option<u64>| if wait == LONG { given_up() } else { attempt(wait) };
        let attempts: Vec<PingAttempt> = waits.iter().copied().map(one).collect();
        Ping {
            target: "db1:3306".to_owned(),
            address: "10.0.0.1:3306".to_owned(),
            protocol: Protocol::Mysql,
            resolve_ns: None,
            version: None,
            wanted: waits.len() as u64,
            stopped: None,
            queue: crate::model::ping::PingQueue::default(),
            outcomes: crate::diagnose::ping::outcomes(&attempts),
            connect: crate::diagnose::ping::times(&attempts, |attempt| attempt.connect_ns),
            greeting: crate::diagnose::ping::times(&attempts, |attempt| attempt.greeting_ns),
            total: crate::diagnose::ping::times(&attempts, crate::diagnose::ping::waited),
            histogram: Vec::new(),
            problems: crate::diagnose::ping::problems(&attempts, None),
            attempts,
        }
    }

    #[test]
    fn a_ping_is_as_bad_as_its_slowest_and_its_ungreeted() {
        let (second, five) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(5)));
        for (waits, expected) in [
            (&[][..], State::Unknown),
            (&[Some(MS), Some(MS)], State::Ok),
            (&[Some(MS), Some(998 * MS)], State::Ok),
            // The slowest took a second from its SYN on.
            (&[Some(MS), Some(999 * MS)], State::Warning),
            (&[Some(MS), None], State::Warning),
            (&[Some(4_999 * MS), Some(MS)], State::Critical),
            (&[Some(4_999 * MS), None], State::Critical),
            (&[None, None], State::Critical),
            // Given up after the critical time.
            (&[Some(MS), LONG], State::Critical),
        ] {
            let found = ping(&of(waits), second, five);
            assert_eq!(found.state, expected, "{waits:?}");
            assert_eq!(found.state.status(), expected as u8);
            assert!(!found.text.is_empty());
        }
        assert_eq!(ping(&of(&[Some(10_000 * MS)]), None, None).state, State::Ok, "nobody set a limit");
        assert_eq!(
            [State::Ok, State::Warning, State::Critical, State::Unknown].map(State::status),
            [0, 1, 2, 3]
        );
    }

    fn examined(severities: &[Severity]) -> Doctor {
        let problem = |severity: &Severity| DoctorProblem {
            pid: 1,
            kind: DoctorProblemKind::Server(ServerProblem::Stopped),
            severity: *severity,
            file: None,
            line: None,
            message: format!("{severity:?}"),
            change: None,
        };
        Doctor {
            kernel: Kernel::default(),
            hooks: Vec::new(),
            taken: None,
            degradations: Vec::new(),
            targets: vec![crate::diagnose::doctor::tests::target()],
            problems: severities.iter().map(problem).collect(),
            measured: None,
        }
    }

    #[test]
    fn a_server_that_was_not_looked_at_is_not_well() {
        let blind = |change: fn(&mut Target)| {
            let mut report = examined(&[Severity::Info]);
            change(&mut report.targets[0]);
            doctor(&report)
        };
        for change in [
            (|target| target.libwrap.state = Wrapped::Unknown) as fn(&mut Target),
            |target| target.view = View::Here,
            |target| target.listeners = None,
        ] {
            let found = blind(change);
            assert_eq!(found.state, State::Unknown, "{}", found.text);
            assert!(found.text.starts_with("not looked at in mysqld (pid 812): "), "{}", found.text);
        }
        let mut report = examined(&[Severity::Critical]);
        report.targets[0].view = View::Here;
        assert_eq!(doctor(&report).state, State::Critical, "what was found was found");
    }

    #[test]
    fn a_doctor_is_as_bad_as_the_worst_that_it_found() {
        use Severity::{Critical, Info, Warning};
        for (severities, state, text) in [
            (&[][..], State::Ok, "1 server without problems"),
            (&[Info], State::Ok, "1 server without problems"),
            (&[Info, Warning], State::Warning, "1 warning: Warning"),
            (&[Warning, Warning], State::Warning, "2 warnings: Warning"),
            (&[Warning, Critical], State::Critical, "1 critical, 1 warning: Critical"),
            (&[Critical, Critical], State::Critical, "2 critical: Critical"),
        ] {
            let found = doctor(&examined(severities));
            assert_eq!((found.state, found.text.as_str()), (state, text));
        }
        let mut first = examined(&[Warning, Critical, Critical]);
        first.problems[1].file = Some("/etc/hosts.deny".to_owned());
        first.problems[1].line = Some(3);
        first.problems[2].message = "the last".to_owned();
        assert_eq!(doctor(&first).text, "2 critical, 1 warning: /etc/hosts.deny:3: Critical");
        first.targets.push(Target { pid: 2, ..first.targets[0].clone() });
        first.problems[1].pid = 2;
        assert!(doctor(&first).text.contains(": mysqld (pid 2): /etc/hosts.deny:3: "));
        let nobody = Doctor { targets: Vec::new(), ..examined(&[]) };
        assert_eq!(doctor(&nobody).state, State::Unknown);
    }
}
