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

/// The most that waited in one moment, in the order of their greetings. Of several such moments the first, in which nobody's wait has others' turns before it.
fn together(waits: &[Wait]) -> Vec<Wait> {
    let at = |moment: i128| waits.iter().filter(move |wait| wait.from_ns <= moment && moment < wait.to_ns);
    let mut most = (0, 0);
    let mut moments: Vec<i128> = waits.iter().map(|wait| wait.from_ns).collect();
    moments.sort_unstable();
    for moment in moments {
        let count = at(moment).count();
        if count > most.0 {
            most = (count, moment);
        }
    }
    at(most.1).copied().collect()
}

/// What connections that waited in one moment tell. Served one by one, each greeting comes a check's time after the one before, and the first a check's time
/// after it began. Anything else may be servers that work side by side and take different times, and is not told.
pub fn queue(attempts: &[PingAttempt]) -> PingQueue {
    let together = together(&waits(attempts));
    let told = PingQueue { together: together.len() as u64, ..PingQueue::default() };
    let (Some(first), Some(last)) = (together.first(), together.last()) else { return told };
    let shortest = together.iter().map(|wait| wait.to_ns - wait.from_ns).min().unwrap_or(0);
    // A quick server's turns are lost in the noise of this host.
    if together.len() < TOGETHER_MIN || shortest < i128::from(SLOW_NS / 10) {
        return told;
    }
    let spread = last.to_ns - first.to_ns;
    if spread * 10 <= shortest {
        return PingQueue { served: Some(PingServed::SideBySide), ..told };
    }
    if !has_turns(&together) {
        return told;
    }
    let turn = spread / i128::try_from(together.len() - 1).unwrap_or(1);
    let ns = |ns: i128| u64::try_from(ns).ok();
    // Its own turn is no wait for others.
    let behind = together.iter().map(|wait| (wait.to_ns - wait.from_ns - turn).max(0)).max().and_then(ns);
    PingQueue { served: Some(PingServed::OneByOne), turn_ns: ns(turn), behind_ns: behind, ..told }
}

/// Whether all turns take about as long, the first one's included. That one may be longer, by what the server still did for somebody else; but clients that
/// come at equal distances and are served side by side wait twice as long as their distance at least, where three of them wait in one moment.
fn has_turns(together: &[Wait]) -> bool {
    let mut gaps: Vec<i128> =
        together.iter().zip(together.iter().skip(1)).map(|(one, next)| next.to_ns - one.to_ns).collect();
    gaps.sort_unstable();
    let (Some(&median), Some(first)) = (gaps.get(gaps.len() / 2), together.first()) else { return false };
    let first = first.to_ns - first.from_ns;
    let is_near = |gap: &i128| (gap - median).abs() * 4 <= median;
    median > 0 && gaps.iter().all(is_near) && first * 4 >= median * 3 && first * 2 <= median * 3
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
        // A chain of overlaps, but never three in one moment.
        let chain = waited(&[(0, 400), (300, 500), (700, 500), (1_100, 500)]);
        assert_eq!((chain.served, chain.together), (None, 2));
    }

    #[test]
    fn servers_that_work_side_by_side_and_take_different_times_are_not_taken_for_one() {
        let told = |times: &[(i64, u64)]| waited(times).served;
        assert_eq!(told(&[(0, 50), (0, 5_000), (0, 5_001), (0, 5_002), (0, 5_003)]), None);
        // A nameserver that is down costs some of them five seconds.
        assert_eq!(told(&[(0, 300), (0, 5_300), (0, 300), (0, 5_300), (0, 300)]), None);
        assert_eq!(told(&[(0, 300), (0, 5_300), (1, 5_300)]), None);
        assert_eq!(told(&[(0, 300), (100, 5_300), (200, 300), (290, 5_300)]), None);
        // At equal distances, each with a worker of its own.
        assert_eq!(told(&[(0, 400), (150, 400), (300, 400)]), None);
        // Two workers, the second one busy at first.
        assert_eq!(told(&[(0, 400), (0, 600), (0, 800), (0, 1_000)]), None);
        // The first turn is none: somebody else's is before it.
        assert_eq!(told(&[(0, 5_000), (0, 5_600), (0, 6_200), (0, 6_800)]), None);
    }

    #[test]
    fn turns_are_told_with_the_noise_of_a_host() {
        let seen = waited(&[(0, 410), (1, 676), (2, 985), (0, 1_293), (1, 1_599)]);
        assert_eq!((seen.served, seen.together), (Some(PingServed::OneByOne), 5));
        assert_eq!(seen.turn_ns, Some(297_500_000));
        // Whoever was greeted is followed by the next: the first three are the ones that tell.
        let more = waited(&[(0, 300), (0, 600), (0, 900), (301, 900), (601, 900), (901, 900)]);
        assert_eq!((more.turn_ns, more.together), (Some(300 * MS), 3));
    }
}
