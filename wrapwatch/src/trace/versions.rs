//! Versions of the format and of the records, and how older ones are brought up to date.

use wrapwatch_common::ABI_VERSION;

/// Version of the block format that this wrapwatch writes. It reads all from 1 to this one.
pub const FORMAT_VERSION: u16 = 1;

/// Brings a record of one ABI version to the next: reads the old bytes, appends the new ones.
type Upgrade = fn(old: &[u8], new: &mut Vec<u8>);

/// The upgrade from each older ABI version to the one after it, in order. When `ABI_VERSION` goes up, the step goes here, and
/// a fixture of the old version stays in `tests/data/traces`.
const UPGRADES: &[(u32, Upgrade)] = &[];

/// The record in the current layout: itself, or brought up to date in `buffers`.
pub(super) fn upgrade<'a>(abi: u32, record: &'a [u8], buffers: &'a mut [Vec<u8>; 2]) -> &'a [u8] {
    if abi >= ABI_VERSION {
        return record;
    }
    let [old, new] = buffers;
    old.clear();
    old.extend_from_slice(record);
    for (_, step) in UPGRADES.iter().filter(|(from, _)| *from >= abi) {
        new.clear();
        step(old, new);
        std::mem::swap(old, new);
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_step_from_every_older_version() {
        let from: Vec<u32> = UPGRADES.iter().map(|(from, _)| *from).collect();
        assert_eq!(from, (1..ABI_VERSION).collect::<Vec<_>>());
    }
}
