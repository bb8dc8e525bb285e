//! A process tree that vanishes whole, however its first process ends.
//!
//! The process that was started (outer) only makes a PID namespace, forks its first process (init) and waits for it. When init
//! goes, the kernel kills everything in the namespace, and with the last process the network and mount namespaces and
//! all that is mounted there go too. Init dies with the outer process (`PR_SET_PDEATHSIG`), and ends by itself at the end of stdin.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe2};

use super::control;
use crate::lab::{LabConfig, Welcome, parts};

/// Runs a lab until `quit` or the end of stdin. `config`: a [`LabConfig`] in JSON.
pub fn main(config: Option<&str>) -> ExitCode {
    match start(config) {
        Ok(code) => code,
        Err(error) => {
            let _ = control::say(&Welcome::Error(format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn start(config: Option<&str>) -> Result<ExitCode> {
    let config: LabConfig =
        serde_json::from_str(config.unwrap_or("{}")).context("the lab's configuration is not valid")?;
    parts::check_machine(&config)?;
    unshare(CloneFlags::CLONE_NEWPID).context("cannot make a PID namespace")?;
    let (alive, held_by_outer) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { fork() }.context("cannot fork")? {
        ForkResult::Parent { child } => {
            drop(alive);
            match waitpid(child, None)? {
                WaitStatus::Exited(_, code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
                other => bail!("the lab's first process ended: {other:?}"),
            }
        }
        ForkResult::Child => {
            drop(held_by_outer);
            set_pdeathsig(Signal::SIGKILL)?;
            // If the outer process was killed before that took effect, nobody holds the pipe any more.
            let mut fds = [PollFd::new(alive.as_fd(), PollFlags::empty())];
            if poll(&mut fds, PollTimeout::ZERO)? != 0 {
                return Ok(ExitCode::FAILURE);
            }
            // This thread lives as long as init, so the signal above stays tied to the outer process alone.
            control::run(&config)
        }
    }
}
