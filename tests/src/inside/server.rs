//! The server: Debian's mariadbd, with the library that gives it wrapper checks.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec;
use super::files::HOME;
use super::namespaces::Namespaces;
use crate::lab::{Engine, Namespace, Program, ServerConfig};

/// A start that takes longer has failed.
const START_LIMIT: Duration = Duration::from_mins(1);
/// A server that does not end by itself within this is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The server, running or not.
pub(super) struct Server {
    config: ServerConfig,
    preload: Option<PathBuf>,
    running: Option<Running>,
}

struct Running {
    pid: Pid,
    outer_pid: u32,
    end: Arc<End>,
}

/// The end of a process. A thread waits for it, so that it never stays as a zombie, which from outside would look alive.
#[derive(Default)]
struct End {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl End {
    fn of(mut child: Child) -> Result<Arc<Self>> {
        let end = Arc::new(Self::default());
        let theirs = Arc::clone(&end);
        std::thread::Builder::new().name("server's end".into()).spawn(move || {
            let status = child.wait().unwrap_or_default();
            *theirs.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            theirs.changed.notify_all();
        })?;
        Ok(end)
    }

    /// How it ended; none when it has not within `limit`.
    fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(status, limit, |status| status.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Path of its unix socket.
pub(super) fn socket() -> PathBuf {
    Path::new(HOME).join("server.sock")
}

fn log_path() -> PathBuf {
    Path::new(HOME).join("server.log")
}

/// Its error log.
pub(super) fn log() -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(log_path())?).into_owned())
}

/// The end of its error log, for error messages.
fn log_tail() -> String {
    let log = log().unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
}

impl Server {
    pub(super) fn new(config: ServerConfig, preload: Option<PathBuf>) -> Self {
        Self { config, preload, running: None }
    }

    /// Its process id as seen from outside.
    pub(super) fn outer_pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.outer_pid)
    }

    /// Its process id in here.
    pub(super) fn pid(&self) -> Result<Pid> {
        let running = self.running.as_ref().filter(|running| running.end.wait(Duration::ZERO).is_none());
        Ok(running.context("the server does not run")?.pid)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid()?, signal)?)
    }

    /// Stops it where it runs and starts it, with another configuration where one is given.
    pub(super) fn restart(&mut self, namespaces: &Namespaces, config: Option<ServerConfig>) -> Result<()> {
        self.stop()?;
        if let Some(config) = config {
            self.config = config;
        }
        self.start(namespaces)
    }

    fn stop(&mut self) -> Result<()> {
        for signal in [Signal::SIGTERM, Signal::SIGCONT, Signal::SIGKILL] {
            let Ok(pid) = self.pid() else { break };
            kill(pid, signal)?;
            if signal != Signal::SIGTERM
                && let Some(running) = &self.running
            {
                running.end.wait(STOP_LIMIT);
            }
        }
        ensure!(self.pid().is_err(), "the server cannot be killed");
        self.running = None;
        Ok(())
    }

    /// Starts it; when this returns, it listens everywhere it will.
    pub(super) fn start(&mut self, namespaces: &Namespaces) -> Result<()> {
        let data = self.data_directory(namespaces)?;
        let notify = Path::new(HOME).join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify)?;
        let usual = match self.config.program {
            Program::Mariadbd => "/usr/sbin/mariadbd",
            Program::Mysqld => "/usr/sbin/mysqld",
        };
        let elsewhere = self.config.path.as_ref().map(|path| path.display().to_string());
        let program = elsewhere.as_deref().unwrap_or(usual);
        let log = File::options().create(true).append(true).open(log_path())?;
        let mut command = namespaces.command(Namespace::Server, program);
        command
            .args(self.arguments(&data))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("NOTIFY_SOCKET", &notify)
            .current_dir(HOME)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.config.wrapped {
            let preload = self.preload.as_ref().context("no library to preload")?;
            command.env("LD_PRELOAD", preload);
        }
        command.envs(&self.config.env);
        if let Some(daemon) = &self.config.daemon {
            command.env("WRAP_DAEMON", daemon);
        }
        let (child, outer_pid) = namespaces.spawn(command)?;
        let running =
            Running { pid: Pid::from_raw(child.id().cast_signed()), outer_pid, end: End::of(child)? };
        let began = wait_ready(&ready, &running.end);
        self.running = Some(running);
        began.with_context(|| format!("the server did not start; its log ends:\n{}", log_tail()))
    }

    fn arguments(&self, data: &Path) -> Vec<String> {
        let path = |name: &str| Path::new(HOME).join(name).display().to_string();
        // Small and quick to start: nothing here measures the engine. --no-defaults has to be the first.
        let mut arguments = vec![
            "--no-defaults".to_owned(),
            "--user=root".to_owned(),
            format!("--datadir={}", data.display()),
            format!("--tmpdir={}", path("tmp")),
            format!("--socket={}", socket().display()),
            format!("--pid-file={}", path("server.pid")),
            "--port=3306".to_owned(),
            "--bind-address=*".to_owned(),
            "--aria-log-file-size=8M".to_owned(),
            "--performance-schema=OFF".to_owned(),
        ];
        if self.config.skip_name_resolve {
            arguments.push("--skip-name-resolve".to_owned());
        }
        if !self.config.grant_tables {
            arguments.push("--skip-grant-tables".to_owned());
        }
        if self.engine() == Engine::Innodb {
            arguments
                .extend(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"].map(str::to_owned));
            arguments.push("--innodb-flush-log-at-trx-commit=0".to_owned());
        } else {
            arguments.extend(["--innodb=OFF", "--default-storage-engine=Aria"].map(str::to_owned));
        }
        arguments.extend(self.config.options.iter().cloned());
        arguments
    }

    /// Some of the privilege tables are InnoDB's.
    fn engine(&self) -> Engine {
        if self.config.grant_tables { Engine::Innodb } else { self.config.engine }
    }

    /// The data directory; without privilege tables an empty one will do.
    fn data_directory(&self, namespaces: &Namespaces) -> Result<PathBuf> {
        let grants = self.config.grant_tables;
        let name = match (grants, self.engine()) {
            (true, _) => "data-grants",
            (false, Engine::Innodb) => "data-innodb",
            (false, Engine::Aria) => "data-aria",
        };
        let data = Path::new(HOME).join(name);
        if data.exists() {
            return Ok(data);
        }
        fs::create_dir(&data)?;
        if grants {
            install_tables(namespaces.command(Namespace::Server, "mariadb-install-db"), &data)?;
        }
        Ok(data)
    }
}

fn install_tables(mut command: Command, data: &Path) -> Result<()> {
    command.arg("--no-defaults").arg("--user=root").arg(format!("--datadir={}", data.display())).args([
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--innodb-log-file-size=16M",
    ]);
    let result = exec::run(command, START_LIMIT)?;
    ensure!(
        result.status == Some(0),
        "mariadb-install-db failed: {}{}",
        result.stdout.trim(),
        result.stderr.trim()
    );
    Ok(())
}

/// Waits until the server says that it is ready (sd_notify(3)); by then it listens.
fn wait_ready(ready: &UnixDatagram, end: &End) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    ready.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut message = [0; 4096];
    while Instant::now() < deadline {
        // An error is a message that has not come within the 50 ms.
        if let Ok(len) = ready.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..len]);
            if text.lines().any(|line| line == "READY=1") {
                return Ok(());
            }
        } else if let Some(status) = end.wait(Duration::ZERO) {
            bail!("it ended with {status}");
        }
    }
    bail!("it was not ready after {} s", START_LIMIT.as_secs())
}
