//! What a target says its tables are.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use wrapwatch_tests::{
    inotify::Opens,
    watch::{Watch, binary, nobody},
};

use crate::support::{Den, Server, everything_told, snapshots, wrapwatch};

const SECRET: &str = "4d7f0c1e-only-root-may-read-this";

/// Records a server while three clients come.
fn record(server: &Server, trace: &Path) {
    let watch = Watch::record(server.pid(), trace, ["--force"]).unwrap();
    for _ in 0..3 {
        server.client();
    }
    let seen = watch.stop().unwrap();
    assert_eq!((seen.status, seen.connections().len()), (Some(0), 3), "{}", seen.stderr);
}

/// Why a file of this path is not in a trace.
fn refusal(trace: &Path, path: &str) -> String {
    let snapshots = snapshots(trace);
    let of: Vec<_> = snapshots.iter().filter(|(of, _)| of == path).collect();
    assert_eq!(of.len(), 1, "{snapshots:?}");
    of[0].1.clone().unwrap_err()
}

#[test]
fn a_file_that_only_root_may_read_is_not_read_for_a_user() {
    let den = Den::new();
    let secret = den.secret("secret", format!("ALL: {SECRET}\n").as_bytes());
    let server = den.serve(&[&den.text("hosts.allow"), &secret]);
    let trace = den.path("t.wwt");
    record(&server, &trace);
    let why = refusal(&trace, &secret);
    assert!(why.contains("EACCES") || why.contains("ermission denied"), "{why}");
    assert!(!everything_told(&trace).contains(SECRET));
    // What he may read is told as ever.
    assert!(everything_told(&trace).contains("ALL: 127.0.0.1"));
}

#[test]
fn a_file_in_a_folder_that_only_root_may_search_is_not_read_for_a_user() {
    let den = Den::new();
    let folder = den.path("folder");
    fs::create_dir(&folder).unwrap();
    let secret = den.text("folder/secret");
    fs::write(&secret, format!("ALL: {SECRET}\n")).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let server = den.serve(&[&den.text("hosts.allow"), &secret]);
    let trace = den.path("t.wwt");
    record(&server, &trace);
    refusal(&trace, &secret);
    assert!(!everything_told(&trace).contains(SECRET));
}

#[test]
fn what_the_kernel_says_to_wrapwatch_is_not_read_for_a_user() {
    let den = Den::new();
    let environment = "/proc/self/environ";
    let server = den.serve(&[&den.text("hosts.allow"), environment]);
    let trace = den.path("t.wwt");
    record(&server, &trace);
    assert!(refusal(&trace, environment).contains("the kernel makes it up"));
}

/// A wrapwatch that cannot become the target's user (CAP_SETUID, CAP_SETGID) reads nothing that this one may not read either, though its own user could.
#[test]
fn a_users_wrapwatch_reads_its_own_files_for_nobody_else() {
    let den = Den::new();
    let secret = den.secret("secret", format!("ALL: {SECRET}\n").as_bytes());
    nix::unistd::chown(&den.path("secret"), Some(65_534.into()), None).unwrap();
    let server = den.serve(&[&den.text("hosts.allow"), &secret]);
    let (mut command, copy) = nobody(Some("+bpf,+perfmon,+sys_ptrace,+sys_admin,+dac_read_search")).unwrap();
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let trace = copy.path().join("t.wwt");
    command.args(["record", "--json", "-p", &server.pid().to_string(), "-o"]).arg(&trace);
    let watch = Watch::run(command).unwrap();
    server.client();
    assert_eq!(watch.stop().unwrap().status, Some(0));
    refusal(&trace, &secret);
    assert!(!everything_told(&trace).contains(SECRET) && everything_told(&trace).contains("ALL: 127.0.0.1"));
}

/// A table that can be seen and not read: it was told ten times a second. It needs no enemy: this wrapwatch lacks the capabilities to read others' files.
#[test]
fn a_table_that_cannot_be_read_is_told_once() {
    let den = Den::new();
    let table = den.secret("hosts.deny", b"ALL: ALL\n");
    nix::unistd::chown(&den.path("hosts.deny"), Some(65_534.into()), None).unwrap();
    let server = den.serve(&[&den.text("hosts.allow"), &table]);
    let trace = den.path("t.wwt");
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]).arg(binary().unwrap());
    // Long enough for thirty looks.
    command.args(["record", "--json", "-d", "3s", "-p", &server.pid().to_string(), "-o"]).arg(&trace);
    let watch = Watch::run(command).unwrap();
    server.client();
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    refusal(&trace, &table);
}

/// While a name is now a file and now a pipe, the pipe is never opened: also not between the look at it and the reading.
#[test]
fn nothing_but_a_file_is_ever_opened() {
    let den = Den::new();
    den.file("table", b"ALL: 127.0.0.1\n");
    let pipe = den.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let opens = Opens::of(&pipe).unwrap();
    let server = den.serve(&[&den.text("hosts.allow"), &den.text("table")]);
    let stop = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (stop, table) = (Arc::clone(&stop), den.path("table"));
        std::thread::spawn(move || {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                nix::fcntl::renameat2(
                    nix::fcntl::AT_FDCWD,
                    &table,
                    nix::fcntl::AT_FDCWD,
                    &pipe,
                    nix::fcntl::RenameFlags::RENAME_EXCHANGE,
                )
                .unwrap();
                swaps += 1;
            }
            swaps
        })
    };
    let output = wrapwatch(["live", "--json", "-d", "6s", "-p", &server.pid().to_string()]);
    stop.store(true, Ordering::Relaxed);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(swapping.join().unwrap() > 100);
    assert_eq!(opens.count().unwrap(), 0, "the pipe was opened");
}

/// The program's place is taken by a pipe: `doctor` waited for somebody to write.
#[test]
fn a_pipe_at_the_programs_path_is_not_waited_for() {
    let den = Den::new();
    let server = den.serve(&[&den.text("hosts.allow"), &den.text("none")]);
    let program = den.path("server");
    fs::remove_file(&program).unwrap();
    nix::unistd::mkfifo(&program, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let opens = Opens::of(&program).unwrap();
    let output = wrapwatch(["doctor", "--json", "-p", &server.pid().to_string()]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["targets"][0]["libwrap"]["state"], "mapped", "{report}");
    assert_eq!(report["targets"][0]["libwrap"]["program_replaced"], true);
    assert_eq!(opens.count().unwrap(), 0);
}
