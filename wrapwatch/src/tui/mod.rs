//! The live view: one screen and one set of keys for a live trace (`live --tui`) and a recorded one (`replay --tui`).
//!
//! [`State`](state::State) is all that the screen shows, made from lines and keys; it does no I/O and reads no clock. [`draw`] puts it into a buffer. [`Screen`] is the
//! observer that hands lines to it, and [`terminal`] the loop that reads keys and draws, at most ten times a second.

mod beginnings;
mod draw;
mod feed;
mod filter;
mod judged;
mod keys;
mod known;
mod log;
mod look;
mod offscreen;
mod screen;
mod size;
mod state;
mod terminal;
mod view;

#[cfg(test)]
mod tests;

pub use keys::manual;
pub use look::Look;
pub use offscreen::Offscreen;
pub use screen::Screen;
