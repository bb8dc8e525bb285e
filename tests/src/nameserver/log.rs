//! The log of queries.

use super::LogEntry;

/// Queries in the order they were read.
#[derive(Default)]
pub(super) struct Log {
    entries: Vec<LogEntry>,
    /// Number of the first entry: those before were handed over.
    first: u64,
}

impl Log {
    /// Adds a query; gives the number by which it can be changed.
    pub(super) fn add(&mut self, entry: LogEntry) -> u64 {
        self.entries.push(entry);
        self.first + self.entries.len() as u64 - 1
    }

    /// All of them; `clear` forgets them.
    pub(super) fn entries(&mut self, clear: bool) -> Vec<LogEntry> {
        if !clear {
            return self.entries.clone();
        }
        self.first += self.entries.len() as u64;
        std::mem::take(&mut self.entries)
    }

    /// A reply to it is sent.
    pub(super) fn note(&mut self, number: u64, at_ns: u64) {
        self.change(number, |entry| {
            entry.replied_ns.get_or_insert(at_ns);
            entry.replies += 1;
        });
    }

    /// It could not be sent after all.
    pub(super) fn retract(&mut self, number: u64) {
        self.change(number, |entry| {
            entry.replies -= 1;
            if entry.replies == 0 {
                entry.replied_ns = None;
            }
        });
    }

    /// Changes an entry, unless it was handed over meanwhile.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut LogEntry)) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            change(entry);
        }
    }
}
