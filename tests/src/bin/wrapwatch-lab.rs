//! A lab to look at servers with wrapper checks in; see `wrapwatch_tests::lab`.
//!
//! `wrapwatch-lab ['{"server":{"options":["--max-connections=5"]}}']`, then JSON lines on stdin, for example
//! `{"cmd":"dns","rules":[{"replies":[{"after_ms":300}]}]}` and `{"cmd":"clients","count":20,"concurrency":20}`.
//! It ends, and with it everything in it, at the end of stdin or when it is killed.

use std::process::ExitCode;

fn main() -> ExitCode {
    wrapwatch_tests::inside::main(std::env::args().nth(1).as_deref())
}
