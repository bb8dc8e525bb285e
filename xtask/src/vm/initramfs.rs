//! What a guest starts with: an archive of files that the kernel unpacks into its first file system (cpio, "newc").

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use crate::{arm64::EMULATOR, process::output};

/// Libraries that glibc loads by itself while it runs, where it is old enough to have them apart.
const LOADED_LATER: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// The files, by their paths in the guest.
#[derive(Debug, Default)]
pub(crate) struct Initramfs {
    files: BTreeMap<PathBuf, Content>,
}

#[derive(Debug)]
enum Content {
    Directory,
    /// A file of this machine.
    Copy(PathBuf),
}

impl Initramfs {
    /// With empty directories.
    pub(crate) fn new(directories: &[&str]) -> Self {
        let mut made = Self::default();
        for directory in directories {
            made.put(Path::new(directory), Content::Directory);
        }
        made
    }

    /// Adds a file of this machine under this path.
    pub(crate) fn copy(&mut self, from: &Path, to: &str) {
        self.put(Path::new(to), Content::Copy(from.to_owned()));
    }

    /// Adds a program or library, and what the dynamic linker will look for, under the paths that it has in its system.
    pub(crate) fn dynamic(&mut self, from: &Path, to: &str, of: &Libraries) -> Result<()> {
        self.copy(from, to);
        for library in of.needed_by(from)? {
            self.put(of.in_its_system(&library), Content::Copy(library.clone()));
            for later in LOADED_LATER {
                let beside = library.with_file_name(later);
                if beside.is_file() {
                    self.put(of.in_its_system(&beside), Content::Copy(beside.clone()));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &Path, content: Content) {
        let path = path.strip_prefix("/").unwrap_or(path);
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            self.files.entry(parent.to_owned()).or_insert(Content::Directory);
        }
        self.files.insert(path.to_owned(), content);
    }

    /// Writes the archive; not compressed, since unpacking would cost an emulated machine more than reading.
    pub(crate) fn write(&self, archive: &Path) -> Result<()> {
        let file =
            fs::File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
        let mut out = BufWriter::new(file);
        let mut number = 0_u32;
        // A directory sorts before what is in it.
        for (path, content) in &self.files {
            number = number.saturating_add(1);
            let entry = Builder::new(&path.display().to_string()).ino(number).mode(0o755);
            match content {
                Content::Directory => {
                    entry.set_mode_file_type(ModeFileType::Directory).write(&mut out, 0).finish()?;
                }
                Content::Copy(from) => {
                    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
                    let size = u32::try_from(bytes.len()).context("a file too large for an initramfs")?;
                    let mut writer = entry.set_mode_file_type(ModeFileType::Regular).write(&mut out, size);
                    writer.write_all(&bytes)?;
                    writer.finish()?;
                }
            }
        }
        trailer(&mut out)?;
        out.flush().with_context(|| format!("cannot write {}", archive.display()))
    }
}

/// The system that programs find their libraries in.
#[derive(Debug)]
pub(crate) enum Libraries {
    /// This one.
    OfThisMachine,
    /// One of 64-bit ARM, unpacked in this directory.
    Under(PathBuf),
}

impl Libraries {
    /// Files of this machine: the libraries that the dynamic linker finds for a program or library.
    fn needed_by(&self, file: &Path) -> Result<Vec<PathBuf>> {
        let Self::Under(root) = self else {
            return Ok(libraries(&output(Command::new("ldd").arg(file))?));
        };
        let folders = ["lib", "usr/lib"].map(|folder| root.join(folder).join("aarch64-linux-gnu"));
        let path = folders.map(|folder| folder.display().to_string()).join(":");
        let linker = root.join("lib/ld-linux-aarch64.so.1");
        let mut list = Command::new(EMULATOR);
        list.arg(&linker).args(["--library-path", &path, "--list"]).arg(file);
        let found = libraries(&output(&mut list)?);
        // It names itself by its path there.
        Ok(found.into_iter().filter(|library| library.starts_with(root)).chain([linker]).collect())
    }

    /// A file's path in its own system.
    fn in_its_system<'a>(&self, file: &'a Path) -> &'a Path {
        match self {
            Self::OfThisMachine => file,
            Self::Under(root) => file.strip_prefix(root).unwrap_or(file),
        }
    }
}

/// The libraries in what ldd(1) prints: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the linker itself.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            let line = line.trim();
            let path = line.split_once(" => ").map_or(line, |(_, path)| path);
            let path = path.split(" (").next()?;
            path.starts_with('/').then(|| path.into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let said = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibwrap.so.0 => /lib/x/libwrap.so.0 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tlibgone.so => not found\n\tstatically linked\n";
        assert_eq!(
            libraries(said),
            [PathBuf::from("/lib/x/libwrap.so.0"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]
        );
    }

    #[test]
    fn an_archive_has_directories_before_files() {
        let dir = std::env::temp_dir().join(format!("xtask-initramfs-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (file, archive) = (dir.join("file"), dir.join("archive"));
        fs::write(&file, "content").unwrap();
        let mut initramfs = Initramfs::new(&["/proc"]);
        initramfs.copy(&file, "/a/b/c");
        initramfs.write(&archive).unwrap();
        let mut names = Vec::new();
        let mut rest: Box<dyn std::io::Read> = Box::new(fs::File::open(&archive).unwrap());
        loop {
            let mut reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
            rest = reader.finish().unwrap();
        }
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(names, ["a", "a/b", "a/b/c", "proc"]);
    }
}
