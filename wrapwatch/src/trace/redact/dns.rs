//! DNS messages → the same messages about pseudonyms.
//!
//! Read by hickory as [`crate::decode::dns::parse`] reads them, up to where they are cut or make no sense, and written again as far: counts, ids, flags,
//! types, classes and TTLs stay. What could carry an address or a name in another form (TXT, EDNS options, unknown types) is zeroed.

use hickory_proto::op::{Header, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use super::names::Names;

/// Bytes of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// The message about pseudonyms; `None` where not even its header can be read.
pub(super) fn message(names: &Names, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let mut out = bytes.get(..HEADER)?.to_vec();
    let mut encoder = BinEncoder::new(&mut out);
    // Behind the header, which stays as it is.
    encoder.set_offset(HEADER);
    let counts = header.counts;
    for _ in 0..counts.queries {
        let Ok(query) = Query::read(&mut decoder) else { return Some(out) };
        if question(names, &query, &mut encoder).is_none() {
            return Some(out);
        }
    }
    let records = [counts.answers, counts.authorities, counts.additionals];
    for _ in 0..records.iter().map(|n| u32::from(*n)).sum() {
        let Ok(read) = Record::<RData>::read(&mut decoder) else { return Some(out) };
        if record(names, &read, &mut encoder).is_none() {
            return Some(out);
        }
    }
    Some(out)
}

fn question(names: &Names, query: &Query, out: &mut BinEncoder<'_>) -> Option<()> {
    name(names, query.name())?.emit(out).ok()?;
    out.emit_u16(query.query_type().into()).ok()?;
    out.emit_u16(query.query_class().into()).ok()
}

fn record(names: &Names, read: &Record, out: &mut BinEncoder<'_>) -> Option<()> {
    let data = match &read.data {
        RData::A(ip) => RData::A(A(names.addresses().v4(ip.0))),
        RData::AAAA(ip) => RData::AAAA(AAAA(names.addresses().v6(ip.0))),
        RData::PTR(to) => RData::PTR(PTR(name(names, &to.0)?)),
        RData::CNAME(to) => RData::CNAME(CNAME(name(names, &to.0)?)),
        RData::NS(to) => RData::NS(NS(name(names, &to.0)?)),
        RData::MX(mx) => RData::MX(MX::new(mx.preference, name(names, &mx.exchange)?)),
        RData::SRV(srv) => {
            RData::SRV(SRV::new(srv.priority, srv.weight, srv.port, name(names, &srv.target)?))
        }
        RData::SOA(soa) => {
            let (mname, rname) = (name(names, &soa.mname)?, name(names, &soa.rname)?);
            RData::SOA(SOA::new(mname, rname, soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum))
        }
        other => return zeroed(names, read, other, out),
    };
    let owner = name(names, &read.name)?;
    let mut copy = Record::from_rdata(owner, read.ttl, data);
    copy.dns_class = read.dns_class;
    copy.emit(out).ok()
}

/// A record of a type that is not understood here: its data is as long as it was, and all zero. EDNS options (RFC 6891) are left out, as they
/// are read by themselves.
fn zeroed(names: &Names, read: &Record, data: &RData, out: &mut BinEncoder<'_>) -> Option<()> {
    let kind = read.record_type();
    name(names, &read.name)?.emit(out).ok()?;
    out.emit_u16(kind.into()).ok()?;
    out.emit_u16(read.dns_class.into()).ok()?;
    out.emit_u32(read.ttl).ok()?;
    let mut bytes = Vec::new();
    if kind != RecordType::OPT {
        data.emit(&mut BinEncoder::new(&mut bytes)).ok()?;
    }
    out.emit_u16(u16::try_from(bytes.len()).ok()?).ok()?;
    bytes.fill(0);
    out.emit_vec(&bytes).ok()
}

fn name(names: &Names, name: &Name) -> Option<Name> {
    let labels: Vec<&[u8]> = name.iter().collect();
    let mapped = names.labels(&labels);
    let mut mapped = Name::from_labels(mapped.iter().map(Vec::as_slice)).ok()?;
    mapped.set_fqdn(true);
    Some(mapped)
}
