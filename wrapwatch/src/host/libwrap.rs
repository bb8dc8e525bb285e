//! libwrap inside a target: which file, where `tcpd_context` is, how to put a uprobe on it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use procfs::process::{MMapPath, Process};

use super::{HostError, symbols};

/// Name of the variable that names the rule being evaluated.
const CONTEXT: &str = "tcpd_context";

/// libwrap as a target maps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libwrap {
    /// Its path inside the target.
    pub path: String,
    /// The very file that is mapped: by `/proc/PID/map_files` whatever happened to its path since, or by its path where that takes privileges
    /// which are not there (CAP_SYS_ADMIN).
    pub file: PathBuf,
    /// Address of `tcpd_context` in the target; None where it has no such symbol.
    pub tcpd_context: Option<u64>,
}

/// Finds it; None where the target does not map it.
pub fn find(pid: u32) -> Result<Option<Libwrap>, HostError> {
    let raw = i32::try_from(pid).map_err(|_| HostError::NoProcess(pid))?;
    let process = Process::new(raw).map_err(|e| HostError::proc(pid, "maps", e))?;
    let maps = process.maps().map_err(|e| HostError::proc(pid, "maps", e))?;
    // The first mapping of a library is the one at offset 0: its load base.
    let base = maps
        .iter()
        .find(|map| map.offset == 0 && matches!(&map.pathname, MMapPath::Path(path) if is_libwrap(path)));
    let Some(base) = base else { return Ok(None) };
    let MMapPath::Path(path) = &base.pathname else { return Ok(None) };
    let (start, end) = base.address;
    let mapped = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    let refused = fs::File::open(&mapped).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let file = if refused { by_path(pid, path, base.inode)? } else { mapped };
    let in_library = symbols::defined(&file, &[CONTEXT])?.into_iter().next().map(|(_, value)| start + value);
    let tcpd_context = copied_into_executable(pid, &process)?.or(in_library);
    Ok(Some(Libwrap { path: path.display().to_string(), file, tcpd_context }))
}

/// The file at a path of the target, if it is the one that is mapped.
fn by_path(pid: u32, path: &Path, inode: u64) -> Result<PathBuf, HostError> {
    let file = PathBuf::from(format!("/proc/{pid}/root{}", path.display()));
    let there = fs::metadata(&file).map_err(|error| HostError::io(file.display().to_string(), error))?;
    if there.ino() == inode {
        return Ok(file);
    }
    let why =
        "another file has its place now; the one that is mapped takes CAP_SYS_ADMIN to be read".to_owned();
    Err(HostError::Unusable { what: path.display().to_string(), why })
}

fn is_libwrap(path: &std::path::Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libwrap.so"))
}

/// An executable that refers to the variable itself has the live copy in its own .bss (`R_X86_64_COPY`).
fn copied_into_executable(pid: u32, process: &Process) -> Result<Option<u64>, HostError> {
    let exe = PathBuf::from(format!("/proc/{pid}/exe"));
    let Some((_, value)) = symbols::defined(&exe, &[CONTEXT])?.into_iter().next() else { return Ok(None) };
    if symbols::is_executable_at_fixed_address(&exe) {
        return Ok(Some(value));
    }
    let Ok(path) = process.exe() else { return Ok(None) };
    let maps = process.maps().map_err(|e| HostError::proc(pid, "maps", e))?;
    Ok(maps
        .iter()
        .find(|map| map.offset == 0 && matches!(&map.pathname, MMapPath::Path(p) if *p == path))
        .map(|map| map.address.0 + value))
}
