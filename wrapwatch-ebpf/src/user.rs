//! Reading the target's memory.

use aya_ebpf::helpers::{bpf_probe_read_user, generated};

/// A value at a user address; None where the page is absent or the address wrong.
#[inline(always)]
pub fn read<T: Copy>(addr: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails on a bad one; T is plain data for every caller (integers, arrays of them).
    unsafe { bpf_probe_read_user(addr as *const T) }.ok()
}

/// Copies at most `MAX` of `len` bytes to `dst` and says how many; 0 where they could not be read.
///
/// # Safety
/// `dst` must have room for `MAX` bytes.
#[inline(always)]
pub unsafe fn copy<const MAX: u64>(dst: *mut u8, addr: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    let n = bound::<MAX>(len);
    // SAFETY: n <= MAX, for which the caller vouches; the helper checks the user address.
    let failed = unsafe { generated::bpf_probe_read_user(dst.cast(), n as u32, addr as *const _) } != 0;
    if failed { 0 } else { n }
}

/// Copies a string of at most `MAX` bytes (NUL included) and says its length without the NUL; 0 where it could not be read.
///
/// # Safety
/// `dst` must have room for `MAX` bytes.
#[inline(always)]
pub unsafe fn copy_str<const MAX: u64>(dst: *mut u8, addr: u64) -> u64 {
    // SAFETY: the caller vouches for MAX bytes at dst; the helper checks the user address.
    let n = unsafe { generated::bpf_probe_read_user_str(dst.cast(), MAX as u32, addr as *const _) };
    if n <= 1 { 0 } else { bound::<MAX>(n as u64 - 1) }
}

/// `min(len, MAX)` in a form that the verifier can follow: to be used right before the call that needs it.
///
/// In instructions of our own, since the compiler likes to compare one copy of the length and to pass another one, reloaded from the
/// stack. Linux 6.1 does not know that those are the same number, and 5.10 forgets whatever it knew of a number on the stack.
#[inline(always)]
pub fn bound<const MAX: u64>(len: u64) -> u64 {
    let mut n = len;
    // SAFETY: two instructions on one register; both outcomes are at most MAX, as the hint says. MAX fits into an instruction (31 bits).
    unsafe {
        core::arch::asm!(
            "if {n} <= {max} goto +1",
            "{n} = {max}",
            n = inout(reg) n,
            max = const MAX,
            options(nomem, nostack)
        );
        core::hint::assert_unchecked(n <= MAX);
    }
    n
}
