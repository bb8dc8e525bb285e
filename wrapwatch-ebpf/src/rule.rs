//! libwrap's `tcpd_context`: which rule is being evaluated.
//!
//! `struct tcpd_context { char *file; int line; }` (tcpd.h). libwrap sets it while it reads a table, so at a nameserver's `connect` it names the rule
//! that forces the lookup, and at a table's `close` the rule where reading stopped. It is one variable of the whole
//! process, hence read only in a thread that works for a connection.

use wrapwatch_common::{
    counters::Counter,
    records::{Kind, RULE_FILE_MAX, Rule},
};

use crate::{
    emit,
    maps::{CONNS, SCRATCH},
    user, watch,
};

/// `struct tcpd_context` in memory.
#[repr(C)]
#[derive(Clone, Copy)]
struct Context {
    file: u64,
    line: i32,
    pad: i32,
}

/// Writes a rule record when the context differs from the last one written for `conn`.
#[inline(always)]
pub fn note(conn: u64) {
    let Some(target) = watch::target() else { return };
    if target.tcpd_context == 0 {
        return;
    }
    let Some(context) = user::read::<Context>(target.tcpd_context) else { return };
    let Some(state) = CONNS.get_ptr_mut(conn) else { return };
    // SAFETY: a live map value; only the accept thread of this connection gets here.
    unsafe {
        if (*state).rule_line == context.line && (*state).rule_file == context.file {
            return;
        }
        (*state).rule_line = context.line;
        (*state).rule_file = context.file;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    let scratch = scratch.cast::<u8>();
    const BODY: usize = size_of::<Rule>();
    // SAFETY: the scratch has room for the largest record, which is larger than a rule and its path; it belongs to this CPU.
    unsafe {
        let n = user::copy_str::<{ RULE_FILE_MAX as u32 + 1 }>(scratch.add(BODY), context.file);
        let n = user::bound::<{ RULE_FILE_MAX as u64 }>(n);
        let len = BODY as u64 + n;
        let hdr = emit::header(Kind::Rule, conn, emit::now(), len as usize);
        scratch.cast::<Rule>().write(Rule { hdr, line: context.line, file_len: n as u16, pad: 0 });
        emit::raw(scratch, len, Counter::LostOther);
    }
}
