//! The first process of a virtual machine started by `cargo xtask vm`: sets the machine up, runs the tests one after another, says on the
//! second serial port how each ended, and switches the machine off.
//!
//! Everything is on the loopback interface: the nameservers of the lab, a stand-in server behind the real libwrap, the lab's clients, and the
//! wrapwatch that users get. What to do comes on the kernel's command line, as `wrapwatch.NAME=VALUE`.

mod costs;
mod machine;
mod processor;
mod record;
mod report;
mod site;
mod tests;
mod user;
mod work;

use std::process::ExitCode;

use report::Report;
use wrapwatch_tests::watch::{BINARY_VARIABLE, PATIENCE_VARIABLE};

/// An emulated machine beside others takes so many times longer.
const PATIENCE: &str = "5";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("wrapwatch-guest is the first process of a virtual machine: cargo xtask vm");
        return ExitCode::from(2);
    }
    let outcome = machine::set_up().and_then(|()| {
        let options = machine::options()?;
        if options.contains_key("shell") {
            return machine::shell();
        }
        // SAFETY: there is one thread yet, and nobody reads the environment meanwhile.
        unsafe {
            std::env::set_var(BINARY_VARIABLE, "/bin/wrapwatch");
            std::env::set_var(PATIENCE_VARIABLE, PATIENCE);
        }
        let mut report = Report::open(options)?;
        if report.option("instructions").is_some() {
            costs::run(&mut report);
        } else {
            tests::run(&mut report)?;
        }
        report.verdict()
    });
    if let Err(error) = outcome {
        // On the console; without a verdict the run is a failed one.
        eprintln!("wrapwatch-guest: {error:#}");
    }
    machine::switch_off();
    ExitCode::FAILURE
}
