//! Tests of the lab itself: that what other tests build on is real. They need root.

mod dns;
mod life;
mod server;
mod wrapper;
