//! The `wrapwatch` command: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use wrapwatch::{
    cli::{parse, run},
    host::confine,
};

fn main() -> ExitCode {
    confine::gain_nothing();
    run(parse())
}
