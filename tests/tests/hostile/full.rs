//! A full disk under everything that writes a file: an error of one line, the old file as it was, and nothing half written beside it. What goes on recording (a flight recorder) and
//! publishing (metrics as a text file) is in [`tests/record`](../record) and [`tests/exports`](../exports).

use std::{
    fs,
    process::{Command, Stdio},
};

use wrapwatch_tests::watch::binary;

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/traces/format-1-abi-1.wwt");
const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/captures/mysqld-5.5.62/c-timeout.ttt.log");

/// A small disk in a mount namespace of its own, which goes with it: `out` is there, the rest is full. Prints what is there once the command has ended, and what `out` holds.
const SCRIPT: &str = r#"mount -t tmpfs -o size=64k tmpfs "$1" || exit 99
cd "$1" && printf old > out && cat /dev/zero > full 2> /dev/null
shift; "$@" > /dev/null; status=$?
ls -A; cat out; exit "$status""#;

#[test]
fn the_old_file_stays_and_one_line_says_why() {
    let ring = tempfile::tempdir().unwrap();
    // A ring is a folder with traces.
    let ring = ring.path().join("a.wwt.ring");
    fs::create_dir(&ring).unwrap();
    fs::copy(TRACE, ring.join("000001.wwt")).unwrap();
    let ring = ring.to_str().unwrap();
    let commands: [&[&str]; 9] = [
        &["report", TRACE, "--force", "--html", "out"],
        &["export", TRACE, "--force", "--redact", "-o", "out"],
        &["export", TRACE, "--force", "--to", "jsonl", "-o", "out"],
        &["export", TRACE, "--force", "--to", "perfetto", "-o", "out"],
        &["export", TRACE, "--force", "--to", "pcapng", "-o", "out"],
        &["export", TRACE, "--force", "--to", "csv", "--table", "connection", "-o", "out"],
        &["export", TRACE, "--force", "--to", "parquet", "--table", "connection", "-o", "out"],
        &["export", ring, "--force", "--to", "wwt", "-o", "out"],
        &["import", "strace", LOG, "--force", "-o", "out"],
    ];
    for command in commands {
        let (status, there, said) = on_a_full_disk(command);
        assert_eq!((status, there.as_str()), (Some(1), "full\nout\nold"), "{command:?}: {said}");
        assert!(said.contains("o space left") && said.contains("out"), "{command:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
    }
}

/// Formats of several files: none is left in part.
#[test]
fn no_folder_of_tables_is_left_in_part() {
    for format in ["csv", "parquet", "otlp"] {
        let (status, there, said) = on_a_full_disk(&["export", TRACE, "--to", format, "-o", "tables"]);
        assert_eq!(status, Some(1), "{format}: {said}");
        assert!(said.contains("o space left"), "{format}: {said}");
        assert_eq!(said.lines().count(), 1, "{format}: {said}");
        assert!(["full\nout\nold", "full\nout\ntables\nold"].contains(&there.as_str()), "{format}: {there}");
    }
}

/// A table that lint is to change stays as it is, without a copy beside it.
#[test]
fn a_table_that_lint_changes_stays() {
    let script = r#"printf 'ALL: .lab.example\n' > "$1"; shift; exec "$@""#;
    let program = binary().unwrap();
    let program = program.to_str().unwrap();
    let lint = ["lint", "--allow", "out", "--deny", "/dev/null", "--client", "10.0.2.14=db1.lab.example"];
    let lint = [&["sh", "-c", script, "sh", "out", program], &lint[..], &["--fix", "--write"]].concat();
    let (status, there, said) = run_on_a_full_disk(&lint);
    assert_eq!((status, there.as_str()), (Some(1), "full\nout\nALL: .lab.example\n"), "{said}");
    assert!(said.contains("o space left") && said.lines().count() == 1, "{said}");
}

/// Where the output is no file, there is nothing to keep; it is an error in one line all the same.
#[test]
fn a_full_standard_output_is_an_error() {
    for args in [&["report", TRACE][..], &["replay", TRACE, "--json"], &["export", TRACE, "--to", "jsonl"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(binary().unwrap()).args(args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{args:?}: {said}");
        assert!(said.contains("o space left"), "{args:?}: {said}");
    }
}

/// Status, what is on the disk afterwards, and what wrapwatch has said.
fn on_a_full_disk(args: &[&str]) -> (Option<i32>, String, String) {
    let program = binary().unwrap();
    run_on_a_full_disk(&[&[program.to_str().unwrap()], args].concat())
}

fn run_on_a_full_disk(command: &[&str]) -> (Option<i32>, String, String) {
    let disk = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
        .arg(disk.path())
        .args(command)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
