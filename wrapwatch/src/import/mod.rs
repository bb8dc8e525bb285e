//! What others recorded → the records that the kernel side would have written. Pure: lines in, records out; `cli` reads the files.

pub mod strace;
