//! The server: Debian's mariadbd, with the library that gives it wrapper checks.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use super::exec;
use super::namespaces::{HOME, Namespaces};
use crate::lab::{Namespace, Program, ServerConfig};

/// A start that takes longer has failed.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A server that does not end by itself within this is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The server, running or not.
pub(super) struct Server {
    config: ServerConfig,
    preload: Option<PathBuf>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    outer_pid: u32,
}

/// Path of its unix socket.
pub(super) fn socket() -> PathBuf {
    Path::new(HOME).join("server.sock")
}

fn log() -> PathBuf {
    Path::new(HOME).join("server.log")
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
        let running = self.running.as_ref().context("the server does not run")?;
        Ok(Pid::from_raw(running.child.id().cast_signed()))
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid()?, signal)?)
    }

    pub(super) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(log())?).into_owned())
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
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let pid = Pid::from_raw(running.child.id().cast_signed());
        // Either may fail when it is gone already; then wait says so.
        let _ = kill(pid, Signal::SIGTERM);
        let _ = kill(pid, Signal::SIGCONT);
        if exec::wait(&mut running.child, STOP_LIMIT)?.is_none() {
            running.child.kill()?;
            running.child.wait()?;
        }
        Ok(())
    }

    /// Starts it; when this returns, it listens everywhere it will.
    pub(super) fn start(&mut self, namespaces: &Namespaces) -> Result<()> {
        let data = self.data_directory(namespaces)?;
        let notify = Path::new(HOME).join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify)?;
        let program = match self.config.program {
            Program::Mariadbd => "/usr/sbin/mariadbd",
            Program::Mysqld => "/usr/sbin/mysqld",
        };
        let log = File::options().create(true).append(true).open(log())?;
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
        if let Some(daemon) = &self.config.daemon {
            command.env("WRAP_DAEMON", daemon);
        }
        let (reader, writer) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        namespaces.report_pid(&mut command, writer);
        let mut child =
            command.spawn().with_context(|| format!("cannot run {program}; run: cargo xtask setup"))?;
        // The writing end goes with the command, so that reading ends.
        drop(command);
        let mut pid = String::new();
        File::from(reader).read_to_string(&mut pid)?;
        let outer_pid = pid.parse().context("the server did not report its process id")?;
        let began = wait_ready(&ready, &mut child);
        self.running = Some(Running { child, outer_pid });
        began.with_context(|| format!("the server did not start; its log ends:\n{}", self.log_tail()))
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
        if self.config.innodb || self.config.grant_tables {
            arguments
                .extend(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"].map(str::to_owned));
            arguments.push("--innodb-flush-log-at-trx-commit=0".to_owned());
        } else {
            arguments.extend(["--innodb=OFF", "--default-storage-engine=Aria"].map(str::to_owned));
        }
        arguments.extend(self.config.options.iter().cloned());
        arguments
    }

    /// The data directory; without privilege tables an empty one will do.
    fn data_directory(&self, namespaces: &Namespaces) -> Result<PathBuf> {
        let grants = self.config.grant_tables;
        let name = match (grants, self.config.innodb) {
            (true, _) => "data-grants",
            (false, true) => "data-innodb",
            (false, false) => "data",
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

    fn log_tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
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
fn wait_ready(ready: &UnixDatagram, child: &mut Child) -> Result<()> {
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
        } else if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
    }
    bail!("it was not ready after {} s", START_LIMIT.as_secs())
}
