//! What a program's file says about libwrap: the libraries it needs (`DT_NEEDED`), and the tables' names in its data.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use object::{Object as _, ObjectSection as _, SectionKind};

use super::HostError;

/// Servers are some 30 MB, with debug information some hundreds.
const MAX_BYTES: u64 = 512 << 20;
/// What stands in the data of whatever has libwrap in it (`hosts_access.c`).
const STRINGS: [&[u8]; 2] = [b"hosts.allow", b"hosts.deny"];

/// What one file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linkage {
    /// Names libwrap among the libraries it needs.
    pub needed: bool,
    /// The names of both tables stand in its data.
    pub strings: bool,
}

/// Reads what a program of `pid` says, by any path that leads to it: `/proc/PID/exe` is the file that runs, even if it was removed.
pub fn linkage(path: &Path) -> Result<Linkage, HostError> {
    let what = || path.display().to_string();
    let file = File::open(path).map_err(|e| HostError::io(what(), e))?;
    let meta = file.metadata().map_err(|e| HostError::io(what(), e))?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(HostError::Unusable { what: what(), why: "not a program".into() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| HostError::io(what(), e))?;
    parse(&bytes).map_err(|why| HostError::Unusable { what: what(), why })
}

fn parse(bytes: &[u8]) -> Result<Linkage, String> {
    let file = object::File::parse(bytes).map_err(|e| e.to_string())?;
    let needed = needed(bytes).iter().any(|name| name.starts_with(b"libwrap.so"));
    let mut data: Vec<&[u8]> = file
        .sections()
        .filter(|section| {
            matches!(
                section.kind(),
                SectionKind::ReadOnlyData | SectionKind::ReadOnlyString | SectionKind::Data
            )
        })
        .filter_map(|section| section.data().ok())
        .collect();
    // Without a section table all of it is data.
    if data.is_empty() {
        data.push(bytes);
    }
    let strings = STRINGS.iter().all(|needle| {
        let finder = memchr::memmem::Finder::new(needle);
        data.iter().any(|data| finder.find(data).is_some())
    });
    Ok(Linkage { needed, strings })
}

/// The names in `DT_NEEDED`, of 64-bit and 32-bit files; nothing where there is no dynamic section.
fn needed(bytes: &[u8]) -> Vec<Vec<u8>> {
    use object::{Endianness, FileKind, elf};
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => needed_in::<elf::FileHeader64<Endianness>>(bytes),
        Ok(FileKind::Elf32) => needed_in::<elf::FileHeader32<Endianness>>(bytes),
        _ => None,
    }
    .unwrap_or_default()
}

fn needed_in<Elf: object::read::elf::FileHeader>(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    use object::read::elf::Dyn as _;
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, bytes).ok()?;
    let (entries, strings) = sections.dynamic(endian, bytes).ok()??;
    let strings = sections.strings(endian, bytes, strings).ok()?;
    let needed = entries
        .iter()
        .filter(|entry| entry.tag(endian) == object::elf::DT_NEEDED)
        .filter_map(|entry| Some(entry.string(endian, strings).ok()?.to_vec()))
        .collect();
    Some(needed)
}

/// Whether the program's path (as the target sees it) leads to another file than the one that runs, and the way to that file.
pub fn replaced(pid: u32) -> Option<(bool, PathBuf)> {
    use std::os::unix::fs::MetadataExt as _;
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let link = link.to_str()?;
    let path = link.strip_suffix(" (deleted)").unwrap_or(link);
    // After a chroot(2) the link says where the file is as seen from here.
    let root = std::fs::read_link(format!("/proc/{pid}/root")).ok();
    let root = root.as_deref().and_then(Path::to_str).filter(|root| *root != "/").unwrap_or_default();
    let path = path.strip_prefix(root).filter(|inside| inside.starts_with('/')).unwrap_or(path);
    let running = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    // The file that stands there now. Opened as the target sees it; its descriptor's path is good as long as it is open.
    let now = super::files::open(pid, path).ok()?;
    let Some(now) = now else { return Some((true, PathBuf::new())) };
    let meta = now.metadata().ok()?;
    let same = (meta.dev(), meta.ino()) == (running.dev(), running.ino());
    Some((!same, PathBuf::from(path)))
}

/// [`linkage`] of the file at a path as the target sees it.
pub fn linkage_in(pid: u32, path: &str) -> Result<Linkage, HostError> {
    use std::os::fd::AsRawFd as _;
    let file = super::files::open(pid, path)?
        .ok_or_else(|| HostError::io(path, std::io::Error::from(std::io::ErrorKind::NotFound)))?;
    linkage(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_libwrap_shows_neither() {
        // The test program itself holds the strings: they are in this file. Something else that surely is there has not.
        let found = linkage(Path::new("/bin/true")).unwrap();
        assert_eq!(found, Linkage { needed: false, strings: false });
    }

    #[test]
    fn needed_libraries_are_read() {
        let bytes = std::fs::read("/bin/true").unwrap();
        let names = needed(&bytes);
        assert!(names.iter().any(|name| name.starts_with(b"libc.so")), "{names:?}");
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        assert!(linkage(Path::new("/dev/null")).is_err());
        assert!(linkage(Path::new("/etc/passwd")).is_err());
        assert!(parse(b"\x7fELF").is_err());
    }

    #[test]
    fn this_program_holds_the_names_in_its_data() {
        assert!(linkage(Path::new("/proc/self/exe")).unwrap().strings);
    }
}
