//! Traces of released versions, read forever. What they hold is written down here as values, not made again, so that a
//! change to the writer, the reader and this test's helpers together cannot go unseen.

use super::*;
use crate::decode::decode;

/// The fixtures by version of the records. Each was written once by `write_fixture`, never again.
const FIXTURES: [(u32, &[u8]); 3] = [
    (1, include_bytes!("../../../../tests/data/traces/format-1-abi-1.wwt")),
    (2, include_bytes!("../../../../tests/data/traces/format-1-abi-2.wwt")),
    (3, include_bytes!("../../../../tests/data/traces/format-1-abi-3.wwt")),
];

#[test]
fn each_version_is_readable() {
    assert_eq!(FIXTURES.last().unwrap().0, wrapwatch_common::ABI_VERSION);
    for (abi, bytes) in FIXTURES {
        is_as_written(abi, &read(bytes).unwrap());
    }
}

fn is_as_written(abi: u32, items: &[Owned]) {
    let kinds: String = items
        .iter()
        .map(|item| match item {
            Owned::Head(_) => 'H',
            Owned::Record(_) => 'r',
            Owned::Sample(_) => 'S',
            Owned::Snapshot(_) => 'F',
            Owned::Clock(_) => 'C',
            Owned::Target(_) => 'T',
            Owned::Degradation(_) => 'D',
            Owned::Lost(_) => 'L',
            Owned::Damage(_) => '!',
            Owned::End(_) => 'E',
        })
        .collect();
    let block = "r".repeat(60);
    assert_eq!(kinds, format!("HF{block}C{block}C{block}CSTDLE"));

    let Owned::Head(head) = &items[0] else { panic!("no head") };
    assert_eq!(
        (head.format, head.abi, head.wrapwatch.as_str(), head.hostname.as_str()),
        (1, abi, "0.1.0", "db1")
    );
    assert_eq!((head.targets[0].pid, head.targets[0].comm.as_str()), (24_516, "mysqld"));
    assert_eq!((head.clock.ktime.0, head.clock.wall_ns), (1_000, 1_795_326_189_000_000_000));
    let Owned::Snapshot(snapshot) = &items[1] else { panic!("no snapshot") };
    assert_eq!(snapshot.bytes, b"mysqld: .corp.example\n\xff\n");
    assert_eq!(
        (snapshot.meta.role, snapshot.meta.path.as_str()),
        (SnapshotRole::HostsAllow, "/etc/hosts.allow")
    );
    let Owned::Lost(lost) = &items[items.len() - 2] else { panic!("no loss") };
    assert_eq!(lost.events, 3);
    let Owned::End(end) = &items[items.len() - 1] else { panic!("no end") };
    assert_eq!((end.records, end.reason.as_str()), (180, "done"));

    let records: Vec<&[u8]> = items
        .iter()
        .filter_map(|item| if let Owned::Record(r) = item { Some(r.as_slice()) } else { None })
        .collect();
    assert!(records.iter().all(|record| decode(record).is_ok()));
    assert_eq!(crc32fast::hash(&records.concat()), RECORDS_CRC);
}

const RECORDS_CRC: u32 = 0xeb37_d81a;

/// Writes the fixture of the current version: `cargo test -p wrapwatch write_fixture -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_fixture() {
    let (bytes, _) = small();
    let name = format!("format-{}-abi-{}.wwt", super::super::FORMAT_VERSION, wrapwatch_common::ABI_VERSION);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/traces").join(name);
    assert!(!path.exists(), "{} is there, and stays as it is", path.display());
    std::fs::write(&path, bytes).unwrap();
}
