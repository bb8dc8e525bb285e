//! Room on the disk, looked at before the first build: a disk that fills in the middle of a run fails whatever comes
//! next, each with another error.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{process::output, workspace};

/// What a whole run leaves in the target directory, measured and rounded up.
const GIGABYTES: u64 = 16;
const GIGABYTE: u64 = 1_000_000_000;

/// Fails where the target directory cannot grow to what a whole run leaves in it.
pub(crate) fn ensure() -> Result<()> {
    let target = workspace::target_dir()?;
    enough(free_at(&target)?, taken_by(&target)?, &target)
}

fn enough(free: u64, taken: u64, target: &Path) -> Result<()> {
    if free.saturating_add(taken) >= GIGABYTES * GIGABYTE {
        return Ok(());
    }
    bail!(
        "{} needs {GIGABYTES} GB for all tests; it has {}, and {} are free. Make room, or set CARGO_TARGET_DIR to a \
         directory on another disk",
        target.display(),
        gigabytes(taken),
        gigabytes(free),
    )
}

fn gigabytes(bytes: u64) -> String {
    format!("{}.{} GB", bytes / GIGABYTE, bytes % GIGABYTE / (GIGABYTE / 10))
}

fn free_at(dir: &Path) -> Result<u64> {
    number(Command::new("df").args(["--block-size=1", "--output=avail"]).arg(dir))
}

fn taken_by(dir: &Path) -> Result<u64> {
    number(Command::new("du").args(["--block-size=1", "--summarize"]).arg(dir))
}

/// The first number that a command prints.
fn number(command: &mut Command) -> Result<u64> {
    let text = output(command)?;
    let found = text.split_whitespace().find_map(|word| word.parse().ok());
    found.with_context(|| format!("no number in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_already_counts_as_room() {
        let target = Path::new("/somewhere/target");
        assert!(enough(16 * GIGABYTE, 0, target).is_ok());
        assert!(enough(3 * GIGABYTE, 13 * GIGABYTE, target).is_ok());
        let error = enough(3 * GIGABYTE, 2_550_000_000, target).unwrap_err().to_string();
        assert!(error.starts_with("/somewhere/target needs 16 GB"), "{error}");
        assert!(error.contains("it has 2.5 GB, and 3.0 GB are free"), "{error}");
    }

    #[test]
    fn this_machine_says_both() {
        assert!(free_at(Path::new("/")).unwrap() > 0);
        assert!(taken_by(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap() > 0);
    }
}
