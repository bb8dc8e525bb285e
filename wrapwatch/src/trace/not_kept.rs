//! Why a trace, or whoever reads one, has no bytes of a file that could be read: it was too much. That is told in the place of an error; nothing is concluded from such a file.

/// The file changed again too soon after earlier versions, and is large.
pub const TOO_OFTEN: &str = "changed again too soon for each version to be kept";
/// With its bytes, what each file of a recording repeats would have taken more than its part.
pub const NO_ROOM: &str = "no room for it in the recording";
/// What was kept of all files became too much for a reader.
pub const TOO_MUCH: &str = "too much for a reader to keep";

impl super::SnapshotMeta {
    /// Whether what the file has, or that it is not there, is known.
    pub fn is_known(&self) -> bool {
        self.error.as_deref().is_none_or(|error| error == "ENOENT")
    }

    /// Why a file that could be read is not kept.
    pub fn why_not_kept(&self) -> Option<&str> {
        self.error.as_deref().filter(|error| [TOO_OFTEN, NO_ROOM, TOO_MUCH].contains(error))
    }
}
