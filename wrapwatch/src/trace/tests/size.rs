//! How many bytes a connection costs.

use super::*;

/// Bytes a connection, with `per_block` connections in a block.
fn bytes_each(connections: usize, per_block: usize) -> f64 {
    let mut synth = Synth::new(99, 2_000, 1_000);
    let mut w = writer();
    for n in 1..=connections {
        synth.connection(&mut |record| w.record(record).unwrap());
        if n % per_block == 0 {
            w.flush_block().unwrap();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
    let each = finish(w, End::default()).len() as f64 / connections as f64;
    each
}

#[test]
fn a_connection_with_two_lookups_takes_at_most_400_bytes() {
    let each = bytes_each(10_000, usize::MAX);
    println!("{each:.0} bytes a connection");
    assert!(each <= 400.0, "{each}");
    // At a few connections a second the blocks are small.
    for (per_block, limit) in [(100, 250.0), (10, 400.0)] {
        let each = bytes_each(1_000, per_block);
        println!("{each:.0} bytes a connection, {per_block} to a block");
        assert!(each <= limit, "{per_block} to a block: {each}");
    }
}
