//! What stands where wrapwatch is to write: another's link, another's file, a pipe; a limit on what a file may have.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use wrapwatch_tests::watch::binary;

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/traces/format-1-abi-1.wwt");

/// A folder with a file that only its owner may write, and a link to it that somebody put where wrapwatch is to write.
struct Trap {
    dir: tempfile::TempDir,
}

impl Trap {
    fn new(link: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trap = Self { dir };
        fs::write(trap.path("precious"), "precious").unwrap();
        fs::set_permissions(trap.path("precious"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink(trap.path("precious"), trap.path(link)).unwrap();
        trap
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn assert_untouched(&self) {
        assert_eq!(fs::read(self.path("precious")).unwrap(), b"precious");
    }
}

fn wrapwatch(args: &[&str], output: &Path) -> Output {
    Command::new(binary().unwrap()).args(args).arg(output).output().unwrap()
}

fn assert_new_and_private(path: &Path) {
    let meta = path.symlink_metadata().unwrap();
    assert!(meta.is_file() && meta.len() > 0, "{}", path.display());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{}", path.display());
}

/// Every command that writes a file, up to its name.
const COMMANDS: [&[&str]; 3] = [
    &["report", TRACE, "--force", "--html"],
    &["export", TRACE, "--force", "--to", "jsonl", "-o"],
    &["export", TRACE, "--force", "--redact", "-o"],
];

#[test]
fn nothing_is_written_through_a_link() {
    for command in COMMANDS {
        let trap = Trap::new("out");
        let output = wrapwatch(command, &trap.path("out"));
        assert!(output.status.success(), "{command:?}: {output:?}");
        trap.assert_untouched();
        assert_new_and_private(&trap.path("out"));
        // Nor where it is not asked to replace anything.
        let trap = Trap::new("out");
        let careful: Vec<&str> = command.iter().copied().filter(|arg| *arg != "--force").collect();
        let output = wrapwatch(&careful, &trap.path("out"));
        assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
        trap.assert_untouched();
        assert!(trap.path("out").is_symlink());
    }
}

#[test]
fn what_others_may_read_is_replaced_and_not_filled() {
    for command in COMMANDS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "another's").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        // Whoever has it open reads on what he had.
        let mut open = fs::File::open(&path).unwrap();
        assert!(wrapwatch(command, &path).status.success(), "{command:?}");
        assert_new_and_private(&path);
        assert_eq!(std::io::read_to_string(&mut open).unwrap(), "another's");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    for command in COMMANDS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // Without a time limit of its own: it would never come back.
        let output = wrapwatch(command, &path);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && said.contains("not a regular file"),
            "{command:?}: {said}"
        );
        assert!(!path.symlink_metadata().unwrap().is_file());
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_like_others() {
    for command in COMMANDS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Command::new("sh")
            .args(["-c", r#"ulimit -f 1; exec "$@""#, "sh"])
            .arg(binary().unwrap())
            .args(command)
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.signal(), output.status.code()), (None, Some(1)), "{command:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no half of a file is left");
    }
}

#[test]
fn a_ring_is_taken_over_where_it_is_a_directory_of_ones_own_only() {
    let dir = tempfile::tempdir().unwrap();
    let (trace, ring, other) =
        (dir.path().join("a.wwt"), dir.path().join("a.wwt.ring"), dir.path().join("other"));
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(other.join("000001.wwt"), "precious").unwrap();
    let refused = || {
        let pid = std::process::id().to_string();
        let output = wrapwatch(&["record", "-p", &pid, "--last", "10m", "--force", "-o"], &trace);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("is not taken over"), "{said}");
    };
    symlink(&other, &ring).unwrap();
    refused();
    assert!(ring.is_symlink() && fs::read(other.join("000001.wwt")).unwrap() == b"precious");
    fs::remove_file(&ring).unwrap();
    fs::create_dir(&ring).unwrap();
    fs::set_permissions(&ring, fs::Permissions::from_mode(0o755)).unwrap();
    refused();
}
