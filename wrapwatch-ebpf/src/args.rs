//! What a hook was called with.
//!
//! A handler is written once, over [`Call`]. Two kinds of hook bring one:
//!
//! * tracepoints `syscalls:*` through perf, whose context holds arguments and result (same on 5.10 to 7.2; see
//!   `/sys/kernel/tracing/events/syscalls/*/format`): arguments at 16 + 8 i, result at 16;
//! * the raw tracepoints `sys_enter` (registers, number) and `sys_exit` (registers, result), where arguments are in the registers as the
//!   calling thread left them.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_probe_read_kernel,
    programs::{ProbeContext, RawTracePointContext, TracePointContext},
};

/// A system call, at its enter or at its exit.
pub trait Call: EbpfContext {
    /// The `N`th argument; at enter only.
    fn arg<const N: usize>(&self) -> u64;

    /// The result; at exit only.
    fn ret(&self) -> i64;

    /// The first argument as a descriptor.
    #[inline(always)]
    fn fd(&self) -> i32 {
        self.arg::<0>() as i32
    }
}

impl Call for TracePointContext {
    #[inline(always)]
    fn arg<const N: usize>(&self) -> u64 {
        field(self, 16 + 8 * N)
    }

    #[inline(always)]
    fn ret(&self) -> i64 {
        field(self, 16)
    }
}

impl Call for RawTracePointContext {
    #[inline(always)]
    fn arg<const N: usize>(&self) -> u64 {
        register(self, registers::ARGS[N])
    }

    #[inline(always)]
    fn ret(&self) -> i64 {
        self.arg::<u64>(1) as i64
    }
}

/// Number of the system call that a raw `sys_exit` ends, read from the registers.
#[inline(always)]
pub fn number(ctx: &RawTracePointContext) -> u32 {
    register(ctx, registers::NUMBER) as u32
}

/// Whether a system call that a raw tracepoint sees is one of the 32-bit ABI, whose numbers mean other calls. Perf's tracepoints leave those out by
/// themselves (`arch_trace_is_compat_syscall`).
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub fn is_of_32_bits(ctx: &RawTracePointContext) -> bool {
    // A 64-bit program can make one too (`int 0x80`). Where the kernel does not describe its threads, at least a 32-bit program is told by its code segment.
    match crate::kernel::thread_status() {
        Some(status) => status & registers::TS_COMPAT != 0,
        None => register(ctx, registers::CS) == registers::USER32_CS,
    }
}

/// As on x86, where only 32-bit code makes them.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn is_of_32_bits(ctx: &RawTracePointContext) -> bool {
    register(ctx, registers::PSTATE) & registers::PSR_MODE32_BIT != 0
}

/// Eight bytes of the `struct pt_regs` that a raw `sys_enter` or `sys_exit` was given. The kernel vouches for the structure, so 0 for what cannot
/// be read is never seen.
#[inline(always)]
fn register(ctx: &RawTracePointContext, offset: usize) -> u64 {
    let regs: u64 = ctx.arg(0);
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((regs + offset as u64) as *const u64) }.unwrap_or(0)
}

/// The field at an offset of a tracepoint's context, read straight from it: no helper, so it also works where reading kernel memory is locked down.
#[inline(always)]
pub fn field<T: Copy>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: the verifier checks that offset and size lie inside the tracepoint's context and refuses the program
    // otherwise; T is an integer type of the field's size, and fields are aligned to their size.
    unsafe { ctx.as_ptr().cast::<u8>().add(offset).cast::<T>().read() }
}

/// Address of the instruction that a uprobe is on.
#[inline(always)]
pub fn instruction(ctx: &ProbeContext) -> u64 {
    // SAFETY: the verifier lets a uprobe's program read the registers that it is given; the offset is one of theirs.
    unsafe { ctx.as_ptr().byte_add(registers::INSTRUCTION).cast::<u64>().read() }
}

/// `struct pt_regs` (arch/x86/include/asm/ptrace.h) and the registers of a call (syscall(2)).
#[cfg(bpf_target_arch = "x86_64")]
mod registers {
    /// rdi, rsi, rdx, r10, r8, r9
    pub const ARGS: [usize; 6] = [112, 104, 96, 56, 72, 64];
    /// `orig_ax`
    pub const NUMBER: usize = 120;
    /// `ip`
    pub const INSTRUCTION: usize = 128;
    /// `cs`
    pub const CS: usize = 136;
    /// `__USER32_CS` (arch/x86/include/asm/segment.h)
    pub const USER32_CS: u64 = 0x23;
    /// In `thread_info.status` (arch/x86/include/asm/thread_info.h)
    pub const TS_COMPAT: u32 = 2;
}

/// `struct pt_regs` (arch/arm64/include/asm/ptrace.h): x0 to x30, sp, pc, pstate, then `orig_x0`, for x0 holds the result at exit, and `syscallno`.
#[cfg(bpf_target_arch = "aarch64")]
mod registers {
    /// `orig_x0`, x1 to x5
    pub const ARGS: [usize; 6] = [272, 8, 16, 24, 32, 40];
    /// `syscallno`, an `s32` of which the upper half is something else
    pub const NUMBER: usize = 280;
    /// `pc`
    pub const INSTRUCTION: usize = 256;
    /// `pstate`
    pub const PSTATE: usize = 264;
    /// In it (arch/arm64/include/uapi/asm/ptrace.h)
    pub const PSR_MODE32_BIT: u64 = 0x10;
}
