//! Opening a trace for a subcommand, and saying what is missing from it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{output::note, progress::Watched};
use crate::{
    context::Context,
    engine::Options,
    replay::Replay,
    trace::{Head, Input, Reader},
};

/// From here on a connection is slow, where neither the options nor the trace say so.
const SLOW_NS: u64 = 100_000_000;

/// Opens a trace.
pub fn open(path: &Path) -> anyhow::Result<File> {
    // A FIFO opens at once, and is then refused: what nobody writes to would be waited for without a word.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let meta = file.metadata().with_context(|| format!("cannot open {}", path.display()))?;
    if meta.is_dir() {
        bail!(
            "{path} is a directory; the ring of a flight recorder becomes a trace with: wrapwatch export {path} --to wwt -o FILE.wwt",
            path = path.display()
        );
    }
    if !meta.is_file() {
        bail!("{} is not a regular file: a trace is read from one", path.display());
    }
    Ok(file)
}

/// Opens a trace that is to become another file, with progress on a terminal.
pub fn watched(path: &Path, quiet: bool) -> anyhow::Result<Watched> {
    Watched::new(open(path)?, quiet).with_context(|| format!("cannot open {}", path.display()))
}

/// A trace to read, and from when on a connection in it is slow: as asked for, or as it was recorded.
pub fn replay(path: &Path, slow: Option<Duration>) -> anyhow::Result<(Replay<File>, u64)> {
    let options = options(path, slow)?;
    let slow_ns = options.slow_ns;
    Ok((Replay::new(open(path)?, options), slow_ns))
}

/// How a trace is read: from when on a connection in it is slow, as asked for or as it was recorded.
pub fn options(path: &Path, slow: Option<Duration>) -> anyhow::Result<Options> {
    let recorded = head(path)?.and_then(|head| head.options.get("slow_ns")?.parse().ok());
    let asked = slow.map(|slow| u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX));
    let slow_ns = asked.or(recorded).unwrap_or(SLOW_NS);
    Ok(Options { slow_ns, ..Options::default() })
}

/// The head, where the file begins with it.
fn head(path: &Path) -> anyhow::Result<Option<Head>> {
    let mut reader = Reader::new(open(path)?);
    match reader.next_input().with_context(|| format!("cannot read {}", path.display()))? {
        Some(Input::Head(head)) => Ok(Some(head.into_owned())),
        _ => Ok(None),
    }
}

/// What is missing, on stderr; to be called once it is read.
pub fn tell_missing(path: &Path, facts: &Context) {
    for damage in &facts.damages {
        note(&format!("{}: {damage}", path.display()));
    }
    let more = facts.damage_count.saturating_sub(facts.damages.len() as u64);
    if more > 0 {
        note(&format!("{}: and {more} more such places", path.display()));
    }
    if facts.end.is_none() && facts.damages.is_empty() {
        note(&format!(
            "{}: the recorder did not end by itself; its last second may be missing",
            path.display()
        ));
    }
}
