//! `wrapwatch live --json` beside a lab: started, attached, stopped, its lines read.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::model::{Connection, Degradation, DegradationKind, Line, Stall, Summary};

/// Names the binary under test, where set.
pub const BINARY_VARIABLE: &str = "WRAPWATCH_BIN";
/// What it says on stderr once it sees everything.
const READY: &str = "watching";
/// Longest time for anything that should take a moment: only a hang gets there. Emulated machines are slow enough to need more.
const LIMIT: Duration = Duration::from_mins(1);
/// How many times that, where set.
pub const PATIENCE_VARIABLE: &str = "WRAPWATCH_PATIENCE";

fn limit() -> Duration {
    let factor = env::var(PATIENCE_VARIABLE).ok().and_then(|factor| factor.parse().ok());
    LIMIT * factor.unwrap_or(1)
}

/// A running `wrapwatch`.
pub struct Watch {
    child: Child,
    lines: mpsc::Receiver<String>,
    readers: Vec<JoinHandle<String>>,
    seen: Vec<Line>,
    /// Lines of stderr as they come.
    said: mpsc::Receiver<String>,
    /// Connections told of so far.
    told: usize,
}

/// What it had to say, all of it.
#[derive(Debug)]
pub struct Seen {
    /// In the order printed.
    pub lines: Vec<Line>,
    /// stderr.
    pub stderr: String,
    /// Exit status.
    pub status: Option<i32>,
}

/// The binary under test: from the environment, or beside the test's own.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os(BINARY_VARIABLE) {
        return Ok(path.into());
    }
    let mut path = env::current_exe()?;
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("wrapwatch");
    path.canonicalize().with_context(|| format!("no {}; run: cargo build -p wrapwatch", path.display()))
}

/// A command that runs it as nobody, with these capabilities (as setpriv(1) takes them: `+bpf,+perfmon`) or none. The copy that it runs, for the binary may
/// lie where nobody cannot go, goes with what is returned.
pub fn nobody(capabilities: Option<&str>) -> Result<(Command, tempfile::TempDir)> {
    let copy = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp")?;
    std::fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let program = copy.path().join("wrapwatch");
    std::fs::copy(binary()?, &program)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    match capabilities {
        Some(caps) => command
            .args([format!("--inh-caps=-all,{caps}"), format!("--ambient-caps=-all,{caps}")])
            .arg(format!("--bounding-set=-all,{caps}")),
        None => command.args(["--inh-caps=-all", "--bounding-set=-all"]),
    };
    command.arg(program);
    Ok((command, copy))
}

impl Watch {
    /// Starts `wrapwatch live --json` with these arguments and waits until it has attached.
    pub fn live<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["live", "--json"]).args(args);
        Self::run(command)
    }

    /// Starts `wrapwatch record --json` of one process into a file, with further arguments, and waits until it has attached.
    pub fn record<S: AsRef<OsStr>>(pid: u32, file: &Path, args: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["record", "--json", "-p", &pid.to_string(), "-o"]).arg(file).args(args);
        Self::run(command)
    }

    /// Starts a command that becomes a wrapwatch which prints JSON, and waits until it has attached.
    pub fn run(command: Command) -> Result<Self> {
        let mut watch = Self::starting(command)?;
        if watch.wait_said(READY).is_err() {
            bail!("wrapwatch did not attach: {}", watch.stop()?.stderr.trim());
        }
        Ok(watch)
    }

    /// Waits until it has said a line that contains this, from what it has said since the last time on.
    pub fn wait_said(&mut self, what: &str) -> Result<()> {
        let deadline = Instant::now() + limit();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self
                .said
                .recv_timeout(left)
                .with_context(|| format!("it did not say {what:?}"))?
                .contains(what)
            {
                return Ok(());
            }
        }
    }

    /// Whether it has said a line that contains this, since the last time it was asked about any.
    pub fn has_said(&mut self, what: &str) -> bool {
        self.said.try_iter().any(|line| line.contains(what))
    }

    /// Starts a command that becomes a wrapwatch which prints JSON.
    pub fn starting(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let (saying, said) = mpsc::channel();
        let out = child.stdout.take().context("no stdout")?;
        let err = child.stderr.take().context("no stderr")?;
        let readers = vec![
            std::thread::spawn(move || read_lines(out, &sender)),
            std::thread::spawn(move || read_stderr(err, &saying)),
        ];
        Ok(Self { child, lines, readers, seen: Vec::new(), said, told: 0 })
    }

    /// Of one process.
    pub fn pid(pid: u32) -> Result<Self> {
        Self::live(["-p".to_owned(), pid.to_string()])
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that `wanted` accepts.
    pub fn wait_for<T>(&mut self, wanted: impl FnMut(&Line) -> Option<T>) -> Result<T> {
        self.wait_within(limit(), wanted)
    }

    fn wait_within<T>(&mut self, limit: Duration, mut wanted: impl FnMut(&Line) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let text = self.lines.recv_timeout(left).context("the line did not come")?;
            let line: Line = serde_json::from_str(&text).with_context(|| text.clone())?;
            let found = wanted(&line);
            self.told += usize::from(matches!(line, Line::Connection(_)));
            self.seen.push(line);
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// The first line that `wanted` accepts, of those that came before too, which are kept; else waits for it.
    pub fn find<T>(&mut self, mut wanted: impl FnMut(&Line) -> Option<T>) -> Result<T> {
        match self.seen.iter().find_map(&mut wanted) {
            Some(found) => Ok(found),
            None => self.wait_for(wanted),
        }
    }

    /// Waits until so many connections have been told of since it started.
    pub fn wait_connections(&mut self, count: usize) -> Result<()> {
        while self.told < count {
            self.wait_for(|line| matches!(line, Line::Connection(_)).then_some(()))?;
        }
        Ok(())
    }

    /// The same, but where a line says that some connection may never be told of, no longer than a moment without news.
    pub fn wait_connections_unless(&mut self, count: usize, doubt: impl Fn(&Line) -> bool) -> Result<()> {
        while self.told < count {
            let doubted = self.seen.iter().any(&doubt);
            let limit = if doubted { limit() / 20 } else { limit() };
            let is_news = |line: &Line| matches!(line, Line::Connection(_)) || doubt(line);
            match self.wait_within(limit, |line| is_news(line).then_some(())) {
                Err(_) if doubted => return Ok(()),
                news => news?,
            }
        }
        Ok(())
    }

    /// Hands on every line as it comes, and keeps none of them, until so many connections have been told of since it started.
    pub fn each_until_connections(
        &mut self,
        count: usize,
        mut take: impl FnMut(&Line) -> Result<()>,
    ) -> Result<()> {
        while self.told < count {
            self.wait_for(|_| Some(()))?;
            for line in self.seen.drain(..) {
                take(&line)?;
            }
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does and gives everything it said.
    pub fn stop(self) -> Result<Seen> {
        // It may have ended by itself; then its status says how.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT);
        self.wait()
    }

    /// Waits for it to end by itself.
    pub fn wait(mut self) -> Result<Seen> {
        let deadline = Instant::now() + limit();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!("wrapwatch did not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut stderr = String::new();
        for reader in self.readers.drain(..) {
            stderr.push_str(&reader.join().unwrap_or_default());
        }
        let mut lines = std::mem::take(&mut self.seen);
        for text in self.lines.try_iter() {
            lines.push(serde_json::from_str(&text).with_context(|| text.clone())?);
        }
        Ok(Seen { lines, stderr, status: status.code() })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(out: ChildStdout, lines: &mpsc::Sender<String>) -> String {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            break;
        }
    }
    String::new()
}

fn read_stderr(err: ChildStderr, said: &mpsc::Sender<String>) -> String {
    let mut reader = BufReader::new(err);
    let mut all = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        let _ = said.send(line.clone());
        all.push_str(&line);
        line.clear();
    }
    let _ = reader.read_to_string(&mut all);
    all
}

/// What is told of a connection, without times.
pub fn told(connection: &Connection) -> String {
    let Connection { outcome, error_code, rule, verdict_rule, complete, missing, .. } = connection;
    let lookups: Vec<_> = connection
        .lookups
        .iter()
        .map(|lookup| {
            let queries = lookup.queries.iter();
            let queries: Vec<_> =
                queries.map(|q| (&q.server, q.id, &q.qname, q.outcome, &q.rcode, &q.answers)).collect();
            (lookup.kind, &lookup.name, queries)
        })
        .collect();
    let files: Vec<_> = connection.files.iter().map(|file| (&file.path, file.reads, file.bytes)).collect();
    let queued = connection.queued_ns.is_some();
    let other: Vec<_> = connection.other.iter().map(|other| &other.what).collect();
    format!(
        "{outcome:?} {error_code:?} {rule:?} {verdict_rule:?} {complete} {missing:?} queued:{queued} {lookups:#?} {files:?} {other:?}"
    )
}

impl Seen {
    /// The connections, in the order told.
    pub fn connections(&self) -> Vec<&Connection> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::Connection(connection) => Some(&**connection),
                _ => None,
            })
            .collect()
    }

    /// The requests, in the order told.
    pub fn requests(&self) -> Vec<&Connection> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::Request(request) => Some(&**request),
                _ => None,
            })
            .collect()
    }

    /// The connection of a client, by its address and port.
    pub fn of(&self, peer: &str) -> Result<&Connection> {
        let client = peer.parse()?;
        let mut found = self.connections().into_iter().filter(|c| c.peer == Some(client));
        let first = found.next().with_context(|| format!("no connection of {peer}"))?;
        if found.next().is_some() {
            bail!("two connections of {peer}");
        }
        Ok(first)
    }

    /// The stalls.
    pub fn stalls(&self) -> Vec<&Stall> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::Stall(stall) => Some(stall),
                _ => None,
            })
            .collect()
    }

    /// The degradations.
    pub fn degradations(&self) -> Vec<&Degradation> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::Degradation(degradation) => Some(degradation),
                _ => None,
            })
            .collect()
    }

    /// The degradations but for what a server with a unix socket has on each kernel that allows no trampolines.
    pub fn degradations_but_local(&self) -> Vec<&Degradation> {
        let mut all = self.degradations();
        all.retain(|lost| lost.kind != DegradationKind::NoLocalQueueTime);
        all
    }

    /// What was lost, in all, by the counter's name.
    pub fn lost(&self, counter: &str) -> u64 {
        let by = self.lines.iter().filter_map(|line| match line {
            Line::Lost(lost) => Some(&lost.by),
            _ => None,
        });
        by.flatten().filter(|(name, _)| name == counter).map(|(_, n)| n).sum()
    }

    /// The summary, which must be the last line.
    pub fn summary(&self) -> Result<&Summary> {
        match self.lines.last() {
            Some(Line::Summary(summary)) => Ok(summary),
            other => bail!("the last line is no summary: {other:?}; stderr: {}", self.stderr),
        }
    }
}
