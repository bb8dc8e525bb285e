//! Trouble on purpose, so that it can be seen that a run then fails: `cargo xtask vm --break …`.

use std::{fs, thread, time::Duration};

use anyhow::Result;

use crate::report::Report;

/// Makes it, if it was asked for; says whether it was. Then no other test runs.
pub(super) fn run(report: &mut Report) -> Result<bool> {
    let Some(what) = report.option("break").map(ToOwned::to_owned) else { return Ok(false) };
    match what.as_str() {
        // What sysrq(c) does to a kernel.
        "panic" => report.test("panic on purpose", || {
            fs::write("/proc/sys/kernel/sysrq", "1")?;
            fs::write("/proc/sysrq-trigger", "c")?;
            anyhow::bail!("the kernel did not panic")
        }),
        "loop" => report.test("endless on purpose", || {
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }),
        // See `Report::ended`.
        "record" => report.test("unheard of on purpose", || Ok(())),
        "verdict" => anyhow::bail!("no verdict, on purpose"),
        other => anyhow::bail!("no such breakage: {other}"),
    }
    Ok(true)
}
