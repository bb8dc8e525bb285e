//! Init's main loop: makes the lab, says where everything is, obeys.
//!
//! Commands are obeyed in the order they come, one after the other. Those that last (`clients`, `exec`, `burn`) can be put into the background,
//! so that everything can be changed while they run.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal as Sig;
use serde::Serialize;
use serde_json::Value;

use super::ident::IdentServer;
use super::namespaces::Namespaces;
use super::server::{self, Server};
use super::syslog::Syslog;
use super::{burn, capture, daemon, exec, files, network, resolved};
use crate::clients::{self, Addresses};
use crate::lab::{Capture, Command, LabConfig, LabInfo, Link, Reply, Request, Signal, Welcome, parts};
use crate::nameserver::Nameservers;

/// A command, done or still to do.
enum Work {
    Done(Value),
    Takes(Box<dyn FnOnce() -> Result<Value> + Send>),
}

struct Lab {
    namespaces: Arc<Namespaces>,
    nameservers: Nameservers,
    addresses: Arc<Addresses>,
    server: Server,
    syslog: Syslog,
    ident: Option<IdentServer>,
    captures: BTreeMap<Link, capture::Running>,
    captured: u32,
}

/// Runs as init, which has one thread so far.
pub(super) fn run(config: &LabConfig) -> Result<ExitCode> {
    let namespaces = Arc::new(Namespaces::make()?);
    std::thread::Builder::new().name("watch stdout".into()).spawn(end_with_reader)?;
    let mut lab = Lab::make(config, namespaces)?;
    say(&Welcome::Ready(Box::new(lab.info()?)))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let request = match serde_json::from_str::<Request>(&line) {
            Ok(request) => request,
            Err(error) => {
                answer(0, Err(anyhow::Error::from(error).context("not a request")));
                continue;
            }
        };
        if request.command == Command::Quit {
            break;
        }
        lab.obey(request);
    }
    // Init's end is the end of everything, also of commands that still run.
    Ok(ExitCode::SUCCESS)
}

/// Ends everything when nobody can read the answers any more, also in the middle of a command.
fn end_with_reader() {
    let out = io::stdout();
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
    // POLLERR: the pipe has no reader. A terminal or a file never reports it.
    while poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
    std::process::exit(1);
}

/// Prints the first line.
pub(super) fn say(welcome: &Welcome) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(welcome)?)?;
    Ok(out.flush()?)
}

/// Prints a reply. Whoever does not read it is dealt with above.
fn answer(id: u64, result: Result<Value>) {
    let (ok, error) = match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let line = serde_json::to_string(&Reply { id, ok, error });
    let mut out = io::stdout().lock();
    let _ = line.map(|line| writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn value(of: impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(of)?)
}

impl Lab {
    fn make(config: &LabConfig, namespaces: Arc<Namespaces>) -> Result<Self> {
        network::make(&namespaces, &config.nameservers)?;
        let entered = Arc::clone(&namespaces);
        let nameservers = Nameservers::start(&config.nameservers, move |address| {
            entered.enter_net(network::home_of(address))
        })?;
        let syslog = Syslog::start(files::dev_log())?;
        files::change(&config.files)?;
        let preload =
            config.server.wrapped.then(|| parts::preload_library(config.preload.as_deref())).transpose()?;
        let mut server = Server::new(config.server.clone(), preload);
        if config.start_server {
            server.start(&namespaces)?;
        }
        let servers = (network::SERVER4, network::SERVER6);
        let addresses = Addresses::new(servers, server::socket(), network::CLIENTS4, network::CLIENTS6);
        Ok(Self {
            namespaces,
            nameservers,
            addresses: Arc::new(addresses),
            server,
            syslog,
            ident: None,
            captures: BTreeMap::new(),
            captured: 0,
        })
    }

    fn info(&self) -> Result<LabInfo> {
        Ok(LabInfo {
            server_pid: self.server.outer_pid(),
            init_pid: self.namespaces.outer_pid()?,
            marker: self.namespaces.marker.clone(),
            namespaces: self.namespaces.inodes()?,
            server4: network::SERVER4,
            server6: network::SERVER6,
            socket: server::socket(),
        })
    }

    fn obey(&mut self, Request { id, background, command }: Request) {
        let work = match self.begin(command) {
            Ok(Work::Done(value)) => return answer(id, Ok(value)),
            Ok(Work::Takes(work)) => work,
            Err(error) => return answer(id, Err(error)),
        };
        if !background {
            return answer(id, work());
        }
        let spawned = std::thread::Builder::new().spawn(move || answer(id, work()));
        if let Err(error) = spawned {
            answer(id, Err(error.into()));
        }
    }

    /// Does it, or says how to.
    fn begin(&mut self, command: Command) -> Result<Work> {
        let namespaces = Arc::clone(&self.namespaces);
        Ok(Work::Takes(match command {
            Command::Clients(spec) => {
                let addresses = Arc::clone(&self.addresses);
                Box::new(move || value(clients::drive(&spec, &addresses)?))
            }
            Command::Exec { ns, argv, timeout_ms } => Box::new(move || {
                let (program, arguments) = argv.split_first().context("no command")?;
                let mut command = namespaces.command(ns, program);
                command.args(arguments);
                value(exec::run(command, Duration::from_millis(timeout_ms))?)
            }),
            Command::Burn { ms } => {
                let pid = self.server.pid()?;
                Box::new(move || value(burn::burn(pid, ms)?))
            }
            quick => return self.obey_at_once(quick).map(Work::Done),
        }))
    }

    fn obey_at_once(&mut self, command: Command) -> Result<Value> {
        match command {
            Command::Dns(settings) => self.nameservers.set(settings)?,
            Command::DnsLog { clear } => return value(self.nameservers.log(clear)),
            Command::Files(changes) => files::change(&changes)?,
            Command::Syslog { clear } => return value(self.syslog.messages(clear)),
            Command::Ident { server } => {
                // The old one's port has to be free first.
                self.ident = None;
                self.ident = server.map(IdentServer::start).transpose()?;
            }
            Command::Resolved { after_ms } => resolved::start(Duration::from_millis(after_ms))?,
            Command::Daemon { argv } => return value(daemon::start(&self.namespaces, &argv)?),
            Command::SyslogFreeze { frozen } => self.syslog.freeze(frozen)?,
            Command::Signal { sig } => self.server.signal(match sig {
                Signal::Stop => Sig::SIGSTOP,
                Signal::Cont => Sig::SIGCONT,
                Signal::Term => Sig::SIGTERM,
                Signal::Kill => Sig::SIGKILL,
            })?,
            Command::RestartServer { config } => {
                self.server.restart(&self.namespaces, config)?;
                return value(self.info()?);
            }
            Command::ServerLog => return value(server::log()?),
            Command::TcpdumpStart { link } => return value(self.start_capture(link)?),
            Command::TcpdumpStop { link } => {
                let running = self.captures.remove(&link).context("this link is not being captured")?;
                return value(Capture { path: self.seen_from_outside(&running.stop(&self.namespaces)?)? });
            }
            Command::Clients(_) | Command::Exec { .. } | Command::Burn { .. } | Command::Quit => {}
        }
        Ok(Value::Null)
    }

    fn start_capture(&mut self, link: Link) -> Result<Capture> {
        ensure!(!self.captures.contains_key(&link), "this link is being captured already");
        self.captured += 1;
        let running = capture::Running::start(&self.namespaces, link, self.captured)?;
        let path = self.seen_from_outside(running.path())?;
        self.captures.insert(link, running);
        Ok(Capture { path })
    }

    /// The same path for processes outside the lab.
    fn seen_from_outside(&self, path: &Path) -> Result<PathBuf> {
        let root = PathBuf::from(format!("/proc/{}/root", self.namespaces.outer_pid()?));
        Ok(root.join(path.strip_prefix("/")?))
    }
}
