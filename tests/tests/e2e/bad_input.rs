//! Wrong use: one clear line, the exit status, nothing left attached.

use std::process::{Command, Output};

use wrapwatch_tests::{
    lab::{Lab, LabConfig},
    watch::{binary, nobody},
};

/// Runs it to its end.
fn wrapwatch(args: &[&str]) -> Output {
    Command::new(binary().unwrap()).args(args).output().unwrap()
}

/// The one line on stderr.
fn one_line(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

/// Runs it as nobody, with these capabilities or none.
fn as_nobody(capabilities: Option<&str>, args: &[&str]) -> Output {
    let (mut command, _copy) = nobody(capabilities).unwrap();
    command.args(args).output().unwrap()
}

#[test]
fn no_such_pid() {
    let output = wrapwatch(&["live", "-p", "4194303"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("no process with pid 4194303"));
}

#[test]
fn no_server_here() {
    let output = wrapwatch(&["live", "--comm", "no-such-name"]);
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output);
    assert!(line.contains("no-such-name") && line.contains("--wait"), "{line}");
}

#[test]
fn a_process_without_a_listener() {
    let pid = std::process::id().to_string();
    let output = wrapwatch(&["live", "-p", &pid]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("no listening TCP socket"));
}

#[test]
fn missing_capabilities_are_named() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap().to_string();
    let output = as_nobody(None, &["live", "-p", &pid]);
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output);
    assert!(line.contains("CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE") && line.contains("sudo"), "{line}");
    let output = as_nobody(Some("+bpf,+perfmon"), &["live", "-p", &pid]);
    let line = one_line(&output);
    assert!(line.contains("needs CAP_SYS_PTRACE") && line.contains("have: CAP_BPF, CAP_PERFMON"), "{line}");
}

#[test]
fn wrong_use_is_status_2() {
    for args in [&["live", "--slow", "soon"][..], &["live", "-p", "1", "--comm", "x"], &["lives"]] {
        assert_eq!(wrapwatch(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn tracefs_neither_mounted_nor_mountable() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap().to_string();
    // A mount namespace without tracefs, and without the capability to mount it.
    let script = "umount -l /sys/kernel/tracing 2>/dev/null; umount -l /sys/kernel/debug 2>/dev/null; \
                  exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(binary().unwrap())
        .args(["live", "--hooks", "tracepoint", "-p", &pid])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output);
    assert!(line.contains("tracefs") && line.contains("mount -t tracefs"), "{line}");
}

#[test]
fn a_kernel_without_tracepoints() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let pid = lab.server_pid().unwrap().to_string();
    // What such a kernel's tracefs looks like: there, and without the events of system calls.
    let script =
        "mount -t tmpfs none /sys/kernel/tracing && mkdir -p /sys/kernel/tracing/events/sched && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(binary().unwrap())
        .args(["live", "--hooks", "tracepoint", "-p", &pid])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output);
    assert!(line.contains("no tracepoint syscalls:") && line.contains("CONFIG_FTRACE_SYSCALLS"), "{line}");
}
