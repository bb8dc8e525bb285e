//! Maps for what is looked up several times a record: with a hash of a few nanoseconds, random as the usual one is, so that nobody who writes a trace
//! can choose keys that collide.

/// `std`'s map with that hash.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
