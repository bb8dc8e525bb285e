//! `wait4` by a thread that works for a connection: libwrap waits for a spawned command.

use wrapwatch_common::{
    counters::Counter,
    maps::Watch as Watched,
    records::{Kind, Wait},
    syscalls::call,
};

use crate::{
    args::Call,
    emit, kernel,
    watch::{calls, conns},
};

#[inline(always)]
pub fn enter(_ctx: &impl Call) {
    if let Some(conn) = conns::working_for() {
        calls::remember(call::WAIT, 0, conn, 0, 0, Watched::default());
    }
}

#[inline(always)]
pub fn exit(ctx: &impl Call) {
    let Some(call) = calls::recall(call::WAIT) else { return };
    let hdr = emit::header(Kind::Wait, call.conn, kernel::now(), size_of::<Wait>());
    let record = Wait { hdr, enter_ns: call.enter_ns, ret: ctx.ret() as i32, pad: 0 };
    emit::fixed(&record, Counter::LostOther);
}
