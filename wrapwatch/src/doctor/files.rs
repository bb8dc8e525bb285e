//! How a file that a server reads is shown, whether the server may read it, and what kind of file is at a path.

use std::{io::ErrorKind, path::Path};

use crate::{
    host::{
        HostError, files,
        rights::{self, Identity},
    },
    model::doctor::FileState,
};

/// Reads a file of process `pid` as `viewer` sees it. "Permission denied" is then what the server itself would get: where only wrapwatch may not read the
/// file, that is another error.
pub(super) fn read(pid: u32, viewer: u32, path: &str) -> Result<files::Copy, HostError> {
    // The kernel decided as for the server, or only its mode says what the server may.
    let as_server = viewer == pid && rights::can_become_another();
    let may = || Some(Identity::of(pid).ok()?.may(4, &files::metadata(viewer, path).ok()??));
    let may = if as_server { None } else { may() };
    with_its_rights(pid, path, files::read(viewer, path), (as_server, may))
}

fn with_its_rights(
    pid: u32,
    path: &str,
    read: Result<files::Copy, HostError>,
    (as_server, may): (bool, Option<bool>),
) -> Result<files::Copy, HostError> {
    match read {
        read if !is_refused(&read) && may != Some(false) => read,
        _ if as_server || may == Some(false) => Err(HostError::io(path, ErrorKind::PermissionDenied.into())),
        _ => Err(HostError::Permission { pid, what: "its files" }),
    }
}

/// Why what is read of a file is not all of it.
pub(super) const TOO_LARGE: &str = "larger than 1 MiB";

/// Whether it is /dev/null.
pub(super) fn is_null(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    meta.file_type().is_char_device() && meta.rdev() == nix::sys::stat::makedev(1, 3)
}

/// Whether the server itself may not open what was to be read.
pub(super) fn is_refused(read: &Result<files::Copy, HostError>) -> bool {
    matches!(read, Err(HostError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied)
}

/// A file as it is shown.
pub(super) fn file_state(
    path: &str,
    read: &Result<files::Copy, HostError>,
    count: impl FnOnce(&[u8]) -> u64,
) -> FileState {
    let mut state = FileState { path: path.to_owned(), exists: None, size: None, entries: None, error: None };
    match read {
        Ok(copy) if copy.exists => {
            state.exists = Some(true);
            state.size = Some(copy.mark.size);
            state.entries = Some(count(&copy.bytes));
            if !copy.is_whole() {
                state.entries = None;
                state.error = Some("larger than 1 MiB, what it has is not known".to_owned());
            }
        }
        Ok(_) => state.exists = Some(false),
        Err(error) => state.error = Some(error.to_string()),
    }
    state
}

/// A file's type at a path as `viewer` sees it: whether it is a socket.
pub(super) fn is_socket(viewer: u32, path: &Path) -> Option<bool> {
    use std::os::unix::fs::FileTypeExt as _;
    let path = path.to_str()?;
    match files::metadata(viewer, path) {
        Ok(Some(meta)) => Some(meta.file_type().is_socket()),
        Ok(None) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_only_wrapwatch_may_not_read_is_not_refused_to_the_server() {
        let refused = |denied: bool, as_server, may| {
            let read = if denied {
                Err(HostError::io("/x", ErrorKind::PermissionDenied.into()))
            } else {
                files::read(std::process::id(), "/proc/none")
            };
            let read = with_its_rights(1, "/x", read, (as_server, may));
            (read.is_err(), is_refused(&read))
        };
        assert_eq!(refused(true, true, None), (true, true), "the kernel decided as for the server");
        assert_eq!(refused(true, false, Some(true)), (true, false), "the server may");
        assert_eq!(refused(true, false, None), (true, false), "nothing is known");
        assert_eq!(refused(false, false, Some(false)), (true, true), "what we may, it may not");
        assert_eq!(refused(false, false, Some(true)), (false, false));
    }
}
