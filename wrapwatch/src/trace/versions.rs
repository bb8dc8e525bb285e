//! Versions of the format and of the records, and how older ones are brought up to date.

/// Version of the block format that this wrapwatch writes. It reads all from 1 to this one.
pub const FORMAT_VERSION: u16 = 1;

/// Brings a record of one ABI version to the next: reads the old bytes, appends the new ones.
type Upgrade = fn(old: &[u8], new: &mut Vec<u8>);

/// What a version brought.
#[derive(Clone, Copy)]
enum Step {
    /// Kinds of records: those that there were are as they were.
    Kinds,
    /// Records look otherwise.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the first version that changes a record"))]
    Records(Upgrade),
}

/// The upgrade from each older ABI version to the one after it, in order. When `ABI_VERSION` goes up, the step goes here, and
/// a fixture of the old version stays in `tests/data/traces`.
const UPGRADES: &[(u32, Step)] = &[
    // `AcceptFailed`.
    (1, Step::Kinds),
    // `AcceptSocket`, `Fork`, `Request`.
    (2, Step::Kinds),
];

/// The record in the current layout: itself, or brought up to date in `buffers`.
pub(super) fn upgrade<'a>(abi: u32, record: &'a [u8], buffers: &'a mut [Vec<u8>; 2]) -> &'a [u8] {
    upgrade_by(UPGRADES, abi, record, buffers)
}

fn upgrade_by<'a>(
    steps: &[(u32, Step)],
    abi: u32,
    record: &'a [u8],
    buffers: &'a mut [Vec<u8>; 2],
) -> &'a [u8] {
    let [old, new] = buffers;
    let mut is_old = false;
    for (_, step) in steps.iter().filter(|(from, _)| *from >= abi) {
        if let Step::Records(upgrade) = step {
            new.clear();
            upgrade(if is_old { old } else { record }, new);
            std::mem::swap(old, new);
            is_old = true;
        }
    }
    if is_old { old } else { record }
}

#[cfg(test)]
mod tests {
    use wrapwatch_common::ABI_VERSION;

    use super::*;

    #[test]
    fn there_is_a_step_from_every_older_version() {
        let from: Vec<u32> = UPGRADES.iter().map(|(from, _)| *from).collect();
        assert_eq!(from, (1..ABI_VERSION).collect::<Vec<_>>());
    }

    #[test]
    fn each_step_from_a_version_on_is_taken_once() {
        let steps = [
            (1, Step::Records(|old, new| new.extend([old, b"b"].concat()))),
            (2, Step::Kinds),
            (3, Step::Records(|old, new| new.extend([old, b"d"].concat()))),
        ];
        for (abi, wanted) in [(1, "abd"), (2, "ad"), (3, "ad"), (4, "a")] {
            let record = upgrade_by(&steps, abi, b"a", &mut Default::default()).to_vec();
            assert_eq!(String::from_utf8(record).unwrap(), wanted, "from {abi}");
        }
    }
}
