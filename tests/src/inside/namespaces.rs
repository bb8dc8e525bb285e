//! The lab's namespaces: init's own, which is the clients' place, one for the server, one for the nameservers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open, readlinkat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;

use super::files;
use crate::lab::Namespace;

/// They exist as long as this process does.
pub(super) struct Namespaces {
    /// The `/proc` of whoever started the lab: tells process ids as seen from outside.
    outer_proc: OwnedFd,
    clients: File,
    server: File,
    server_mounts: File,
    dns: File,
    /// Source of the lab's file system in mountinfo.
    pub(super) marker: String,
}

impl Namespaces {
    /// Moves this process, which has one thread, into new namespaces and makes the others.
    pub(super) fn make() -> Result<Self> {
        let outer_proc = open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .context("cannot open /proc")?;
        let marker = format!("wrapwatch-lab-{}", outer_pid(outer_proc.as_fd())?);
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)
            .context("cannot make namespaces")?;
        // First of all: what is mounted from here on stays in here.
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("cannot make the mounts private")?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "/proc", Some("proc"), flags, none).context("cannot mount /proc")?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some(marker.as_str()), "/run", Some("tmpfs"), flags, Some("mode=755"))
            .context("cannot mount a tmpfs on /run")?;
        files::make()?;
        let clients = current("net")?;
        let (server, server_mounts) = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
            files::mount_over()?;
            Ok((current("net")?, current("mnt")?))
        })?;
        let dns = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            current("net")
        })?;
        Ok(Self { outer_proc, clients, server, server_mounts, dns, marker })
    }

    fn net(&self, place: Namespace) -> &File {
        match place {
            Namespace::Server => &self.server,
            Namespace::Clients => &self.clients,
            Namespace::Dns => &self.dns,
        }
    }

    /// Moves the calling thread into this network namespace.
    pub(super) fn enter_net(&self, place: Namespace) -> Result<()> {
        setns(self.net(place), CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter the network namespace {place:?}"))
    }

    /// Runs in a thread of its own in this network namespace.
    pub(super) fn inside<T: Send>(
        &self,
        place: Namespace,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        in_thread(|| {
            self.enter_net(place)?;
            work()
        })
    }

    /// A path to the network namespace, as iproute2 takes it.
    pub(super) fn net_path(&self, place: Namespace) -> PathBuf {
        format!("/proc/1/fd/{}", self.net(place).as_raw_fd()).into()
    }

    /// A command that will run there, with the server's mounts for [`Namespace::Server`].
    pub(super) fn command(&self, place: Namespace, program: &str) -> Command {
        let net = self.net(place).as_raw_fd();
        let mounts = (place == Namespace::Server).then(|| self.server_mounts.as_raw_fd());
        let mut command = Command::new(program);
        let enter = move || {
            // SAFETY: both stay open in this process as long as it lives, and the child is a copy of it.
            let (net, mounts) =
                unsafe { (BorrowedFd::borrow_raw(net), mounts.map(|fd| BorrowedFd::borrow_raw(fd))) };
            setns(net, CloneFlags::CLONE_NEWNET)?;
            if let Some(mounts) = mounts {
                setns(mounts, CloneFlags::CLONE_NEWNS)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec it only makes system calls on descriptors that it owns.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Starts the command; gives its process, and its process id as seen from outside.
    pub(super) fn spawn(&self, mut command: Command) -> Result<(Child, u32)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        self.report_pid(&mut command, writer);
        let program = command.get_program().to_string_lossy().into_owned();
        let child =
            command.spawn().with_context(|| format!("cannot run {program}; run: cargo xtask setup"))?;
        // The writing end goes with the command, so that reading ends.
        drop(command);
        let mut pid = String::new();
        File::from(reader).read_to_string(&mut pid)?;
        Ok((child, pid.parse().with_context(|| format!("{program} did not report its process id"))?))
    }

    /// Lets the command's process, before it is the program, write its own process id as seen from outside into `to`.
    fn report_pid(&self, command: &mut Command, to: OwnedFd) {
        let outer_proc = self.outer_proc.as_raw_fd();
        let report = move || {
            let mut pid = [0_u8; 16];
            // SAFETY: the descriptor is open as above; buffer and length agree.
            let len =
                unsafe { libc::readlinkat(outer_proc, c"self".as_ptr(), pid.as_mut_ptr().cast(), pid.len()) };
            let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
            nix::unistd::write(&to, pid.get(..len).unwrap_or_default())?;
            Ok(())
        };
        // SAFETY: between fork and exec it only makes system calls and allocates nothing.
        unsafe { command.pre_exec(report) };
    }

    /// This process's id as seen from outside.
    pub(super) fn outer_pid(&self) -> Result<u32> {
        outer_pid(self.outer_proc.as_fd())
    }

    /// Inodes of all of them, as in `/proc/PID/ns`.
    pub(super) fn inodes(&self) -> Result<BTreeMap<String, u64>> {
        let mut inodes = BTreeMap::new();
        for (name, file) in [
            ("net_clients", &self.clients),
            ("net_server", &self.server),
            ("net_dns", &self.dns),
            ("mnt_server", &self.server_mounts),
            ("mnt", &current("mnt")?),
            ("pid", &current("pid")?),
        ] {
            inodes.insert(name.to_owned(), file.metadata()?.ino());
        }
        Ok(inodes)
    }
}

fn outer_pid(outer_proc: BorrowedFd<'_>) -> Result<u32> {
    let target = readlinkat(outer_proc, "self").context("cannot read /proc/self")?;
    target.to_str().and_then(|pid| pid.parse().ok()).context("/proc/self is not a number")
}

/// The calling thread's namespace of this kind.
fn current(kind: &str) -> Result<File> {
    let path = format!("/proc/thread-self/ns/{kind}");
    File::open(&path).with_context(|| format!("cannot open {path}"))
}

/// Runs in a thread of its own, which may leave this process's namespaces.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread in a namespace failed")))
}

/// Sets a network sysctl in the calling thread's namespace.
pub(super) fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::write(&path, value).with_context(|| format!("cannot set {path}"))
}
