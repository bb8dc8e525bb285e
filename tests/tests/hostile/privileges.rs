//! What wrapwatch can still do once it traces, thread by thread, as the kernel says; and who is looked at without being asked for.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, process::Command};

use caps::Capability;
use wrapwatch_tests::watch::{Watch, binary, nobody};

use crate::support::{Den, wrapwatch};

/// A field of a thread's status.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// The status of each thread, as the kernel says.
fn statuses(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok()).collect()
}

/// What each thread has, by its name: capabilities that it could use, `NoNewPrivs`, `Seccomp`.
fn threads(pid: u32) -> BTreeMap<String, (u64, String, String)> {
    let statuses = statuses(pid).into_iter();
    statuses
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

/// Another user than root sees what root sees, and can do what the packaged unit can.
#[test]
fn it_goes_on_as_the_user_that_it_is_told() {
    let den = Den::new();
    let server = den.serve_as_root("server", &[&den.secret("allow", b"ALL: 127.0.0.1\n"), &den.text("none")]);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let folder = den.path("traces");
    fs::create_dir(&folder).unwrap();
    nix::unistd::chown(&folder, Some(nobody.uid), None).unwrap();
    let trace = folder.join("t.wwt");
    let mut watch = Watch::record(server.pid(), &trace, ["--user", "nobody"]).unwrap();
    server.client();
    watch.wait_connections(1).unwrap();
    let may = wrapwatch::probe::wanted_capabilities().map(|(capability, _)| capability);
    for status in statuses(watch.id()) {
        // Real, effective, saved; by the last one files are opened.
        let ids = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
        let (name, permitted) =
            (field(&status, "Name"), u64::from_str_radix(&field(&status, "CapPrm"), 16).unwrap());
        assert_eq!(field(&status, "Uid"), ids(nobody.uid.as_raw()), "{name}");
        assert_eq!(field(&status, "Gid"), ids(nobody.gid.as_raw()), "{name}");
        assert_eq!((field(&status, "Groups").as_str(), permitted & !set(&may)), ("", 0), "{name}");
    }
    let seen = watch.stop().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let told = &seen.connections()[0];
    let rule = told.verdict_rule.as_ref().and_then(|rule| rule.text.as_deref());
    assert_eq!((rule, told.complete), (Some("ALL: 127.0.0.1"), true), "{told:#?}");
    let meta = trace.metadata().unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (nobody.uid.as_raw(), 0o600));
    assert_eq!(seen.degradations(), Vec::<&wrapwatch::model::Degradation>::new());
}

#[test]
fn a_user_that_it_cannot_become_is_an_error() {
    let told = |mut command: Command, user: &str| {
        let output = command.args(["live", "-d", "1s", "--user", user]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        said
    };
    let said = told(Command::new(binary().unwrap()), "nobody-of-this-name");
    assert!(said.contains("there is no user nobody-of-this-name"), "{said}");
    let (command, _copy) = nobody(None).unwrap();
    let said = told(command, "root");
    assert!(said.contains("cannot go on as user root") && said.contains("takes root"), "{said}");
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
