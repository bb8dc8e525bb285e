//! `--check`: what was found as a monitoring plugin says it (Monitoring Plugins Development Guidelines): a state, one sentence, numbers.

use std::time::Duration;

use crate::model::{
    Nanos, Severity,
    doctor::Doctor,
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
    let over = |limit: Option<u64>| limit.zip(slowest).is_some_and(|(limit, slowest)| slowest >= limit);
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
    let state = match (critical, warning) {
        (1.., _) => State::Critical,
        (0, 1..) => State::Warning,
        (0, 0) => State::Ok,
    };
    let worst = report
        .problems
        .iter()
        .filter(|problem| problem.severity > Severity::Info)
        .max_by_key(|problem| problem.severity);
    let text = match worst {
        Some(worst) => format!("{}: {}", counted(critical, warning), worst.message),
        None => format!("{} without anything that hurts", plural(report.targets.len())),
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

    /// Of pings that waited so long for their greeting, or got none.
    fn of(waits: &[Option<u64>]) -> Ping {
        let attempts: Vec<PingAttempt> = waits.iter().map(|wait| attempt(*wait)).collect();
        Ping {
            target: "db1:3306".to_owned(),
            address: "10.0.0.1:3306".to_owned(),
            protocol: Protocol::Mysql,
            resolve_ns: None,
            version: None,
            wanted: waits.len() as u64,
            stopped: None,
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
            degradations: Vec::new(),
            targets: vec![crate::diagnose::doctor::tests::target()],
            problems: severities.iter().map(problem).collect(),
            measured: None,
        }
    }

    #[test]
    fn a_doctor_is_as_bad_as_the_worst_that_it_found() {
        use Severity::{Critical, Info, Warning};
        for (severities, state, text) in [
            (&[][..], State::Ok, "1 server without anything that hurts"),
            (&[Info], State::Ok, "1 server without anything that hurts"),
            (&[Info, Warning], State::Warning, "1 warning: Warning"),
            (&[Warning, Warning], State::Warning, "2 warnings: Warning"),
            (&[Warning, Critical], State::Critical, "1 critical, 1 warning: Critical"),
            (&[Critical, Critical], State::Critical, "2 critical: Critical"),
        ] {
            let found = doctor(&examined(severities));
            assert_eq!((found.state, found.text.as_str()), (state, text));
        }
        let nobody = Doctor { targets: Vec::new(), ..examined(&[]) };
        assert_eq!(doctor(&nobody).state, State::Unknown);
    }
}
