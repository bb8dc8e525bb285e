//! How a file that a server reads is shown, and what kind of file is at a path.

use std::path::Path;

use crate::{
    host::{HostError, files},
    model::doctor::FileState,
};

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
            if copy.mark.size > files::MAX_BYTES {
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
