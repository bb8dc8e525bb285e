//! The wait in the server's accept queue, told from the client's side: by whether connections that waited together were greeted one by one.
//!
//! Assumes that the attempts are whole: each with the time it began, and how long it took to connect and to its first packet.

use super::{Kind, SLOW_NS, problem};
use crate::model::{
    Nanos, Severity,
    ping::{PingAttempt, PingOutcome, PingProblem, PingQueue, PingServed},
};

/// Fewer than this prove nothing.
const TOGETHER_MIN: usize = 3;

/// When a connection began to wait for its greeting, and when that came.
#[derive(Clone, Copy, Debug)]
struct Wait {
    from_ns: i128,
    to_ns: i128,
}

fn waits(attempts: &[PingAttempt]) -> Vec<Wait> {
    let one = |attempt: &PingAttempt| {
        let began = attempt.started.0.as_nanosecond();
        let from_ns = began + i128::from(attempt.connect_ns?);
        let greeted = attempt.outcome == PingOutcome::Greeted;
        greeted.then_some(Wait { from_ns, to_ns: began + i128::from(attempt.total_ns) })
    };
    let mut waits: Vec<Wait> = attempts.iter().filter_map(one).collect();
    waits.sort_by_key(|wait| wait.to_ns);
    waits
}

/// What connections that waited together tell. Served one by one, each greeting comes a check's time after the one before; served side by side, all come
/// at about the same time. What is between the two may be several workers, and is not told.
pub fn queue(attempts: &[PingAttempt]) -> PingQueue {
    let waits = waits(attempts);
    // The longest run in which each began to wait before the one ahead of it was greeted.
    let mut longest: &[Wait] = &[];
    let mut start = 0;
    for end in 1..=waits.len() {
        let joins = match (waits.get(end), waits.get(end - 1)) {
            (Some(next), Some(last)) => next.from_ns < last.to_ns,
            _ => false,
        };
        if !joins {
            let run = waits.get(start..end).unwrap_or_default();
            if run.len() > longest.len() {
                longest = run;
            }
            start = end;
        }
    }
    let told = PingQueue { together: longest.len() as u64, ..PingQueue::default() };
    let (Some(first), Some(last)) = (longest.first(), longest.last()) else { return told };
    let shortest = longest.iter().map(|wait| wait.to_ns - wait.from_ns).min().unwrap_or(0);
    // A quick server's turns are lost in the noise of this host.
    if longest.len() < TOGETHER_MIN || shortest < i128::from(SLOW_NS / 10) {
        return told;
    }
    let turns = i128::try_from(longest.len() - 1).unwrap_or(1);
    let turn = (last.to_ns - first.to_ns) / turns;
    if turn * 10 <= shortest {
        return PingQueue { served: Some(PingServed::SideBySide), ..told };
    }
    if turn * 2 < shortest {
        return told;
    }
    let ns = |ns: i128| u64::try_from(ns).ok();
    // Its own turn is no wait for others.
    let behind = longest.iter().map(|wait| (wait.to_ns - wait.from_ns - turn).max(0)).max().and_then(ns);
    PingQueue { served: Some(PingServed::OneByOne), turn_ns: ns(turn), behind_ns: behind, ..told }
}

/// A server that takes one client at a time, where that makes clients wait.
pub(super) fn one_by_one(attempts: &[PingAttempt]) -> Option<PingProblem> {
    let PingQueue { together, turn_ns, behind_ns, .. } = queue(attempts);
    let (turn, behind) = turn_ns.zip(behind_ns).filter(|(_, behind)| *behind >= SLOW_NS)?;
    let message = format!(
        "{together} connections that waited at the same time were greeted one by one, {} apart: up to {} of a wait was for others of them to be served. The server \
         probably takes one client at a time.",
        Nanos(turn),
        Nanos(behind)
    );
    let change = "What takes a turn is on the server: wrapwatch live says what each check waits for.";
    Some(problem(Kind::ServedOneByOne, Severity::Warning, together, message, change))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, greeted};
    use super::*;
    use crate::model::WallTime;

    /// Connections that begin at these times (ms) and are greeted so long (ms) after they were connected.
    fn waited(times: &[(i64, u64)]) -> PingQueue {
        let one = |&(at, greeting): &(i64, u64)| PingAttempt {
            started: WallTime(jiff::Timestamp::from_millisecond(at).unwrap()),
            ..greeted(MS, greeting * MS)
        };
        queue(&times.iter().map(one).collect::<Vec<_>>())
    }

    #[test]
    fn turns_are_told_from_work_side_by_side() {
        let one_by_one = waited(&[(0, 400), (0, 800), (0, 1_200), (0, 1_600)]);
        let expected = PingQueue {
            served: Some(PingServed::OneByOne),
            together: 4,
            turn_ns: Some(400 * MS),
            behind_ns: Some(1_200 * MS),
        };
        assert_eq!(one_by_one, expected);
        let side_by_side = waited(&[(0, 400), (0, 405), (1, 403), (0, 402)]);
        assert_eq!((side_by_side.served, side_by_side.turn_ns), (Some(PingServed::SideBySide), None));
        // Two workers.
        assert_eq!(waited(&[(0, 400), (0, 402), (0, 800), (0, 805)]).served, None);
    }

    #[test]
    fn what_did_not_wait_together_or_is_quick_tells_nothing() {
        assert_eq!(waited(&[]), PingQueue::default());
        let apart = waited(&[(0, 400), (1_000, 400), (2_000, 400), (3_000, 400)]);
        assert_eq!((apart.served, apart.together), (None, 1));
        assert_eq!(waited(&[(0, 400), (0, 800)]).served, None, "two are too few");
        assert_eq!(waited(&[(0, 1), (0, 2), (0, 3), (0, 4)]).served, None);
        // Together in the end only: the first has its turn alone.
        let later = waited(&[(0, 400), (1_000, 400), (1_000, 800), (1_000, 1_200)]);
        assert_eq!((later.together, later.turn_ns), (3, Some(400 * MS)));
    }
}
