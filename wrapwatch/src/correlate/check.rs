//! A wrapper check as it runs in the accept thread: tables, rules, files, spawned commands, syslog, and its end.

use std::sync::Arc;

use wrapwatch_common::records as abi;

use crate::model::{KtimeNs, StallCause};

use super::parts::Span;

/// What a path is to the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathKind {
    Allow,
    Deny,
    /// `/etc/hosts`: a lookup begins.
    Hosts,
    Else,
}

impl PathKind {
    pub(super) const fn is_table(self) -> bool {
        matches!(self, Self::Allow | Self::Deny)
    }
}

/// A rule as libwrap's `tcpd_context` named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleAt {
    pub file: Arc<str>,
    pub line: u32,
    /// From the table's text in force at that time.
    pub text: Option<Arc<str>>,
}

/// A table used by the check.
#[derive(Debug)]
pub(super) struct TableUse {
    pub kind: PathKind,
    pub path: Arc<str>,
    /// When it was opened: its text is that of this moment, whatever is written to the path later.
    pub from: KtimeNs,
    /// While it is open.
    pub fd: Option<i32>,
    /// Closed, or could not be opened.
    pub done: Option<KtimeNs>,
    /// Could be opened.
    pub opened: bool,
    /// Read to its end.
    pub eof: bool,
    /// Where reading stopped.
    pub rule: Option<RuleAt>,
}

/// A file used by the check.
#[derive(Debug)]
pub(super) struct FileUsed {
    pub path: Arc<str>,
    pub first: KtimeNs,
    pub ns: u64,
    pub reads: u32,
    pub bytes: u64,
    /// errno, positive, of the last attempt to open it.
    pub errno: Option<i32>,
}

/// Something else used by the check.
#[derive(Debug)]
pub(super) struct OtherUsed {
    pub what: Arc<str>,
    pub first: KtimeNs,
    pub ns: u64,
    /// More was done than a connect that returned at once: resolvers connect datagram sockets to sort addresses (RFC 6724), at no cost.
    pub matters: bool,
}

/// A descriptor that is neither a nameserver's nor the client's.
#[derive(Clone, Copy, Debug)]
pub(super) struct FdUse {
    pub fd: i32,
    pub what: FdKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FdKind {
    /// Index into [`Check::files`], and whether it is a table; none for another thread's file.
    File(Option<usize>, PathKind),
    Syslog,
    /// Index into [`Check::others`].
    Other(usize),
}

/// libwrap was asked.
#[derive(Debug)]
pub(super) struct Asking {
    pub what: u8,
    pub daemon: Arc<str>,
    pub tid: u32,
    pub at: KtimeNs,
    /// When it answered, and what.
    pub end: Option<(KtimeNs, i32)>,
}

/// Calls of a check with two lookups, and some more: beyond this the list grows.
const SPANS_USUAL: usize = 32;

/// The check.
#[derive(Debug, Default)]
pub(super) struct Check {
    pub tables: Vec<TableUse>,
    pub files: Vec<FileUsed>,
    pub others: Vec<OtherUsed>,
    pub fds: Vec<FdUse>,
    /// Calls that were seen from begin to end.
    pub spans: Vec<Span>,
    /// `hosts_access` was entered.
    pub entered: Option<KtimeNs>,
    /// `hosts_access` returned, and what.
    pub returned: Option<(KtimeNs, i32)>,
    /// `rfc931` or `shell_cmd` was entered and has not returned.
    pub inside: Option<(StallCause, KtimeNs)>,
    /// The rule last named, and whether no table was closed since.
    pub context: Option<RuleAt>,
    pub context_fresh: bool,
    /// Any rule was named.
    pub rule_seen: bool,
    /// The rule that forced the first lookup.
    pub forced: Option<RuleAt>,
    /// End of the last thing that belongs to a check even after `hosts_access` returned: the refusal's syslog.
    pub syslog_end: Option<KtimeNs>,
    /// End of the last spawned command.
    pub spawn_end: Option<KtimeNs>,
    /// A file was opened and nothing was read from it yet.
    pub opened_last: bool,
    /// What libwrap was asked, where the kernel side tells.
    pub asked: Vec<Asking>,
    /// More was used than is remembered.
    pub overflow: bool,
}

impl Check {
    /// One of which nothing was seen, with the room of this one's lists.
    pub(super) fn emptied(self) -> Self {
        let Self { mut tables, mut files, mut others, mut fds, mut spans, mut asked, .. } = self;
        tables.clear();
        files.clear();
        others.clear();
        fds.clear();
        spans.clear();
        asked.clear();
        Self { tables, files, others, fds, spans, asked, ..Self::default() }
    }

    /// Takes note of a call. Beyond the limit calls are merged into the last of their kind, gaps included: the parts still add up.
    pub(super) fn span(&mut self, span: Span, limit: usize) {
        if span.from >= span.to {
            return;
        }
        if self.spans.len() < limit {
            if self.spans.is_empty() {
                self.spans.reserve(SPANS_USUAL.min(limit));
            }
            self.spans.push(span);
        } else {
            self.overflow = true;
            if let Some(last) = self.spans.last_mut().filter(|last| last.cause == span.cause) {
                last.to = last.to.max(span.to);
            }
        }
    }

    /// A rule was named. An empty path means that libwrap is between tables.
    pub(super) fn rule(&mut self, rule: Option<RuleAt>) {
        self.context_fresh = rule.is_some();
        self.rule_seen = true;
        self.context = rule;
    }

    /// A lookup begins; the rule named last forced it, if it is the first. `read`: the kernel side reads the context at this call, so that the
    /// last one is in force; else it may be of a table that is closed.
    pub(super) fn lookup_begins(&mut self, read: bool) {
        if self.forced.is_none() && (read || self.context_fresh) {
            self.forced.clone_from(&self.context);
        }
    }

    /// A file was opened, or could not be.
    pub(super) fn open(&mut self, path: Arc<str>, kind: PathKind, call: Span, ret: i32, limit: usize) {
        let file = self.file(&path, call.from, limit);
        if let Some(file) = file.and_then(|file| self.files.get_mut(file)) {
            file.ns = file.ns.saturating_add(call.ns());
            file.errno = (ret < 0).then(|| ret.saturating_neg());
        }
        if kind.is_table() && self.tables.len() < limit {
            let done = (ret < 0).then_some(call.to);
            let fd = (ret >= 0).then_some(ret);
            let (from, opened) = (call.to, ret >= 0);
            self.tables.push(TableUse { kind, path, from, fd, done, opened, eof: false, rule: None });
        }
        if ret >= 0 {
            self.use_fd(FdUse { fd: ret, what: FdKind::File(file, kind) }, limit);
        }
        self.opened_last = ret >= 0;
    }

    fn file(&mut self, path: &Arc<str>, at: KtimeNs, limit: usize) -> Option<usize> {
        if let Some(index) = self.files.iter().position(|file| file.path == *path) {
            return Some(index);
        }
        if self.files.len() >= limit {
            self.overflow = true;
            return None;
        }
        self.files.push(FileUsed { path: path.clone(), first: at, ns: 0, reads: 0, bytes: 0, errno: None });
        Some(self.files.len() - 1)
    }

    /// Something else that took time, by name.
    pub(super) fn other(&mut self, what: &str, at: KtimeNs, limit: usize) -> Option<usize> {
        if let Some(index) = self.others.iter().position(|other| &*other.what == what) {
            return Some(index);
        }
        if self.others.len() >= limit {
            self.overflow = true;
            return None;
        }
        self.others.push(OtherUsed { what: what.into(), first: at, ns: 0, matters: false });
        Some(self.others.len() - 1)
    }

    /// Remembers what a descriptor is; a descriptor of the same number is replaced.
    pub(super) fn use_fd(&mut self, used: FdUse, limit: usize) {
        self.fds.retain(|other| other.fd != used.fd);
        if self.fds.len() < limit {
            self.fds.push(used);
        } else {
            self.overflow = true;
        }
    }

    pub(super) fn fd(&self, fd: i32) -> Option<FdUse> {
        self.fds.iter().find(|used| used.fd == fd).copied()
    }

    /// A read or write on a file returned.
    pub(super) fn file_io(&mut self, file: Option<usize>, kind: PathKind, rec: &abi::Io, ns: u64) {
        self.opened_last = false;
        if let Some(file) = file.and_then(|file| self.files.get_mut(file)) {
            file.ns = file.ns.saturating_add(ns);
            if rec.op == abi::OP_READ && rec.ret >= 0 {
                file.reads = file.reads.saturating_add(1);
                file.bytes = file.bytes.saturating_add(rec.ret.unsigned_abs());
            }
        }
        if kind.is_table() && rec.ret == 0 {
            self.table_ends(rec.fd);
        }
    }

    /// A read of a file found its end, at once.
    pub(super) fn read_to_end(&mut self, fd: i32) {
        let Some(FdKind::File(file, kind)) = self.fd(fd).map(|used| used.what) else { return };
        if let Some(file) = file.and_then(|file| self.files.get_mut(file)) {
            file.reads = file.reads.saturating_add(1);
        }
        if kind.is_table() {
            self.table_ends(fd);
        }
    }

    fn table_ends(&mut self, fd: i32) {
        if let Some(table) = self.tables.iter_mut().find(|table| table.fd == Some(fd)) {
            table.eof = true;
        }
    }

    /// A descriptor is closed; false where it is not known here.
    pub(super) fn close(&mut self, fd: i32, at: KtimeNs) -> bool {
        let Some(index) = self.fds.iter().position(|used| used.fd == fd) else { return false };
        let used = self.fds.swap_remove(index);
        self.opened_last = false;
        match used.what {
            FdKind::File(_, kind) if kind.is_table() => {
                if let Some(table) = self.tables.iter_mut().find(|table| table.fd == Some(fd)) {
                    table.fd = None;
                    table.done = Some(at);
                    // The context still names the line where reading stopped, if it is of this table.
                    table.rule = self.context.clone().filter(|rule| rule.file == table.path);
                }
                self.context_fresh = false;
            }
            FdKind::File(_, PathKind::Hosts) => self.lookup_begins(true),
            _ => {}
        }
        true
    }

    /// When the table of this path was last opened.
    pub(super) fn opened(&self, path: &str) -> Option<KtimeNs> {
        self.tables.iter().rfind(|table| table.opened && &*table.path == path).map(|table| table.from)
    }

    /// The table that is open.
    pub(super) fn open_table(&self) -> Option<&TableUse> {
        self.tables.iter().rev().find(|table| table.fd.is_some())
    }

    /// When the last table was done with.
    pub(super) fn tables_end(&self) -> Option<KtimeNs> {
        self.tables.iter().filter_map(|table| table.done).max()
    }

    /// Whether anything of a check was seen.
    pub(super) const fn seen(&self) -> bool {
        !self.tables.is_empty() || self.entered.is_some() || self.returned.is_some()
    }

    /// The rule that decided: where reading stopped in the table that matched. Which one matched is told by what followed.
    pub(super) fn verdict_rule(&self, refused: bool) -> Option<&RuleAt> {
        let last = self.tables.last()?;
        let matched = match last.kind {
            // Had hosts.allow not matched, hosts.deny would have been tried.
            PathKind::Allow => true,
            // A rule of hosts.deny can admit (option `allow`, hosts_options(5)): then it was not read to its end.
            _ => refused || !last.eof,
        };
        if matched && last.opened { last.rule.as_ref() } else { None }
    }
}
