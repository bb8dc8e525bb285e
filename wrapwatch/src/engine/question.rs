//! What the engine cannot know from records, and a look at /proc can tell.

/// Something to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this accept thread asleep in its check? Then it does not wait for a CPU, whatever the scheduler counted. Answer: `asleep` of a
    /// [`crate::trace::ProcessSample`], where it is.
    Asleep {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
    },
    /// Is this accept thread back at its listener? Events were lost, and the end of its check may be one of them. Answer: an
    /// [`crate::trace::AcceptThread`]. Before the sample of the second, so that no stall is told in doubt.
    AtListener {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
    },
}
