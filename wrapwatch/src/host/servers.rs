//! Which process accepts: a helper, a client's own process or a program that is started for each client does not, the one that made it does.

use std::collections::BTreeSet;

use procfs::process::Process;

use super::{HostError, libwrap, listeners, process::ProcessInfo, unasked};

/// How far up is looked. A process behind which more stand is no server's helper.
const GENERATIONS: usize = 8;
/// It listens for others that are to be started (socket activation): it is the server only where somebody says so.
const INIT: u32 = 1;

/// The processes that `pid` comes from, the nearest first.
pub fn above(pid: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(pid), |pid| parent(*pid)).skip(1).take(GENERATIONS)
}

fn parent(pid: u32) -> Option<u32> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    u32::try_from(stat.ppid).ok().filter(|parent| *parent > INIT)
}

/// The processes that listen and map libwrap, or have made one that does, ascending; of those that may be traced unasked. What inetd starts for each client maps it while it runs only.
pub(super) fn wrapped() -> Result<Vec<u32>, HostError> {
    let all = procfs::process::all_processes()
        .map_err(|error| HostError::Unusable { what: "/proc".into(), why: error.to_string() })?;
    let mut found = BTreeSet::new();
    for process in all.filter_map(Result::ok) {
        let Ok(pid) = u32::try_from(process.pid) else { continue };
        // One that cannot be looked into is none of ours.
        if !matches!(libwrap::is_mapped(pid), Ok(true)) {
            continue;
        }
        let server = std::iter::once(pid).chain(above(pid)).find(|pid| listens(*pid));
        found.extend(server.filter(|pid| is_of_the_machine(*pid)));
    }
    Ok(found.into_iter().collect())
}

fn listens(pid: u32) -> bool {
    listeners::of(pid).is_ok_and(|(listeners, _)| !listeners.is_empty())
}

fn is_of_the_machine(pid: u32) -> bool {
    let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
    let comm = ProcessInfo::read(pid).map(|info| info.comm).unwrap_or_default();
    process.is_some_and(|process| unasked::is_of_the_machine(&process, &comm))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_leads_to_the_process_that_listens() {
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
        let own = std::process::id();
        assert!(listens(own));
        assert_eq!(above(child.id()).next(), Some(own));
        assert!(above(child.id()).all(|pid| pid != INIT));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(above(child.id()).next(), None, "one that has ended");
    }
}
