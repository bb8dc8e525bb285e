//! `dup2`, `dup3`, `close_range`: they close descriptors without `close`. A descriptor must never stay watched when something else took
//! its number: what is written to it next may be anything.

use super::close::closed;
use crate::{args::Call, watch};

/// Descriptors of one `close_range` that are looked at; a target that closes more at once is on its way to `exec`, which ends watching anyway.
const RANGE_MAX: u64 = 64;

#[inline(always)]
pub fn close_range(ctx: &impl Call) {
    let first = ctx.arg::<0>();
    let last = ctx.arg::<1>() & 0xffff_ffff;
    for n in 0..RANGE_MAX {
        if first + n > last {
            break;
        }
        let fd = (first + n) as i32;
        if let Some(watched) = watch::watched(fd) {
            closed(fd, &watched);
        }
    }
}

#[inline(always)]
pub fn replaced(ctx: &impl Call) {
    let fd = ctx.arg::<1>() as i32;
    if fd != ctx.fd()
        && let Some(watched) = watch::watched(fd)
    {
        closed(fd, &watched);
    }
}
