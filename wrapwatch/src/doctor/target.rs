//! One server's part: the process, libwrap in it, its tables, listeners and network.

use std::net::SocketAddr;

use netlink_packet_sock_diag::{constants::IPPROTO_TCP, inet::StateFlags};

use super::files::{TOO_LARGE, file_state, is_null, is_refused, read as read_for};
use super::{limits, resolver};
use crate::{
    diagnose::doctor::{TableDoubt, Texts, paths},
    host::{
        HostError, clock, confinement, describe,
        descriptors::Descriptors,
        elf, files, holders, kernel,
        libwrap::{self, Libwrap},
        listeners, netns,
        network::{self, Limits},
        process::{self, ProcessInfo},
        servers,
        sockdiag::SockDiag,
        tables::read_named,
    },
    model::{
        WallTime,
        doctor::{
            FileState, Holder, ListenerState, Network, RecentClients, Relation, Target, View, WrapState,
            Wrapped,
        },
    },
    probe,
    wrappers::{FileText, daemons},
};

/// Everything about one server, and its files taken apart.
pub(super) fn examine(pid: u32, queries: bool) -> Result<(Target, Texts), HostError> {
    let info = ProcessInfo::read(pid)?;
    // Whoever may open its root may look at its files as it sees them; else there is our own view.
    let inside = files::can_look(pid) && netns::within(pid, || Ok(())).is_ok();
    let (view, viewer) = if inside { (View::Target, pid) } else { (View::Here, std::process::id()) };
    let resolver = resolver::examine(pid, viewer, queries);
    let (tables, mut texts) = tables(pid, viewer, &resolver.texts);
    texts.conf.cannot_open.clone_from(&resolver.cannot_open);
    texts.conf.unknown.clone_from(&resolver.state.doubt);
    let (listeners, connections) = sockets(pid).map_or((None, None), |(l, c)| (Some(l), Some(c)));
    // From another network the question would be another's.
    let clients = if queries && inside { clients(viewer, listeners.as_deref(), &texts) } else { None };
    let (daemon, named_by) = daemon(&info);
    let no_listener = listeners.as_ref().is_some_and(Vec::is_empty);
    // Another's configuration would be worse than none.
    let login_limits = if inside { limits::examine(viewer, &daemon, &info) } else { None };
    let target = Target {
        pid,
        comm: info.comm.clone(),
        exe: info.exe.as_ref().map(|exe| exe.display().to_string()),
        daemon,
        named_by,
        started: started(info.start_ticks),
        state: process::thread_state(pid, pid).map(String::from).unwrap_or_default(),
        threads: info.threads,
        connections,
        own_namespaces: own_namespaces(pid),
        confined: confinement::of(pid),
        refused: probe::refusal(pid).map(|why| why.to_string()),
        libwrap: wrap_state(pid, &info),
        view,
        tables,
        listeners,
        network: numbers(pid, view),
        counters: None,
        resolver: resolver.state,
        clients,
        accepts_for_it: if no_listener { accepts_for(pid) } else { None },
        login_limits,
    };
    Ok((target, texts))
}

/// The process that accepts for one without a listener.
fn accepts_for(pid: u32) -> Option<Holder> {
    let info = ProcessInfo::read(servers::accepts_for(pid)?).ok()?;
    Some(Holder { pid: info.pid, comm: info.comm, relation: Relation::Parent })
}

/// The name that libwrap gets, and what in a configuration says another. Servers that write a title over their arguments (`sshd: …`, `proftpd: (accepting
/// connections)`) are known by their program.
fn daemon(info: &ProcessInfo) -> (String, Option<String>) {
    let first = info.cmdline.first().map(String::as_str).filter(|first| !first.is_empty());
    let by_title = base_name(first.unwrap_or(&info.comm));
    let program = program(info);
    let is_title = by_title.contains([' ', ':', '(']) || info.cmdline.len() == 1 && by_title.contains('[');
    let name = match program {
        Some(program) if is_title => program,
        _ => by_title.to_owned(),
    };
    if name == "socat"
        && let Some(given) = socat_name(&info.cmdline)
    {
        return (given, None);
    }
    let named_by = daemons::find(&name).and_then(|daemon| daemon.named_by).map(ToOwned::to_owned);
    (daemons::name_for_libwrap(&name).to_owned(), named_by)
}

/// Base name of its executable.
fn program(info: &ProcessInfo) -> Option<String> {
    let name = info.exe.as_ref()?.file_name()?.to_string_lossy();
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

/// The value of socat's option tcpwrap (tcpwrappers, lt…), its own name where it has none.
fn socat_name(cmdline: &[String]) -> Option<String> {
    let options = cmdline.iter().skip(1).flat_map(|argument| argument.split(','));
    options.filter_map(|option| option.strip_prefix("tcpwrap")).find_map(|rest| {
        let rest = rest.strip_prefix("pers").unwrap_or(rest);
        if rest.is_empty() {
            return Some("socat".to_owned());
        }
        rest.strip_prefix('=').filter(|name| !name.is_empty()).map(ToOwned::to_owned)
    })
}

/// What libwrap makes of `argv[0]`: what follows the last slash.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// By the clock that counts from boot through suspends, as start times do (proc(5)); boot's wall-clock time is too coarse.
fn started(ticks: u64) -> Option<WallTime> {
    let boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?;
    let per_second = i128::from(procfs::ticks_per_second());
    let started = i128::from(ticks) * 1_000_000_000 / per_second.max(1);
    let now = i128::from(boot.tv_sec()) * 1_000_000_000 + i128::from(boot.tv_nsec());
    let pair = clock::pair();
    let at = i128::from(pair.wall_ns) - (now - started);
    jiff::Timestamp::from_nanosecond(at).ok().map(WallTime)
}

fn own_namespaces(pid: u32) -> Option<Vec<String>> {
    let mut own = Vec::new();
    for kind in ["mnt", "net", "pid", "user"] {
        let theirs = kernel::namespace(&pid.to_string(), kind)?;
        if kernel::namespace("self", kind)? != theirs {
            own.push(kind.to_owned());
        }
    }
    Some(own)
}

fn wrap_state(pid: u32, info: &ProcessInfo) -> WrapState {
    let mapped = libwrap::find(pid);
    let replaced = elf::replaced(pid);
    // Where the running file cannot be opened, what stands at its path as we see it is the best guess.
    let by_path = info.cmdline.first().filter(|path| path.starts_with('/'));
    let by_path = || elf::linkage_in(std::process::id(), by_path?).ok();
    let linkage = elf::linkage_of(pid).ok().or_else(by_path);
    let on_disk = match &replaced {
        Some((true, Some(path))) => elf::linkage_in(pid, path).ok(),
        _ => None,
    };
    let needed = linkage.map(|linkage| linkage.needed);
    let strings = linkage.map(|linkage| linkage.strings);
    let needed_on_disk = on_disk.map(|linkage| linkage.needed);
    let state = state(&mapped, needed, strings, needed_on_disk);
    // Whoever hands its clients to others need not map it itself.
    let (child, installed) = match (state, describe::describe(pid)) {
        (Wrapped::No, Ok(described)) => (Some(described.wrapped_child), described.installed),
        (Wrapped::No, Err(error)) => (Some(Err(error)), Ok(None)),
        _ => (None, Ok(None)),
    };
    let starts_programs = !process::SERVER_NAMES.contains(&program(info).as_deref().unwrap_or(&info.comm));
    let installed = if starts_programs { installed } else { Ok(None) };
    let (installed, installed_not_seen) = apart(installed.map(|found| found.map(|found| found.path)));
    let found = mapped.ok().flatten();
    WrapState {
        state,
        library_deleted: found.as_ref().is_some_and(|found| deleted(pid, found)),
        tcpd_context: found.as_ref().map(|found| found.tcpd_context.is_some()),
        library: found.map(|found| found.path.trim_end_matches(" (deleted)").to_owned()),
        needed,
        program_replaced: replaced.map(|(replaced, _)| replaced),
        needed_on_disk,
        strings,
        children_seen: matches!(child, Some(Ok(_))),
        wrapped_child: child.and_then(|child| child.ok().flatten()),
        installed,
        installed_not_seen,
    }
}

fn state(
    mapped: &Result<Option<Libwrap>, HostError>,
    needed: Option<bool>,
    strings: Option<bool>,
    needed_on_disk: Option<bool>,
) -> Wrapped {
    match (mapped, needed, strings, needed_on_disk) {
        (Ok(Some(_)), ..) => Wrapped::Mapped,
        (Ok(None), Some(false), Some(true), _) => Wrapped::Static,
        (Ok(None), _, _, Some(true)) => Wrapped::NextStart,
        (Ok(None), ..) => Wrapped::No,
        (Err(_), ..) => Wrapped::Unknown,
    }
}

/// What was found, and why that is not known.
fn apart<T>(found: Result<Option<T>, HostError>) -> (Option<T>, Option<String>) {
    match found {
        Ok(found) => (found, None),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// Whether the mapped file is no longer the one at its path.
fn deleted(pid: u32, found: &Libwrap) -> bool {
    if found.path.ends_with(" (deleted)") {
        return true;
    }
    files::mark(pid, &found.path).is_ok_and(|there| there.inode != found.inode)
}

/// Its recent clients' names, where its resolver asks nameservers.
fn clients(viewer: u32, listeners: Option<&[ListenerState]>, texts: &Texts) -> Option<RecentClients> {
    let asks = texts.services.iter().any(|service| service.name == "dns")
        && texts.conf.attempts > 0
        && texts.conf.unknown.is_none();
    let listeners: Vec<SocketAddr> =
        listeners?.iter().filter_map(|listener| listener.local.parse().ok()).collect();
    if !asks || listeners.is_empty() {
        return None;
    }
    let at = |name: &str| texts.services.iter().position(|service| service.name == name);
    let files_first = at("files").is_some_and(|files| at("dns").is_none_or(|dns| files < dns));
    let hosts = files_first.then_some(&texts.hosts);
    Some(super::clients::examine(viewer, &listeners, &texts.conf.nameservers, hosts))
}

/// Its listeners and how many connections are established to them.
fn sockets(pid: u32) -> Result<(Vec<ListenerState>, u64), HostError> {
    let mut diag = SockDiag::open(pid)?;
    let listeners = listeners::read(pid, &mut diag)?;
    let held = Descriptors::read(pid, &[])?.sockets;
    let inode = |fd: i32| held.iter().find(|(_, held)| **held == fd).map(|(inode, _)| *inode);
    let holders =
        holders::find(pid, &listeners.iter().filter_map(|listener| inode(listener.fd)).collect()).ok();
    let mut connections = 0;
    for port in servers::ports(&listeners) {
        let found = diag.dump(IPPROTO_TCP, &StateFlags::ESTABLISHED, port)?;
        connections += found.iter().filter(|socket| held.contains_key(&socket.inode)).count() as u64;
    }
    let listeners = listeners
        .into_iter()
        .map(|listener| {
            let held = holders.as_ref().zip(inode(listener.fd)).map(|(holders, inode)| {
                (holders.by_inode.get(&inode).cloned().unwrap_or_default(), holders.complete)
            });
            let (held_by, complete) = held.unzip();
            ListenerState {
                local: listener.local.to_string(),
                queued: listener.queued,
                limit: listener.limit,
                held_by,
                held_by_complete: complete.unwrap_or(false),
            }
        })
        .collect();
    Ok((listeners, connections))
}

fn numbers(pid: u32, view: View) -> Network {
    let limits = match view {
        View::Target => netns::within(pid, || Ok(network::limits_here())).unwrap_or_default(),
        // Another namespace's limits would be worse than none.
        View::Here => Limits::default(),
    };
    let drops = network::drops(pid);
    Network {
        somaxconn: limits.somaxconn,
        port_range: limits.port_range,
        time_wait: network::time_wait(pid),
        listen_overflows: drops.overflows,
        listen_drops: drops.drops,
        syncookies_sent: drops.syncookies,
    }
}

/// What keeps a table from being known. Where the server's user may not open it, that is known.
fn doubt(viewer: u32, path: &str, read: &Result<files::Copy, HostError>) -> Option<TableDoubt> {
    use std::os::unix::fs::FileTypeExt as _;
    match read {
        Ok(copy) if copy.exists && !copy.is_whole() => Some(TableDoubt::NotLookedAt(TOO_LARGE.to_owned())),
        Err(error @ HostError::Unusable { .. }) => {
            let meta = files::metadata(viewer, path).ok().flatten();
            match meta.map(|meta| (meta.file_type(), is_null(&meta))) {
                Some((kind, _)) if kind.is_fifo() => Some(TableDoubt::Fifo),
                // libwrap opens either, and has nothing to read.
                Some((kind, is_null)) if kind.is_dir() || is_null => None,
                _ => Some(TableDoubt::NotLookedAt(error.why())),
            }
        }
        Err(error) if !is_refused(read) => Some(TableDoubt::NotLookedAt(error.why())),
        _ => None,
    }
}

/// Both tables, and everything with them taken apart.
fn tables(pid: u32, viewer: u32, resolver: &[Vec<u8>; 3]) -> (Vec<FileState>, Texts) {
    let read = paths::TABLES.map(|path| read_for(pid, viewer, path));
    let mut doubts = [None, None];
    for ((doubt, read), path) in doubts.iter_mut().zip(&read).zip(paths::TABLES) {
        *doubt = self::doubt(viewer, path, read);
    }
    let texts = read.each_ref().map(|read| match read {
        Ok(copy) if copy.exists && copy.is_whole() => Ok(Some(copy.bytes.clone())),
        Err(error) if is_refused(read) => Err(error.why()),
        _ => Ok(None),
    });
    let [conf, nsswitch, hosts] = resolver;
    let mut texts = Texts::of(texts, conf, nsswitch, hosts);
    texts.doubts = doubts;
    texts.named = read_named(&texts.tables, |path| match files::read(viewer, path) {
        Ok(copy) if copy.exists && copy.is_whole() => FileText::Text(copy.bytes),
        Ok(copy) if copy.exists => FileText::NotKnown(TOO_LARGE.to_owned()),
        Ok(_) => FileText::Missing,
        // With the server's rights it is libwrap's error as well.
        Err(error @ HostError::Io { .. }) if viewer == pid => FileText::Unreadable(error.why()),
        Err(error) => FileText::NotKnown(error.why()),
    });
    let tables = [&texts.tables.allow, &texts.tables.deny];
    let states = read.iter().zip(tables).zip(paths::TABLES);
    let states = states
        .map(|((read, table), path)| file_state(path, read, |_| table.entries().count() as u64))
        .collect();
    (states, texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_is_not_taken_to_be_absent() {
        let seen = |found: Result<Option<u8>, HostError>| {
            let (found, why) = apart(found);
            (found, why.is_some())
        };
        let all = [Ok(Some(1)), Ok(None), Err(HostError::Stuck(1))].map(seen);
        assert_eq!(all, [(Some(1), false), (None, false), (None, true)]);
    }

    #[test]
    fn a_daemon_has_the_name_that_libwrap_gets() {
        let of = |exe: &str, cmdline: &[&str]| {
            let info = ProcessInfo {
                comm: "x".to_owned(),
                exe: Some(exe.into()),
                cmdline: cmdline.iter().map(|part| (*part).to_owned()).collect(),
                ..ProcessInfo::read(std::process::id()).unwrap()
            };
            let (name, named_by) = daemon(&info);
            (name, named_by.is_some())
        };
        let plain = |name: &str| (name.to_owned(), false);
        assert_eq!(
            of("/usr/sbin/sshd", &["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"]),
            plain("sshd")
        );
        let title = "hk -o PidFile=none [listener] 0 of 10-100 startups";
        assert_eq!(of("/usr/sbin/sshd", &[title]), plain("sshd"));
        assert_eq!(of("/usr/sbin/proftpd", &["proftpd: (accepting connections)"]), plain("proftpd"));
        assert_eq!(of("/usr/sbin/rpc.mountd", &["/usr/sbin/rpc.mountd"]), plain("mountd"));
        assert_eq!(of("/usr/sbin/dovecot", &["/usr/sbin/dovecot", "-F"]), plain("imap"));
        assert_eq!(of("/usr/bin/stunnel4", &["stunnel4", "/etc/s.conf"]), ("stunnel4".to_owned(), true));
        let socat = |listen: &str| of("/usr/bin/socat", &["socat", listen, "EXEC:cat"]);
        assert_eq!(socat("TCP-LISTEN:1,fork,tcpwrap=mysvc,reuseaddr"), plain("mysvc"));
        assert_eq!(socat("TCP-LISTEN:1,tcpwrappers"), plain("socat"));
        assert_eq!(socat("TCP-LISTEN:1"), ("socat".to_owned(), true));
    }

    #[test]
    fn what_is_no_whole_regular_file_is_in_doubt_and_a_fifo_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("good"), "ALL: ALL\n").unwrap();
        std::fs::write(at("large"), "ALL: 10.\n".repeat(200_000)).unwrap();
        nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let own = std::process::id();
        let of = |path: &str| doubt(own, path, &files::read(own, path));
        assert_eq!(of(&at("good")), None);
        assert_eq!(of(&at("none")), None);
        assert_eq!(of(&at("large")), Some(TableDoubt::NotLookedAt(TOO_LARGE.to_owned())));
        assert_eq!(of(&at("fifo")), Some(TableDoubt::Fifo));
        assert_eq!(of(&at("")), None, "a directory has nothing to read");
        assert_eq!(of("/dev/null"), None);
        assert!(matches!(of("/dev/zero"), Some(TableDoubt::NotLookedAt(_))));
    }
}
