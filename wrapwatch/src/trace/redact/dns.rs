//! DNS messages → the same messages about pseudonyms.
//!
//! Read as [`crate::decode::dns::parse`] reads them, up to where they are cut or make no sense, and written again as far: counts, ids, flags,
//! types, classes and TTLs stay. What could carry an address or a name in another form (TXT, EDNS options, unknown types) is zeroed.

use domain::base::iana::Rtype;
use domain::base::message_builder::HashCompressor;
use domain::base::name::{Label, NameBuilder};
use domain::base::{Message, Name, ParsedName, ParsedRecord, Question, Record, ToName, UnknownRecordData};
use domain::rdata::{A, Aaaa, Cname, Mx, Ns, Ptr, Soa, Srv, ZoneRecordData};

use super::names::{NAME_MAX, Names};
use crate::decode::dns::data;

/// Bytes of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

type Data = ZoneRecordData<Vec<u8>, Name<Vec<u8>>>;

/// The message about pseudonyms; `None` where not even its header can be read.
pub(super) fn message(names: &Names, bytes: &[u8]) -> Option<Vec<u8>> {
    // The header stays as it is.
    let mut out = HashCompressor::new(bytes.get(..HEADER)?.to_vec());
    copy(names, Message::from_slice(bytes).ok()?, &mut out);
    Some(out.into_target())
}

/// Writes what is behind the header; none where that ends before the message does.
fn copy(names: &Names, message: &Message<[u8]>, out: &mut HashCompressor<Vec<u8>>) -> Option<()> {
    for question in message.question() {
        let question = question.ok()?;
        let (qtype, class) = (question.qtype(), question.qclass());
        Question::new(name(names, question.qname())?, qtype, class).compose(out).ok()?;
    }
    for read in message {
        let (read, _) = read.ok()?;
        let owner = name(names, &read.owner())?;
        Record::new(owner, read.class(), read.ttl(), mapped(names, &read)?).compose(out).ok()?;
    }
    Some(())
}

/// A record's data; none where they make no sense and [`crate::decode::dns::parse`] reads them, too.
fn mapped(names: &Names, read: &ParsedRecord<'_, [u8]>) -> Option<Data> {
    type To<'a> = ParsedName<&'a [u8]>;
    Some(match read.rtype() {
        Rtype::A => A::new(names.addresses().v4(data::<A>(read)?.addr())).into(),
        Rtype::AAAA => Aaaa::new(names.addresses().v6(data::<Aaaa>(read)?.addr())).into(),
        Rtype::PTR => Ptr::new(name(names, data::<Ptr<To>>(read)?.ptrdname())?).into(),
        Rtype::CNAME => Cname::new(name(names, data::<Cname<To>>(read)?.cname())?).into(),
        Rtype::NS => Ns::new(name(names, data::<Ns<To>>(read)?.nsdname())?).into(),
        _ => with_names(names, read).or_else(|| zeroed(read))?,
    })
}

/// Data of the other types in which names are mapped, where they make sense.
fn with_names(names: &Names, read: &ParsedRecord<'_, [u8]>) -> Option<Data> {
    type To<'a> = ParsedName<&'a [u8]>;
    Some(match read.rtype() {
        Rtype::MX => {
            let mx = data::<Mx<To>>(read)?;
            Mx::new(mx.preference(), name(names, mx.exchange())?).into()
        }
        Rtype::SRV => {
            let srv = data::<Srv<To>>(read)?;
            Srv::new(srv.priority(), srv.weight(), srv.port(), name(names, srv.target())?).into()
        }
        Rtype::SOA => {
            let soa = data::<Soa<To>>(read)?;
            let (mname, rname) = (name(names, soa.mname())?, name(names, soa.rname())?);
            let times = (soa.refresh(), soa.retry(), soa.expire(), soa.minimum());
            Soa::new(mname, rname, soa.serial(), times.0, times.1, times.2, times.3).into()
        }
        _ => return None,
    })
}

/// Data that are not understood here: as long as they were, and all zero. EDNS options (RFC 6891) are left out, as they are read by
/// themselves.
fn zeroed(read: &ParsedRecord<'_, [u8]>) -> Option<Data> {
    let len = if read.rtype() == Rtype::OPT { 0 } else { read.rdlen() };
    let zeros = vec![0; usize::from(len)];
    Some(UnknownRecordData::from_octets(read.rtype(), zeros).ok()?.into())
}

fn name(names: &Names, name: &impl ToName) -> Option<Name<Vec<u8>>> {
    let labels = name.iter_labels().filter(|label| !label.is_root());
    let labels: Vec<&[u8]> = labels.map(Label::as_slice).collect();
    let mut mapped = NameBuilder::new_vec();
    for label in names.labels(&labels) {
        mapped.append_label(&label).ok()?;
    }
    // The builder lets a name through that is a byte too long.
    mapped.into_name().ok().filter(|name| name.len() <= NAME_MAX)
}
