//! Neighbours who mean harm: an ordinary user's process that wrapwatch looks at, and what it has prepared for that. Each test is an attack that worked once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

mod bombs;
mod files;
mod full;
mod library;
mod many;
mod memory;
mod moving;
mod outputs;
mod overload;
mod privileges;
mod security;
mod support;
mod systemd;
mod together;
mod unit;
