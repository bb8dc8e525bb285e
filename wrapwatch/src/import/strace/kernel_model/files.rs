//! Files opened within a check, and what was read of them.

use wrapwatch_common::records as abi;
use wrapwatch_common::records::Class;

use super::capture::Capture;
use super::{KernelModel, Sink, Watch};
use crate::decode::Event;
use crate::import::strace::processes::Process;
use crate::import::strace::{Call, KEPT_MAX, Name, text};
use crate::model::KtimeNs;
use crate::trace::{Input, Snapshot, SnapshotMeta};

/// Most files kept.
const FILES_MAX: usize = KEPT_MAX / 64;

/// The path that a call opens.
fn path(call: &Call) -> Option<Vec<u8>> {
    let index = match call.name {
        Name::Open => 0,
        Name::OpenAt => 1,
        _ => return None,
    };
    let args = text::split(&call.args);
    text::string(args.get(index)?, abi::PATH_MAX).map(|(path, _)| path)
}

/// Whether a call opens a table, or tries to.
pub(super) fn is_table(call: &Call) -> bool {
    path(call).is_some_and(|path| path.ends_with(b"/hosts.allow") || path.ends_with(b"/hosts.deny"))
}

/// Whether a call is one that a program begins with: the loader's.
pub(super) fn is_loader(call: &Call) -> bool {
    path(call).is_some_and(|path| path == b"/etc/ld.so.cache")
}

impl KernelModel {
    pub(super) fn open(&mut self, call: &Call, process: Process, ret: i64, at: u64, out: Sink<'_>) {
        let Some(conn) = self.current(call.tid) else { return };
        let Some(path) = path(call) else { return };
        let ret = i32::try_from(ret).unwrap_or(i32::MIN);
        if ret >= 0 {
            let capture = Capture::of(&path, at).map(Box::new);
            self.watch(process, ret, Watch { conn, class: Class::File, sock_type: 0, capture });
        }
        let hdr = self.hdr(conn, call.tid, at);
        self.put(&Event::Open(abi::Open { hdr, enter_ns: call.start, ret, path_len: 0, pad: 0 }, &path), out);
    }

    /// Tells of a file where it is not as it was last time. A part of it replaces nothing that was whole.
    pub(super) fn snapshot(&mut self, capture: Capture, out: Sink<'_>) {
        let Capture { path, role, at, mut bytes, complete, cut } = capture;
        let truncated = !complete || cut;
        if truncated {
            let lines = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(lines);
        }
        let known = self.snapshots.get(&path);
        if known.is_some_and(
            |(before, whole)| if truncated { *whole || *before == bytes } else { *whole && *before == bytes },
        ) {
            return;
        }
        if self.snapshots.len() >= FILES_MAX && known.is_none() {
            self.stats.overflow += 1;
            return;
        }
        let meta = SnapshotMeta {
            at: KtimeNs(at),
            pid: self.pid,
            role,
            path: path.clone(),
            truncated,
            ..SnapshotMeta::default()
        };
        if cut {
            self.say_cut(out);
        }
        out(Input::from(Snapshot { meta, bytes: bytes.clone() }));
        self.snapshots.insert(path, (bytes, !truncated));
    }
}
