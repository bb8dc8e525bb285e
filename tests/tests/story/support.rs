//! Names of the lab's parts, and of what is compared.

use std::net::{IpAddr, Ipv4Addr};

use wrapwatch::model::{Connection, Query};
use wrapwatch_tests::clients::ClientResult;

/// The lab's first nameserver.
pub const NS1: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 53));
/// Its second.
pub const NS2: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 54));

pub const MS: u64 = 1_000_000;

/// The address a client came from, as wrapwatch prints it.
pub fn peer(client: &ClientResult) -> String {
    client.source.unwrap().to_string()
}

/// A connection's queries, those of the wrapper check and those after it.
pub fn queries(connection: &Connection) -> impl Iterator<Item = &Query> {
    connection.lookups.iter().flat_map(|lookup| &lookup.queries)
}
