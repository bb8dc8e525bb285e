//! Records laid out in columns: what repeats stands side by side, what differs is small.
//!
//! A records block's raw payload, for its `items` records in order, all integers little-endian:
//!
//! 1. *Header columns*: 32 columns of `items` bytes, one for each byte of [`abi::Header`], those of `kind` and `len` (bytes 28 to 31)
//!    first, then bytes 0 to 27. Before that, three fields become differences (wrapping): `ts_ns` to the record
//!    before (0 before the first), `conn` to the record before, `seq` to the last one seen in slot `conn mod 256` (0 at
//!    first).
//! 2. *Enter columns*: for the records that begin with `enter_ns` after the header (kinds 1 to 6, 12 and 18, `len` ≥ 40), 8 columns of
//!    its bytes, as `ts_ns - enter_ns` (wrapping).
//! 3. *Run columns*: for the records with `run_delay_ns` (kinds 3 to 5 behind `enter_ns`, `len` ≥ 48; kind 7 behind the header, `len` ≥
//!    40), 8 columns of its bytes, as the difference (wrapping) to the last one seen in slot `tid mod 256` (0 at first).
//! 4. *Bodies*: each record's remaining bytes.
//!
//! The layout loses nothing and assumes nothing but `len`, `kind` and the place of these fields: a record with nonsense in
//! them comes back as it was.

use wrapwatch_common::records as abi;

/// Length of a record's header.
const HEADER: usize = size_of::<abi::Header>();
/// Length of `enter_ns`, and of `run_delay_ns`.
const WORD: usize = 8;
/// Bytes 28 to 31: kind and length.
const KIND_AT: usize = core::mem::offset_of!(abi::Header, kind);
const LEN_AT: usize = core::mem::offset_of!(abi::Header, len);
const SEQ_AT: usize = core::mem::offset_of!(abi::Header, seq);
const CONN_AT: usize = core::mem::offset_of!(abi::Header, conn);
const TID_AT: usize = core::mem::offset_of!(abi::Header, tid);
const SLOTS: usize = 256;

/// Shortest record there can be.
pub const RECORD_MIN: usize = HEADER;

const fn has_enter(kind: u16, len: usize) -> bool {
    abi::has_enter(kind) && len >= HEADER + WORD
}

const fn has_run(kind: u16, len: usize) -> bool {
    let before = if abi::has_enter(kind) { WORD } else { 0 };
    abi::has_run_delay(kind) && len >= HEADER + before + WORD
}

/// The length that a record's header states, where there is a header and that many bytes.
pub fn stated_len(record: &[u8]) -> Option<usize> {
    let len = usize::from(u16_at(record, LEN_AT)?);
    (HEADER..=record.len()).contains(&len).then_some(len)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The differences' state, the same on both sides.
struct Last {
    ts: u64,
    conn: u64,
    seq: [u32; SLOTS],
    run: [u64; SLOTS],
}

impl Last {
    const fn new() -> Self {
        Self { ts: 0, conn: 0, seq: [0; SLOTS], run: [0; SLOTS] }
    }

    /// A header, given as four numbers, with its differences added up.
    fn integrate(&mut self, [ts, conn, thread, last]: [u64; HEADER / WORD]) -> [u8; HEADER] {
        const { assert!(CONN_AT == WORD && SEQ_AT == 3 * WORD && KIND_AT == SEQ_AT + 4) };
        self.ts = self.ts.wrapping_add(ts);
        self.conn = self.conn.wrapping_add(conn);
        let [a, b, c, d, kind_len @ ..] = last.to_le_bytes();
        let seq = &mut self.seq[slot(self.conn)];
        *seq = seq.wrapping_add(u32::from_le_bytes([a, b, c, d]));
        let mut header = [0; HEADER];
        header[..CONN_AT].copy_from_slice(&self.ts.to_le_bytes());
        header[CONN_AT..2 * WORD].copy_from_slice(&self.conn.to_le_bytes());
        header[2 * WORD..SEQ_AT].copy_from_slice(&thread.to_le_bytes());
        header[SEQ_AT..KIND_AT].copy_from_slice(&seq.to_le_bytes());
        header[KIND_AT..].copy_from_slice(&kind_len);
        header
    }
}

/// Collects records until they are laid out.
#[derive(Debug, Default)]
pub struct Columns {
    headers: Vec<[u8; HEADER]>,
    enters: Vec<[u8; WORD]>,
    /// With the thread's slot.
    runs: Vec<(u8, [u8; WORD])>,
    bodies: Vec<u8>,
    first_ns: u64,
    last_ns: u64,
}

impl Columns {
    /// Takes a record in; what follows its stated length is left out. False, and nothing taken, where it is shorter than that.
    pub fn push(&mut self, record: &[u8]) -> bool {
        let Some(record) = stated_len(record).and_then(|len| record.get(..len)) else { return false };
        let Some((header, body)) = record.split_first_chunk::<HEADER>() else { return false };
        let ts = u64_at(header, 0).unwrap_or(0);
        self.first_ns = if self.headers.is_empty() { ts } else { self.first_ns.min(ts) };
        self.last_ns = if self.headers.is_empty() { ts } else { self.last_ns.max(ts) };
        let kind = u16_at(header, KIND_AT).unwrap_or(0);
        let mut body = body;
        if has_enter(kind, record.len())
            && let Some((enter, rest)) = body.split_first_chunk::<WORD>()
        {
            self.enters.push(ts.wrapping_sub(u64::from_le_bytes(*enter)).to_le_bytes());
            body = rest;
        }
        if has_run(kind, record.len())
            && let Some((run, rest)) = body.split_first_chunk::<WORD>()
        {
            self.runs.push((header[TID_AT], *run));
            body = rest;
        }
        self.headers.push(*header);
        self.bodies.extend_from_slice(body);
        true
    }

    /// Number of records held.
    pub const fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether none is held.
    pub const fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Bytes that the layout will have.
    pub const fn raw_len(&self) -> usize {
        self.headers.len() * HEADER + (self.enters.len() + self.runs.len()) * WORD + self.bodies.len()
    }

    /// Earliest and latest time of the records held.
    pub const fn span_ns(&self) -> (u64, u64) {
        (self.first_ns, self.last_ns)
    }

    /// Appends the layout to `out` and holds none afterwards.
    pub fn lay_out(&mut self, out: &mut Vec<u8>) {
        let mut last = Last::new();
        for header in &mut self.headers {
            difference(header, &mut last);
        }
        for (slot, run) in &mut self.runs {
            let now = u64::from_le_bytes(*run);
            let before = std::mem::replace(&mut last.run[usize::from(*slot)], now);
            *run = now.wrapping_sub(before).to_le_bytes();
        }
        out.reserve(self.raw_len());
        for byte in (KIND_AT..HEADER).chain(0..KIND_AT) {
            out.extend(self.headers.iter().map(|header| header[byte]));
        }
        for byte in 0..WORD {
            out.extend(self.enters.iter().map(|enter| enter[byte]));
        }
        for byte in 0..WORD {
            out.extend(self.runs.iter().map(|(_, run)| run[byte]));
        }
        out.extend_from_slice(&self.bodies);
        self.headers.clear();
        self.enters.clear();
        self.runs.clear();
        self.bodies.clear();
    }
}

fn difference(header: &mut [u8; HEADER], last: &mut Last) {
    let ts = u64_at(header, 0).unwrap_or(0);
    let conn = u64_at(header, CONN_AT).unwrap_or(0);
    let seq = u32_at(header, SEQ_AT);
    header[..CONN_AT].copy_from_slice(&ts.wrapping_sub(last.ts).to_le_bytes());
    header[CONN_AT..CONN_AT + 8].copy_from_slice(&conn.wrapping_sub(last.conn).to_le_bytes());
    let slot = slot(conn);
    header[SEQ_AT..SEQ_AT + 4].copy_from_slice(&seq.wrapping_sub(last.seq[slot]).to_le_bytes());
    last.ts = ts;
    last.conn = conn;
    last.seq[slot] = seq;
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

const fn slot(conn: u64) -> usize {
    const { assert!(SLOTS == 256) };
    conn.to_le_bytes()[0] as usize
}

/// Appends the `items` records of a layout to `out`, one after the other. `None`, with `out` in any state, where the bytes
/// are not such a layout. `out` grows by no more than `raw.len()`.
pub fn gather(raw: &[u8], items: usize, out: &mut Vec<u8>) -> Option<()> {
    let (columns, rest) = raw.split_at_checked(items.checked_mul(HEADER)?)?;
    // Byte `b` of the header is column `(b - KIND_AT) mod HEADER` of the file.
    let byte = |b: usize| columns.get((b + HEADER - KIND_AT) % HEADER * items..).unwrap_or_default();
    let headers: [_; HEADER / WORD] =
        std::array::from_fn(|word| rows(std::array::from_fn(|b| byte(word * WORD + b)), items));
    let count = |has: fn(u16, usize) -> bool| {
        headers[KIND_AT / WORD]
            .iter()
            .map(|word| kind_len(*word))
            .filter(|(kind, len)| has(*kind, *len))
            .count()
    };
    let (enters, rest) = words(rest, count(has_enter))?;
    let (runs, mut bodies) = words(rest, count(has_run))?;
    let (mut enters, mut runs) = (enters.into_iter(), runs.into_iter());
    out.reserve(raw.len());
    let mut last = Last::new();
    let [first, second, third, fourth] = &headers;
    let words = first.iter().zip(second).zip(third.iter().zip(fourth));
    for ((first, second), (third, fourth)) in words {
        let (kind, len) = kind_len(*fourth);
        let mut rest = len.checked_sub(HEADER)?;
        let header = last.integrate([*first, *second, *third, *fourth]);
        out.extend_from_slice(&header);
        if has_enter(kind, len) {
            out.extend_from_slice(&last.ts.wrapping_sub(enters.next()?).to_le_bytes());
            rest -= WORD;
        }
        if has_run(kind, len) {
            let slot = &mut last.run[usize::from(header[TID_AT])];
            *slot = slot.wrapping_add(runs.next()?);
            out.extend_from_slice(&slot.to_le_bytes());
            rest -= WORD;
        }
        let (body, after) = bodies.split_at_checked(rest)?;
        out.extend_from_slice(body);
        bodies = after;
    }
    bodies.is_empty().then_some(())
}

/// Kind and length, from the header's last 8 bytes.
const fn kind_len(word: u64) -> (u16, usize) {
    let [_, _, _, _, kind @ .., len_low, len_high] = word.to_le_bytes();
    (u16::from_le_bytes(kind), u16::from_le_bytes([len_low, len_high]) as usize)
}

/// The numbers of 8 bytes, laid out in columns, that `raw` begins with, and what follows them.
fn words(raw: &[u8], n: usize) -> Option<(Vec<u64>, &[u8])> {
    let (columns, rest) = raw.split_at_checked(n.checked_mul(WORD)?)?;
    Some((rows(std::array::from_fn(|byte| columns.get(byte * n..).unwrap_or_default()), n), rest))
}

/// Eight columns of at least `n` bytes each → `n` rows of 8 bytes, as numbers.
fn rows(columns: [&[u8]; WORD], n: usize) -> Vec<u64> {
    let mut rows = Vec::with_capacity(n);
    let whole = n - n % WORD;
    for at in (0..whole).step_by(WORD) {
        rows.extend(transposed(columns.map(|column| u64_at(column, at).unwrap_or(0))));
    }
    let byte = |column: &[u8], at: usize| column.get(at).copied().unwrap_or(0);
    rows.extend((whole..n).map(|at| u64::from_le_bytes(columns.map(|column| byte(column, at)))));
    rows
}

/// Byte `c` of number `r` becomes byte `r` of number `c`: by halves, quarters, single bytes.
fn transposed(mut rows: [u64; WORD]) -> [u64; WORD] {
    for (distance, low) in
        [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)]
    {
        for upper in (0..WORD).filter(|row| row & distance == 0) {
            let lower = upper + distance;
            let swapped = ((rows[upper] >> (8 * distance)) ^ rows[lower]) & low;
            rows[lower] ^= swapped;
            rows[upper] ^= swapped << (8 * distance);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::synth::{SplitMix, Synth};

    fn round_trip(records: &[Vec<u8>]) {
        let mut columns = Columns::default();
        for record in records {
            assert!(columns.push(record));
        }
        let (mut raw, expected) = (Vec::new(), columns.raw_len());
        columns.lay_out(&mut raw);
        assert_eq!(raw.len(), expected);
        let mut back = Vec::new();
        gather(&raw, records.len(), &mut back).unwrap();
        assert_eq!(back, records.concat());
    }

    #[test]
    fn connections_come_back_as_they_were() {
        let mut records = Vec::new();
        let mut synth = Synth::new(1, 5, 1000);
        for _ in 0..20 {
            synth.connection(&mut |record| records.push(record.to_vec()));
        }
        round_trip(&records);
        round_trip(&[]);
    }

    #[test]
    fn nonsense_with_a_true_length_comes_back_as_it_was() {
        let mut rng = SplitMix(7);
        let records: Vec<Vec<u8>> = (0..500)
            .map(|_| {
                let len = 32 + rng.below(80);
                let mut record: Vec<u8> = (0..len).map(|_| rng.next().to_le_bytes()[0]).collect();
                record[28] %= 20;
                record[29] = 0;
                record[30..32].copy_from_slice(&u16::try_from(len).unwrap().to_le_bytes());
                record
            })
            .collect();
        round_trip(&records);
    }

    #[test]
    fn a_record_shorter_than_it_states_is_not_taken() {
        let mut columns = Columns::default();
        assert!(!columns.push(&[0; 31]));
        let mut record = [0; 40];
        record[30] = 41;
        assert!(!columns.push(&record));
        record[30] = 31;
        assert!(!columns.push(&record));
        assert!(columns.is_empty());
    }

    #[test]
    fn bytes_that_are_no_layout_are_refused() {
        let mut records = Vec::new();
        Synth::new(1, 5, 1000).connection(&mut |record| records.push(record.to_vec()));
        let mut columns = Columns::default();
        assert!(records.iter().all(|record| columns.push(record)));
        let mut raw = Vec::new();
        columns.lay_out(&mut raw);
        let n = records.len();
        for (bytes, items) in
            [(&raw[..raw.len() - 1], n), (&raw[..], n - 1), (&raw[..], n + 1), (&raw[..], usize::MAX)]
        {
            assert_eq!(gather(bytes, items, &mut Vec::new()), None);
        }
        raw.push(0);
        assert_eq!(gather(&raw, n, &mut Vec::new()), None);
    }
}
