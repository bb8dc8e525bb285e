//! The tests, in the order in which they run. Their names are in `tests.toml`, too, so that one which is not run is missed.

mod attach;
mod bare;
mod breaking;
mod confined;
pub(crate) mod mariadb;
mod privileges;
mod programs;
mod scenes;
mod skipped;
mod slots;

use anyhow::Result;

use crate::{report::Report, site::Site};

/// Runs all of them.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    // Only whether a guest comes up is asked.
    if report.option("only") == Some("nothing") {
        return Ok(());
    }
    if breaking::run(report)? {
        return Ok(());
    }
    let site = match Site::start() {
        Ok(site) => site,
        Err(error) => {
            report.test("site", || Err(error));
            return Ok(());
        }
    };
    report.test("site", || site.works());
    attach::run(report, &site);
    scenes::run(report, &site, &scenes::Way::ALL);
    skipped::run(report, &site);
    slots::run(report, &site);
    bare::run(report, &site);
    confined::run(report, &site);
    mariadb::run(report, &site);
    privileges::run(report, &site);
    Ok(())
}

/// A test that judges what another one brought, which may have failed.
fn given<T>(what: &Result<T>) -> Result<&T> {
    what.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))
}
