//! [`super::Input::Time`] as a record: a header of a kind that the kernel side has not, so that it takes a few bytes and cuts no block.

use wrapwatch_common::records::Header;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::model::KtimeNs;

/// Kind of the record.
const KIND: u16 = u16::MAX;
const LEN: usize = size_of::<Header>();

pub(super) fn record(at: KtimeNs) -> [u8; LEN] {
    let header = Header {
        ts_ns: at.0,
        conn: 0,
        tgid: 0,
        tid: 0,
        seq: 0,
        kind: KIND,
        len: u16::try_from(LEN).unwrap_or(0),
    };
    let mut bytes = [0; LEN];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}

/// The time that a record marks, if it marks one.
pub(super) fn time(record: &[u8]) -> Option<KtimeNs> {
    let (header, _) = Header::read_from_prefix(record).ok()?;
    (header.kind == KIND).then_some(KtimeNs(header.ts_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_its_time_and_a_record_has_none() {
        let mark = record(KtimeNs(7));
        assert_eq!(time(&mark), Some(KtimeNs(7)));
        let mut other = mark;
        other[28..30].copy_from_slice(&1_u16.to_le_bytes());
        assert_eq!((time(&other), time(&mark[1..])), (None, None));
    }
}
