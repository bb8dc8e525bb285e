//! Recorders beside a server under a storm, for a long time; `cargo xtask soak recorder` builds and runs this.
//!
//! `wrapwatch-soak recorder SECONDS`: a line a round, then what came of each recorder; the status is 0 where nothing was wrong.

use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use wrapwatch_tests::soak;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was wrong.
fn run() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ["recorder", seconds] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        bail!("wrapwatch-soak recorder SECONDS");
    };
    let outcomes =
        soak::run(Duration::from_secs(seconds.parse()?), |line| Ok(writeln!(stdout(), "{line}")?))?;
    for outcome in &outcomes {
        writeln!(stdout(), "{outcome}")?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.wrong.is_empty()))
}
