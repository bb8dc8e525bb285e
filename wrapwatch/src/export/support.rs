//! What the tests of several forms need.

use crate::engine::{Engine, Options};
use crate::model::{Connection, KtimeNs, Line};
use crate::trace::synth::Synth;
use crate::trace::{End, Input};

/// A client that was greeted, with two lookups of its check, a query each.
pub fn connection() -> Connection {
    let (mut engine, mut synth) = (Engine::new(Options::default()), Synth::new(3, 1_000_000_000, 0));
    synth.connection(&mut |record| engine.feed(&Input::Record(record)));
    engine.feed(&(&End { at: KtimeNs(10_000_000_000), ..End::default() }).into());
    engine.finish();
    let lines = std::iter::from_fn(|| engine.next_line());
    let mut connections = lines.filter_map(|line| match line {
        Line::Connection(connection) => Some(*connection),
        _ => None,
    });
    let connection = connections.next().unwrap();
    assert!(connection.complete && connection.lookups.len() == 2, "{connection:#?}");
    connection
}

/// A client whose server looked it up for 40 ms before it asked libwrap: the check began 50 ms after accept and lasted 30 ms, and so did its lookup.
pub fn looked_up_first() -> Connection {
    const MS: u64 = 1_000_000;
    let mut told = connection();
    (told.queued_ns, told.waited_ns) = (None, 100 * MS);
    (told.check_at_ns, told.wrapper_ns, told.resolve_ns) = (50 * MS, 30 * MS, 40 * MS);
    for (lookup, (at_ns, dur_ns)) in told.lookups.iter_mut().zip([(5 * MS, 40 * MS), (50 * MS, 30 * MS)]) {
        (lookup.at_ns, lookup.dur_ns) = (at_ns, dur_ns);
        for query in &mut lookup.queries {
            (query.at_ns, query.rtt_ns) = (at_ns, Some(dur_ns));
        }
    }
    told
}
