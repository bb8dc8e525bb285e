//! What wrapwatch can still do once it traces, thread by thread, as the kernel says; and who is looked at without being asked for.

use std::{collections::BTreeMap, fs, process::Command};

use caps::Capability;
use wrapwatch_tests::watch::{Watch, binary};

use crate::support::{Den, wrapwatch};

/// A field of a thread's status.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// What each thread has, by its name: capabilities that it could use, `NoNewPrivs`, `Seccomp`.
fn threads(pid: u32) -> BTreeMap<String, (u64, String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .map(|status| {
            let permitted = u64::from_str_radix(&field(&status, "CapPrm"), 16).unwrap();
            (field(&status, "Name"), (permitted, field(&status, "NoNewPrivs"), field(&status, "Seccomp")))
        })
        .collect()
}

fn set(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |set, capability| set | 1 << capability.index())
}

#[test]
fn each_thread_keeps_what_it_needs_and_can_gain_nothing() {
    use Capability::{
        CAP_BPF, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN,
        CAP_SYS_PTRACE,
    };
    let den = Den::new();
    let server = den.serve(&[&den.text("hosts.allow"), &den.text("none")]);
    let mut watch = Watch::record(server.pid(), &den.path("t.wwt"), [""; 0]).unwrap();
    server.client();
    watch.wait_connections(1).unwrap();
    // The last one: the output's folder may be another's.
    let traces = set(&[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE]);
    let reads = set(&[CAP_SYS_PTRACE, CAP_SETUID, CAP_SETGID, CAP_DAC_READ_SEARCH]);
    let threads = threads(watch.id());
    for (name, (permitted, no_new_privs, seccomp)) in &threads {
        let may = match name.as_str() {
            "wwt-readers" | "wwt-reader" => reads,
            "run times" => set(&[CAP_SYS_ADMIN]),
            "wrapwatch" | "wwt-sync" => traces,
            other => panic!("a thread {other}: what may it do?"),
        };
        assert_eq!(permitted & !may, 0, "{name}: {permitted:x}, {threads:x?}");
        assert_eq!((no_new_privs.as_str(), seccomp.as_str()), ("1", "2"), "{name}");
    }
    assert!(threads.contains_key("wwt-reader") && threads.contains_key("wwt-sync"), "{threads:?}");
    assert_eq!(watch.stop().unwrap().status, Some(0));
}

/// Any user can call a process as he likes: who is looked for by name is a server of this machine.
#[test]
fn a_users_process_of_that_name_is_left_out_unless_it_is_asked_for() {
    let den = Den::new();
    let name = format!("db{}", std::process::id());
    fs::rename(den.path("server"), den.path(&name)).unwrap();
    let server = den.serve_as(&name, &[&den.text("hosts.allow"), &den.text("none")]);
    let output = wrapwatch(["live", "--json", "-d", "1s", "--comm", &name]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("pid {} ({name}) is left out", server.pid())) && said.contains("-p"),
        "{said}"
    );
    let output = wrapwatch(["live", "--json", "-d", "1s", "-p", &server.pid().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A name with an escape sequence reaches no terminal, whoever says it.
#[test]
fn a_name_acts_upon_no_terminal() {
    let mut nap = Command::new("sh")
        .args(["-c", "printf '\\033[31mX' > /proc/$$/comm; read -r forever"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let comm = format!("/proc/{}/comm", nap.id());
    wrapwatch_tests::wait_for("it has its name", || Ok(fs::read_to_string(&comm)?.contains('\x1b'))).unwrap();
    let output =
        Command::new(binary().unwrap()).args(["live", "-p", &nap.id().to_string()]).output().unwrap();
    nap.kill().unwrap();
    nap.wait().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\\x1b[31mX") && !said.contains('\x1b'), "{said:?}");
}
