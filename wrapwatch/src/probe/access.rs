//! Everything that wrapwatch touches, for whoever has to approve it: taken from what is used to load and attach, and from the compiled kernel side
//! itself, so that it cannot say less than what is done.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};

use super::{OBJECT, capabilities, family, hooks, local, uprobes};
use crate::{
    host::kernel,
    model::doctor::{Access, Use},
};

/// Size of a BPF instruction.
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// Helpers by number (`include/uapi/linux/bpf.h`), those that a tracing program could want.
const HELPERS: [(u32, &str); 29] = [
    (1, "map_lookup_elem"),
    (2, "map_update_elem"),
    (3, "map_delete_elem"),
    (4, "probe_read"),
    (5, "ktime_get_ns"),
    (6, "trace_printk"),
    (8, "get_smp_processor_id"),
    (12, "tail_call"),
    (14, "get_current_pid_tgid"),
    (15, "get_current_uid_gid"),
    (16, "get_current_comm"),
    (25, "perf_event_output"),
    (35, "get_current_task"),
    (45, "probe_read_str"),
    (112, "probe_read_user"),
    (113, "probe_read_kernel"),
    (114, "probe_read_user_str"),
    (115, "probe_read_kernel_str"),
    (120, "get_ns_current_pid_tgid"),
    (125, "ktime_get_boot_ns"),
    (130, "ringbuf_output"),
    (131, "ringbuf_reserve"),
    (132, "ringbuf_submit"),
    (133, "ringbuf_discard"),
    (134, "ringbuf_query"),
    (158, "get_current_task_btf"),
    (174, "get_attach_cookie"),
    (175, "task_pt_regs"),
    (184, "get_func_ret"),
];

/// Files looked at, and what for. `PID` is a target.
const FILES: [(&str, &str); 28] = [
    ("/sys/kernel/tracing/events/*/*/id", "numbers of the tracepoints, where raw ones are not available"),
    (kernel::BTF, "where the kernel keeps a socket's ends and network namespace, a thread's wait for a CPU"),
    (kernel::LOCKDOWN, "whether the kernel is locked down"),
    (kernel::PERF_EVENT_PARANOID, "whether tracepoints are open to this user"),
    (kernel::UNPRIVILEGED_BPF, "whether BPF is open to this user"),
    ("/.dockerenv, /run/.containerenv, /run/systemd/container, /proc/self/ns", "whether this is a container"),
    ("/proc/self/status, ns/pid", "whether processes have other numbers here than on the host"),
    ("/proc/*/stat", "finding the servers, when they were started"),
    ("/proc/PID/status, limits, cmdline, cgroup, task/*/stat", "what the target is, whether it is stopped"),
    ("/proc/PID/auxv", "whether it is a 32-bit program, whose calls no hook shows"),
    ("/proc/PID/exe", "whether the program is linked with libwrap"),
    ("/proc/PID/maps, map_files", "whether libwrap is mapped, and where"),
    ("/proc/PID/task/*/syscall, mem", "after a loss of events: whether a thread is at its listener again"),
    ("/proc/*/fd", "doctor only: which other processes hold a target's listener"),
    ("/proc/PID/task/*/children", "the processes that it has made"),
    ("/proc/PID/root/usr/lib/*/libwrap.so.0", "the libwrap of programs that it starts, where it maps none"),
    ("/proc/self/mountinfo, ns/pid", "doctor only: whether /proc shows all processes"),
    ("/proc/PID/attr/apparmor/current, attr/current", "doctor only: whether AppArmor confines the target"),
    ("/proc/PID/fd", "which sockets and open tables are the target's"),
    ("/proc/PID/ns", "its network namespace, which one thread enters for its sockets"),
    ("/proc/PID/net/netstat, sockstat", "dropped handshakes, TIME_WAIT"),
    ("/proc/sys/net/core/somaxconn, ipv4/ip_local_port_range", "limits in the target's namespace"),
    ("/proc/PID/mem, two strings of libwrap's", "where the tables are (hosts_allow_table, hosts_deny_table)"),
    ("/proc/PID/root/etc/hosts.allow, hosts.deny, or where libwrap looks", "the tables"),
    ("/proc/PID/root/etc/resolv.conf, nsswitch.conf, hosts, host.conf", "the resolver's settings"),
    (
        "/proc/PID/root/run/systemd/resolve/resolv.conf; of sshd and PostgreSQL their configuration",
        "doctor only: nameservers behind 127.0.0.53, the time that a login may take",
    ),
    ("/proc/PID/root/ files that rules name", "patterns of the form /file, banners"),
    ("/proc/PID/root/var/run/nscd, run/systemd/resolve", "whether the sockets are there; nothing is sent"),
];

const CALLS: [(&str, &str); 10] = [
    ("bpf (BPF_ENABLE_STATS)", "counting the programs' run time, for 0.2 s every five seconds"),
    ("bpf, perf_event_open", "the programs, maps and hooks; nothing is pinned, all goes with the process"),
    ("setns (network), in a thread that ends with it", "asking for the target's sockets"),
    ("socket (NETLINK_SOCK_DIAG)", "listeners, their queues, open connections of the target"),
    (
        "openat2 (RESOLVE_IN_ROOT), or openat and readlinkat",
        "opening the target's files without being led out of its root",
    ),
    (
        "setfsuid, setfsgid, setgroups, capset, in threads that do nothing else",
        "reading the target's files with no more rights than the target has",
    ),
    ("pidfd_open", "noticing the target's end"),
    ("pidfd_getfd", "asking listeners for their queues where the other way is closed; let go at once"),
    (
        "unshare, mount (tracefs, private)",
        "only where raw tracepoints are not available and tracefs is not mounted; private to wrapwatch",
    ),
    (
        "socket (UDP port 53)",
        "doctor only: one PTR query to each nameserver for its own address, and one for each of eight recent clients; not with --no-queries",
    ),
];

/// All of it.
pub fn access() -> Access {
    let uses = |list: &[(&str, &str)]| {
        list.iter()
            .map(|(what, purpose)| Use { what: (*what).to_owned(), purpose: (*purpose).to_owned() })
            .collect()
    };
    let capabilities = capabilities::wanted()
        .into_iter()
        .map(|(capability, purpose)| Use { what: capability.to_string(), purpose: purpose.to_owned() })
        .collect();
    let (helpers, maps) = contents(OBJECT);
    let uprobes = uprobes::names().map(|name| format!("uprobe libwrap.so:{name}"));
    Access {
        hooks: hooks::all()
            .into_iter()
            .flat_map(hooks::HookSet::programs)
            .chain([family::HOOK.to_owned(), local::HOOK.to_owned()])
            .chain(uprobes)
            .collect(),
        helpers,
        maps,
        files: uses(&FILES),
        capabilities,
        calls: uses(&CALLS),
    }
}

/// The helpers that an object's programs call and the maps it makes, sorted.
fn contents(object: &[u8]) -> (Vec<String>, Vec<String>) {
    let Ok(file) = object::File::parse(object) else { return (Vec::new(), Vec::new()) };
    let mut helpers: Vec<u32> = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .filter_map(|section| section.data().ok())
        .flat_map(|code| code.chunks_exact(INSTRUCTION))
        .filter_map(helper)
        .collect();
    helpers.sort_unstable();
    helpers.dedup();
    let name = |number: u32| {
        let known = HELPERS.iter().find(|(known, _)| *known == number);
        known.map_or_else(|| format!("helper {number}"), |(_, name)| (*name).to_owned())
    };
    let maps_section = file.section_by_name("maps").map(|section| section.index());
    let mut maps: Vec<String> = file
        .symbols()
        .filter(|symbol| symbol.section_index().is_some() && symbol.section_index() == maps_section)
        .filter_map(|symbol| symbol.name().ok().filter(|name| !name.is_empty()).map(ToOwned::to_owned))
        .collect();
    maps.sort_unstable();
    (helpers.into_iter().map(name).collect(), maps)
}

/// The helper an instruction calls: a call whose source register is 0 (1 is a function of the object's own, 2 one of the kernel's).
fn helper(instruction: &[u8]) -> Option<u32> {
    let [CALL, registers, _, _, number @ ..] = instruction else { return None };
    let number = u32::from_le_bytes(number.try_into().ok()?);
    // The linker leaves calls that are still to be relocated with -1.
    (registers >> 4 == 0 && number != u32::MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_helper_of_the_object_has_a_name() {
        let (helpers, maps) = contents(OBJECT);
        assert!(!helpers.iter().any(|name| name.starts_with("helper ")), "{helpers:?}");
        // What the design cannot do without.
        for name in ["map_lookup_elem", "probe_read_user", "ktime_get_ns", "get_current_pid_tgid"] {
            assert!(helpers.iter().any(|found| found == name), "{name} not in {helpers:?}");
        }
        assert!(
            maps.iter().any(|name| name == "EVENTS") && maps.iter().any(|name| name == "WATCH"),
            "{maps:?}"
        );
    }

    #[test]
    fn every_hook_is_a_program_of_the_object_and_the_other_way_round() {
        let file = object::File::parse(OBJECT).unwrap();
        let programs: usize = file
            .symbols()
            .filter(|symbol| symbol.is_global() && symbol.kind() == object::SymbolKind::Text)
            .filter(|symbol| {
                let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
                section.is_some_and(|section| {
                    section.name().is_ok_and(|name| {
                        ["tracepoint", "raw_tp", "uprobe", "uretprobe", "fentry", "fexit"]
                            .iter()
                            .any(|kind| name.starts_with(kind))
                    })
                })
            })
            .count();
        assert_eq!(access().hooks.len(), programs);
    }

    #[test]
    fn a_call_of_a_function_is_no_helper() {
        assert_eq!(helper(&[0x85, 0, 0, 0, 14, 0, 0, 0]), Some(14));
        assert_eq!(helper(&[0x85, 0x10, 0, 0, 14, 0, 0, 0]), None);
        assert_eq!(helper(&[0x95, 0, 0, 0, 14, 0, 0, 0]), None);
    }
}
