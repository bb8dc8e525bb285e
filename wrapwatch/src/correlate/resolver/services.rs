//! What is spoken on a connection's sockets, and the services whose messages are not read: ident, nscd, systemd-resolved. Of these only that
//! something was asked and that something came back is known, and when.

use wrapwatch_common::records as abi;

use super::{EAGAIN, EINTR, Moment, Resolver, failed};
use crate::correlate::asked::End;
use crate::correlate::shared::Shared;
use crate::model::{KtimeNs, LookupKind, Transport};

/// nscd answers a host that it does not know with a bare header (`hst_response_header`, nscd/nscd-client.h: eight 32-bit numbers).
const NSCD_HEADER_BYTES: u64 = 32;

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::correlate) enum Service {
    Dns,
    Ident,
    Nscd,
    Resolved,
}

impl Service {
    /// The service behind a unix socket's path.
    pub(in crate::correlate) fn of_path(path: &[u8]) -> Option<Self> {
        if path.ends_with(b"/nscd/socket") {
            Some(Self::Nscd)
        } else if path.ends_with(b"/io.systemd.Resolve") {
            Some(Self::Resolved)
        } else {
            None
        }
    }

    pub(super) const fn transport(self, stream: bool) -> Transport {
        match self {
            Self::Dns if !stream => Transport::Udp,
            Self::Dns | Self::Ident => Transport::Tcp,
            Self::Nscd => Transport::Nscd,
            Self::Resolved => Transport::Resolved,
        }
    }
}

impl Resolver {
    /// A call whose content is not recorded returned on a socket of ours; false where the descriptor is none.
    pub(in crate::correlate) fn io(&mut self, rec: &abi::Io, shared: &mut Shared) -> bool {
        let at = KtimeNs(rec.hdr.ts_ns);
        let Some(sock) = self.sock(rec.fd) else { return false };
        let (service, lookup, query) = (sock.service, sock.lookup, sock.query);
        if let Some(lookup) = lookup {
            self.lookups[lookup].touch(at);
        }
        if service == Service::Dns {
            if rec.ret < 0 && !matches!(rec.ret.saturating_neg(), EINTR | EAGAIN) {
                self.waited_unasked(rec, shared);
                self.fail(rec.fd, failed(rec.ret, at));
            }
        } else if rec.ret < 0 {
            if query.is_some_and(|query| self.queries[query].end == End::Pending) {
                self.end_query(query, failed(rec.ret, at));
            }
        } else if rec.op == abi::OP_READ && rec.ret > 0 {
            self.service_answered(rec, at);
        } else if rec.op == abi::OP_WRITE
            && query.is_some_and(|query| self.queries[query].end != End::Pending)
        {
            self.service_asked_again(rec, shared);
        }
        true
    }

    /// A nameserver was waited for on a socket, and nothing that was asked on it was seen: it was asked when the wait began, at the latest.
    fn waited_unasked(&mut self, rec: &abi::Io, shared: &mut Shared) {
        if rec.op != abi::OP_READ || self.queries.iter().any(|asked| asked.fd == rec.fd) {
            return;
        }
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        let Some((server, stream)) = self.sock(rec.fd).map(|sock| (sock.server, sock.stream)) else { return };
        let lookup = self.current(now.tid).unwrap_or_else(|| self.begin(LookupKind::Other, now, shared));
        self.lookups[lookup].touch(KtimeNs(rec.hdr.ts_ns));
        self.ask(lookup, rec.fd, server, Service::Dns.transport(stream), now, shared);
    }

    fn service_answered(&mut self, rec: &abi::Io, at: KtimeNs) {
        let Some(sock) = self.sock(rec.fd) else { return };
        sock.bytes_in = sock.bytes_in.saturating_add(rec.ret.unsigned_abs());
        let (service, bytes, lookup, query) = (sock.service, sock.bytes_in, sock.lookup, sock.query);
        self.end_query(query, End::Answered { at });
        if let Some(looking) = lookup.and_then(|lookup| self.lookups.get_mut(lookup)) {
            looking.found = match service {
                // A known one's names come behind the header, by the same call or by another (`readv`).
                Service::Nscd => (bytes > NSCD_HEADER_BYTES).then_some(true),
                Service::Ident => Some(true),
                Service::Dns | Service::Resolved => None,
            };
        }
    }

    fn service_asked_again(&mut self, rec: &abi::Io, shared: &mut Shared) {
        let now = Moment::of(&rec.hdr, rec.enter_ns);
        let Some(sock) = self.sock(rec.fd) else { return };
        sock.bytes_in = 0;
        let (service, server, stream) = (sock.service, sock.server, sock.stream);
        if service == Service::Ident {
            return;
        }
        let lookup = self.begin(LookupKind::Other, now, shared);
        let query = self.ask(lookup, rec.fd, server, service.transport(stream), now, shared);
        if let Some(sock) = self.sock(rec.fd) {
            sock.lookup = Some(lookup);
            sock.query = query;
        }
    }
}
