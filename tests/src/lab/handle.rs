//! A lab as a value: started, asked, and gone when it is dropped.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::marker::PhantomData;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;

use super::config::{Files, LabConfig, ServerConfig};
use super::parts;
use super::protocol::{
    Capture, Command, ExecResult, Ident, LabInfo, Link, Namespace, Reply, Request, Signal, Welcome,
};
use crate::clients::{ClientResult, ClientsSpec};
use crate::nameserver::{LogEntry, Rule, Settings};

/// A lab that does not end by itself within this is killed; its processes go with it.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Whether all threads of a process run only where nothing else wants to.
fn is_starved(pid: i32) -> Result<bool> {
    let idle = u32::try_from(libc::SCHED_IDLE)?;
    let tasks = procfs::process::Process::new(pid)?.tasks()?;
    // One that has ended since is not asked.
    Ok(tasks.flatten().filter_map(|task| task.stat().ok()).all(|stat| stat.policy == Some(idle)))
}

/// Who waits for which reply; none once there will be no more replies.
type Waiting = Mutex<Option<HashMap<u64, mpsc::Sender<Reply>>>>;

/// A running lab. Dropping it ends it.
pub struct Lab {
    child: Child,
    input: Mutex<Input>,
    waiting: Arc<Waiting>,
    info: Mutex<LabInfo>,
}

struct Input {
    stdin: Option<ChildStdin>,
    last_id: u64,
}

/// A command that is being obeyed.
pub struct Pending<T> {
    reply: mpsc::Receiver<Reply>,
    gives: PhantomData<T>,
}

impl<T: DeserializeOwned> Pending<T> {
    /// Waits for what it gives.
    pub fn wait(self) -> Result<T> {
        let reply = self.reply.recv().context("the lab has ended")?;
        match reply.error {
            Some(error) => bail!("{error}"),
            None => Ok(serde_json::from_value(reply.ok.unwrap_or_default())?),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lab {
    /// Starts a lab; its server accepts when this returns. Fails with one line that says what is missing.
    pub fn start(mut config: LabConfig) -> Result<Self> {
        parts::check_machine(&config)?;
        let (lab, preload) = parts::binaries()?;
        config.preload.get_or_insert_with(|| preload.clone());
        let mut child = Process::new(lab)
            .arg(serde_json::to_string(&config)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for whoever uses the lab: they may want to see the end of what goes on in it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", lab.display()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the lab has no stdout")?;
        let mut lines = BufReader::new(stdout);
        let info = match welcome(&mut lines) {
            Ok(info) => info,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let waiting = Arc::new(Waiting::new(Some(HashMap::new())));
        let theirs = Arc::clone(&waiting);
        std::thread::Builder::new().name("lab replies".into()).spawn(move || hand_out(lines, &theirs))?;
        let input = Mutex::new(Input { stdin, last_id: 0 });
        Ok(Self { child, input, waiting, info: Mutex::new(info) })
    }

    /// Where everything is.
    pub fn info(&self) -> LabInfo {
        lock(&self.info).clone()
    }

    /// The server's process id, for wrapwatch.
    pub fn server_pid(&self) -> Result<u32> {
        lock(&self.info).server_pid.context("the server was not started")
    }

    /// Process id of the binary `wrapwatch-lab`.
    pub fn outer_pid(&self) -> u32 {
        self.child.id()
    }

    /// Begins a command; what it gives must be asked for as the right type (see [`Command`]).
    pub fn begin<T: DeserializeOwned>(&self, command: Command) -> Result<Pending<T>> {
        let (sender, reply) = mpsc::channel();
        let mut input = lock(&self.input);
        input.last_id += 1;
        let id = input.last_id;
        lock(&self.waiting).as_mut().context("the lab has ended")?.insert(id, sender);
        let line = serde_json::to_string(&Request { id, background: true, command })? + "\n";
        let stdin = input.stdin.as_mut().context("the lab has ended")?;
        stdin.write_all(line.as_bytes()).context("the lab has ended")?;
        Ok(Pending { reply, gives: PhantomData })
    }

    fn obey<T: DeserializeOwned>(&self, command: Command) -> Result<T> {
        self.begin(command)?.wait()
    }

    /// Changes the nameservers' behaviour.
    pub fn dns(&self, settings: Settings) -> Result<()> {
        self.obey(Command::Dns(settings))
    }

    /// Changes the nameservers' rules only.
    pub fn rules(&self, rules: impl IntoIterator<Item = Rule>) -> Result<()> {
        self.dns(Settings { rules: Some(rules.into_iter().collect()), ..Settings::default() })
    }

    /// The queries so far.
    pub fn dns_log(&self) -> Result<Vec<LogEntry>> {
        self.obey(Command::DnsLog { clear: false })
    }

    /// The queries since the last time, which are forgotten.
    pub fn take_dns_log(&self) -> Result<Vec<LogEntry>> {
        self.obey(Command::DnsLog { clear: true })
    }

    /// Changes the server's files.
    pub fn files(&self, files: Files) -> Result<()> {
        self.obey(Command::Files(files))
    }

    /// Drives clients and waits for them.
    pub fn clients(&self, spec: ClientsSpec) -> Result<Vec<ClientResult>> {
        self.begin_clients(spec)?.wait()
    }

    /// Drives clients while other things happen.
    pub fn begin_clients(&self, spec: ClientsSpec) -> Result<Pending<Vec<ClientResult>>> {
        self.begin(Command::Clients(spec))
    }

    /// Drives one client.
    pub fn client(&self) -> Result<ClientResult> {
        self.clients(ClientsSpec::default())?.pop().ok_or_else(|| anyhow!("no client"))
    }

    /// What came to `/dev/log` since the last time, which is forgotten.
    pub fn take_syslog(&self) -> Result<Vec<String>> {
        self.obey(Command::Syslog { clear: true })
    }

    /// Lets whoever logs block, or not any more.
    pub fn freeze_syslog(&self, frozen: bool) -> Result<()> {
        self.obey(Command::SyslogFreeze { frozen })
    }

    /// Has something listen on the clients' port 113, or nothing again.
    pub fn ident(&self, server: Option<Ident>) -> Result<()> {
        self.obey(Command::Ident { server })
    }

    /// Has something listen on systemd-resolved's socket.
    pub fn resolved(&self, after_ms: u64) -> Result<()> {
        self.obey(Command::Resolved { after_ms })
    }

    /// Sends the server a signal.
    pub fn signal(&self, sig: Signal) -> Result<()> {
        self.obey(Command::Signal { sig })
    }

    /// Restarts the server; gives its new process id.
    pub fn restart_server(&self, config: Option<ServerConfig>) -> Result<u32> {
        *lock(&self.info) = self.obey(Command::RestartServer { config })?;
        self.server_pid()
    }

    /// Starts another server, which runs as long as the lab; gives its process id.
    pub fn start_daemon<S: Into<String>>(&self, argv: impl IntoIterator<Item = S>) -> Result<u32> {
        self.obey(Command::Daemon { argv: argv.into_iter().map(Into::into).collect() })
    }

    /// What such servers have printed.
    pub fn daemon_log(&self) -> Result<String> {
        let log = format!("/proc/{}/root/run/lab/daemon.log", self.info().init_pid);
        Ok(String::from_utf8_lossy(&std::fs::read(log)?).into_owned())
    }

    /// The server's error log.
    pub fn server_log(&self) -> Result<String> {
        self.obey(Command::ServerLog)
    }

    /// Captures a link from now on.
    pub fn start_capture(&self, link: Link) -> Result<Capture> {
        self.obey(Command::TcpdumpStart { link })
    }

    /// Ends a capture; the file has all that passed before.
    pub fn stop_capture(&self, link: Link) -> Result<Capture> {
        self.obey(Command::TcpdumpStop { link })
    }

    /// Starves the server of CPU, while other things happen.
    pub fn begin_burn(&self, ms: u64) -> Result<Pending<()>> {
        let server = i32::try_from(self.server_pid()?)?;
        let burn = self.begin(Command::Burn { ms })?;
        let deadline = Instant::now() + Duration::from_millis(ms);
        while !is_starved(server)? {
            ensure!(Instant::now() < deadline, "the server was not starved within {ms} ms");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(burn)
    }

    /// Runs a command there, for ten seconds at most.
    pub fn exec<S: Into<String>>(
        &self,
        ns: Namespace,
        argv: impl IntoIterator<Item = S>,
    ) -> Result<ExecResult> {
        let argv = argv.into_iter().map(Into::into).collect();
        self.obey(Command::Exec { ns, argv, timeout_ms: 10_000 })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The end of its stdin ends it.
        lock(&self.input).stdin = None;
        let deadline = Instant::now() + END_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn welcome(lines: &mut impl BufRead) -> Result<LabInfo> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    match serde_json::from_str(&line).context("the lab ended before it was ready")? {
        Welcome::Ready(info) => Ok(*info),
        Welcome::Error(error) => bail!("{error}"),
    }
}

/// Gives each reply to whoever waits for it; at the end nobody waits any more.
fn hand_out(lines: BufReader<ChildStdout>, waiting: &Waiting) {
    for line in lines.lines().map_while(Result::ok) {
        let Ok(reply) = serde_json::from_str::<Reply>(&line) else { continue };
        let sender = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&reply.id));
        if let Some(sender) = sender {
            let _ = sender.send(reply);
        }
    }
    *lock(waiting) = None;
}
