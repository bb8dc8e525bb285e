//! The `wrapwatch` command: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use wrapwatch::cli::{parse, run};

fn main() -> ExitCode {
    run(parse())
}
