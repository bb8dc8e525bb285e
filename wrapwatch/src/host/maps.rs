//! A target's memory map (proc(5), `/proc/PID/maps`), as far as it is needed.
//!
//! A target may have hundreds of thousands of mappings of files with names of 4096 bytes, in all more than anybody wants in memory: the text is gone through
//! line by line, and not to its end if that is far.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::HostError;

/// A server's map has some thousand lines of a hundred bytes.
const MOST_BYTES: u64 = 32 << 20;
/// Bytes of a line: a path with each byte escaped, and what is before it.
const MOST_OF_A_LINE: u64 = 4 * 4096 + 128;

/// A file mapped from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address, and the first one behind it.
    pub address: (u64, u64),
    /// Inode of the file.
    pub inode: u64,
    /// Its path; with ` (deleted)` where it has none any more.
    pub path: PathBuf,
}

/// The first mapping of a file's beginning with such a path. For workers: reading a map waits for whoever changes it.
pub(super) fn first(pid: u32, wanted: impl Fn(&Path) -> bool) -> Result<Option<Mapping>, HostError> {
    let path = format!("/proc/{pid}/maps");
    let error = |error: std::io::Error| HostError::proc(pid, "maps", error.into());
    let file = File::open(&path).map_err(error)?;
    first_in(BufReader::new(file.take(MOST_BYTES)), wanted).map_err(error)
}

/// As [`first`], of a map's text.
pub fn first_in(mut text: impl BufRead, wanted: impl Fn(&Path) -> bool) -> std::io::Result<Option<Mapping>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = text.by_ref().take(MOST_OF_A_LINE).read_until(b'\n', &mut line)?;
        if len == 0 {
            return Ok(None);
        }
        if let Some(mapping) = parse(&line).filter(|mapping| wanted(&mapping.path)) {
            return Ok(Some(mapping));
        }
    }
}

/// `7f12a000-7f12b000 r--p 00000000 fe:00 4711   /usr/lib/libwrap.so.0`; None for what is no file or not its beginning.
fn parse(line: &[u8]) -> Option<Mapping> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let at = line.iter().position(|byte| *byte == b'/')?;
    let (fields, path) = line.split_at(at);
    let fields = std::str::from_utf8(fields).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (_, offset, _, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if hex(offset)? != 0 || fields.next().is_some() {
        return None;
    }
    Some(Mapping {
        address: (hex(from)?, hex(to)?),
        inode: inode.parse().ok()?,
        path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
        55e0a000-55e0b000 r--p 00000000 fe:00 12 /usr/sbin/mysqld\n\
        55e0b000-55e0c000 r-xp 00001000 fe:00 12 /usr/sbin/mysqld\n\
        55e0c000-55e0d000 rw-p 00000000 00:00 0 \n\
        7f00a000-7f00b000 r-xp 00001000 fe:00 4711                       /usr/lib/libwrap.so.0.7.6\n\
        7f01a000-7f01b000 r--p 00000000 fe:00 4712                       /usr/lib/a b/libwrap.so.0.7.6 (deleted)\n\
        ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

    #[test]
    fn the_beginning_of_a_file_is_found() {
        let found = |name: &str| first_in(TEXT, |path| path.to_string_lossy().contains(name)).unwrap();
        let libwrap = found("libwrap").unwrap();
        assert_eq!((libwrap.address, libwrap.inode), ((0x7f01_a000, 0x7f01_b000), 4712));
        assert_eq!(libwrap.path, Path::new("/usr/lib/a b/libwrap.so.0.7.6 (deleted)"));
        assert_eq!(found("mysqld").unwrap().address.0, 0x55e0_a000);
        assert_eq!(found("libc"), None);
        assert_eq!(found("vsyscall"), None);
    }

    #[test]
    fn the_map_of_this_process_is_read() {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let found = first(std::process::id(), |path| path == program).unwrap().unwrap();
        let here = the_map_of_this_process_is_read as fn() as *const () as u64;
        assert!(found.address.0 <= here);
    }

    #[test]
    fn a_line_without_end_is_let_go() {
        let mut text = b"7f00a000-7f00b000 r--p 00000000 fe:00 1 /".to_vec();
        text.extend(vec![b'a'; 1 << 20]);
        text.extend(b"\n");
        text.extend(TEXT);
        assert!(first_in(&*text, |path| path.ends_with("libwrap.so.0.7.6 (deleted)")).unwrap().is_some());
        for garbage in [
            &b""[..],
            b"/",
            b"-/",
            b"a-b c 0 d e /x\n",
            b"\xff-\xff r 0 0 0 /",
            b"1-2 r 0 0:0 99999999999999999999 /x",
        ] {
            assert_eq!(first_in(garbage, |_| true).unwrap(), None);
        }
    }
}
