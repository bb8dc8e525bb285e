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
    assert!(status == 0 && out.starts_with("## fails-closed\n") && out.contains("Instead: "), "{out}");
}

#[test]
fn names_that_were_not_tried_are_told() {
    let rules: String = (0..80).map(|n| format!("mysqld: h{n}\n")).collect();
    let (_folder, options) = folder(&rules, "ALL: ALL\n");
    let (status, out, _) = lint(&with(&options, &["--client", "10.0.2.14"]));
    let told = "the rules have more names than were tried";
    assert!(status == 0 && out.contains(told), "{out}");
    let (_, json, _) = lint(&with(&options, &["--client", "10.0.2.14", "--json"]));
    assert!(json.contains("\"names_left_out\":true"), "{json}");
    let (_, out, _) = lint(&with(&options, &["--client", "10.0.2.14=h3"]));
    assert!(!out.contains(told), "{out}");
}
