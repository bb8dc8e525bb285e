//! The floor: programs that do nothing, on the same hooks as wrapwatch's. What they cost, no tracer on these hooks can avoid.
//!
//! Two instructions each, loaded by bpf(2) itself: there is nothing to compile. Where wrapwatch's hooks are is read from a trace's head.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use btfparse::{Readable, TypeInformation, TypeVariant};
use wrapwatch::host::libwrap;
use wrapwatch::replay::{Options, Replay};

/// `r0 = 0; exit`
const NOTHING: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `BPF_TRACE_FENTRY`, `BPF_TRACE_FEXIT` (`enum bpf_attach_type`).
const TRACE_FENTRY: u32 = 24;
const TRACE_FEXIT: u32 = 25;
/// The kernel's types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

const PERF_TYPE_TRACEPOINT: u32 = 2;
/// `_IO('$', 0)` and `_IOW('$', 8, u32)` (linux/perf_event.h).
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// Kinds of programs (`enum bpf_prog_type`).
#[derive(Clone, Copy)]
enum Kind {
    /// Uprobes.
    Kprobe = 2,
    Tracepoint = 5,
    RawTracepoint = 17,
    /// Trampolines.
    Tracing = 26,
}

/// Where a hook is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// A tracepoint through perf_event_open(2): category and event.
    Tracepoint(String, String),
    /// A raw tracepoint.
    Raw(String),
    /// Where a function of the kernel begins.
    Entry(String),
    /// Where it ends.
    Exit(String),
}

impl Hook {
    /// All that a trace says were attached.
    pub fn of_trace(file: &Path) -> Result<Vec<Self>> {
        let mut story = Replay::new(fs::File::open(file)?, Options::default());
        while story.next_line()?.is_some() {}
        Ok(story.context().head.probes.iter().filter_map(|name| Self::named(name)).collect())
    }

    /// As a trace's head names it: `category:event`.
    pub fn named(name: &str) -> Option<Self> {
        match name.split_once(':')? {
            ("raw" | "raw_tracepoint", name) => Some(Self::Raw(name.to_owned())),
            ("fentry", function) => Some(Self::Entry(function.to_owned())),
            ("fexit", function) => Some(Self::Exit(function.to_owned())),
            (category, event) => Some(Self::Tracepoint(category.to_owned(), event.to_owned())),
        }
    }
}

/// What of `union bpf_attr` loading a program takes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// What of it opening a raw tracepoint takes.
#[repr(C)]
struct RawOpen {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

/// What of `struct perf_event_attr` is used here (its first version's size).
#[repr(C)]
#[derive(Default)]
struct PerfAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
}

/// Bytes that are read as a file is.
struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(bytes) = from.checked_add(buffer.len()).and_then(|to| self.0.get(from..to)) {
            buffer.copy_from_slice(bytes);
        }
        Ok(())
    }
}

/// The first function of this name, as everybody takes it: Linux 6.1 has some twice, and one number of both is busy while programs are at the other.
fn first(types: &TypeInformation, function: &str) -> Option<u32> {
    let functions = types.get().iter().filter(|(_, found)| matches!(found, TypeVariant::Func(_)));
    functions.map(|(id, _)| *id).find(|id| types.name_of(*id).as_deref() == Some(function))
}

/// Attached programs; dropping it takes them off.
pub struct Floor {
    programs: Vec<OwnedFd>,
    /// Held, not read: closing them detaches.
    links: Vec<OwnedFd>,
    types: Option<TypeInformation>,
}

impl Floor {
    /// On these hooks, and on libwrap's functions in one process.
    pub fn attach(hooks: &[Hook], pid: u32) -> Result<Self> {
        let mut floor = Self { programs: Vec::new(), links: Vec::new(), types: None };
        for hook in hooks {
            floor.add(hook).with_context(|| format!("cannot attach an empty program to {hook:?}"))?;
        }
        floor.add_uprobes(pid)?;
        // They take so much memory that the kernel would have to look for some as long as they are kept.
        floor.types = None;
        Ok(floor)
    }

    /// The programs, for their run times.
    pub fn programs(&self) -> &[OwnedFd] {
        &self.programs
    }

    fn add(&mut self, hook: &Hook) -> Result<()> {
        let link = match hook {
            Hook::Tracepoint(category, event) => {
                let id = format!("/sys/kernel/tracing/events/{category}/{event}/id");
                let id: u64 = fs::read_to_string(&id).with_context(|| id.clone())?.trim().parse()?;
                let attr = PerfAttr {
                    kind: PERF_TYPE_TRACEPOINT,
                    config: id,
                    sample_period: 1,
                    ..PerfAttr::default()
                };
                // Of any process, heard on CPU 0: a tracepoint's program runs whatever the CPU.
                perf(self.program(Kind::Tracepoint)?, attr, -1, 0)?
            }
            Hook::Raw(name) => raw(self.program(Kind::RawTracepoint)?, Some(name))?,
            Hook::Entry(function) => raw(self.trampoline(TRACE_FENTRY, function)?, None)?,
            Hook::Exit(function) => raw(self.trampoline(TRACE_FEXIT, function)?, None)?,
        };
        self.links.push(link);
        Ok(())
    }

    fn add_uprobes(&mut self, pid: u32) -> Result<()> {
        let Some(libwrap) = libwrap::find(pid)? else { return Ok(()) };
        let kind = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")?.trim().parse()?;
        let path = CString::new(libwrap.file.path().display().to_string())?;
        for &(_, offset) in &libwrap.functions {
            // config:0 makes it a return probe (/sys/bus/event_source/devices/uprobe/format/retprobe).
            for config in [0, 1] {
                let attr = PerfAttr {
                    kind,
                    config,
                    config1: path.as_ptr() as u64,
                    config2: offset,
                    ..PerfAttr::default()
                };
                let link = perf(self.program(Kind::Kprobe)?, attr, i32::try_from(pid)?, -1)?;
                self.links.push(link);
            }
        }
        Ok(())
    }

    fn program(&mut self, kind: Kind) -> io::Result<libc::c_int> {
        self.load(kind, ProgLoad::default())
    }

    fn trampoline(&mut self, expected_attach_type: u32, function: &str) -> Result<libc::c_int> {
        if self.types.is_none() {
            let types = TypeInformation::new(&Bytes(fs::read(BTF)?));
            self.types = Some(types.map_err(|error| anyhow::anyhow!("{BTF}: {error:?}"))?);
        }
        let id = self.types.as_ref().and_then(|types| first(types, function));
        let attach_btf_id = id.with_context(|| format!("{BTF} has no {function}"))?;
        let attr = ProgLoad { expected_attach_type, attach_btf_id, ..ProgLoad::default() };
        Ok(self.load(Kind::Tracing, attr)?)
    }

    fn load(&mut self, kind: Kind, attr: ProgLoad) -> io::Result<libc::c_int> {
        let attr = ProgLoad {
            prog_type: kind as u32,
            insn_cnt: 2,
            insns: NOTHING.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            ..attr
        };
        let program = bpf(BPF_PROG_LOAD, &attr)?;
        let fd = program.as_raw_fd();
        self.programs.push(program);
        Ok(fd)
    }
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attribute is a prefix of `union bpf_attr` as the command takes it, valid for the size given; what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    owned(fd)
}

/// A link to a raw tracepoint, or, without a name, to what the program was loaded for.
fn raw(program: libc::c_int, name: Option<&str>) -> Result<OwnedFd> {
    let name = name.map(CString::new).transpose()?;
    let at = name.as_ref().map_or(0, |name| name.as_ptr() as u64);
    let attr = RawOpen { name: at, prog_fd: u32::try_from(program)?, pad: 0 };
    Ok(bpf(BPF_RAW_TRACEPOINT_OPEN, &attr)?)
}

fn perf(program: libc::c_int, mut attr: PerfAttr, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    attr.size = u32::try_from(size_of::<PerfAttr>()).unwrap_or(0);
    // SAFETY: the attribute is a whole `struct perf_event_attr` of the size it says; what it points to outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(&attr),
            pid,
            cpu,
            -1,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let event = owned(fd)?;
    for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program), (PERF_EVENT_IOC_ENABLE, 0)] {
        // SAFETY: both requests take an integer by value.
        if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match libc::c_int::try_from(fd) {
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
