//! libwrap inside a target: which file, where its variables are, what they say, where its functions begin.
//!
//! What the target maps is named by its memory map, opened without reading (`O_PATH`), and read with the target's own rights.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    HostError, children,
    elf::{self, Symbol},
    files::{self, Found},
    maps::{self, Mapping},
    reader,
};

/// Name of the variable that names the rule being evaluated.
const CONTEXT: &str = "tcpd_context";
/// Names of the variables that point to the tables' paths, which a program may change (`hosts_access.c`).
const TABLES: [&str; 2] = ["hosts_allow_table", "hosts_deny_table"];
/// Functions whose beginning and end tell of a check.
pub const FUNCTIONS: [&str; 4] = ["hosts_access", "hosts_ctl", "rfc931", "shell_cmd"];
/// Name of the library's file, of which there is one version.
const SONAME: &str = "libwrap.so.0";
/// Where the dynamic loader finds it, by architecture and distribution.
const DIRECTORIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
];
/// Longest path that is read (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;
/// Memory is mapped in pages of at least this size: what a string's page holds can be read, the next page may not be there.
const PAGE: u64 = 4096;

/// The very file that a target maps, whatever happened to its path since. It is open without being readable.
#[derive(Clone, Debug)]
pub struct MappedFile(Arc<OwnedFd>);

impl MappedFile {
    /// A path that leads to it as long as this lives, in this process and in what is forked from it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// libwrap as a target maps it.
#[derive(Clone, Debug)]
pub struct Libwrap {
    /// Its path inside the target.
    pub path: String,
    /// The file: by `/proc/PID/map_files`, or by its path where that takes privileges which are not there (CAP_SYS_ADMIN).
    pub file: MappedFile,
    /// Inode of that file.
    pub inode: u64,
    /// Those of [`FUNCTIONS`] that it has, and where they are in the file.
    pub functions: Vec<(&'static str, u64)>,
    /// Address of `tcpd_context` in the target; None where it has no such symbol.
    pub tcpd_context: Option<u64>,
    /// Addresses of `hosts_allow_table` and `hosts_deny_table` in the target; None where it has no such symbol.
    pub tables: [Option<u64>; 2],
    /// Where `tcpd_context` lies from the beginning of `hosts_access`, a difference of addresses that wraps: the same in every process that has this file. None where
    /// it has no such symbols.
    pub context_from_check: Option<u64>,
    /// Why its symbols could not be read.
    pub unread: Option<String>,
}

impl Libwrap {
    /// Where a function is in the file.
    pub fn offset_of(&self, function: &str) -> Option<u64> {
        self.functions.iter().find(|(name, _)| *name == function).map(|&(_, offset)| offset)
    }
}

/// Whether a process maps it. Asks a worker.
pub(super) fn is_mapped(pid: u32) -> Result<bool, HostError> {
    reader::run(pid, &format!("the memory map of pid {pid}"), reader::LIMIT, move || {
        Ok(maps::first(pid, is_libwrap)?.is_some())
    })?
}

/// Finds it; None where the target does not map it. Asks a worker.
pub fn find(pid: u32) -> Result<Option<Libwrap>, HostError> {
    reader::run(pid, &format!("the memory map of pid {pid}"), reader::LIMIT, move || find_here(pid))?
}

/// As [`find`], on a worker.
pub(super) fn find_here(pid: u32) -> Result<Option<Libwrap>, HostError> {
    // The first mapping of a library is the one at offset 0: its load base.
    let Some(base) = maps::first(pid, is_libwrap)? else { return Ok(None) };
    let (start, end) = base.address;
    let link = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    let found = match Found::at_link(pid, &link) {
        Ok(found) => found,
        Err(_) => by_path(pid, &base)?,
    };
    let path = base.path.display().to_string();
    Ok(Some(described(symbols(pid, &path, &found), found, path, Some(start), base.inode)))
}

/// Finds the file of it that a program of the target's would map, which itself maps none; None where there is none in the usual places. On a worker.
pub(super) fn installed_here(pid: u32) -> Result<Option<Libwrap>, HostError> {
    let paths = DIRECTORIES.map(|directory| format!("{directory}/{SONAME}"));
    for path in paths {
        let found = files::with(pid, |view| {
            let Some(found) = view.find(&path)? else { return Ok(None) };
            let inode = found.metadata().map_err(|error| HostError::io(&*path, error))?.ino();
            let names: Vec<&str> = [CONTEXT].into_iter().chain(FUNCTIONS).collect();
            let read = view.reopen(&found).and_then(|file| elf::symbols_of(&file, &path, &names));
            Ok::<_, HostError>(Some((found, inode, read.map(|(library, _)| (library, Vec::new())))))
        })??;
        if let Some((found, inode, read)) = found {
            return Ok(Some(described(read, found, path, None, inode)));
        }
    }
    Ok(None)
}

/// A file of libwrap by what its symbols say; `start`: where the target maps it.
fn described(
    read: Result<(Vec<Symbol>, Vec<Symbol>), HostError>,
    found: Found,
    path: String,
    start: Option<u64>,
    inode: u64,
) -> Libwrap {
    let (library, executable, unread) = match read {
        Ok((library, executable)) => (library, executable, None),
        Err(error) => (Vec::new(), Vec::new(), Some(error.to_string())),
    };
    let value = |symbols: &[Symbol], name: &str| {
        symbols.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address)
    };
    let address = |name: &str| {
        value(&executable, name)
            .or_else(|| value(&library, name).map(|at| Some(start?.saturating_add(at)))?)
    };
    let offset = |name: &'static str| {
        let symbol = library.iter().find(|symbol| symbol.name == name)?;
        Some((name, symbol.offset?))
    };
    let context_from_check = value(&library, CONTEXT)
        .zip(value(&library, FUNCTIONS[0]))
        .map(|(context, check)| context.wrapping_sub(check));
    Libwrap {
        path,
        file: MappedFile(Arc::new(found.into_fd())),
        inode,
        functions: FUNCTIONS.into_iter().filter_map(offset).collect(),
        tcpd_context: address(CONTEXT),
        tables: TABLES.map(address),
        context_from_check,
        unread,
    }
}

/// A child of a process that maps it, see [`children::one_that_maps`].
pub(super) fn child_with(pid: u32) -> Result<Option<u32>, HostError> {
    children::one_that_maps(pid, is_libwrap)
}

/// The file at a path of the target, if it is the one that is mapped.
fn by_path(pid: u32, mapped: &Mapping) -> Result<Found, HostError> {
    let what = mapped.path.display().to_string();
    let found = files::with(pid, |view| {
        let found = view.find(&what)?;
        let inode = found.as_ref().and_then(|found| found.metadata().ok()).map(|meta| meta.ino());
        Ok::<_, HostError>(found.filter(|_| inode == Some(mapped.inode)))
    })??;
    found.ok_or_else(|| HostError::Unusable {
        what,
        why: "another file has taken its place; reading the mapped one takes CAP_SYS_ADMIN".to_owned(),
    })
}

fn is_libwrap(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libwrap.so"))
}

/// The symbols of interest of the library, by values, and of the executable, by addresses in the process. The second has a variable of the first where it
/// refers to it itself: then the live copy is in its own .bss (`R_X86_64_COPY`).
fn symbols(pid: u32, path: &str, library: &Found) -> Result<(Vec<Symbol>, Vec<Symbol>), HostError> {
    let variables = [CONTEXT, TABLES[0], TABLES[1]];
    let link = format!("/proc/{pid}/exe");
    let exe = Found::at_link(pid, Path::new(&link))?;
    let (library, executable) = files::with(pid, |view| {
        let names: Vec<&str> = variables.into_iter().chain(FUNCTIONS).collect();
        let (library, _) = elf::symbols_of(&view.reopen(library)?, path, &names)?;
        // Whoever may not read its own program has no copy that could be found.
        let executable = view.reopen(&exe).and_then(|file| elf::symbols_of(&file, &link, &variables));
        Ok::<_, HostError>((library, executable.unwrap_or_default()))
    })??;
    let (mut executable, fixed) = executable;
    if executable.is_empty() || fixed {
        return Ok((library, executable));
    }
    let program = std::fs::read_link(&link).map_err(|error| HostError::io(link, error))?;
    let Some(base) = maps::first(pid, |path| *path == *program)? else { return Ok((library, Vec::new())) };
    for symbol in &mut executable {
        symbol.address = symbol.address.saturating_add(base.address.0);
    }
    Ok((library, executable))
}

/// Reads the tables' paths out of a target's memory, again and again: opened once, since that takes a capability (ptrace(2), "access mode checking").
#[derive(Debug)]
pub struct TablePaths {
    memory: File,
    variables: [Option<u64>; 2],
}

impl TablePaths {
    /// Opens the memory of the target that maps this libwrap, for reading. What is read comes by itself or not at all: a page can be one that nobody brings,
    /// so [`Self::read`] is for workers.
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

    fn libwrap(tables: [Option<u64>; 2]) -> Libwrap {
        Libwrap {
            path: String::new(),
            file: MappedFile(Arc::new(File::open("/dev/null").unwrap().into())),
            inode: 0,
            functions: Vec::new(),
            tcpd_context: None,
            tables,
            context_from_check: None,
            unread: None,
        }
    }

    /// A variable of this very process stands in for libwrap's.
    fn paths_of(variable: &&std::ffi::CStr) -> TablePaths {
        let pointers: [*const std::ffi::c_char; 1] = [variable.as_ptr()];
        let at = pointers.as_ptr().addr() as u64;
        let libwrap = libwrap([Some(at), None]);
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
        let libwrap = libwrap([Some(at), Some(0)]);
        let paths = TablePaths::open(std::process::id(), &libwrap).unwrap();
        assert_eq!(paths.read(), [None, None]);
    }
}
