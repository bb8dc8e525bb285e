//! One file a hook, or a family of hooks that do the same.

mod accept;
mod check;
mod close;
mod connect;
mod dup;
mod life;
mod open;
mod peer;
mod recv;
mod send;
mod socket;
mod state;
mod wait;
