//! libwrap's `tcpd_context`: which rule is being evaluated.
//!
//! `struct tcpd_context { char *file; int line; }` (tcpd.h). libwrap sets it while it reads a table, so at a nameserver's `connect` it names the rule
//! that forces the lookup, and at a table's `close` the rule where reading stopped. It is one variable of the whole
//! process, hence read only in a thread that works for a connection.

use wrapwatch_common::{
    counters::Counter,
    records::{Kind, RULE_FILE_MAX, Rule},
};

use crate::{emit, kernel, maps::CONNS, user, watch::targets};

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
    let Some(target) = targets::current() else { return };
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
    let ts = kernel::now();
    emit::with_tail::<Rule, { RULE_FILE_MAX as u64 }>(
        Counter::LostOther,
        // SAFETY: there is room for the longest record's tail, far more than a path's and its NUL.
        |tail| unsafe { user::copy_str::<{ RULE_FILE_MAX as u64 + 1 }>(tail, context.file) },
        |file_len, len| Rule {
            hdr: emit::header(Kind::Rule, conn, ts, len),
            line: context.line,
            file_len,
            pad: 0,
        },
    );
}
