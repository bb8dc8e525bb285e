//! All that a live trace keeps while it goes on.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::{
    Process, Settings, feed::Feed, looks::Looks, losses::Losses, meter::Meter, pace::Paces, signals::Signals,
};
use crate::{
    model::{Degradation, KtimeNs},
    probe::Probe,
    trace::{ProgramsSample, Snapshot, Target},
};

/// A live trace.
pub struct Session<'a> {
    pub(super) settings: &'a Settings,
    pub(super) feed: Feed<'a>,
    pub(super) probe: Probe,
    pub(super) targets: BTreeMap<u32, Process>,
    /// Since when a target is seen stopped.
    pub(super) stopped: BTreeMap<u32, KtimeNs>,
    /// Targets that are another program now.
    pub(super) replaced: BTreeMap<u32, Replaced>,
    /// Processes, with their start, that could not be traced.
    pub(super) refused: BTreeSet<(u32, u64)>,
    pub(super) exits: mpsc::UnboundedReceiver<u32>,
    pub(super) exited: mpsc::UnboundedSender<u32>,
    pub(super) signals: Signals,
    pub(super) losses: Losses,
    /// Whether what has ended is held back until it is known that no call of it was left out.
    pub(super) holds: bool,
    /// The greatest number of a connection that was seen.
    pub(super) last_conn: u64,
    pub(super) meter: Meter,
    /// A window of the programs' run time that no sample has told of.
    pub(super) window: Option<ProgramsSample>,
    /// The programs took a larger share of one core than they may.
    pub(super) above: Option<f64>,
    /// Why the kernel runs the hooks no more, and when it was last known that it does.
    pub(super) not_run: Option<&'static str>,
    pub(super) run_at: KtimeNs,
    /// Everything that cannot be seen.
    pub(super) degradations: Vec<Degradation>,
    /// What was found before the trace has begun.
    pub(super) beginning: Option<Beginning>,
    /// When the files were last looked at.
    pub(super) looks: Looks,
    /// How often each file comes.
    pub(super) paces: Paces,
}

/// What was found before the head was complete.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    pub(super) targets: Vec<Target>,
    pub(super) files: Vec<Snapshot>,
}

/// A target that is another program now, of which it is not known what that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced {
    /// Since when.
    pub(super) since: KtimeNs,
    /// When what the kernel side kept of it was last forgotten, and whether that is to be done again.
    pub(super) forgotten: KtimeNs,
    pub(super) again: bool,
}
