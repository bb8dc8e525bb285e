//! The lines of progress of a recording, a report, an export and of `publish` while it catches up: on a terminal only.

use std::{
    fs::File,
    io::{self, Read},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::{
    model::{Cost, Share},
    record::Progress,
    replay,
};

/// How often it is drawn.
const EVERY_NS: u64 = 500_000_000;
/// What is read in less shows no progress.
const READ_AT_ONCE: Duration = Duration::from_millis(200);
/// From so many columns on a bar is drawn.
const BAR_FROM: usize = 60;

/// A line on stderr that is drawn again and again; nothing where stderr is no terminal.
#[derive(Debug)]
pub struct Line {
    bar: ProgressBar,
    drawn: Progress,
    cost: Cost,
}

impl Line {
    /// Not drawn yet; never drawn where `quiet`.
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, drawn: Progress::default(), cost: Cost::default() }
    }

    /// Draws it, if it is time to.
    pub fn show(&mut self, progress: Progress) {
        let since_ns = progress.to.since(self.drawn.to.max(progress.from));
        if since_ns >= EVERY_NS && !self.bar.is_hidden() {
            self.bar.set_message(text(&progress, &self.drawn, since_ns, &self.cost, super::output::width()));
            self.drawn = progress;
        }
    }

    /// Shows this cost from now on.
    pub fn cost(&mut self, cost: Cost) {
        self.cost = cost;
    }

    /// Says something above it.
    pub fn say(&self, message: &str) {
        self.bar.suspend(|| super::output::note(message));
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far a trace is read.
#[derive(Debug)]
pub struct Reading {
    bar: ProgressBar,
    begun: Instant,
}

impl Reading {
    /// Of so many bytes; not drawn yet, and never where `quiet`.
    pub fn new(bytes: u64, quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(bytes) };
        // The bar gives way first.
        let template = if super::output::width() < BAR_FROM {
            "{percent:>3} %  {wide_msg}"
        } else {
            "[{bar:20}] {percent:>3} %  {wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("#--"));
        }
        Self { bar, begun: Instant::now() }
    }

    /// Draws it; a trace that is read at once needs no progress.
    pub fn show(&self, progress: &replay::Progress) {
        if self.begun.elapsed() >= READ_AT_ONCE {
            self.bar.set_message(format!("{} connections", HumanCount(progress.connections)));
            self.bar.set_position(progress.bytes);
        }
    }

    /// Draws it where no connections are counted.
    pub fn at(&self, bytes: u64) {
        if self.begun.elapsed() >= READ_AT_ONCE {
            let of = self.bar.length().unwrap_or_default();
            self.bar.set_message(format!("{} of {}", HumanBytes(bytes.min(of)), HumanBytes(of)));
            self.bar.set_position(bytes);
        }
    }

    /// Says something above it.
    pub fn say(&self, message: &str) {
        self.bar.suspend(|| super::output::note(message));
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A file that is read to its end, and shows how far it is.
#[derive(Debug)]
pub struct Watched {
    file: File,
    read: u64,
    bar: Reading,
}

impl Watched {
    /// Never shown where `quiet`.
    pub fn new(file: File, quiet: bool) -> io::Result<Self> {
        let bar = Reading::new(file.metadata()?.len(), quiet);
        Ok(Self { file, read: 0, bar })
    }
}

impl Read for Watched {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.read = self.read.saturating_add(n as u64);
        self.bar.at(self.read);
        Ok(n)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.bar.clear();
    }
}

/// What fits into so many columns, whole figures only; what matters least is the last.
fn text(now: &Progress, before: &Progress, since_ns: u64, cost: &Cost, columns: usize) -> String {
    let records = u128::from(now.records.saturating_sub(before.records));
    let per_s = u64::try_from(records * 1_000_000_000 / u128::from(since_ns.max(1))).unwrap_or(u64::MAX);
    let mut line = format!(
        "{}  {} connections  {} events/s  {} lost  {}",
        elapsed(Duration::from_nanos(now.to.since(now.from))),
        HumanCount(now.connections),
        HumanCount(per_s),
        HumanCount(now.lost),
        HumanBytes(now.bytes),
    );
    let server = cost.server.map(|server| format!("  server pays {}", Share(server.share_last)));
    for more in server.into_iter().chain([format!("  cpu {}", Share(cost.cpu_share))]) {
        if line.len().saturating_add(more.len()) > columns {
            break;
        }
        line.push_str(&more);
    }
    line
}

fn elapsed(time: Duration) -> String {
    let s = time.as_secs();
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KtimeNs, ServerCost};

    #[test]
    fn a_file_that_is_watched_is_read_as_it_is() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &vec![7; 100_000]).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut watched = Watched::new(file, false).unwrap();
        watched.bar.begun -= READ_AT_ONCE;
        let mut all = Vec::new();
        watched.read_to_end(&mut all).unwrap();
        assert_eq!((all, watched.read), (vec![7; 100_000], 100_000));
        assert_eq!(watched.bar.bar.position(), 100_000);
        assert_eq!(watched.bar.bar.message(), "97.66 KiB of 97.66 KiB");
    }

    #[test]
    fn it_says_how_far_it_has_come() {
        let from = KtimeNs(5_000_000_000);
        let before = Progress { from, to: KtimeNs(7_000_000_000), records: 1_000, ..Progress::default() };
        let now = Progress {
            from,
            to: KtimeNs(3_672_000_000_000),
            connections: 12_345,
            records: 61_000,
            lost: 2,
            bytes: 3 << 20,
        };
        let server = Some(ServerCost { share_last: 0.004, ..ServerCost::default() });
        let cost = Cost { cpu_share: 0.012, server, ..Cost::default() };
        assert_eq!(
            text(&now, &before, 2_000_000_000, &cost, 120),
            "01:01:07  12,345 connections  30,000 events/s  2 lost  3.00 MiB  server pays 0.4 %  cpu 1.2 %"
        );
        // No figure is cut in two.
        let of = |columns| text(&now, &before, 2_000_000_000, &cost, columns);
        assert!(of(84).ends_with("3.00 MiB  server pays 0.4 %"));
        assert!(of(80).ends_with("3.00 MiB"));
    }
}
