//! What the tables of a target said, and when.
//!
//! What is gone is not known any more: no rule is quoted from a neighbour in time.

use std::{collections::VecDeque, sync::Arc};

use crate::model::KtimeNs;

use super::config::TableText;

/// Most tables of a target whose text is remembered.
const TEXTS_MAX: usize = 16;
/// Most versions of a table that are remembered: records that come late are of a tenth of a second ago.
pub(super) const VERSIONS_MAX: usize = 8;

/// A table's text from a time on; None: it is not known.
type Version = (KtimeNs, Option<TableText>);

/// One table's versions.
#[derive(Debug, Default)]
struct Versions {
    kept: VecDeque<Version>,
    /// There were earlier ones.
    cut: bool,
}

impl Versions {
    /// The one at a time; before the first, that.
    fn index(&self, at: KtimeNs) -> Option<usize> {
        self.kept.iter().rposition(|(from, _)| *from <= at).or((!self.cut).then_some(0))
    }
}

/// The tables' texts of one target.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<(Arc<str>, Versions)>);

impl Texts {
    pub(super) fn set(&mut self, path: &str, text: Option<TableText>, from: KtimeNs) {
        if let Some((_, versions)) = self.0.iter_mut().find(|(known, _)| &**known == path) {
            versions.kept.push_back((from, text));
            if versions.kept.len() > VERSIONS_MAX {
                versions.kept.pop_front();
                versions.cut = true;
            }
        } else if self.0.len() < TEXTS_MAX {
            let kept = VecDeque::from([(from, text)]);
            self.0.push((path.into(), Versions { kept, cut: false }));
        }
    }

    /// A table's text as it was at `at`, and from when on it was so; before its first version, the first.
    pub(super) fn at(&self, path: &str, at: KtimeNs) -> Option<(KtimeNs, &TableText)> {
        let (_, versions) = self.0.iter().find(|(known, _)| &**known == path)?;
        let (from, text) = versions.kept.get(versions.index(at)?)?;
        text.as_ref().map(|text| (*from, text))
    }

    /// The text alone, to quote from.
    pub(super) fn at_mut(&mut self, path: &str, at: KtimeNs) -> Option<&mut TableText> {
        let (_, versions) = self.0.iter_mut().find(|(known, _)| &**known == path)?;
        let index = versions.index(at)?;
        versions.kept.get_mut(index)?.1.as_mut()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let texts = self.0.iter().flat_map(|(_, versions)| &versions.kept);
        texts.filter_map(|(_, text)| text.as_ref()).map(TableText::memory_bytes).sum()
    }

    /// Forgets the oldest text that is there; false where there is none.
    pub(super) fn forget_oldest(&mut self) -> bool {
        let texts = self.0.iter_mut().flat_map(|(_, versions)| &mut versions.kept);
        let oldest = texts.filter(|(_, text)| text.is_some()).min_by_key(|(from, _)| *from);
        oldest.map(|(_, text)| *text = None).is_some()
    }
}
