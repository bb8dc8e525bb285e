//! Records, as the kernel side writes them, one after another as the ring and the reader of traces give them: decoded, encoded again,
//! correlated, told.

use wrapwatch::correlate::{Config, Correlator, TargetInfo};
use wrapwatch::decode::{Event, decode};
use wrapwatch::model::{ClockPair, Connection, KtimeNs, Line};
use wrapwatch::render::text::Text;
use wrapwatch::trace::{columns::stated_len, encode::encode};

/// Any bytes, and for those that state their length, the record that follows.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    // What states no length is a record all the same, for the decoder.
    let _ = decode(bytes);
    let clock = ClockPair { ktime: KtimeNs(0), wall_ns: 1_795_326_189_000_000_000 };
    let mut correlator = Correlator::new(Config::new(clock));
    let (mut rest, mut last) = (bytes, KtimeNs(0));
    while let Some((record, after)) = stated_len(rest).and_then(|len| rest.split_at_checked(len)) {
        rest = after;
        let Ok(event) = decode(record) else { continue };
        same_again(&event);
        let header = event.header();
        if last == KtimeNs(0) {
            correlator.add_target(header.tgid, TargetInfo::default());
        }
        last = KtimeNs(header.ts_ns);
        correlator.push(&event);
        while let Some(connection) = correlator.pop() {
            check(connection);
        }
        let _ = correlator.stalls(last, 0);
    }
    correlator.finish(last);
    while let Some(connection) = correlator.pop() {
        check(connection);
    }
}

/// What was decoded and is encoded says the same.
fn same_again(event: &Event<'_>) {
    let mut again = Vec::new();
    encode(event, &mut again);
    let mut twice = Vec::new();
    match decode(&again) {
        Ok(event) => encode(&event, &mut twice),
        Err(error) => assert!(again.is_empty(), "{error} of what was encoded from {event:?}"),
    }
    assert_eq!(again, twice);
}

/// The promises of a connection.
fn check(connection: Box<Connection>) {
    let parts = connection.parts.total();
    assert_eq!(parts, connection.wrapper_ns, "the parts do not add up: {connection:?}");
    let text = Text { slow_ns: 0, ..Text::PLAIN }.line(&Line::Connection(connection));
    super::assert_harmless(&text);
}
