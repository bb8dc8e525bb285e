//! libwrap inside a target: which file, where its variables are, what they say, how to put a uprobe on it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use procfs::process::{MMapPath, Process};

use super::{HostError, symbols};

/// Name of the variable that names the rule being evaluated.
const CONTEXT: &str = "tcpd_context";
/// Names of the variables that point to the tables' paths, which a program may change (`hosts_access.c`).
const TABLES: [&str; 2] = ["hosts_allow_table", "hosts_deny_table"];
/// Longest path that is read (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;
/// Memory is mapped in pages of at least this size: what a string's page holds can be read, the next page may not be there.
const PAGE: u64 = 4096;

/// libwrap as a target maps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libwrap {
    /// Its path inside the target.
    pub path: String,
    /// The very file that is mapped: by `/proc/PID/map_files` whatever happened to its path since, or by its path where that takes privileges
    /// which are not there (CAP_SYS_ADMIN).
    pub file: PathBuf,
    /// Inode of that file.
    pub inode: u64,
    /// Address of `tcpd_context` in the target; None where it has no such symbol.
    pub tcpd_context: Option<u64>,
    /// Addresses of `hosts_allow_table` and `hosts_deny_table` in the target; None where it has no such symbol.
    pub tables: [Option<u64>; 2],
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
    let refused = File::open(&mapped).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let file = if refused { by_path(pid, path, base.inode)? } else { mapped };
    let names = [CONTEXT, TABLES[0], TABLES[1]];
    let in_library = symbols::defined(&file, &names)?;
    let in_executable = copied_into_executable(pid, &process, &names)?;
    let address = |name: &str| {
        let value = |symbols: &[(String, u64)]| symbols.iter().find(|(of, _)| of == name).map(|&(_, at)| at);
        value(&in_executable).or_else(|| value(&in_library).map(|at| start.saturating_add(at)))
    };
    Ok(Some(Libwrap {
        path: path.display().to_string(),
        file,
        inode: base.inode,
        tcpd_context: address(CONTEXT),
        tables: TABLES.map(address),
    }))
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

/// An executable that refers to a variable itself has the live copy in its own .bss (`R_X86_64_COPY`). Names and addresses.
fn copied_into_executable(
    pid: u32,
    process: &Process,
    names: &[&str],
) -> Result<Vec<(String, u64)>, HostError> {
    let exe = PathBuf::from(format!("/proc/{pid}/exe"));
    let mut found = symbols::defined(&exe, names)?;
    if found.is_empty() || symbols::is_executable_at_fixed_address(&exe) {
        return Ok(found);
    }
    let Ok(path) = process.exe() else { return Ok(Vec::new()) };
    let maps = process.maps().map_err(|e| HostError::proc(pid, "maps", e))?;
    let base = maps
        .iter()
        .find(|map| map.offset == 0 && matches!(&map.pathname, MMapPath::Path(p) if *p == path))
        .map(|map| map.address.0);
    let Some(base) = base else { return Ok(Vec::new()) };
    for (_, at) in &mut found {
        *at = base.saturating_add(*at);
    }
    Ok(found)
}

/// Reads the tables' paths out of a target's memory, again and again: opened once, since that takes a capability (ptrace(2), "access mode checking").
#[derive(Debug)]
pub struct TablePaths {
    memory: File,
    variables: [Option<u64>; 2],
}

impl TablePaths {
    /// Opens the memory of the target that maps this libwrap, for reading.
    pub fn open(pid: u32, libwrap: &Libwrap) -> Result<Self, HostError> {
        let path = format!("/proc/{pid}/mem");
        let memory = File::open(&path).map_err(|e| HostError::io(path, e))?;
        Ok(Self { memory, variables: libwrap.tables })
    }

    /// Paths of hosts.allow and hosts.deny as libwrap will open them next; None where one cannot be read now.
    pub fn read(&self) -> [Option<String>; 2] {
        self.variables.map(|variable| {
            let mut pointer = [0; size_of::<u64>()];
            self.memory.read_exact_at(&mut pointer, variable?).ok()?;
            let bytes = self.string(u64::from_ne_bytes(pointer)).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|path| !path.is_empty())
        })
    }

    /// A string of the target, without its NUL.
    fn string(&self, mut at: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < PATH_MAX {
            let in_page = PAGE.saturating_sub(at % PAGE);
            let mut page = vec![0; usize::try_from(in_page).unwrap_or(0)];
            self.memory.read_exact_at(&mut page, at)?;
            if let Some(end) = page.iter().position(|&byte| byte == 0) {
                bytes.extend_from_slice(&page[..end]);
                return Ok(bytes);
            }
            bytes.append(&mut page);
            at = at.saturating_add(in_page);
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A variable of this very process stands in for libwrap's.
    fn paths_of(variable: &&std::ffi::CStr) -> TablePaths {
        let pointers: [*const std::ffi::c_char; 1] = [variable.as_ptr()];
        let at = pointers.as_ptr().addr() as u64;
        let libwrap = Libwrap {
            path: String::new(),
            file: PathBuf::new(),
            inode: 0,
            tcpd_context: None,
            tables: [Some(at), None],
        };
        let paths = TablePaths::open(std::process::id(), &libwrap).unwrap();
        // Read while the pointer is there.
        assert_eq!(paths.read()[0].as_deref(), Some(variable.to_str().unwrap()));
        paths
    }

    #[test]
    fn a_path_is_read_wherever_it_lies() {
        let long = std::ffi::CString::new("/a-directory".repeat(300)).unwrap();
        let paths = paths_of(&long.as_c_str());
        assert_eq!(paths.read()[1], None, "there is no such variable");
        paths_of(&c"/etc/hosts.allow");
    }

    #[test]
    fn what_points_nowhere_is_no_path() {
        let nowhere = 8_u64;
        let at = (&raw const nowhere).addr() as u64;
        let libwrap = Libwrap {
            path: String::new(),
            file: PathBuf::new(),
            inode: 0,
            tcpd_context: None,
            tables: [Some(at), Some(0)],
        };
        let paths = TablePaths::open(std::process::id(), &libwrap).unwrap();
        assert_eq!(paths.read(), [None, None]);
    }
}
