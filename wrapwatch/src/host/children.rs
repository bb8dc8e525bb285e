//! The processes that a server has made: one that has the same work to do may use what the server itself does not.

use std::collections::VecDeque;
use std::path::Path;

use procfs::process::Process;

use super::{HostError, maps};

/// Children, and theirs, that are looked at; a server that makes processes in advance has hundreds.
const AT_MOST: usize = 256;

/// A process made by `pid`, or by one of those, that maps such a file. An error where one of them could not be looked into: then it may. For workers, as
/// [`maps::first`] is.
pub(super) fn one_that_maps(pid: u32, wanted: impl Fn(&Path) -> bool) -> Result<Option<u32>, HostError> {
    let mut to_look_at = VecDeque::from(of(pid)?);
    let mut looked_at = 0;
    while let Some(child) = to_look_at.pop_front() {
        looked_at += 1;
        if looked_at > AT_MOST {
            let why = format!("it has more than {AT_MOST} children");
            return Err(HostError::Unusable { what: format!("pid {pid}"), why });
        }
        match maps::first(child, &wanted) {
            Ok(Some(_)) => return Ok(Some(child)),
            Ok(None) => to_look_at.extend(of(child)?),
            Err(HostError::NoProcess(_) | HostError::Exited(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// All processes that come from `pid` and are there now, the eldest first, but no more than `at_most`; whether these are all.
pub fn family(pid: u32, at_most: usize) -> Result<(Vec<u32>, bool), HostError> {
    let mut all = of(pid)?;
    let mut looked_at = 0;
    while let Some(&child) = all.get(looked_at) {
        if looked_at >= at_most {
            all.truncate(at_most);
            return Ok((all, false));
        }
        looked_at += 1;
        all.extend(of(child)?);
    }
    Ok((all, true))
}

/// The children of all its threads; none of a process that has ended.
fn of(pid: u32) -> Result<Vec<u32>, HostError> {
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    let children = || -> procfs::ProcResult<Vec<u32>> {
        let mut all = Vec::new();
        for task in Process::new(raw)?.tasks()? {
            match task.and_then(|task| task.children()) {
                Ok(children) => all.extend(children),
                Err(procfs::ProcError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    };
    if !Path::new("/proc/thread-self/children").exists() {
        let why = "this kernel does not tell (CONFIG_PROC_CHILDREN)".to_owned();
        return Err(HostError::Unusable { what: format!("/proc/{pid}/task/*/children"), why });
    }
    match children().map_err(|error| HostError::proc(pid, "children", error)) {
        Err(HostError::Exited(_)) => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_and_theirs_are_looked_into() {
        // The shell waits for a child of its own; both have the C library, and only the inner one is `cat`.
        let mut shell =
            Command::new("sh").args(["-c", "cat; true"]).stdin(Stdio::piped()).spawn().expect("sh");
        let is_cat = |path: &Path| path.file_name().is_some_and(|name| name == "cat" || name == "coreutils");
        let own = std::process::id();
        let found = loop {
            // Until the shell has made it.
            if let Some(found) = one_that_maps(own, is_cat).unwrap() {
                break found;
            }
            assert!(shell.try_wait().unwrap().is_none(), "the shell has ended");
            std::thread::yield_now();
        };
        assert_ne!(found, shell.id());
        assert_eq!(of(shell.id()).unwrap(), [found]);
        assert_eq!(one_that_maps(shell.id(), |path| path.ends_with("no such library")).unwrap(), None);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(of(shell.id()).unwrap(), [0; 0], "one that has ended has none");
    }
}
