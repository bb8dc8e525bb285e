//! The same pid, and not the same program or not the same process.

use std::{
    ffi::CString,
    fs,
    io::Read as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
use wrapwatch::{
    decode::{Event, decode},
    model::{Connection, How, Line, Missing, Outcome},
    trace::{Input, Reader},
};
use wrapwatch_tests::{
    wait_for,
    watch::{Watch, binary},
};

/// Where a server's program and tables are, with a name that no other process has.
struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let unique =
            folder.path().file_name().unwrap().to_string_lossy().trim_start_matches(".tmp").to_owned();
        let program = folder.path().join(format!("id{unique}"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/story/server.c");
        let output = Command::new("cc")
            .args(["-O1", "-D_GNU_SOURCE", source, "-pthread", "-lwrap", "-lnsl", "-o"])
            .arg(&program)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder, program }
    }

    fn table(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap().to_string_lossy().into_owned()
    }
}

/// A process that goes when this does.
struct Server {
    pid: Pid,
    /// Where it was started the usual way.
    _child: Option<Child>,
}

impl Server {
    fn start(program: &Path, arguments: &[String]) -> Self {
        Self::begin(Command::new(program).args(arguments))
    }

    fn begin(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        Self { pid: Pid::from_raw(child.id().cast_signed()), _child: Some(child) }
    }

    fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Kills it; when this returns, its number is free.
    fn end(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        while waitpid(self.pid, None) == Err(Errno::EINTR) {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that nobody listens on now.
fn port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A client, from connect to the end of the greeting; its address.
fn client(port: u16) -> String {
    let mut greeted = None;
    wait_for("a greeting", || {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return Ok(false) };
        let mut greeting = Vec::new();
        stream.read_to_end(&mut greeting)?;
        greeted = Some(stream.local_addr()?.to_string()).filter(|_| !greeting.is_empty());
        Ok(greeted.is_some())
    })
    .unwrap();
    greeted.unwrap()
}

fn told_of(watch: &mut Watch, peer: &str) -> Connection {
    let told = watch.find(|line| match line {
        Line::Connection(connection) if connection.peer == peer.parse().ok() => Some((**connection).clone()),
        _ => None,
    });
    told.unwrap()
}

/// Checks what only a look at the program as it is now can tell.
fn is_whole(connection: &Connection, port: u16, table: &str, line: u32, text: &str) {
    assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true), "{connection:#?}");
    assert!(connection.queued_ns.is_some(), "{connection:#?}");
    assert_eq!(connection.local, format!("127.0.0.1:{port}").parse().ok());
    let rule = connection.verdict_rule.as_ref().unwrap_or_else(|| panic!("no rule: {connection:#?}"));
    assert_eq!(
        (&*rule.file, rule.line, rule.text.as_deref(), rule.how),
        (table, line, Some(text), How::Observed)
    );
}

#[test]
fn twist_in_another_thread_than_the_leader_is_no_refusal() {
    let place = Place::new();
    let table = place.table("table", "ALL: 127.0.0.1: twist /bin/echo go away\n");
    let port = port();
    let server = Server::begin(
        Command::new(&place.program).args([port.to_string(), "40".into(), table]).env("IN_A_THREAD", "1"),
    );
    // A client would be the only one.
    let listening = format!("0100007F:{port:04X} 00000000:0000 0A");
    wait_for("the server to listen", || Ok(fs::read_to_string("/proc/net/tcp")?.contains(&listening)))
        .unwrap();
    let watch = Watch::pid(server.pid()).unwrap();
    let client = client(port);
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0));
    let connection = seen.of(&client).unwrap();
    assert_ne!(connection.tid, connection.pid);
    assert_eq!((connection.outcome, connection.complete), (Outcome::Unfinished, false), "{connection:#?}");
    assert!(connection.missing.contains(&Missing::ServerReplaced), "{connection:#?}");
}

#[test]
fn a_server_that_replaces_its_program_is_looked_at_anew() {
    let place = Place::new();
    let first = place.table("first", "ALL: 127.0.0.1\n");
    let second = place.table("second", "# one\n# two\nALL: 127.\n");
    let ports = [port(), port()];
    let arguments =
        [&*ports[0].to_string(), "40", &first, &ports[1].to_string(), "60", &second].map(str::to_owned);
    let server = Server::start(&place.program, &arguments);
    client(ports[0]);
    let trace = place.folder.path().join("exec.wwt");
    let mut watch = Watch::record(server.pid(), &trace, ["-q"; 0]).unwrap();
    let before = told_of(&mut watch, &client(ports[0]));
    is_whole(&before, ports[0], &first, 1, "ALL: 127.0.0.1");
    let library = |pid: u32| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        maps.lines().find(|line| line.contains("libwrap")).unwrap().split('-').next().unwrap().to_owned()
    };
    let at = library(server.pid());

    kill(server.pid, Signal::SIGUSR1).unwrap();
    watch.wait_said("replaced").unwrap();
    watch.wait_said("watching").unwrap();
    assert_ne!(library(server.pid()), at, "its libwrap is elsewhere");
    let after = told_of(&mut watch, &client(ports[1]));
    is_whole(&after, ports[1], &second, 3, "ALL: 127.");
    let seen = watch.stop().unwrap();
    assert_eq!((seen.connections().len(), seen.degradations().len()), (2, 0), "{seen:#?}");

    // The uprobes are there too, and the trace says the same.
    let mut reader = Reader::new(std::io::BufReader::new(fs::File::open(&trace).unwrap()));
    let mut checks = std::collections::BTreeMap::<u64, usize>::new();
    while let Some(item) = reader.next_input().unwrap() {
        if let Input::Record(record) = item
            && let Ok(Event::Check(check)) = decode(record)
        {
            *checks.entry(check.hdr.conn).or_default() += 1;
        }
    }
    assert_eq!(checks, [(before.conn, 2), (after.conn, 2)].into());
    let replay = Command::new(binary().unwrap()).args(["replay", "--json"]).arg(&trace).output().unwrap();
    let replayed = String::from_utf8(replay.stdout).unwrap();
    let lines = replayed.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    let rules: Vec<_> = lines
        .filter_map(|line| match line {
            Line::Connection(connection) => Some((connection.verdict_rule, connection.local)),
            _ => None,
        })
        .collect();
    assert_eq!(rules, [(before.verdict_rule, before.local), (after.verdict_rule, after.local)]);
}

/// Starts a program under the number of a process that is gone (clone3(2), `set_tid`); None where somebody else has been given it.
fn start_as(pid: Pid, program: &Path, arguments: &[String]) -> Option<Server> {
    let text = |text: &[u8]| CString::new(text).unwrap();
    let words: Vec<CString> = std::iter::once(text(program.as_os_str().as_bytes()))
        .chain(arguments.iter().map(|argument| text(argument.as_bytes())))
        .collect();
    let argv: Vec<_> = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    let environment = [std::ptr::null()];
    let set_tid = [pid.as_raw()];
    // SAFETY: all zero is a valid clone_args (integers).
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    args.set_tid = set_tid.as_ptr().addr() as u64;
    args.set_tid_size = 1;
    // SAFETY: as fork(2), without CLONE_VM: the child has a copy of everything and does nothing but execve and _exit, which need no lock of this
    // process. The pointers are to what lives here.
    let child = unsafe {
        let child = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>());
        if child == 0 {
            libc::execve(argv[0], argv.as_ptr(), environment.as_ptr());
            libc::_exit(127);
        }
        child
    };
    match Errno::result(child) {
        Ok(child) => {
            assert_eq!(child, i64::from(pid.as_raw()));
            Some(Server { pid, _child: None })
        }
        Err(Errno::EEXIST) => None,
        Err(error) => panic!("clone3: {error}"),
    }
}

fn reused(hooks: &str) {
    let place = Place::new();
    let table = place.table("allow", "ALL: 127.0.0.1\n");
    let ports = [port(), port()];
    let arguments = |port: u16| [port.to_string(), "40".to_owned(), table.clone()];
    let first = Server::start(&place.program, &arguments(ports[0]));
    let mut watch = Watch::live(["--hooks", hooks, "--wait", "--comm", &place.name()]).unwrap();
    // The accept that was waiting at the attach is told by perf's tracepoints without its client.
    client(ports[0]);
    let of_first = client(ports[0]);
    told_of(&mut watch, &of_first);

    // It hears of the end only when the number has been another's for a while.
    let watcher = Pid::from_raw(watch.id().cast_signed());
    kill(watcher, Signal::SIGSTOP).unwrap();
    assert!(matches!(
        waitpid(watcher, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)),
        Ok(WaitStatus::Stopped(..))
    ));
    let pid = first.pid;
    first.end();
    std::mem::forget(first);
    let second = start_as(pid, &place.program, &arguments(ports[1]));
    let unseen: Vec<String> = second.iter().flat_map(|_| [(); 3]).map(|()| client(ports[1])).collect();
    kill(watcher, Signal::SIGCONT).unwrap();
    let second = second.unwrap_or_else(|| panic!("somebody else was given the number"));
    watch.wait_said("exited").unwrap();
    watch.wait_said("watching").unwrap();
    client(ports[1]);
    let of_second = client(ports[1]);
    is_whole(&told_of(&mut watch, &of_second), ports[1], &table, 1, "ALL: 127.0.0.1");
    let seen = watch.stop().unwrap();
    assert_eq!(second.pid(), pid.as_raw().cast_unsigned());
    let peers: Vec<_> = seen.connections().iter().filter_map(|connection| connection.peer).collect();
    assert!(unseen.iter().all(|peer| !peers.contains(&peer.parse().unwrap())), "{unseen:?} in {peers:?}");
    assert_eq!((seen.connections().len(), seen.summary().unwrap().accepts), (4, 4), "not even counted");
}

#[test]
fn another_process_with_the_pid_of_a_target_is_none() {
    reused("raw");
}

#[test]
fn another_process_with_the_pid_of_a_target_is_none_by_perfs_tracepoints() {
    reused("tracepoint");
}
