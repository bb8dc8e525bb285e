//! What the nameserver holds to be true, unless told otherwise: `10.2.0.7` is `c-10-2-0-7.lab.example` and the other way
//! round, `fd00::1` is `c6-fd000000000000000000000000000001.lab.example`. So every client has a name that tells its address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use domain::base::iana::{Class, Rtype};
use domain::base::{Name, Record, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ptr, ZoneRecordData};
use serde::{Deserialize, Serialize};
use wrapwatch::decode::dns;

use super::Rcode;

/// Domain of all the names.
pub const DOMAIN: &str = "lab.example";
const TTL: Ttl = Ttl::from_secs(60);

pub(super) type Owner = Name<Vec<u8>>;
pub(super) type Data = ZoneRecordData<Vec<u8>, Owner>;

/// An exception to the zone. No data: the name exists, but has none of this type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneEntry {
    /// Name, without the last dot.
    pub name: String,
    /// `PTR`, `A`, `AAAA`, `CNAME`.
    pub qtype: String,
    /// Names or addresses.
    pub data: Vec<String>,
}

impl ZoneEntry {
    /// An exception.
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        qtype: &str,
        data: impl IntoIterator<Item = S>,
    ) -> Self {
        Self { name: name.into(), qtype: qtype.to_owned(), data: data.into_iter().map(Into::into).collect() }
    }
}

/// Exceptions by name (lower case) and type.
pub(super) type Exceptions = HashMap<(String, String), Vec<String>>;

pub(super) fn exceptions(entries: Vec<ZoneEntry>) -> Exceptions {
    let key = |entry: &ZoneEntry| {
        (entry.name.trim_end_matches('.').to_ascii_lowercase(), entry.qtype.to_ascii_uppercase())
    };
    entries.into_iter().map(|entry| (key(&entry), entry.data)).collect()
}

/// The name of an address.
pub fn name_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("c-{a}-{b}-{c}-{d}.{DOMAIN}")
        }
        IpAddr::V6(v6) => format!("c6-{:032x}.{DOMAIN}", v6.to_bits()),
    }
}

/// The name under which an address's PTR record stands (RFC 1035, 3.5; RFC 3596, 2.5), without the last dot.
pub fn reverse_name(address: IpAddr) -> String {
    dns::name_text(&dns::reverse_name(address))
}

/// The address whose name this is.
pub(crate) fn address_of(name: &str) -> Option<IpAddr> {
    let label = name.strip_suffix(DOMAIN)?.strip_suffix('.')?;
    if let Some(hex) = label.strip_prefix("c6-") {
        return u128::from_str_radix(hex, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into());
    }
    Ipv4Addr::from_str(&label.strip_prefix("c-")?.replace('-', ".")).ok().map(Into::into)
}

/// What the zone says: response code and answers. `qname` is the name asked for, `key` the same in lower case without the last dot.
pub(super) fn look_up(
    exceptions: &Exceptions,
    qname: &Owner,
    key: &str,
    qtype: Rtype,
) -> (Rcode, Vec<Record<Owner, Data>>) {
    let type_key = dns::qtype_text(qtype.to_int()).into_owned();
    if let Some(data) = exceptions.get(&(key.to_owned(), type_key)) {
        return (Rcode::NoError, records(qname, qtype, data));
    }
    if is_reverse(key) {
        return match (dns::ptr_address(key), qtype) {
            (Some(address), Rtype::PTR) => (Rcode::NoError, records(qname, qtype, &[name_of(address)])),
            _ => (Rcode::NoError, Vec::new()),
        };
    }
    match (address_of(key), qtype) {
        (Some(address @ IpAddr::V4(_)), Rtype::A) | (Some(address @ IpAddr::V6(_)), Rtype::AAAA) => {
            (Rcode::NoError, records(qname, qtype, &[address.to_string()]))
        }
        (Some(_), _) => (Rcode::NoError, Vec::new()),
        // Exceptions of another type make the name exist.
        (None, _) if exceptions.keys().any(|(name, _)| name == key) => (Rcode::NoError, Vec::new()),
        (None, _) => (Rcode::NXDomain, Vec::new()),
    }
}

/// Whether a name is that of an address, or of a network: the end of an address' name.
fn is_reverse(key: &str) -> bool {
    let (front, most, base, digits) = match (key.strip_suffix("in-addr.arpa"), key.strip_suffix("ip6.arpa")) {
        (Some(front), _) => (front, 4, 10, 3),
        (None, Some(front)) => (front, 32, 16, 1),
        (None, None) => return false,
    };
    let labels: Vec<&str> = front.split_terminator('.').collect();
    let fits = |label: &&str| label.len() <= digits && u8::from_str_radix(label, base).is_ok();
    (front.is_empty() || front.ends_with('.')) && labels.len() <= most && labels.iter().all(fits)
}

/// Records of `owner` from text; what cannot be one of this type is left out.
pub(super) fn records(owner: &Owner, qtype: Rtype, data: &[String]) -> Vec<Record<Owner, Data>> {
    let rdata = |text: &String| -> Option<Data> {
        match qtype {
            Rtype::A => text.parse().ok().map(|v4| A::new(v4).into()),
            Rtype::AAAA => text.parse().ok().map(|v6| Aaaa::new(v6).into()),
            Rtype::PTR => Owner::from_str(text).ok().map(|name| Ptr::new(name).into()),
            Rtype::CNAME => Owner::from_str(text).ok().map(|name| Cname::new(name).into()),
            _ => None,
        }
    };
    data.iter().filter_map(rdata).map(|rdata| Record::new(owner.clone(), Class::IN, TTL, rdata)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(exceptions: &Exceptions, name: &str, qtype: Rtype) -> (Rcode, Vec<String>) {
        let qname = Owner::from_str(name).unwrap();
        let (rcode, records) = look_up(exceptions, &qname, &name.to_ascii_lowercase(), qtype);
        (rcode, records.iter().map(|record| record.data().to_string()).collect())
    }

    #[test]
    fn every_address_has_a_name_and_the_name_the_address() {
        let none = Exceptions::new();
        for address in ["10.2.0.7", "255.255.255.255", "fd00:2::1", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            let (rcode, names) = ask(&none, &reverse_name(address), Rtype::PTR);
            assert_eq!((rcode, names), (Rcode::NoError, vec![format!("{}.", name_of(address))]));
            let qtype = if address.is_ipv4() { Rtype::A } else { Rtype::AAAA };
            assert_eq!(ask(&none, &name_of(address), qtype), (Rcode::NoError, vec![address.to_string()]));
        }
        assert_eq!(reverse_name("10.2.0.7".parse().unwrap()), "7.0.2.10.in-addr.arpa");
    }

    #[test]
    fn no_data_and_no_such_name_are_different() {
        let none = Exceptions::new();
        assert_eq!(ask(&none, "c-10-2-0-7.lab.example", Rtype::AAAA), (Rcode::NoError, vec![]));
        assert_eq!(ask(&none, "nobody.lab.example", Rtype::A), (Rcode::NXDomain, vec![]));
        assert_eq!(ask(&none, "db.example.com", Rtype::A), (Rcode::NXDomain, vec![]));
    }

    #[test]
    fn exceptions_come_first() {
        let some = exceptions(vec![
            ZoneEntry::new("7.0.2.10.in-addr.arpa", "PTR", ["db.example.com"]),
            ZoneEntry::new("DB.example.com.", "a", ["10.2.0.8", "nonsense"]),
        ]);
        assert_eq!(ask(&some, "7.0.2.10.in-addr.arpa", Rtype::PTR).1, ["db.example.com."]);
        assert_eq!(ask(&some, "db.example.com", Rtype::A), (Rcode::NoError, vec!["10.2.0.8".to_owned()]));
        assert_eq!(ask(&some, "db.example.com", Rtype::AAAA), (Rcode::NoError, vec![]));
    }
}
