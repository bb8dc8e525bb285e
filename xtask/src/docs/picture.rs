//! The picture of a report in README: a log of strace in the repository becomes a trace, the trace a page, and Chromium draws the page. Those of the live view are
//! drawn by the test that holds them against the screen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    demo,
    process::{cargo, run},
    setup::{self, Purpose},
    workspace,
};

/// Clients of a real mysqld whose first nameserver is dead.
const LOG: &str = "tests/data/captures/mysqld-5.5.62/c-timeout.ttt.log";
const PICTURE: &str = "docs/images/report.png";
/// Width and height in pixels: the verdict and the first finding.
const SIZE: (u32, u32) = (1000, 640);

/// Draws it again and says where it is.
pub(super) fn make() -> Result<PathBuf> {
    setup::ensure(&[Purpose::Build])?;
    demo::build(&["--quiet"])?;
    let (root, dir) = (workspace::root()?, workspace::scratch_dir()?.join("picture"));
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let (trace, page) = (dir.join("before.wwt"), dir.join("before.html"));
    run(wrapwatch()?.args(["import", "strace"]).arg(root.join(LOG)).arg("-o").arg(&trace))?;
    run(wrapwatch()?.arg("report").arg(&trace).arg("--html").arg(&page))?;
    let picture = root.join(PICTURE);
    draw(&page, &picture, &dir)?;
    run(cargo(&["test", "--quiet", "-p", "wrapwatch", "--lib", "the_pictures_show_what_the_screen_shows"])?
        .env("WRAPWATCH_PICTURES", "draw")
        .stdout(Stdio::null()))?;
    Ok(picture)
}

fn wrapwatch() -> Result<Command> {
    let mut command = Command::new(workspace::target_dir()?.join("debug/wrapwatch"));
    command.stdout(Stdio::null());
    Ok(command)
}

fn draw(page: &Path, picture: &Path, dir: &Path) -> Result<()> {
    let folder = picture.parent().context("a file at the root")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (width, height) = SIZE;
    let mut chromium = Command::new("chromium");
    // The page is our own, and root has no sandbox.
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    chromium.arg(format!("--window-size={width},{height}"));
    chromium.arg(format!("--user-data-dir={}", dir.join("profile").display()));
    chromium.arg(format!("--screenshot={}", picture.display())).arg(page);
    run(chromium.stdout(Stdio::null()).stderr(Stdio::null()))?;
    ensure!(picture.is_file(), "chromium drew nothing");
    Ok(())
}
