//! A tracepoint's fields.
//!
//! Layout of `syscalls:*` (same on 5.10 to 7.2; see `/sys/kernel/tracing/events/syscalls/*/format`): arguments at 16 + 8 i,
//! result at 16.

use aya_ebpf::{EbpfContext, programs::TracePointContext};

/// The field at `OFFSET`, read straight from the context: no helper, so it also works where reading kernel memory is locked down.
#[inline(always)]
pub fn field<T: Copy, const OFFSET: usize>(ctx: &TracePointContext) -> T {
    // SAFETY: the verifier checks that offset and size lie inside the tracepoint's context and refuses the program
    // otherwise; T is an integer type of the field's size, and fields are aligned to their size.
    unsafe { ctx.as_ptr().cast::<u8>().add(OFFSET).cast::<T>().read() }
}

/// A syscall's `N`th argument.
macro_rules! arg {
    ($ctx:expr, $n:literal) => {
        $crate::args::field::<u64, { 16 + 8 * $n }>($ctx)
    };
}
pub(crate) use arg;

/// A syscall's argument 0 as a descriptor.
#[inline(always)]
pub fn fd(ctx: &TracePointContext) -> i32 {
    field::<u64, 16>(ctx) as i32
}

/// A syscall's result.
#[inline(always)]
pub fn ret(ctx: &TracePointContext) -> i64 {
    field::<i64, 16>(ctx)
}
