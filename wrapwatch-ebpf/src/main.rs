//! The kernel side of wrapwatch.
#![no_std]
#![no_main]

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

/// Does nothing yet.
#[tracepoint]
fn sys_exit_accept4(_ctx: TracePointContext) -> u32 {
    wrapwatch_common::ABI_VERSION
}

/// Never reached: the verifier refuses a program that can panic.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers GPL-only helpers to programs that declare a compatible licence, in this spelling.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
