//! The one stream of inputs: what a live trace makes, a file stores, an import imitates, a redaction maps, and the engine is fed with.
//!
//! In order. Whoever takes the inputs of a trace in their order comes to the same lines, whether they come from the kernel or from a file, so nothing that
//! has a part in what is told may come by another way.

use std::borrow::Cow;

use super::head::{End, Head, Sample, Snapshot, Target};
use super::scan::Damage;
use crate::model::{ClockPair, Degradation, KtimeNs, Lost};

/// One input. What is big is borrowed where it is held elsewhere.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// What does not change: clocks, machine, the first targets. Comes first; a further one comes where recordings were joined.
    Head(Cow<'a, Head>),
    /// A process that is traced from here on, or of which something is not as it was.
    Target(Cow<'a, Target>),
    /// A file of a target, at the beginning and whenever it has changed.
    File(Cow<'a, Snapshot>),
    /// The same moment on both clocks.
    Clock(ClockPair),
    /// A record in the current layout: [`crate::decode::decode`] reads it.
    Record(&'a [u8]),
    /// What was looked at beside the records. One with counters comes once a second.
    Sample(Cow<'a, Sample>),
    /// Records that were lost, or calls that the kernel left out.
    Loss(Cow<'a, Lost>),
    /// Something that cannot be seen.
    Degradation(Cow<'a, Degradation>),
    /// Something is missing from the file.
    Damage(Damage),
    /// No record of before this is to be expected: what waits for time to pass is told.
    Time(KtimeNs),
    /// The recorder ended by itself.
    End(Cow<'a, End>),
}

/// `From<&T>` and `From<T>`, for the variants that may borrow.
macro_rules! inputs {
    ($($variant:ident($type:ty)),*) => {$(
        impl<'a> From<&'a $type> for Input<'a> {
            fn from(input: &'a $type) -> Self {
                Self::$variant(Cow::Borrowed(input))
            }
        }

        impl From<$type> for Input<'_> {
            fn from(input: $type) -> Self {
                Self::$variant(Cow::Owned(input))
            }
        }
    )*};
}
inputs!(
    Head(Head),
    Target(Target),
    File(Snapshot),
    Sample(Sample),
    Loss(Lost),
    Degradation(Degradation),
    End(End)
);

impl From<ClockPair> for Input<'_> {
    fn from(clock: ClockPair) -> Self {
        Self::Clock(clock)
    }
}

impl From<Damage> for Input<'_> {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}
