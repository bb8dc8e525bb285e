//! `wait4` by a thread that works for a connection: libwrap waits for a spawned command.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use wrapwatch_common::{
    counters::Counter,
    maps::Watch as Watched,
    records::{Kind, Wait},
};

use crate::{args, emit, maps::call, watch};

#[tracepoint]
pub fn sys_enter_wait4(_ctx: TracePointContext) -> u32 {
    if let Some(conn) = watch::working_for() {
        watch::remember(call::WAIT, 0, conn, 0, 0, Watched::default());
    }
    0
}

#[tracepoint]
pub fn sys_exit_wait4(ctx: TracePointContext) -> u32 {
    let Some(call) = watch::recall(call::WAIT) else { return 0 };
    let hdr = emit::header(Kind::Wait, call.conn, emit::now(), size_of::<Wait>());
    let record = Wait { hdr, enter_ns: call.enter_ns, ret: args::ret(&ctx) as i32, pad: 0 };
    emit::fixed(&record, Counter::LostOther);
    0
}
