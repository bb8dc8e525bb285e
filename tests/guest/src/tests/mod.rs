//! The tests, in the order in which they run. Their names are in `tests.toml`, too, so that one which is not run is missed.

mod attach;
mod bare;
mod breaking;
mod confined;
mod local;
pub(crate) mod mariadb;
mod privileges;
mod programs;
mod scenes;
mod skipped;
mod slots;
mod trampolines;

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
    local::run(report, &site);
    bare::run(report, &site);
    confined::run(report, &site);
    mariadb::run(report, &site);
    // They turn ftrace off and on again.
    trampolines::run(report, &site);
    // The last of these lock the kernel down, for good.
    privileges::run(report, &site);
    Ok(())
}

/// Whether this kernel has trampolines with all that wrapwatch's need: `bpf_get_func_ret` (Linux 5.17), and on 64-bit ARM any at all (6.4).
fn has_trampolines() -> bool {
    let since = if cfg!(target_arch = "aarch64") { (6, 4) } else { (5, 17) };
    let release = release();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= since)
}

/// Whether it has trampolines at all.
fn has_direct_calls() -> bool {
    cfg!(target_arch = "x86_64") || has_trampolines()
}

/// What `uname -r` says.
fn release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// A test that judges what another one brought, which may have failed.
fn given<T>(what: &Result<T>) -> Result<&T> {
    what.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))
}
