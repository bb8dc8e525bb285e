//! What a hook was called with.
//!
//! A handler is written once, over [`Call`]. Three kinds of hook bring one:
//!
//! * tracepoints `syscalls:*` through perf, whose context holds arguments and result (same on 5.10 to 7.2; see
//!   `/sys/kernel/tracing/events/syscalls/*/format`): arguments at 16 + 8 i, result at 16;
//! * the raw tracepoints `sys_enter` (registers, number) and `sys_exit` (registers, result), where arguments are in the registers as the
//!   calling thread left them;
//! * trampolines (fentry, fexit) on the functions of the calls and of the protocols, with the same registers.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_probe_read_kernel,
        generated::{bpf_get_current_task_btf, bpf_get_func_ret, bpf_task_pt_regs},
    },
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

/// A trampoline on a kernel function that runs within a system call.
pub struct Trampoline {
    ctx: *mut c_void,
    /// `struct pt_regs` as the call left them: the verifier knows its type, so they are read without a helper.
    regs: *const u64,
    /// The function returns an `int`, as those of the protocols do: what is above it in the register is of no meaning.
    returns_int: bool,
}

impl Trampoline {
    /// On a system call's own function (`__x64_sys_*`), which is given nothing but the registers.
    #[inline(always)]
    pub fn of_call(ctx: *mut c_void) -> Self {
        // SAFETY: a trampoline's context begins with the function's first argument.
        Self { ctx, regs: unsafe { ctx.cast::<*const u64>().read() }, returns_int: false }
    }

    /// On any other function.
    #[inline(always)]
    pub fn within(ctx: *mut c_void) -> Self {
        // SAFETY: the helpers have no preconditions (Linux 5.11 and 5.15).
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) };
        Self { ctx, regs: regs as *const u64, returns_int: true }
    }

    /// The `N`th argument of the function itself.
    #[inline(always)]
    pub fn given<const N: usize>(&self) -> u64 {
        // SAFETY: arguments are words in a row; the verifier knows how many there are.
        unsafe { self.ctx.cast::<u64>().add(N).read() }
    }

    /// Number of the system call.
    #[inline(always)]
    pub fn number(&self) -> u32 {
        self.register(registers::NUMBER) as u32
    }

    /// As [`is_of_32_bits`].
    #[inline(always)]
    pub fn is_of_32_bits(&self) -> bool {
        of_32_bits(|offset| self.register(offset))
    }

    #[inline(always)]
    fn register(&self, offset: usize) -> u64 {
        // SAFETY: the kernel's own structure; the verifier checks the offset.
        unsafe { self.regs.byte_add(offset).read_volatile() }
    }
}

impl EbpfContext for Trampoline {
    fn as_ptr(&self) -> *mut c_void {
        self.ctx
    }
}

impl Call for Trampoline {
    #[inline(always)]
    fn arg<const N: usize>(&self) -> u64 {
        self.register(registers::ARGS[N])
    }

    /// Of the function: of a call's own it is the call's.
    #[inline(always)]
    fn ret(&self) -> i64 {
        let mut ret = 0_u64;
        // SAFETY: the helper (Linux 5.17) writes the number; the verifier lets it be called at a function's end only.
        unsafe { bpf_get_func_ret(self.ctx, &raw mut ret) };
        if self.returns_int { i64::from(ret as i32) } else { ret as i64 }
    }
}

/// Number of the system call that a raw `sys_exit` ends, read from the registers.
#[inline(always)]
pub fn number(ctx: &RawTracePointContext) -> u32 {
    register(ctx, registers::NUMBER) as u32
}

/// Whether a system call that a raw tracepoint sees is one of the 32-bit ABI, whose numbers mean other calls. Perf's tracepoints leave those out by
/// themselves (`arch_trace_is_compat_syscall`).
#[inline(always)]
pub fn is_of_32_bits(ctx: &RawTracePointContext) -> bool {
    of_32_bits(|offset| register(ctx, offset))
}

/// By its registers.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn of_32_bits(register: impl FnOnce(usize) -> u64) -> bool {
    // A 64-bit program can make one too (`int 0x80`). Where the kernel does not describe its threads, at least a 32-bit program is told by its code segment.
    match crate::kernel::thread_status() {
        Some(status) => status & registers::TS_COMPAT != 0,
        None => register(registers::CS) == registers::USER32_CS,
    }
}

/// As on x86, where only 32-bit code makes them.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn of_32_bits(register: impl FnOnce(usize) -> u64) -> bool {
    register(registers::PSTATE) & registers::PSR_MODE32_BIT != 0
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
