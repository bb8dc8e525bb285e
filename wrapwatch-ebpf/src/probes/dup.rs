//! `dup2`, `dup3`, `close_range`: they close descriptors without `close`. A descriptor must never stay watched when something else took
//! its number: what is written to it next may be anything.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

use super::close::closed;
use crate::{args, watch};

/// Descriptors of one `close_range` that are looked at; a target that closes more at once is on its way to `exec`, which ends watching anyway.
const RANGE_MAX: u64 = 64;

#[tracepoint]
pub fn sys_enter_dup2(ctx: TracePointContext) -> u32 {
    replaced(&ctx)
}

#[tracepoint]
pub fn sys_enter_dup3(ctx: TracePointContext) -> u32 {
    replaced(&ctx)
}

#[tracepoint]
pub fn sys_enter_close_range(ctx: TracePointContext) -> u32 {
    if watch::target().is_none() {
        return 0;
    }
    let first = args::arg!(&ctx, 0);
    let last = args::arg!(&ctx, 1) & 0xffff_ffff;
    for n in 0..RANGE_MAX {
        if first + n > last {
            break;
        }
        let fd = (first + n) as i32;
        if let Some(watched) = watch::watched(fd) {
            closed(fd, &watched);
        }
    }
    0
}

#[inline(always)]
fn replaced(ctx: &TracePointContext) -> u32 {
    let fd = args::arg!(ctx, 1) as i32;
    if fd != args::fd(ctx)
        && let Some(watched) = watch::watched(fd)
    {
        closed(fd, &watched);
    }
    0
}
