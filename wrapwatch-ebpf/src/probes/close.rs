//! `close`, `shutdown`: at enter, for the number can be in use again before `close` returns.

use wrapwatch_common::{
    counters::Counter,
    maps::Watch,
    records::{Class, Close, Kind, Shutdown},
};

use crate::{
    args::Call,
    emit, kernel,
    probes::login,
    rule,
    watch::{conns, fds, subjects},
};

#[inline(always)]
pub fn close(ctx: &impl Call) {
    let fd = ctx.fd();
    if let Some(watched) = fds::watched(fd) {
        closed(fd, &watched);
    }
}

#[inline(always)]
pub fn shutdown(ctx: &impl Call) {
    let fd = ctx.fd();
    let Some(watched) = fds::watched(fd) else { return };
    if watched.class != Class::Accepted as u8 || !conns::is_open(watched.conn) {
        return;
    }
    let hdr = emit::header(Kind::Shutdown, watched.conn, kernel::now(), size_of::<Shutdown>());
    emit::fixed(&Shutdown { hdr, fd, how: ctx.arg::<1>() as i32 }, Counter::LostOther);
}

/// A watched descriptor goes; also called when `dup2` puts another in its place.
#[inline(always)]
pub fn closed(fd: i32, watched: &Watch) {
    fds::unwatch(fd);
    let Some(conn) = conns::owner(watched) else { return };
    if watched.class == Class::Accepted as u8 && (conns::lets_go(conn) || conns::is_left_open(conn)) {
        return;
    }
    if watched.class == Class::Login as u8 {
        return login::closed(conn);
    }
    if watched.class == Class::File as u8 {
        rule::note(conn);
    }
    tell(conn, fd, watched.class, u8::from(watched.class == Class::File as u8) & watched.sock_type);
    if watched.class == Class::Accepted as u8 {
        conns::close(conn);
    } else if watched.class == Class::Dns as u8 {
        subjects::looked_up(conn);
    }
}

/// The last descriptor of a connection's socket goes, wherever that is: the socket says so, not a call.
#[inline(always)]
pub fn ended(conn: u64) {
    tell(conn, -1, Class::Accepted as u8, 0);
    conns::close(conn);
}

#[inline(always)]
fn tell(conn: u64, fd: i32, class: u8, read_to_end: u8) {
    let hdr = emit::header(Kind::Close, conn, kernel::now(), size_of::<Close>());
    let record = Close { hdr, run_delay_ns: kernel::run_delay(), fd, class, read_to_end, pad: [0; 2] };
    // A connection's last record: its loss leaves no gap, as a first packet's does.
    let is_last = class == Class::Accepted as u8;
    emit::fixed(&record, if is_last { Counter::LostFirstPacket } else { Counter::LostFile });
}
