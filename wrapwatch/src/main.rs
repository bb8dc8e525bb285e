//! The `wrapwatch` command.

fn main() {}
