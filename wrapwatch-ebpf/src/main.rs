//! The kernel side of wrapwatch.
//!
//! It watches descriptors, not syscalls. Accept gives a connection its number; what the threads working for that
//! connection open is entered into [`maps::WATCH`]; every other program looks its descriptor up there first and returns at once when it
//! is not found. While no connection is open not even that is done, so a busy server's queries cost a comparison or two a call and no event.
//!
//! Layout: [`maps`] holds the state, [`emit`] writes records, [`watch`] finds out whether a call matters, [`rule`] reads libwrap's
//! `tcpd_context`, `probes/` has what is done at a hook,
//! one file a call, and [`entry`] the programs that the kernel calls.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::inline_always,
    reason = "one program a hook: a call costs instructions and stack, and the verifier knows less across it"
)]
#![expect(clippy::needless_pass_by_value, reason = "the entry points' signature is aya's")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "syscall arguments are registers, of which a part is meant; a checked conversion is a branch that can not be taken"
)]

mod args;
mod counts;
mod emit;
mod entry;
mod kernel;
mod maps;
mod probes;
mod rule;
mod shared;
mod sockaddr;
mod user;
mod watch;

/// The ABI of the object, for the loader to compare with its own.
#[unsafe(no_mangle)]
static WRAPWATCH_ABI: u32 = wrapwatch_common::ABI_VERSION;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing in here panics: the verifier refuses a program that could reach this.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
