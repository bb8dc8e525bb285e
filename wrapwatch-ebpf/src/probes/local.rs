//! Clients of unix sockets: they have no handshake, and wait in the listener's queue from within their own `connect`.

use wrapwatch_common::{
    counters::Counter,
    records::{Kind, SockState},
};

use super::state::{TCP_ESTABLISHED, TCP_SYN_RECV};
use crate::{emit, kernel, maps::LOCAL_LISTENERS, sockaddr};

/// `security_unix_stream_connect`, in the client, which has found room in the queue of `listener`: it is about to enter `sk`, the socket that `accept` will return.
#[inline(always)]
pub fn queued(listener: u64, sk: u64) {
    let inode = kernel::inode_of(listener);
    if inode == 0 || LOCAL_LISTENERS.get_ptr(inode).is_none() {
        return;
    }
    let record = SockState {
        hdr: emit::anonymous(Kind::SockState, kernel::now(), size_of::<SockState>()),
        sk,
        local: sockaddr::LOCAL,
        peer: sockaddr::LOCAL,
        // Where its listener has a path it may be in any network namespace.
        netns: 0,
        old: TCP_SYN_RECV as u8,
        new: TCP_ESTABLISHED as u8,
        pad: 0,
    };
    emit::fixed(&record, Counter::LostSockState);
}
