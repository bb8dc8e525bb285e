//! Does a call matter? Look-ups, and the life of what is watched: whose calls they are, of which descriptors, for which connections, and what is
//! remembered between a call's enter and its exit.

pub mod calls;
pub mod conns;
pub mod fds;
pub mod subjects;
pub mod targets;
