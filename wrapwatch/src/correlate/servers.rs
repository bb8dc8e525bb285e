//! Addresses and socket paths that serve lookups, each known by a small number, so that nothing compares or copies texts while events come.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::UNKNOWN_SERVER;

use super::map::HashMap;

/// A server's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServerId(u16);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Ip(SocketAddr),
    Unix(Box<[u8]>),
}

/// The numbers given so far.
#[derive(Debug)]
pub(super) struct Servers {
    by_place: HashMap<Place, ServerId>,
    known: Vec<Arc<str>>,
    limit: usize,
}

impl Servers {
    /// Number of an address that was not seen.
    pub(super) const UNKNOWN: ServerId = ServerId(0);
    /// Number of all servers beyond the limit.
    const TOO_MANY: ServerId = ServerId(1);

    pub(super) fn new(limit: usize) -> Self {
        let known = vec![UNKNOWN_SERVER.into(), "more servers than are counted each by itself".into()];
        Self { by_place: HashMap::default(), known, limit: limit.min(usize::from(u16::MAX)) }
    }

    pub(super) fn ip(&mut self, addr: SocketAddr) -> ServerId {
        self.id(Place::Ip(addr))
    }

    pub(super) fn unix(&mut self, path: &[u8]) -> ServerId {
        self.id(Place::Unix(path.into()))
    }

    fn id(&mut self, place: Place) -> ServerId {
        if let Some(&id) = self.by_place.get(&place) {
            return id;
        }
        if self.known.len() >= self.limit {
            return Self::TOO_MANY;
        }
        let Ok(number) = u16::try_from(self.known.len()) else { return Self::TOO_MANY };
        self.known.push(match &place {
            Place::Ip(addr) => addr.to_string().into(),
            Place::Unix(path) => path_text(path).into(),
        });
        let id = ServerId(number);
        self.by_place.insert(place, id);
        id
    }

    /// `address:port`, or the socket's path.
    pub(super) fn text(&self, id: ServerId) -> &Arc<str> {
        // All numbers are given by `id`, but for the two that are known from the beginning.
        self.known.get(usize::from(id.0)).unwrap_or(&self.known[0])
    }
}

/// A path as text; an abstract unix socket's leading NUL as `@`, as ss(8) writes it.
pub(super) fn path_text(path: &[u8]) -> String {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    match path.split_first() {
        Some((0, name)) => format!("@{}", text(name)),
        _ => text(path),
    }
}
