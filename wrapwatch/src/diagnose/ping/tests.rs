use super::*;
use crate::model::WallTime;

pub(super) const MS: u64 = 1_000_000;

fn attempt(outcome: PingOutcome, connect: Option<u64>, greeting: Option<u64>) -> PingAttempt {
    PingAttempt {
        number: 1,
        started: WallTime(jiff::Timestamp::UNIX_EPOCH),
        local: None,
        outcome,
        syn_retries: 0,
        connect_ns: connect,
        greeting_ns: greeting,
        first_byte_ns: greeting,
        said: None,
        total_ns: connect.unwrap_or(0) + greeting.unwrap_or(0),
        error_code: None,
        error: None,
    }
}

pub(super) fn greeted(connect: u64, greeting: u64) -> PingAttempt {
    attempt(PingOutcome::Greeted, Some(connect), Some(greeting))
}

fn kinds(attempts: &[PingAttempt]) -> Vec<Kind> {
    problems(attempts, None).iter().map(|problem| problem.kind).collect()
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let attempts: Vec<_> = (1..=200).rev().map(|n| greeted(n, 0)).collect();
    let times = times(&attempts, |attempt| attempt.connect_ns).unwrap();
    assert_eq!((times.count, times.min_ns, times.max_ns), (200, 1, 200));
    assert_eq!((times.p50_ns, times.p90_ns, times.p99_ns), (100, 180, 198));
    let one = super::times(&[greeted(7, 0)], |attempt| attempt.connect_ns).unwrap();
    assert_eq!((one.p50_ns, one.p99_ns), (7, 7));
    assert_eq!(super::times(&[], |attempt| attempt.connect_ns), None);
}

#[test]
fn a_histogram_loses_nothing_and_stays_short() {
    for waits in
        [&[0_u64, 1, 999, 1_000][..], &[603 * MS, 602 * MS, 12_038 * MS], &[500, u64::MAX - 1], &[100_000]]
    {
        let attempts: Vec<_> = waits.iter().map(|&wait| greeted(0, wait)).collect();
        let buckets = histogram(&attempts);
        assert_eq!(
            buckets.iter().map(|bucket| bucket.count).sum::<u64>(),
            waits.len() as u64,
            "{waits:?}: {buckets:?}"
        );
        assert!(buckets.len() <= MAX_BUCKETS + 2, "{buckets:?}");
        assert!(buckets.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
        assert!(buckets.first().unwrap().count > 0 && buckets.last().unwrap().count > 0, "{buckets:?}");
    }
    assert_eq!(histogram(&[attempt(PingOutcome::Silent, Some(1), None)]), []);
}

#[test]
fn a_quick_server_has_no_problems() {
    assert_eq!(kinds(&[greeted(MS, MS), greeted(MS, 99 * MS)]), []);
}

#[test]
fn each_outcome_has_its_own_problem() {
    for (outcome, kind) in [
        (PingOutcome::Silent, Kind::NoGreeting),
        (PingOutcome::HalfGreeting, Kind::HalfGreeting),
        (PingOutcome::Closed, Kind::ClosedWithoutGreeting),
        (PingOutcome::Reset, Kind::ResetBeforeGreeting),
        (PingOutcome::Refused, Kind::NothingListens),
        (PingOutcome::NoAnswer, Kind::NoAnswer),
        (PingOutcome::Unreachable, Kind::Unreachable),
        (PingOutcome::NotMysql, Kind::NotMysql),
        (PingOutcome::Failed, Kind::FailedHere),
    ] {
        assert_eq!(kinds(&[attempt(outcome, None, None), greeted(MS, MS)]), [kind]);
    }
    for (code, kind) in [
        (1040, Kind::TooManyConnections),
        (1129, Kind::HostBlocked),
        (1130, Kind::HostNotAllowed),
        (1053, Kind::ServerError),
    ] {
        let error = attempt(PingOutcome::ServerError, Some(MS), Some(MS));
        assert_eq!(kinds(&[PingAttempt { error_code: Some(code), ..error }]), [kind]);
    }
}

#[test]
fn a_half_greeting_says_what_ended_it() {
    let half = attempt(PingOutcome::HalfGreeting, Some(MS), None);
    let waited = PingAttempt { first_byte_ns: Some(MS), total_ns: 3_000 * MS, ..half.clone() };
    assert!(problems(&[waited], None)[0].message.contains("was not whole after 3.00 s"));
    let ended =
        PingAttempt { error: Some("the server closed the connection".to_owned()), total_ns: 5 * MS, ..half };
    let told = problems(std::slice::from_ref(&ended), None).remove(0);
    assert!(
        told.message.contains("before it was whole the server closed the connection, after 5.00 ms"),
        "{told:?}"
    );
    let line = crate::render::text::Text::PLAIN.ping_attempt(&ended);
    assert!(line.ends_with("half a greeting: the server closed the connection\n"), "{line}");
}

#[test]
fn a_refusal_without_a_number_has_none() {
    let refusal = PingAttempt {
        error: Some("* BYE too many connections.".to_owned()),
        ..attempt(PingOutcome::ServerError, Some(MS), Some(MS))
    };
    let found = problems(std::slice::from_ref(&refusal), None);
    assert_eq!(found[0].message, "The connection: turned away by the server: * BYE too many connections.");
    let text = crate::render::text::Text::PLAIN.ping_attempt(&refusal);
    assert!(text.contains("turned away after 1.00") && !text.contains("error"), "{text}");
}

#[test]
fn a_syn_sent_again_and_a_late_greeting_are_told_apart() {
    let again = PingAttempt { syn_retries: 1, ..greeted(1_030 * MS, MS) };
    assert_eq!(kinds(&[again.clone(), greeted(MS, MS)]), [Kind::SynDropped]);
    assert_eq!(kinds(&[greeted(MS, 603 * MS)]), [Kind::GreetingSlow]);
    assert_eq!(kinds(&[greeted(MS, 603 * MS), again]), [Kind::SynDropped, Kind::GreetingSlow]);
    assert_eq!(problems(&[], Some(2_000 * MS))[0].kind, Kind::NameSlow);
}

#[test]
fn outcomes_are_counted_by_code() {
    let error =
        |code| PingAttempt { error_code: Some(code), ..attempt(PingOutcome::ServerError, Some(1), Some(1)) };
    let counted = outcomes(&[error(1040), greeted(1, 1), error(1129), error(1129)]);
    let counted: Vec<_> = counted.iter().map(|c| (c.outcome, c.error_code, c.count)).collect();
    assert_eq!(
        counted,
        [
            (PingOutcome::ServerError, Some(1129), 2),
            (PingOutcome::Greeted, None, 1),
            (PingOutcome::ServerError, Some(1040), 1),
        ]
    );
}
