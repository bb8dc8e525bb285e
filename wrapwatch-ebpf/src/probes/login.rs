//! A login of MySQL's protocol, from the greeting to the server's answer: who was waited for, and what the server looked up meanwhile.
//!
//! Of what the server says the first bytes are read: header and type, of an error its code. Of what the client says only when it came.

use aya_ebpf::Global;
use wrapwatch_common::{
    counters::Counter,
    maps::{Conn, Watch},
    mysql::{self, LOGIN_PACKETS_MAX, LoginEnd, MORE},
    records::{Class, FIRST_PACKET_MAX, Kind, Login, SUBJECT_LOGS_IN, Subject},
};

use crate::{
    emit, kernel,
    maps::CONNS,
    sockaddr, user,
    watch::{conns, fds, subjects},
};

/// Whether logins are followed. Set when the programs are loaded.
#[unsafe(no_mangle)]
pub static LOGINS: Global<u32> = Global::new(0);

/// A packet of which too little can be read to tell more.
const SHORT: [u8; FIRST_PACKET_MAX] = [0, 0, 0, 0, MORE, 0, 0];

/// The client of a connection whose story is told with this was greeted: if that is a greeting after which clients log in, it does.
#[inline(always)]
pub fn begins(fd: i32, within: u64, greeting: &[u8; FIRST_PACKET_MAX], ts: u64) {
    if LOGINS.load() == 0 || !mysql::is_greeting(greeting) {
        return;
    }
    let conn = subjects::open(Conn::LOGS_IN, 0);
    let Some(state) = CONNS.get_ptr_mut(conn) else { return };
    // SAFETY: a live map value.
    unsafe { (*state).turn_ns = ts };
    fds::watch(fd, conn, Class::Login, 0);
    let hdr = emit::header(Kind::Subject, conn, ts, size_of::<Subject>());
    let record = Subject { hdr, peer: sockaddr::NONE, within, why: SUBJECT_LOGS_IN, pad: 0 };
    emit::fixed(&record, Counter::LostOther);
}

/// The server says something.
#[inline(always)]
pub fn says(fd: i32, watched: &Watch, base: u64, len: u64) {
    let ts = kernel::now();
    let Some(state) = CONNS.get_ptr_mut(watched.conn) else { return };
    // SAFETY: a live map value. A client is answered by one thread after another.
    let packets = unsafe {
        (*state).packets += 1;
        (*state).turn_ns = ts;
        (*state).packets
    };
    let mut bytes = SHORT;
    if len >= FIRST_PACKET_MAX as u64
        && let Some(read) = user::read::<[u8; FIRST_PACKET_MAX]>(base)
    {
        bytes = read;
    }
    let end = mysql::answer(&bytes, len);
    if end as u8 != LoginEnd::Asks as u8 || packets >= LOGIN_PACKETS_MAX {
        fds::unwatch(fd);
        ends(watched.conn, ts, bytes, end);
    }
}

/// Whether the server waits for the client.
#[inline(always)]
pub fn waits(conn: u64) -> bool {
    // SAFETY: a live map value.
    CONNS.get_ptr(conn).is_some_and(|state| unsafe { (*state).turn_ns } != 0)
}

/// It has read so much of what the client says.
#[inline(always)]
pub fn hears(conn: u64, ret: i64) {
    if ret <= 0 {
        return;
    }
    let Some(state) = CONNS.get_ptr_mut(conn) else { return };
    if conns::working_for() != Some(conn) {
        conns::work_for(conn);
    }
    // SAFETY: as in `says`.
    unsafe {
        if (*state).turn_ns != 0 {
            (*state).client_ns += kernel::now() - (*state).turn_ns;
            (*state).turn_ns = 0;
        }
    }
}

/// The server closes the socket.
#[inline(always)]
pub fn closed(conn: u64) {
    let ts = kernel::now();
    if let Some(state) = CONNS.get_ptr_mut(conn) {
        // SAFETY: a live map value.
        unsafe {
            if (*state).turn_ns != 0 {
                (*state).client_ns += ts - (*state).turn_ns;
            }
        }
    }
    ends(conn, ts, SHORT, LoginEnd::Closed);
}

#[inline(always)]
fn ends(conn: u64, ts: u64, bytes: [u8; FIRST_PACKET_MAX], end: LoginEnd) {
    let Some(state) = CONNS.get_ptr(conn) else { return };
    // SAFETY: a live map value.
    let (client_ns, packets) = unsafe { ((*state).client_ns, (*state).packets) };
    let hdr = emit::header(Kind::Login, conn, ts, size_of::<Login>());
    let record = Login { hdr, client_ns, packets, bytes, end: end as u8, pad: 0 };
    // Its last record: its loss leaves no gap.
    emit::fixed(&record, Counter::LostFirstPacket);
    conns::close(conn);
}
