//! `doctor` on a server as it is in a container: its own root, mount, network and process namespaces, libwrap linked in statically; with links that would lead
//! outside, and with files made to hurt whoever reads them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use wrapwatch::model::doctor::{View, Wrapped};
use wrapwatch_tests::{wait_for, watch::binary};

use crate::support::doctor;

/// The server, compiled once a run.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static-server");
        // Another run may be using the last one.
        let new = path.with_extension(std::process::id().to_string());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctor/server.c");
        let output = Command::new("cc")
            .args(["-O1", "-static", source, "-lwrap", "-lnsl", "-o"])
            .arg(&new)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&new, &path).unwrap();
        path
    })
}

/// A running server in a root of its own.
struct Jail {
    root: tempfile::TempDir,
    unshare: Child,
    pid: u32,
}

impl Jail {
    /// `prepare` fills its `/etc`.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        Self::start_as("0:0", prepare)
    }

    /// Started as this user and group.
    fn start_as(user: &str, prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Not at a path that means the same outside.
        for folder in ["etc", "srv"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::copy(program(), root.path().join("srv/mysqld")).unwrap();
        prepare(root.path());
        let unshare = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "chroot"])
            .arg(format!("--userspec={user}"))
            .arg(root.path())
            .args(["/srv/mysqld", "3306"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut jail = Self { root, unshare, pid: 0 };
        let id = jail.unshare.id();
        wait_for("the server listens", || {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            let pid = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
            let Some(pid) = pid else { return Ok(false) };
            jail.pid = pid;
            let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
            let named = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default() == "mysqld\n";
            Ok(named && table.contains(":0CEA "))
        })
        .unwrap();
        jail
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        // The server first: where it has changed its user, it no longer goes with its parent (PR_SET_PDEATHSIG).
        if let Ok(pid) = i32::try_from(self.pid)
            && pid > 0
        {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

#[test]
fn a_static_server_in_its_own_root() {
    let outside = tempfile::tempdir().unwrap();
    let trap = outside.path().join("trap");
    fs::write(&trap, "ALL: trap.example.com\nALL: trap2.example.com\nALL: trap3.example.com\n").unwrap();
    let jail = Jail::start(|root| {
        let etc = root.join("etc");
        // Absolute: there inside, nothing of the sort outside.
        fs::write(root.join("srv/rules"), "mysqld: inside.example.com\nmysqld: 10.\n").unwrap();
        symlink("/srv/rules", etc.join("hosts.allow")).unwrap();
        // Absolute, and there only outside; and the same with all the dots one could want.
        symlink(&trap, etc.join("hosts.deny")).unwrap();
        symlink(Path::new("../../../../../..").join(trap.strip_prefix("/").unwrap()), etc.join("hosts"))
            .unwrap();
        fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    });
    let run = doctor(jail.pid, &[]);
    let target = run.target();
    assert_eq!((target.libwrap.state, target.view), (Wrapped::Static, View::Target));
    assert_eq!((target.libwrap.needed, target.libwrap.strings), (Some(false), Some(true)));
    assert_eq!(target.own_namespaces.as_ref().unwrap(), &["mnt", "net", "pid"]);
    assert_eq!((target.daemon.as_str(), target.libwrap.program_replaced), ("mysqld", Some(false)));
    let states: Vec<_> = target.tables.iter().map(|table| (table.exists, table.entries)).collect();
    assert_eq!(states, [(Some(true), Some(2)), (Some(false), None)], "{:#?}", target.tables);
    assert_eq!(target.resolver.files[2].exists, Some(false), "{:#?}", target.resolver.files);
    let listeners: Vec<_> =
        target.listeners.as_ref().unwrap().iter().map(|l| (l.local.as_str(), l.limit)).collect();
    assert_eq!(listeners, [("0.0.0.0:3306", 7)]);
    run.problem("static-libwrap");
    // Its loopback is down: from its own network there is no way to the nameserver, from ours there would be.
    run.problem("all-nameservers-dead");
    let said = serde_json::to_string(&run.report).unwrap();
    assert!(said.contains("inside.example.com") && !said.contains("trap.example.com"), "{said}");
}

/// libwrap, in a server that is not root, refuses everybody over a table that root reads without trouble.
#[test]
fn a_table_that_the_server_itself_may_not_read() {
    let jail = Jail::start_as("65534:65534", |root| {
        for (table, mode) in [("hosts.allow", 0o644), ("hosts.deny", 0o600)] {
            let path = root.join("etc").join(table);
            fs::write(&path, "ALL: 10.0.2.14\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    let run = doctor(jail.pid, &["--no-queries"]);
    let [allow, deny] = run.target().tables.as_slice() else { panic!("{:#?}", run.target().tables) };
    assert_eq!((allow.entries, &allow.error), (Some(1), &None));
    assert!(deny.error.as_ref().unwrap().contains("permission denied"), "{deny:?}");
    let problem = run.problem("table-unreadable");
    assert_eq!(problem.file.as_deref(), Some("/etc/hosts.deny"));
    assert!(problem.message.contains("refuses everybody"), "{problem:?}");
}

#[test]
fn files_made_to_hurt() {
    let jail = Jail::start(|root| {
        let etc = root.join("etc");
        // Ten million bytes in one line, escape sequences and NULs in front.
        let mut allow = fs::File::create(etc.join("hosts.allow")).unwrap();
        allow.write_all(b"mysqld: \x1b]0;owned\x07\x1b[2J\0 .ex\x1b[31mample.com\nALL: ").unwrap();
        allow.write_all(&vec![b'x'; 10_000_000]).unwrap();
        nix::unistd::mkfifo(&etc.join("hosts.deny"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("resolv.conf", etc.join("resolv.conf")).unwrap();
        fs::create_dir(etc.join("nsswitch.conf")).unwrap();
        symlink("/proc/self/root/etc/hosts", etc.join("hosts")).unwrap();
    });
    // It must not wait for the FIFO's writer: that would be for ever.
    let mut child = Command::new(binary().unwrap())
        .args(["doctor", "--no-queries", "-p", &jail.pid.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reading = [
        std::thread::spawn(move || std::io::read_to_string(stdout).unwrap()),
        std::thread::spawn(move || std::io::read_to_string(stderr).unwrap()),
    ];
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if std::time::Instant::now() > deadline => {
                child.kill().unwrap();
                panic!("it hangs");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let [stdout, stderr] = reading.map(|thread| thread.join().unwrap());
    assert!(status.success(), "{stderr}");
    for text in [&stdout, &stderr] {
        let bad = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(bad, None, "{text}");
    }
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    for said in ["hosts.allow", "hosts.deny", "resolv.conf", "nsswitch.conf"] {
        assert!(stdout.contains(said), "{said} in {stdout}");
    }
    for said in ["not a regular file", "larger than 1 MiB"] {
        assert!(stdout.contains(said), "{said} in {stdout}");
    }
    let mode = fs::metadata(jail.root.path().join("etc/hosts.deny")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nothing was changed");
}
