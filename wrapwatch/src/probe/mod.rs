//! Loading the kernel side, attaching it, reading its ring and counters. It knows records and processes, not what a connection is.
//!
//! Order matters: everything is attached while no process is a target, so nothing is written; a target's entry in the map is what begins its
//! trace. Dropping [`Probe`] detaches everything; nothing is ever pinned.

mod access;
mod btf;
mod capabilities;
mod counts;
mod detach;
mod error;
mod family;
mod hooks;
mod layout;
mod load;
mod local;
mod mapped;
mod maps;
mod pid_namespace;
pub mod privileges;
mod registry;
mod ring;
mod run_time;
mod tracefs;
pub mod trial;
mod uprobes;
mod user;
mod way;

pub use access::access;
use std::collections::{BTreeMap, BTreeSet};

use aya::Ebpf;
pub use capabilities::{missing as missing_capabilities, wanted as wanted_capabilities};
pub use counts::Counts;
pub use detach::Detaching;
pub use error::ProbeError;
use hooks::HookSet;
pub use hooks::{lost_without, raw_skips_calls};
use registry::Registry;
pub use registry::Seed;
pub use ring::{Ring, Then};
pub use run_time::{RunTime, Switch};
pub use tracefs::mounted as tracefs_mounted;
pub use user::{UserError, become_user};
use wrapwatch_common::maps::{Layout, PidNamespace};

use crate::{
    host::{
        heap, kernel,
        libwrap::Libwrap,
        process::{self, ProcessInfo},
        thread, word_size,
    },
    model::{Degradation, doctor::HookKind},
};

/// The kernel side, compiled by the build script.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wrapwatch-ebpf"));

/// How to load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Targets found: sizes the maps, with room for others.
    pub targets: u64,
    /// Descriptors that the targets may have open: sizes the maps.
    pub max_fds: u64,
    /// Threads that the targets have or will have.
    pub threads: u64,
    /// Bytes of the ring; rounded up to a power of two.
    pub ring_bytes: u32,
    /// Follow clients of MySQL's protocol until they are logged in.
    pub logins: bool,
    /// A target listens on a unix socket.
    pub local: bool,
    /// Let the kernel side log what it does.
    pub kernel_log: bool,
    /// Which hooks; the best that this kernel allows where that is left open.
    pub hooks: Option<HookKind>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            targets: 1,
            max_fds: 16_384,
            threads: 1_024,
            ring_bytes: 4 << 20,
            logins: false,
            local: false,
            kernel_log: false,
            hooks: None,
        }
    }
}

/// Asked before anything else: whether this process may trace, and whether /proc is that of its own PID namespace.
pub fn check() -> Result<(), ProbeError> {
    capabilities::check()?;
    pid_namespace::read().map(drop)
}

/// Whether a process would be refused as a target, and why.
pub fn refusal(pid: u32) -> Option<ProbeError> {
    let namespace = pid_namespace::read();
    namespace.and_then(|namespace| pid_namespace::check(namespace, pid)).and_then(|()| is_seen(pid)).err()
}

/// Refuses a process of which no hook tells.
fn is_seen(pid: u32) -> Result<(), ProbeError> {
    if word_size::is_32_bit(pid) { Err(ProbeError::Program32 { pid }) } else { Ok(()) }
}

/// The kernel side, loaded and attached.
pub struct Probe {
    ebpf: Ebpf,
    counts: counts::Page,
    degradations: Vec<Degradation>,
    hooks: Vec<String>,
    set: &'static dyn HookSet,
    /// Whether this set was asked for.
    asked: bool,
    /// How many runs of programs that are there no more the kernel has left out.
    skipped_before: u64,
    /// Whether what a server receives on TCP is seen.
    receives: bool,
    /// The kernel's way to a program, nanoseconds a run.
    way_ns: f64,
    namespace: PidNamespace,
    registry: Registry,
    uprobes: uprobes::Uprobes,
    /// Whether the processes that targets make can be followed, or why not.
    follows: Result<(), String>,
    /// Why the hook on queues of unix sockets cannot be had, where that is known.
    local_hook: Result<(), String>,
    /// Inodes of the unix sockets that targets listen on.
    local: BTreeMap<u32, BTreeSet<u64>>,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

/// The kernel side, of which no set of hooks is attached yet.
struct Loaded {
    ebpf: Ebpf,
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    /// Why the hook on queues of unix sockets cannot be had, if so; where a target has some it is attached.
    local: Result<(), String>,
}

impl Loaded {
    fn new(options: &Options, layout: Option<&Layout>, namespace: PidNamespace) -> Result<Self, ProbeError> {
        let (mut ebpf, logger) =
            load::load(OBJECT, options, &layout.copied().unwrap_or_default(), namespace)?;
        let mut local = local::is_known(layout);
        if options.local && local.is_ok() {
            // Before more is in memory: the kernel's types take some for a while.
            local = local::attach(&mut ebpf);
            heap::give_back();
        }
        Ok(Self { ebpf, logger, local })
    }
}

/// What came of [`Probe::replace_hooks`].
#[derive(Debug)]
pub struct OtherHooks {
    /// The hooks that are there now.
    pub by: &'static str,
    /// What it means that they are.
    pub degradation: Option<Degradation>,
    /// Those that were there, which the kernel takes off.
    pub detaching: Detaching,
}

impl Probe {
    /// Loads and attaches everything that needs no target. Must be called on the only thread there is, or on that which will trace: see
    /// `tracefs::ensure`.
    pub fn attach(options: &Options) -> Result<Self, ProbeError> {
        let layout = layout::read();
        let namespace = pid_namespace::read()?;
        let without = way::Without::measure();
        let mut refused = Vec::new();
        let mut loaded = None;
        for set in hooks::order(options.hooks) {
            match Self::attach_set(set, options, &layout, namespace, &mut loaded) {
                Ok(mut probe) => {
                    let why = hooks::Taken { refused: &refused, asked: options.hooks.is_some() };
                    probe.degradations.extend(set.taken(&why));
                    probe.way_ns = without.way_ns();
                    log::info!("hooks: {}", set.name());
                    return Ok(probe);
                }
                Err(error) if !error.is_about_hooks() => return Err(error),
                Err(error) => {
                    log::info!("not by {}: {error}", set.name());
                    refused.push((set, error));
                }
            }
        }
        let refused = refused.into_iter().map(|(set, why)| (set.name(), why)).collect();
        Err(ProbeError::none_of(refused, kernel::lockdown().as_deref()))
    }

    /// Loads the kernel side, unless a set that was refused has left it as it was, and attaches one set of hooks.
    fn attach_set(
        set: &'static dyn HookSet,
        options: &Options,
        layout: &Result<Layout, String>,
        namespace: PidNamespace,
        loaded: &mut Option<Loaded>,
    ) -> Result<Self, ProbeError> {
        let known = layout.as_ref().ok();
        let Loaded { mut ebpf, logger, local } = match loaded.take() {
            Some(loaded) => loaded,
            None => Loaded::new(options, known, namespace)?,
        };
        let hooks::Attached { mut hooks, mut degradations } = match set.attach(&mut ebpf, known) {
            Ok(attached) => attached,
            Err(error) => {
                if matches!(error, ProbeError::NoTrampolines(_)) {
                    // It looked for the kernel's functions.
                    heap::give_back();
                    *loaded = Some(Loaded { ebpf, logger, local });
                }
                return Err(error);
            }
        };
        degradations.extend(layout.as_ref().err().map(|why| layout::degradation(why)));
        if options.local && local.is_ok() {
            hooks.push(local::HOOK.to_owned());
        }
        let (registry, counts) = (Registry::new(&ebpf)?, counts::Page::map(&ebpf)?);
        let follows = family::attach(&mut ebpf, known, namespace);
        let uprobes = uprobes::Uprobes::default();
        let receives = set.shows_receives();
        let mut probe = Self {
            ebpf,
            counts,
            degradations,
            hooks,
            set,
            asked: options.hooks.is_some(),
            skipped_before: 0,
            receives,
            way_ns: 0.0,
            namespace,
            registry,
            uprobes,
            follows,
            local_hook: local,
            local: BTreeMap::new(),
            logger,
        };
        if options.logins {
            probe.attach_receives()?;
        }
        Ok(probe)
    }

    /// Takes everything off. A child waits for the kernel, which takes long for many programs, and for a few where others take off theirs.
    pub fn detach(self) -> Detaching {
        Detaching::begin(|| drop(self))
    }

    /// From now on what a server receives on TCP is of interest.
    fn attach_receives(&mut self) -> Result<(), ProbeError> {
        if !self.receives {
            self.hooks.extend(self.set.attach_receives(&mut self.ebpf)?.hooks);
            self.receives = true;
        }
        Ok(())
    }

    /// Whether what a server receives on TCP is seen.
    pub fn receives(&self) -> bool {
        self.receives
    }

    /// Why the kernel runs the hooks no more, if so.
    pub fn not_run(&self) -> Option<&'static str> {
        self.set.not_run()
    }

    /// Has raw tracepoints take the place of hooks on calls that the kernel runs no more: they need no rights that a trace gives up. None where those were asked for. Nothing may be a
    /// target, and it must be called within a tokio runtime.
    pub fn replace_hooks(&mut self) -> Option<Result<OtherHooks, ProbeError>> {
        (!self.asked).then(|| self.by_raw_tracepoints())
    }

    fn by_raw_tracepoints(&mut self) -> Result<OtherHooks, ProbeError> {
        let without = way::Without::measure();
        let skipped = self.skipped_calls();
        let (set, ebpf) = (self.set, &mut self.ebpf);
        let detaching = Detaching::begin(|| set.let_go(ebpf));
        self.skipped_before = skipped.saturating_sub(counts::skipped_calls(&self.ebpf));
        let mut attached = hooks::Attached::default();
        hooks::raw::attach_calls(&mut self.ebpf, &mut attached)?;
        self.set = &hooks::raw::RawTracepoints;
        self.receives = self.set.shows_receives();
        self.hooks.retain(|hook| !hooks::is_trampoline(hook));
        self.hooks.extend(attached.hooks);
        self.local_hook = Err("the kernel runs trampolines no more".to_owned());
        self.way_ns = without.way_ns();
        let taken = self.set.taken(&hooks::Taken { refused: &[], asked: false });
        Ok(OtherHooks { by: self.set.name(), degradation: taken, detaching })
    }

    /// What cannot be seen on this kernel.
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }

    /// The hooks attached, `category:event`.
    pub fn hooks(&self) -> &[String] {
        &self.hooks
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
        pid_namespace::check(self.namespace, process.pid)?;
        is_seen(process.pid)?;
        let context = libwrap.and_then(|found| found.tcpd_context).unwrap_or(0);
        let added = self.enter_target(process, context, ports);
        if added.is_err() {
            // What was entered until then is of no use, and costs all others if it stays.
            let _ = self.registry.remove(&mut self.ebpf, process.pid);
        }
        added
    }

    fn enter_target(&mut self, process: &ProcessInfo, context: u64, ports: &[u16]) -> Result<(), ProbeError> {
        self.registry.listens(&mut self.ebpf, process.pid, process.netns, ports)?;
        let mut midway = Vec::new();
        if !self.set.ends_name_calls() {
            midway = process::threads(process.pid);
            midway.retain(|tid| thread::may_be_accepting(process.pid, *tid));
        }
        self.registry.add(&mut self.ebpf, process.pid, context, &midway)
    }

    /// Puts uprobes on libwrap's functions for one target, in the place of those that it has: in that process alone, or, where the processes that it makes are
    /// followed, in every one that maps this file.
    pub fn attach_uprobes(&mut self, pid: u32, libwrap: &Libwrap, follows: bool) -> Result<(), ProbeError> {
        self.uprobes.attach(&mut self.ebpf, pid, libwrap, follows)
    }

    /// Whether there are any in this target.
    pub fn has_uprobes(&self, pid: u32) -> bool {
        self.uprobes.has(pid)
    }

    /// Ends the trace of a process and forgets what was kept for it.
    pub fn remove_target(&mut self, pid: u32) -> Result<(), ProbeError> {
        self.uprobes.remove(&mut self.ebpf, pid);
        self.end_target(pid)
    }

    /// The same before [`Self::detach`], with which its uprobes go: taken off here, the kernel would hold this process for as long as it takes.
    pub fn end_target(&mut self, pid: u32) -> Result<(), ProbeError> {
        self.forget_local(pid)?;
        self.registry.remove(&mut self.ebpf, pid)
    }

    /// A target is another program now: what was kept of connections up to this number, which its descriptors and threads named, goes.
    pub fn replaced(&mut self, pid: u32, last_conn: u64) -> Result<(), ProbeError> {
        Registry::forget_conns(&mut self.ebpf, pid, last_conn)?;
        self.registry.set_context(&mut self.ebpf, pid, 0)
    }

    /// What that program is: where its libwrap is, and on which ports it listens.
    pub fn look_anew(
        &mut self,
        process: &ProcessInfo,
        libwrap: Option<&Libwrap>,
        ports: &[u16],
    ) -> Result<(), ProbeError> {
        is_seen(process.pid)?;
        self.registry.listens(&mut self.ebpf, process.pid, process.netns, ports)?;
        let context = libwrap.and_then(|found| found.tcpd_context).unwrap_or(0);
        self.registry.set_context(&mut self.ebpf, process.pid, context)
    }

    /// Enters a check that began before: see [`Seed`]. To be called before [`Self::add_target`].
    pub fn seed(&mut self, pid: u32, seed: &Seed) -> Result<u64, ProbeError> {
        self.registry.seed(&mut self.ebpf, pid, seed)
    }

    /// Takes back a descriptor that turned out to have gone meanwhile.
    pub fn unwatch(&mut self, pid: u32, fd: i32) -> Result<(), ProbeError> {
        Registry::unwatch(&mut self.ebpf, pid, fd)
    }

    /// Takes back a connection whose story nobody will tell.
    pub fn forget_conn(&mut self, conn: u64) -> Result<(), ProbeError> {
        Registry::forget_conn(&mut self.ebpf, conn)
    }

    /// The kernel side's counters; of calls left out it knows nothing, see [`Self::skipped_calls`].
    pub fn counts(&self) -> Counts {
        self.counts.read()
    }

    /// How many runs of the system calls' programs the kernel has left out.
    pub fn skipped_calls(&self) -> u64 {
        self.skipped_before + counts::skipped_calls(&self.ebpf)
    }

    /// How long the programs have run, as far as the kernel counted: see [`Switch`].
    pub fn run_time(&self) -> RunTime {
        run_time::read(&self.ebpf)
    }

    /// What the kernel takes on its way to a program, which is no part of [`Self::run_time`]: nanoseconds a run, as measured when the hooks were attached.
    pub fn way_ns(&self) -> f64 {
        self.way_ns
    }

    /// Passes on what the kernel side logged, if it was asked to.
    pub fn flush_kernel_log(&mut self) {
        let Some(logger) = &mut self.logger else { return };
        // Its reader panics at a log record that it cannot read. That is no reason to end a trace.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| logger.flush())).is_err() {
            log::warn!("cannot read what the BPF programs log: it is not shown any more");
            self.logger = None;
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}
