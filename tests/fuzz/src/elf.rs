//! A file that a target maps or runs, as the ELF reader takes it apart: symbols looked up, data searched.

use std::{cell::Cell, io};

use wrapwatch::host::elf::{self, Image, Source};

/// What one look may read beside the search through the data, whatever the file says.
const MOST_BYTES: usize = 4 << 20;

/// Counts what is read.
struct Counted<'a> {
    bytes: &'a [u8],
    read: Cell<usize>,
}

impl Source for Counted<'_> {
    fn read_some(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let len = self.bytes.read_some(bytes, at)?;
        self.read.set(self.read.get() + len);
        Ok(len)
    }
}

/// Any bytes.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    let counted = Counted { bytes, read: Cell::new(0) };
    let Ok(image) = Image::of(&counted) else { return };
    let names =
        ["hosts_access", "rfc931", "shell_cmd", "tcpd_context", "hosts_allow_table", "hosts_deny_table"];
    if let Ok(symbols) = elf::defined(&image, &names) {
        assert!(symbols.len() <= names.len() && symbols.iter().all(|symbol| names.contains(&&*symbol.name)));
    }
    assert!(counted.read.get() <= MOST_BYTES, "{} bytes read", counted.read.get());
    let _ = elf::linkage(&counted);
}
