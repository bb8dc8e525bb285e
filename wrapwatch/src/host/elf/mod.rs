//! What a target's program and libraries say about libwrap: the libraries it needs (`DT_NEEDED`), the tables' names in its data, where functions are.
//!
//! For workers of [`super::reader`]: a file's blocks may be slow to come.

mod image;
mod symbols;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

pub use image::{Image, Source};
pub use symbols::{Symbol, defined};

use super::{HostError, files, reader};

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
/// What stands in the data of whatever has libwrap in it (`hosts_access.c`).
const STRINGS: [&[u8]; 2] = [b"hosts.allow", b"hosts.deny"];
/// Read at once when data is searched.
const CHUNK: usize = 1 << 20;
/// What a library's name begins with.
const LIBWRAP: &[u8] = b"libwrap.so";

/// What one file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linkage {
    /// Names libwrap among the libraries it needs.
    pub needed: bool,
    /// The names of both tables stand in its data.
    pub strings: bool,
}

/// What an image says.
pub fn linkage<S: Source + ?Sized>(source: &S) -> Result<Linkage, String> {
    let image = Image::of(source)?;
    Ok(Linkage { needed: needs_libwrap(&image), strings: holds_all(&image, &STRINGS)? })
}

/// Whether libwrap is among the libraries an image needs.
fn needs_libwrap<S: Source + ?Sized>(image: &Image<'_, S>) -> bool {
    let Some(strings) = image.dynamic(DT_STRTAB).next() else { return false };
    image.dynamic(DT_NEEDED).any(|name| {
        let mut bytes = [0; LIBWRAP.len()];
        image.at_address(&mut bytes, strings.saturating_add(name)).is_ok() && bytes == *LIBWRAP
    })
}

/// Whether each of these stands in what is mapped of an image.
fn holds_all<S: Source + ?Sized>(image: &Image<'_, S>, needles: &[&[u8]]) -> Result<bool, String> {
    let finders: Vec<_> = needles.iter().map(memchr::memmem::Finder::new).collect();
    let mut found = vec![false; finders.len()];
    let overlap = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
    for segment in image.segments() {
        // What lies across the border of two chunks is in the second one whole.
        let mut kept = 0_usize;
        let mut bytes = vec![0; CHUNK.saturating_add(overlap)];
        let mut at = 0_u64;
        while at < segment.len && !found.iter().all(|found| *found) {
            let wanted = usize::try_from(segment.len.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
            let room = bytes.get_mut(kept..kept.saturating_add(wanted)).unwrap_or_default();
            let len = image.some(room, segment.offset.saturating_add(at))?;
            let there = bytes.get(..kept.saturating_add(len)).unwrap_or_default();
            for (finder, found) in finders.iter().zip(&mut found) {
                *found |= finder.find(there).is_some();
            }
            if len < wanted {
                break;
            }
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            let end = there.len();
            let begin = end.saturating_sub(overlap);
            bytes.copy_within(begin..end, 0);
            kept = end.saturating_sub(begin);
        }
    }
    Ok(found.iter().all(|found| *found))
}

/// What the program that `pid` runs says: the file that runs, even if it was removed.
pub fn linkage_of(pid: u32) -> Result<Linkage, HostError> {
    let what = format!("/proc/{pid}/exe");
    reader::run(pid, &what.clone(), reader::LIMIT, move || linkage_at(pid, &what))?
}

/// As [`linkage_of`], of the file at a path as `pid` sees it.
pub fn linkage_in(pid: u32, path: &str) -> Result<Linkage, HostError> {
    let path = path.to_owned();
    reader::run(pid, &path.clone(), reader::LIMIT, move || {
        files::with(pid, |view| {
            let file =
                view.open(&path)?.ok_or_else(|| HostError::io(&*path, io::ErrorKind::NotFound.into()))?;
            linkage(&file).map_err(|why| HostError::Unusable { what: path.clone(), why })
        })?
    })?
}

fn linkage_at(pid: u32, link: &str) -> Result<Linkage, HostError> {
    let found = files::Found::at_link(pid, Path::new(link))?;
    files::with(pid, |view| {
        let file = view.reopen(&found)?;
        linkage(&file).map_err(|why| HostError::Unusable { what: link.to_owned(), why })
    })?
}

/// Whether the program's path (as the target sees it) leads to another file than the one that runs, and that path; none where nothing is there.
pub fn replaced(pid: u32) -> Option<(bool, Option<String>)> {
    let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let link = link.to_str()?;
    let path = link.strip_suffix(" (deleted)").unwrap_or(link);
    // After a chroot(2) the link says where the file is as seen from here.
    let root = fs::read_link(format!("/proc/{pid}/root")).ok();
    let root = root.as_deref().and_then(Path::to_str).filter(|root| *root != "/").unwrap_or_default();
    let path = path.strip_prefix(root).filter(|inside| inside.starts_with('/')).unwrap_or(path);
    let running = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    // What stands there now, whatever it is.
    let Some(meta) = files::metadata(pid, path).ok()? else { return Some((true, None)) };
    let same = (meta.dev(), meta.ino()) == (running.dev(), running.ino());
    Some((!same, Some(path.to_owned())))
}

/// Symbols that a file of a target defines, and whether its addresses are final.
pub(super) fn symbols_of(file: &File, what: &str, names: &[&str]) -> Result<(Vec<Symbol>, bool), HostError> {
    let unusable = |why| HostError::Unusable { what: what.to_owned(), why };
    let image = Image::of(file).map_err(unusable)?;
    Ok((defined(&image, names).map_err(unusable)?, image.is_fixed()))
}

#[cfg(test)]
mod tests;
