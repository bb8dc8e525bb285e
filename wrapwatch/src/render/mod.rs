//! Showing what was found: text for a terminal, JSON lines. Renderers format; they compute nothing.

pub mod check;
pub mod json;
pub mod lint;
pub mod report;
pub mod text;
