//! Recording, in the lab: a trace tells what was seen live, also of a recorder that was killed, had no space left or lost its directory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

mod asleep;
mod crash;
mod flight;
mod full;
mod guide;
mod lost;
mod page;
mod printed;
mod refused;
mod rotation;
mod same;
mod shared;
mod strace;
mod support;
