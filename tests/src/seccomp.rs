//! A filter of system calls (seccomp(2)) such as containers have: one that refuses raw tracepoints.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, EPERM, SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, sock_filter, sock_fprog,
};

/// `BPF_RAW_TRACEPOINT_OPEN` of bpf(2).
const RAW_TRACEPOINT_OPEN: u32 = 17;
/// Where `struct seccomp_data` has the call's number, and the lower half of its first argument where the machine is little-endian.
const NUMBER: u32 = 0;
const FIRST: u32 = 16;

/// Has the command run under it. The command must be root's: others would have to give up new privileges first.
pub fn refuse_raw_tracepoints(command: &mut Command) {
    // SAFETY: between fork and exec one system call is made, and nothing allocated.
    unsafe { command.pre_exec(filter) };
}

#[expect(clippy::cast_possible_truncation, reason = "a call's number and a handful of instructions")]
fn filter() -> io::Result<()> {
    let load = |at| instruction(BPF_LD | BPF_W | BPF_ABS, at, 0);
    let give = |what| instruction(BPF_RET | BPF_K, what, 0);
    // Where it is not this, so many instructions are left out.
    let only = |what, left_out| instruction(BPF_JMP | BPF_JEQ | BPF_K, what, left_out);
    let mut program = [
        load(NUMBER),
        only(libc::SYS_bpf as u32, 3),
        load(FIRST),
        only(RAW_TRACEPOINT_OPEN, 1),
        give(SECCOMP_RET_ERRNO | EPERM as u32),
        give(SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives until then.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel's codes have 16 bits")]
const fn instruction(code: u32, k: u32, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf, k }
}
