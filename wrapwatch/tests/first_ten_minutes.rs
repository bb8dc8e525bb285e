//! The commands of `docs/first-ten-minutes.md` that need neither root nor a server, run as they stand there and in that order.

#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../docs/first-ten-minutes.md");
/// Not run here: what needs root or a server, or depends on this machine.
const ELSEWHERE: [&str; 4] = ["sudo ", "wrapwatch doctor ", "wrapwatch ping ", "wrapwatch report night.wwt "];

fn commands() -> impl Iterator<Item = &'static str> {
    let blocks = PAGE.split("```sh\n").skip(1).filter_map(|part| part.split("```").next());
    blocks.flat_map(str::lines).filter(|line| !ELSEWHERE.iter().any(|begin| line.starts_with(begin)))
}

/// Runs a command in a folder that has `wrapwatch` in `bin`, and gives its stdout.
fn run(command: &str, folder: &Path) -> String {
    let path = format!("{}/bin:{}", folder.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", command]).current_dir(folder).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// However its lines are broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_wrapwatch"), folder.path().join("bin/wrapwatch")).unwrap();
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests"), folder.path().join("tests")).unwrap();
    let said: BTreeMap<&str, String> =
        commands().map(|command| (command, run(command, folder.path()))).collect();

    let shown = PAGE.split("```text\n").nth(1).unwrap().split(" …").next().unwrap();
    let report = words(&said["wrapwatch report before.wwt"]);
    assert!(report.starts_with(&words(shown)), "the page shows\n{shown}\nand it is\n{report}");
    let diff = &said["wrapwatch diff before.wwt after.wwt"];
    assert!(diff.contains("gone (critical) first-nameserver-dead"), "{diff}");
    let public = &said["wrapwatch report public.wwt"];
    assert!(public.contains("first-nameserver-dead") && !public.contains("10.77.53.1"), "{public}");
    let metrics = &said["wrapwatch publish before.wwt"];
    assert!(metrics.contains("wrapwatch_connections_total{outcome=\"greeted\"} 3\n"), "{metrics}");
    assert!(said.keys().any(|command| command.starts_with("wrapwatch lint --client ")), "{:?}", said.keys());
}
