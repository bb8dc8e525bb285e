//! The command `wrapwatch lint` on files of its own: what it writes, what it refuses, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// Status, stdout, stderr.
fn lint(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_wrapwatch")).arg("lint").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A folder with tables, and the options that name all files in it.
fn folder(allow: &str, deny: &str) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hosts.allow"), allow).unwrap();
    fs::write(folder.path().join("hosts.deny"), deny).unwrap();
    let options = options(folder.path());
    (folder, options)
}

fn options(folder: &Path) -> Vec<String> {
    let file = |option: &str, name: &str| [option.to_owned(), folder.join(name).to_str().unwrap().to_owned()];
    [
        file("--allow", "hosts.allow"),
        file("--deny", "hosts.deny"),
        file("--resolv", "resolv.conf"),
        file("--hosts", "hosts"),
        file("--nsswitch", "nsswitch.conf"),
    ]
    .concat()
}

fn with<'a>(options: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    options.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn a_fix_is_written_with_a_copy_of_what_was_there() {
    let (folder, options) = folder("mysqld: .example.com\n", "ALL: ALL");
    let fix = ["--client", "10.0.2.14=db1.example.com", "--fix"];
    let (status, diff, _) = lint(&with(&options, &fix));
    assert_eq!(status, 0);
    assert!(diff.contains("+mysqld: 10.0.2.14\n") && !diff.contains("hosts.deny"), "{diff}");
    let at = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(at("hosts.allow"), "mysqld: .example.com\n", "--fix alone changes nothing");
    let (status, _, said) = lint(&with(&options, &[&fix[..], &["--write"]].concat()));
    assert_eq!(status, 0, "{said}");
    assert_eq!(at("hosts.allow"), "mysqld: 10.0.2.14\nmysqld: .example.com\n");
    assert_eq!(at("hosts.allow.orig"), "mysqld: .example.com\n");
    assert_eq!(at("hosts.deny"), "ALL: ALL", "the last line stays as libwrap has it");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_fix_is_written_to_all_tables_or_to_none() {
    let (folder, options) = folder("mysqld: .example.com EXCEPT [::1]\n", "");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("real"), "mysqld: [2001:db8::7]\n").unwrap();
    fs::remove_file(at("hosts.deny")).unwrap();
    symlink(at("real"), at("hosts.deny")).unwrap();
    let args = with(&options, &["--client", "10.0.2.14=db1.example.com", "--fix", "--write"]);
    let (status, diff, said) = lint(&args);
    assert!(diff.contains("hosts.allow") && diff.contains("hosts.deny"), "{diff}");
    assert!(status == 1 && said.contains("link"), "{said}");
    assert_eq!(fs::read_to_string(at("hosts.allow")).unwrap(), "mysqld: .example.com EXCEPT [::1]\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no copies, nothing half done");
}

#[test]
fn wrong_use_ends_with_two() {
    let (folder, options) = folder("", "");
    let path = folder.path().to_str().unwrap();
    for wrong in [
        &["--fix"][..],
        &["--hosts-dir", path, "--format", "sarif"],
        &["--hosts-dir", path, "--format", "github"],
        &["--fix", "--write", "--trace", "x.wwt"],
        &["--write", "--client", "10.0.0.1"],
    ] {
        let (status, out, said) = lint(&with(if wrong[0] == "--fix" { &options } else { &[] }, wrong));
        assert!(status == 2 && out.is_empty() && !said.is_empty(), "{wrong:?}: {status} {said}");
    }
    assert_eq!(lint(&["--explain", "nope"]).0, 2);
    let (status, out, _) = lint(&["--explain", "fails-closed"]);
    assert!(status == 0 && out.starts_with("fails-closed\n") && out.contains("Instead: "), "{out}");
}

#[test]
fn names_that_were_not_tried_are_told() {
    let rules: String = (0..80).map(|n| format!("mysqld: h{n}\n")).collect();
    let (_folder, options) = folder(&rules, "ALL: ALL\n");
    let (status, out, _) = lint(&with(&options, &["--client", "10.0.2.14"]));
    let told = "the rules have more names than wrapwatch tried";
    assert!(status == 0 && out.contains(told), "{out}");
    let (_, json, _) = lint(&with(&options, &["--client", "10.0.2.14", "--json"]));
    assert!(json.contains("\"names_left_out\":true"), "{json}");
    let (_, out, _) = lint(&with(&options, &["--client", "10.0.2.14=h3"]));
    assert!(!out.contains(told), "{out}");
}

#[test]
fn a_table_that_was_named_and_is_not_there_is_told() {
    let (folder, options) = folder("mysqld: 10.\n", "ALL: ALL\n");
    fs::remove_file(folder.path().join("hosts.deny")).unwrap();
    let (status, _, said) = lint(&options.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(status, 0);
    assert!(said.contains("hosts.deny: it counts as empty") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_folder_of_hosts_gives_a_line_each() {
    let home = tempfile::tempdir().unwrap();
    for (host, allow) in [("one", "mysqld: 10.\n"), ("two", "mysqld: .example.com\n")] {
        fs::create_dir(home.path().join(host)).unwrap();
        fs::write(home.path().join(host).join("hosts.allow"), allow).unwrap();
        fs::write(home.path().join(host).join("hosts.deny"), "ALL: ALL\n").unwrap();
    }
    fs::write(home.path().join("one/hosts.lint-ignore"), "nonsense\n").unwrap();
    let path = home.path().to_str().unwrap();
    let (status, out, said) = lint(&["--hosts-dir", path]);
    assert_eq!((status, out.lines().count()), (0, 2), "{out}");
    assert!(out.starts_with("one: no problems\ntwo: 2 warnings; worst: hosts.allow:1 dns-lookup\n"), "{out}");
    assert!(said.contains("one: hosts.lint-ignore:1: there is no problem called nonsense"), "{said}");
    assert_eq!(lint(&["--hosts-dir", path, "--fail-on", "warning"]).0, 3);
    for option in ["--allow", "--deny", "--resolv", "--hosts", "--nsswitch", "--ignore"] {
        assert_eq!(lint(&["--hosts-dir", path, option, "x"]).0, 2, "{option}");
    }
    assert_eq!(lint(&["--hosts-dir", path, "--no-ignore"]).0, 2);
    std::os::unix::fs::symlink("/none", home.path().join("two/resolv.conf")).unwrap();
    let (status, out, said) = lint(&["--hosts-dir", path]);
    assert!(
        status == 1 && out.contains("two: not looked at: resolv.conf is a link that leads nowhere"),
        "{out}"
    );
    assert!(said.contains("cannot check 1 of 2 hosts"), "{said}");
}

#[test]
fn bad_input_is_one_line_each() {
    let (folder, options) = folder("mysqld: 10.\n", "ALL: ALL\n");
    let allow = folder.path().join("hosts.allow");
    let run = || lint(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let about = |out: &str, what: &str| out.lines().filter(|line| line.contains(what)).count();
    fs::write(&allow, b"mysqld: 10. \xff\xfe\n").unwrap();
    let (status, out, _) = run();
    assert_eq!((status, about(&out, "never-matches")), (0, 1), "not UTF-8: {out}");
    fs::write(&allow, b"mysqld: 10.\0\nmysqld: 11.\n").unwrap();
    let (status, out, _) = run();
    assert_eq!((status, about(&out, "nul-byte")), (0, 1), "{out}");
    let list = folder.path().join("list");
    fs::write(&list, format!("10.0.0.1 {}\n", list.display())).unwrap();
    fs::write(&allow, format!("mysqld: {}\n", list.display())).unwrap();
    let (status, out, _) = run();
    assert_eq!((status, about(&out, "file-pattern")), (0, 1), "{out}");
    // A table of 100 MB, none of which takes up room.
    fs::File::create(&allow).unwrap().set_len(100 << 20).unwrap();
    let (status, out, said) = run();
    assert!(status == 1 && out.is_empty() && about(&said, "larger than 1 MiB") == 1, "{said}");
    fs::remove_file(&allow).unwrap();
    nix::unistd::mkfifo(&allow, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (status, out, said) = run();
    assert!(status == 1 && out.is_empty() && about(&said, "not a regular file") == 1, "{said}");
}

/// The rules of a table that the recorded server could not open never counted, whatever is in this machine's.
#[test]
fn a_trace_whose_table_could_not_be_opened_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("a.wwt");
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/field-cases/strace/F8-min-eacces.log");
    let imported = Command::new(env!("CARGO_BIN_EXE_wrapwatch"))
        .args(["import", "strace", log, "-o"])
        .arg(&trace)
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let (status, out, _) = lint(&["--trace", trace.to_str().unwrap(), "--fail-on", "critical"]);
    assert!(out.contains("critical /etc/hosts.allow table-unreadable"), "{out}");
    assert!(out.contains("EACCES in the server's last check") && out.contains(": deny\n"), "{out}");
    assert_eq!(status, 3);
}
