//! How the view is to look.

use jiff::tz::TimeZone;

use crate::render::text::Text;

/// How to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub color: bool,
    /// Bars and lines in Unicode.
    pub unicode: bool,
    /// The zone of local time; none: there is UTC only.
    pub zone: Option<&'static TimeZone>,
    /// Begin with local time.
    pub local: bool,
}

impl Look {
    /// For text in so many columns. What is slow enough to be explained is for the detail.
    pub(super) const fn text(self, width: usize) -> Text {
        Text { width, color: self.color, unicode: self.unicode, slow_ns: u64::MAX, zone: self.zone }
    }
}
