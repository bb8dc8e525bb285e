//! What is done at a hook, one file a call, or a family of calls that do the same. Which hooks there are: [`crate::entry`].

pub mod accept;
mod check;
pub mod close;
pub mod connect;
pub mod dup;
pub mod life;
pub mod local;
pub mod login;
pub mod open;
pub mod peer;
pub mod recv;
pub mod send;
pub mod socket;
pub mod state;
pub mod wait;
