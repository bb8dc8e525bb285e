//! `wrapwatch lint` through its binary, on files made to hurt whoever reads them: one clear line on stderr or a report, never a hang, and nothing that a terminal
//! would act upon.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Only a hang takes longer.
const LIMIT: Duration = Duration::from_mins(1);

/// What `lint` said.
#[derive(Debug)]
struct Said {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `wrapwatch lint` with these tables, and further arguments; what it says is looked at for what a terminal would act upon.
fn lint(allow: &Path, deny: &Path, args: &[&str], as_nobody: bool) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wrapwatch"));
    command.args([
        "lint",
        "--resolv",
        "/dev/null/none",
        "--hosts",
        "/dev/null/none",
        "--client",
        "10.0.2.14",
    ]);
    command.arg("--allow").arg(allow).arg("--deny").arg(deny).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if as_nobody {
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let readers = [
        std::thread::spawn(move || std::io::read_to_string(stdout).unwrap()),
        std::thread::spawn(move || std::io::read_to_string(stderr).unwrap()),
    ];
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                panic!("it hangs on {}", allow.display());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let [stdout, stderr] = readers.map(|reader| reader.join().unwrap());
    for text in [&stdout, &stderr] {
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
    }
    Said { status, stdout, stderr }
}

/// A folder with an empty hosts.deny.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.at("deny"), "").unwrap();
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn lint(&self, allow: &str, args: &[&str]) -> Said {
        lint(&self.at(allow), &self.at("deny"), args, false)
    }
}

/// One line on stderr that says which file and what is wrong with it, and nothing else.
fn refused(said: &Said, name: &str, why: &str) {
    assert_eq!((said.status, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    assert!(said.stderr.starts_with("wrapwatch: ") && said.stderr.contains(name), "{said:?}");
    assert!(said.stderr.contains(why), "{said:?}");
}

#[test]
fn what_is_no_table_is_refused_in_one_line() {
    let folder = Folder::new();
    fs::write(folder.at("huge"), vec![b'x'; 10_000_000]).unwrap();
    nix::unistd::mkfifo(&folder.at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(folder.at("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.at("socket")).unwrap();
    for (name, why) in [
        ("huge", "larger than 1 MiB"),
        ("fifo", "not a regular file"),
        ("folder", "not a regular file"),
        ("socket", "No such device or address"),
    ] {
        refused(&folder.lint(name, &[]), name, why);
    }
    refused(&lint(Path::new("/dev/zero"), &folder.at("deny"), &[], false), "/dev/zero", "not a regular file");
    // A name that is itself hostile.
    fs::create_dir(folder.at("a\x1b[2Jb")).unwrap();
    refused(&folder.lint("a\x1b[2Jb", &[]), "b", "not a regular file");
}

#[test]
fn what_libwrap_cannot_open_either_is_a_finding() {
    let folder = Folder::new();
    symlink("loop", folder.at("loop")).unwrap();
    for name in ["loop", "deny/below"] {
        let said = folder.lint(name, &["--json"]);
        assert_eq!(said.status, Some(0), "{said:?}");
        let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        // libwrap then goes on to hosts.deny.
        assert_eq!(report["clients"][0]["verdict"], "allow", "{report:#}");
        assert!(
            report["problems"].as_array().unwrap().iter().any(|p| p["kind"] == "table-unreadable"),
            "{report:#}"
        );
    }
}

#[test]
fn what_this_user_may_not_read_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        // Anybody but root is refused as he is.
        let folder = Folder::new();
        fs::write(folder.at("secret"), "ALL: ALL\n").unwrap();
        let none = std::os::unix::fs::PermissionsExt::from_mode(0o0);
        fs::set_permissions(folder.at("secret"), none).unwrap();
        refused(&folder.lint("secret", &[]), "secret", "Permission denied");
        return;
    }
    // Root becomes nobody, who may only run what is in a place that he can reach.
    let probe =
        Command::new(env!("CARGO_BIN_EXE_wrapwatch")).arg("--version").uid(65_534).gid(65_534).output();
    if probe.is_ok_and(|output| output.status.success()) {
        let folder = Folder::new();
        fs::write(folder.at("secret"), "ALL: ALL\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode;
        fs::set_permissions(folder.0.path(), mode(0o755)).unwrap();
        fs::set_permissions(folder.at("secret"), mode(0o0)).unwrap();
        let said = lint(&folder.at("secret"), Path::new("/dev/null/none"), &[], true);
        refused(&said, "secret", "Permission denied");
    }
}

#[test]
fn bytes_that_mean_harm_are_shown_and_never_sent() {
    let folder = Folder::new();
    let megabyte = [b"mysqld: .example.com ".as_slice(), &vec![b'y'; 1_000_000], b"\n"].concat();
    let continued = "ALL: ALL \\\n".repeat(80_000);
    let nested = format!("ALL: {}ALL\n", "ALL EXCEPT ".repeat(90_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("escape", b"mysqld: \x1b]0;owned\x07\x1b[2J .example.com : spawn \x1b[31m %a\r\n".to_vec()),
        ("nul", b"mysqld: 10.\0.2.14\n\0\0\0\nALL: ALL\0\n".to_vec()),
        ("override", "mysqld: \u{202e}moc.elpmaxe. \u{9b}31m\n".into()),
        ("bytes", (0..=255_u8).cycle().take(100_000).collect()),
        ("line", megabyte),
        ("continued", continued.into_bytes()),
        ("nested", nested.into_bytes()),
        ("colons", ":".repeat(1_000_000).into_bytes()),
        ("lines", "\n".repeat(100_000).into_bytes()),
        ("unfinished", b"ALL: ALL".to_vec()),
        ("backslash", b"\\".to_vec()),
        ("self", format!("ALL: {}\n", folder.at("self").display()).into_bytes()),
        ("fifo", format!("ALL: {}\n", folder.at("pipe").display()).into_bytes()),
    ];
    nix::unistd::mkfifo(&folder.at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, text) in &cases {
        fs::write(folder.at(name), text).unwrap();
        let said = folder.lint(name, &[]);
        assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""), "{name}: {said:?}");
        // A report for a person, whatever was in the file.
        assert!(said.stdout.len() < 200_000, "{name}: {} bytes", said.stdout.len());
        assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{name}: {}", said.stdout);
        let json = folder.lint(name, &["--json"]);
        assert!(serde_json::from_str::<serde_json::Value>(&json.stdout).is_ok(), "{name}");
        // A diff of it, or one line why not.
        let fix = folder.lint(name, &["--fix"]);
        assert!(matches!(fix.status, Some(0 | 1)), "{name}: {fix:?}");
        assert!(fix.status == Some(0) || fix.stderr.lines().count() == 1, "{name}: {fix:?}");
    }
}
