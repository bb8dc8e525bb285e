//! libwrap's own functions, by uprobes: the exact ends of a check, an ident lookup, a spawned command.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use wrapwatch_common::{
    counters::Counter,
    records::{Check, Kind, WHAT_HOSTS_ACCESS, WHAT_RFC931, WHAT_SHELL_CMD},
};

use crate::{emit, watch::conns};

#[uprobe]
pub fn hosts_access(_ctx: ProbeContext) -> u32 {
    note(WHAT_HOSTS_ACCESS, 0, 0)
}

#[uretprobe]
pub fn hosts_access_ret(ctx: RetProbeContext) -> u32 {
    note(WHAT_HOSTS_ACCESS, 1, ctx.ret::<u64>() as i32)
}

#[uprobe]
pub fn rfc931(_ctx: ProbeContext) -> u32 {
    note(WHAT_RFC931, 0, 0)
}

#[uretprobe]
pub fn rfc931_ret(_ctx: RetProbeContext) -> u32 {
    note(WHAT_RFC931, 1, 0)
}

#[uprobe]
pub fn shell_cmd(_ctx: ProbeContext) -> u32 {
    note(WHAT_SHELL_CMD, 0, 0)
}

#[uretprobe]
pub fn shell_cmd_ret(_ctx: RetProbeContext) -> u32 {
    note(WHAT_SHELL_CMD, 1, 0)
}

#[inline(always)]
fn note(what: u8, returned: u8, ret: i32) -> u32 {
    let Some(conn) = conns::working_for() else { return 0 };
    let hdr = emit::header(Kind::Check, conn, emit::now(), size_of::<Check>());
    emit::fixed(&Check { hdr, ret, what, returned, pad: 0 }, Counter::LostOther);
    0
}
