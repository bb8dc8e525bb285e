//! Loading the kernel side, attaching it, reading its ring and counters. It knows records and processes, not what a connection is.
//!
//! Order matters: everything is attached while no process is a target, so nothing is written; a target's entry in the map is what begins its
//! trace. Dropping [`Probe`] detaches everything; nothing is ever pinned.

mod access;
mod btf;
mod capabilities;
mod counts;
mod error;
mod hooks;
mod layout;
mod load;
mod maps;
pub mod privileges;
mod ring;
mod run_time;
mod tracefs;
pub mod trial;
mod uprobes;

use std::collections::{BTreeMap, BTreeSet};

pub use access::access;
use aya::Ebpf;
pub use capabilities::{
    check as check_capabilities, missing as missing_capabilities, wanted as wanted_capabilities,
};
pub use counts::Counts;
pub use error::ProbeError;
pub use hooks::{Rung, lost_without, raw_skips_calls};
pub use maps::Seed;
pub use ring::Ring;
pub use run_time::{RunTime, Switch};
pub use tracefs::mounted as tracefs_mounted;
use wrapwatch_common::maps::Layout;

use crate::{
    host::{
        kernel,
        libwrap::Libwrap,
        process::{self, ProcessInfo},
        thread,
    },
    model::Degradation,
};

/// The kernel side, compiled by the build script.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wrapwatch-ebpf"));

/// How to load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Descriptors that the targets may have open: sizes the maps.
    pub max_fds: u64,
    /// Threads that the targets have or will have.
    pub threads: u64,
    /// Bytes of the ring; rounded up to a power of two.
    pub ring_bytes: u32,
    /// Let the kernel side log what it does.
    pub kernel_log: bool,
    /// Which hooks; the best that this kernel allows where that is left open.
    pub hooks: Option<Rung>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_fds: 16_384, threads: 1_024, ring_bytes: 4 << 20, kernel_log: false, hooks: None }
    }
}

/// The kernel side, loaded and attached.
pub struct Probe {
    ebpf: Ebpf,
    counts: counts::Page,
    degradations: Vec<Degradation>,
    hooks: Vec<String>,
    rung: Rung,
    targets: BTreeSet<u32>,
    /// Whether there were ever several at once.
    several: bool,
    uprobes: BTreeMap<u32, uprobes::Attached>,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl Probe {
    /// Loads and attaches everything that needs no target. Must be called on the only thread there is, or on that which will trace: see
    /// `tracefs::ensure`.
    pub fn attach(options: &Options) -> Result<Self, ProbeError> {
        let layout = layout::read();
        let asked = options.hooks.is_some();
        let mut refused: Option<(Rung, ProbeError)> = None;
        for rung in hooks::order() {
            if options.hooks.is_some_and(|wanted| wanted != rung) {
                continue;
            }
            match Self::on(rung, options, &layout) {
                Ok(mut probe) => {
                    let other = refused.as_ref().map(|(_, error)| error);
                    probe.degradations.extend(hooks::taken(rung, other, asked));
                    log::info!("hooks: {rung}");
                    return Ok(probe);
                }
                Err(error) if !error.is_about_hooks() => return Err(error),
                Err(error) => match refused.take() {
                    None => refused = Some((rung, error)),
                    Some((first, other)) => {
                        let (raw, perf) = if first == Rung::Raw { (other, error) } else { (error, other) };
                        return Err(ProbeError::neither(&raw, &perf, kernel::lockdown().as_deref()));
                    }
                },
            }
        }
        Err(refused.map_or_else(|| ProbeError::Missing("hooks".to_owned()), |(_, error)| error))
    }

    /// One rung of the ladder.
    fn on(rung: Rung, options: &Options, layout: &Result<Layout, String>) -> Result<Self, ProbeError> {
        let mut probe = Self::with(rung, options, layout.as_ref().ok())?;
        if let Err(why) = layout {
            probe.degradations.push(layout::degradation(why));
        }
        Ok(probe)
    }

    fn with(rung: Rung, options: &Options, layout: Option<&Layout>) -> Result<Self, ProbeError> {
        let (mut ebpf, logger) = load::load(OBJECT, options, &layout.copied().unwrap_or_default())?;
        let hooks::Attached { hooks, degradations } = hooks::attach(&mut ebpf, rung, layout)?;
        let (targets, uprobes) = (BTreeSet::new(), BTreeMap::new());
        let counts = counts::Page::map(&ebpf)?;
        Ok(Self { ebpf, counts, degradations, hooks, rung, targets, several: false, uprobes, logger })
    }

    /// What cannot be seen on this kernel.
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }

    /// The hooks attached, `category:event`.
    pub fn hooks(&self) -> &[String] {
        &self.hooks
    }

    /// Which hooks they are.
    pub const fn rung(&self) -> Rung {
        self.rung
    }

    /// The ring; it can be taken once.
    pub fn take_ring(&mut self) -> Result<Ring, ProbeError> {
        Ring::take(&mut self.ebpf)
    }

    /// Begins to trace a process. Listening ports are needed for the wait before accept.
    pub fn add_target(
        &mut self,
        process: &ProcessInfo,
        libwrap: Option<&Libwrap>,
        ports: &[u16],
    ) -> Result<(), ProbeError> {
        let context = libwrap.and_then(|found| found.tcpd_context).unwrap_or(0);
        self.expect_another()?;
        maps::add_ports(&mut self.ebpf, ports)?;
        if self.rung == Rung::Raw {
            let mut threads = process::threads(process.pid);
            threads.retain(|tid| thread::may_be_accepting(process.pid, *tid));
            maps::seed_threads(&mut self.ebpf, process.pid, &threads, self.several)?;
        }
        self.targets.insert(process.pid);
        self.tell_only_target()?;
        maps::add_target(&mut self.ebpf, process.pid, context)
    }

    /// Has the kernel side look every call up where there is a target already. To be called before anything of another one is entered: user space does not
    /// count as the kernel side does while a target runs.
    fn expect_another(&mut self) -> Result<(), ProbeError> {
        if !self.several && !self.targets.is_empty() {
            self.several = true;
            maps::set_several(&mut self.ebpf)?;
        }
        Ok(())
    }

    /// Of several each is asked for.
    fn tell_only_target(&mut self) -> Result<(), ProbeError> {
        if self.several { Ok(()) } else { maps::set_only_target(&mut self.ebpf, &self.targets) }
    }

    /// Puts uprobes on libwrap's functions in one target, in the place of those that it has.
    pub fn attach_uprobes(&mut self, pid: u32, libwrap: &Libwrap) -> Result<(), ProbeError> {
        let attached = uprobes::attach(&mut self.ebpf, pid, libwrap)?;
        if let Some(before) = self.uprobes.insert(pid, attached) {
            uprobes::detach(&mut self.ebpf, before);
        }
        Ok(())
    }

    /// Whether there are any in this target.
    pub fn has_uprobes(&self, pid: u32) -> bool {
        self.uprobes.contains_key(&pid)
    }

    /// Ends the trace of a process and forgets what was kept for it.
    pub fn remove_target(&mut self, pid: u32) -> Result<(), ProbeError> {
        if let Some(attached) = self.uprobes.remove(&pid) {
            uprobes::detach(&mut self.ebpf, attached);
        }
        self.targets.remove(&pid);
        self.tell_only_target()?;
        maps::remove_target(&mut self.ebpf, pid, self.several)
    }

    /// A target is another program now: what was kept of connections up to this number, which its descriptors and threads named, goes.
    pub fn replaced(&mut self, pid: u32, last_conn: u64) -> Result<(), ProbeError> {
        maps::forget_conns(&mut self.ebpf, pid, last_conn)?;
        maps::set_context(&mut self.ebpf, pid, 0)
    }

    /// What that program is: where its libwrap is, and on which ports it listens.
    pub fn look_anew(
        &mut self,
        pid: u32,
        libwrap: Option<&Libwrap>,
        ports: &[u16],
    ) -> Result<(), ProbeError> {
        maps::add_ports(&mut self.ebpf, ports)?;
        maps::set_context(&mut self.ebpf, pid, libwrap.and_then(|found| found.tcpd_context).unwrap_or(0))
    }

    /// Enters a check that began before: see [`Seed`]. To be called before [`Self::add_target`].
    pub fn seed(&mut self, pid: u32, seed: &Seed) -> Result<u64, ProbeError> {
        self.expect_another()?;
        maps::seed(&mut self.ebpf, pid, seed, self.several)
    }

    /// Takes back a descriptor that turned out to have gone meanwhile.
    pub fn unwatch(&mut self, pid: u32, fd: i32) -> Result<(), ProbeError> {
        maps::unwatch(&mut self.ebpf, pid, fd)
    }

    /// Takes back a connection whose story nobody will tell.
    pub fn forget_conn(&mut self, conn: u64) -> Result<(), ProbeError> {
        maps::forget_conn(&mut self.ebpf, conn)
    }

    /// The kernel side's counters; of calls left out it knows nothing, see [`Self::skipped_calls`].
    pub fn counts(&self) -> Counts {
        self.counts.read()
    }

    /// How many runs of the system calls' programs the kernel has left out.
    pub fn skipped_calls(&self) -> u64 {
        counts::skipped_calls(&self.ebpf)
    }

    /// How long the programs have run, as far as the kernel counted: see [`Switch`].
    pub fn run_time(&self) -> RunTime {
        run_time::read(&self.ebpf)
    }

    /// Passes on what the kernel side logged, if it was asked to.
    pub fn flush_kernel_log(&mut self) {
        let Some(logger) = &mut self.logger else { return };
        // Its reader panics at a log record that it cannot read. That is no reason to end a trace.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| logger.flush())).is_err() {
            log::warn!("what the kernel side logs cannot be read: it is not shown from here on");
            self.logger = None;
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}
