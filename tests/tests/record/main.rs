//! Recording, in the lab: a trace tells what was seen live, also of a recorder that was killed, had no space left or lost its directory.

mod crash;
mod flight;
mod refused;
mod rotation;
mod same;
mod strace;
mod support;
