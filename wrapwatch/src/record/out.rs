//! Where the blocks of a recording go, as its plan says.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{Plan, RecordError};
use crate::trace::{
    BlockSink, CreateError, FileSink, FlightRing, Limits, Segmented, SingleFile, WriteError, block::Block,
};

/// Files.
#[derive(Debug)]
pub(super) enum Out {
    Single(SingleFile<FileSink>),
    Rotated(Box<Segmented>),
    Flight(Box<FlightRing>),
}

/// What can be known to fail before anything is attached. What has changed until the file is made fails then.
pub(super) fn check(path: &Path, plan: &Plan, force: bool) -> Result<(), RecordError> {
    let dir = directory(path);
    if !dir.is_dir() {
        return Err(RecordError::NoDirectory { path: path.to_owned(), dir: dir.to_owned() });
    }
    if let Plan::Flight(plan) = plan {
        FlightRing::check_left(path, force)?;
        return plan.ring.check(path).map_err(RecordError::from);
    }
    match path.symlink_metadata() {
        Ok(_) if !force => Err(CreateError::Exists(path.to_owned()).into()),
        Ok(meta) if !meta.is_file() && !meta.is_symlink() => {
            Err(CreateError::NotAFile(path.to_owned()).into())
        }
        _ => Ok(()),
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Out {
    pub(super) fn create(path: &Path, plan: &Plan, force: bool) -> Result<Self, WriteError> {
        Ok(match plan {
            Plan::Single => Self::Single(SingleFile::new(FileSink::create(path, force)?)),
            &Plan::Rotated { max_bytes, keep } => {
                let limits = Limits { file_bytes: Some(max_bytes), keep_files: keep, ..Limits::default() };
                Self::Rotated(Box::new(Segmented::rotating(path, force, limits)?))
            }
            Plan::Flight(plan) => Self::Flight(Box::new(FlightRing::create(path, force, plan.ring)?)),
        })
    }

    /// The file being written; `None` between two of a rotated recording.
    fn sink(&self) -> Option<&FileSink> {
        match self {
            Self::Single(file) => Some(file.sink()),
            Self::Rotated(files) => files.sink(),
            Self::Flight(ring) => ring.sink(),
        }
    }

    /// Whether what is written can be found by a name.
    pub(super) fn is_linked(&self) -> bool {
        self.sink().is_none_or(FileSink::is_linked)
    }

    /// Brings what was written to a file that has lost its name to where there is a place for it: into the next directory upwards that is
    /// still there, or else into the one for temporary files.
    pub(super) fn rescue(&self, path: &Path) -> RecordError {
        let lost = |why: String| RecordError::Gone { path: path.to_owned(), why };
        let Some(sink) = self.sink() else { return lost("it has no name".to_owned()) };
        let mut tried = String::new();
        let what = match self {
            Self::Single(_) => "what was recorded",
            // Files that were finished have gone with their names.
            Self::Rotated(_) | Self::Flight(_) => "the newest part of what was recorded",
        };
        for to in places(path) {
            match sink.rescue(&to) {
                Ok(_) => return RecordError::Removed { path: path.to_owned(), what, rescued: to },
                Err(error) => tried = error.to_string(),
            }
        }
        lost(tried)
    }

    /// Forgets what was kept in case something happens.
    pub(super) fn leave(self) {
        if let Self::Flight(ring) = self {
            let dir = ring.dir().to_owned();
            if let Err(error) = ring.remove() {
                log::warn!("cannot remove {}: {error}", dir.display());
            }
        }
    }
}

/// Names for a rescued trace, best first: `a.wwt` becomes `a.rescued.wwt`.
fn places(path: &Path) -> Vec<PathBuf> {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".rescued");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    // A relative path counts from where we were started.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let upwards = absolute.ancestors().skip(1).find(|dir| dir.is_dir()).map(Path::to_owned);
    upwards.into_iter().chain([env::temp_dir()]).map(|dir| dir.join(&name)).collect()
}

impl BlockSink for Out {
    fn put(&mut self, block: &Block) -> Result<(), WriteError> {
        match self {
            Self::Single(file) => file.put(block),
            Self::Rotated(files) => files.put(block),
            Self::Flight(ring) => ring.put(block),
        }
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        match self {
            Self::Single(file) => file.sync(),
            Self::Rotated(files) => files.sync(),
            Self::Flight(ring) => ring.sync(),
        }
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        match self {
            Self::Single(file) => file.finish(),
            Self::Rotated(files) => files.finish(),
            Self::Flight(ring) => ring.finish(),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Single(file) => file.size(),
            Self::Rotated(files) => files.size(),
            Self::Flight(ring) => ring.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirBuilderExt as _;

    use super::*;
    use crate::{
        model::KtimeNs,
        observe::Observer as _,
        record::{FlightPlan, LOOK_NS, Recorder},
        trace::{FlightOptions, Head, Input, Reader},
    };

    #[test]
    fn what_can_be_known_to_fail_fails_before_anything_is_attached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wwt");
        let ring = FlightOptions::within(FlightOptions::TOTAL_MIN_BYTES, 1);
        let flight = Plan::Flight(FlightPlan { ring, when: Vec::new(), after_ns: 0, cooldown_ns: 0 });
        let check = |path: &Path, force| check(path, &Plan::Single, force);
        assert!(super::check(&path, &flight, false).is_ok());
        std::fs::DirBuilder::new().mode(0o700).create(dir.path().join("a.wwt.ring")).unwrap();
        let left = super::check(&path, &flight, false);
        assert!(matches!(left, Err(RecordError::Create(CreateError::RingLeft(_)))), "{left:?}");
        assert!(super::check(&path, &flight, true).is_ok() && check(&path, false).is_ok());
        assert!(check(Path::new("a-name-that-nobody-has.wwt"), false).is_ok());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(check(&path, false), Err(RecordError::Create(CreateError::Exists(_)))));
        assert!(check(&path, true).is_ok());
        assert!(matches!(check(dir.path(), true), Err(RecordError::Create(CreateError::NotAFile(_)))));
        let nowhere = dir.path().join("none").join("a.wwt");
        assert!(matches!(check(&nowhere, true), Err(RecordError::NoDirectory { .. })));
    }

    #[test]
    fn a_rescued_trace_goes_into_the_next_directory_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("gone").join("too").join("a.wwt"));
        assert_eq!(places[0], dir.path().join("a.rescued.wwt"));
    }

    #[test]
    fn what_is_rescued_bears_the_name_of_the_trace_also_where_it_is_a_part_of_a_ring() {
        let ring = FlightOptions { last_ns: 1 << 40, ring_bytes: 1 << 20, total_bytes: 1 << 22 };
        let flight = FlightPlan { ring, when: Vec::new(), after_ns: 0, cooldown_ns: 0 };
        let part = "the newest part of what was recorded";
        for (plan, held) in [
            (Plan::Single, "what was recorded"),
            (Plan::Rotated { max_bytes: 1 << 20, keep: None }, part),
            (Plan::Flight(flight), part),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let gone = dir.path().join("gone");
            std::fs::create_dir(&gone).unwrap();
            let mut recorder = Recorder::new(&gone.join("a.wwt"), plan, false, Vec::new()).unwrap();
            recorder.input(&Head::default().into()).unwrap();
            std::fs::remove_dir_all(&gone).unwrap();
            let looked = recorder.tick(KtimeNs(2 * LOOK_NS));
            assert!(looked.is_err(), "the session is told to end");
            let error = recorder.finish().unwrap_err();
            let to = dir.path().join("a.rescued.wwt");
            let RecordError::Removed { what, rescued, .. } = &error else { panic!("{error}") };
            assert_eq!((*what, rescued), (held, &to));
            let mut reader = Reader::new(std::fs::File::open(&to).unwrap());
            assert!(matches!(reader.next_input(), Ok(Some(Input::Head(_)))), "{held}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}
