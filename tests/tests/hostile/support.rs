//! A server of an ordinary user who means harm, and wrapwatch beside it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::{
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
    unistd::Pid,
};
use wrapwatch_tests::watch::binary;

/// The harmful user.
pub const USER: u32 = 12_345;

/// The server, compiled once a run; without libwrap where it is bare.
pub fn program(bare: bool) -> &'static Path {
    static PROGRAMS: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    PROGRAMS[usize::from(bare)].get_or_init(|| {
        let name = if bare { "hostile-bare" } else { "hostile-server" };
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Another run may be using the last one.
        let new = path.with_extension(std::process::id().to_string());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/server.c");
        let with: &[&str] = if bare { &["-DBARE"] } else { &["-lwrap"] };
        let output =
            Command::new("cc").args(["-O1", source]).args(with).arg("-o").arg(&new).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&new, &path).unwrap();
        path
    })
}

/// The library that the server is linked with, by whatever folder it is in.
fn libwrap() -> PathBuf {
    let output = Command::new("ldd").arg(program(false)).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let path = said.lines().find_map(|line| line.trim().strip_prefix("libwrap.so.0 => ")?.split(' ').next());
    path.unwrap().into()
}

/// A folder that the harmful user may use: his own, with his server in it.
pub struct Den(pub tempfile::TempDir);

impl Den {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let den = Self(folder);
        fs::copy(program(false), den.path("server")).unwrap();
        fs::copy(program(true), den.path("bare")).unwrap();
        den.file("hosts.allow", b"ALL: 127.0.0.1\n");
        den
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As [`Self::path`], as an argument.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A file that belongs to the harmful user.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        nix::unistd::chown(&self.path(name), Some(USER.into()), Some(USER.into())).unwrap();
        self.text(name)
    }

    /// A file that only root may read.
    pub fn secret(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self.text(name)
    }

    /// Starts the server with these arguments after its port.
    pub fn serve(&self, args: &[&str]) -> Server {
        Self::start(Command::new(self.path("server")), args)
    }

    /// As [`Self::serve`], where the server has another name.
    pub fn serve_as(&self, name: &str, args: &[&str]) -> Server {
        Self::start(Command::new(self.path(name)), args)
    }

    /// As [`Self::serve_as`]; the server stays root's.
    pub fn serve_as_root(&self, name: &str, args: &[&str]) -> Server {
        let mut command = Command::new(self.path(name));
        command.env("STAYS_ROOT", "");
        Self::start(command, args)
    }

    /// As [`Self::serve`], with a copy of libwrap of its own.
    pub fn serve_with_own_library(&self, args: &[&str]) -> Server {
        let folder = tempfile::tempdir_in(self.0.path()).unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(libwrap(), folder.join("libwrap.so.0")).unwrap();
        let mut command = Command::new(self.path("server"));
        command.env("LD_LIBRARY_PATH", folder);
        Self::start(command, args)
    }

    /// Starts the server without libwrap.
    pub fn serve_bare(&self, args: &[&str]) -> Server {
        Self::start(Command::new(self.path("bare")), args)
    }

    fn start(mut command: Command, args: &[&str]) -> Server {
        // Free a moment ago; another test asks the kernel for one of its own.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        command.arg(port.to_string()).args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Server { child, port }
    }
}

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One client that is greeted or sent away.
    pub fn client(&self) {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut greeting = Vec::new();
        let _ = client.read_to_end(&mut greeting);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that a process has had, in kB.
pub fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// How many rounds of all CPUs the kernel needs for an end, one after another: for uprobes, all at once, and for the programs.
const ROUNDS: u32 = 4;

/// How long a process goes on.
pub struct Ending {
    pid: u32,
    began: Instant,
    before: Duration,
    /// The longest that the kernel took for one round of all CPUs.
    round: Duration,
    starved: BTreeMap<OsString, Duration>,
}

impl Ending {
    /// From now on.
    pub fn of(pid: u32) -> Self {
        let mut ending = Self {
            pid,
            began: Instant::now(),
            before: Duration::ZERO,
            round: Duration::ZERO,
            starved: BTreeMap::new(),
        };
        ending.look();
        ending.before = ending.starved.values().sum();
        ending
    }

    /// How long each thread has had no CPU (proc_pid_schedstat: the second number); one that is gone, by the last look.
    fn look(&mut self) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return };
        for task in tasks.flatten() {
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let waited = text.split(' ').nth(1).unwrap().parse().unwrap();
            self.starved.insert(task.file_name(), Duration::from_nanos(waited));
        }
    }

    /// Until it has ended, without what is the machine's: the time in which threads of it could have run and had no CPU, and some rounds of all CPUs. Its status is left to
    /// others; what hangs has gone on for a minute.
    pub fn wait(mut self) -> Duration {
        let pid = Pid::from_raw(self.pid.try_into().unwrap());
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        while waitid(Id::Pid(pid), flags).unwrap() == WaitStatus::StillAlive
            && self.began.elapsed() < Duration::from_mins(1)
        {
            self.look();
            self.round = self.round.max(round());
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = self.began.elapsed();
        self.look();
        let starved: Duration = self.starved.values().sum();
        took.saturating_sub(starved.saturating_sub(self.before)).saturating_sub(self.round * ROUNDS)
    }
}

/// How long the kernel takes for one round of all CPUs, as it waits for when a program is taken off: membarrier(2).
fn round() -> Duration {
    let began = Instant::now();
    // SAFETY: MEMBARRIER_CMD_GLOBAL, without flags, touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    assert_eq!(done, 0);
    began.elapsed()
}

/// Runs wrapwatch to its end. What hangs is killed after a minute, and fails.
pub fn wrapwatch<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    run(Command::new(binary().unwrap()).args(args))
}

/// As [`wrapwatch`], of a command.
pub fn run(command: &mut Command) -> Output {
    let limit = Duration::from_mins(1);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let outputs = (reading(child.stdout.take().unwrap()), reading(child.stderr.take().unwrap()));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} hangs: {}", String::from_utf8_lossy(&outputs.1.join().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Output { status, stdout: outputs.0.join().unwrap(), stderr: outputs.1.join().unwrap() }
}

fn reading(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// All that a trace tells, in every form there is.
pub fn everything_told(trace: &Path) -> String {
    let mut all = String::new();
    let page = trace.with_extension("html");
    let copy = trace.with_extension("jsonl");
    let forms: [&[&std::ffi::OsStr]; 4] = [
        &["replay".as_ref(), "--json".as_ref(), trace.as_os_str()],
        &["report".as_ref(), trace.as_os_str()],
        &["report".as_ref(), "--force".as_ref(), "--html".as_ref(), page.as_os_str(), trace.as_os_str()],
        &[
            "export".as_ref(),
            "--to".as_ref(),
            "jsonl".as_ref(),
            "--force".as_ref(),
            "-o".as_ref(),
            copy.as_os_str(),
            trace.as_os_str(),
        ],
    ];
    for args in forms {
        let output = wrapwatch(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        all.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    for file in [page, copy] {
        all.push_str(&fs::read_to_string(file).unwrap());
    }
    all
}

/// What a trace holds of files: path, and text or why there is none.
pub fn snapshots(trace: &Path) -> Vec<(String, Result<String, String>)> {
    let mut reader = wrapwatch::trace::Reader::new(fs::File::open(trace).unwrap());
    let mut found = Vec::new();
    while let Some(input) = reader.next_input().unwrap() {
        if let wrapwatch::trace::Input::File(snapshot) = input {
            let text = String::from_utf8_lossy(&snapshot.bytes).into_owned();
            let text = snapshot.meta.error.clone().map_or(Ok(text), Err);
            found.push((snapshot.meta.path.clone(), text));
        }
    }
    found
}
