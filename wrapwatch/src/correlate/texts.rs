//! What the tables of all targets said, and when.
//!
//! A target decides how large its tables are and how often they are others. So all of it together has a bound in bytes, and of whoever takes most the oldest
//! goes first: a small table of one target never makes room for a large one of another. What is gone is not known any more: no rule is quoted from a neighbour
//! in time.

use std::{collections::VecDeque, sync::Arc};

use crate::model::KtimeNs;

use super::config::TableText;
use super::map::HashMap;
use super::shared::Target;

/// Memory of all texts.
const MOST_BYTES: usize = 24 << 20;
/// Most tables of a target whose text is remembered.
const TEXTS_MAX: usize = 16;
/// Most versions of a table that are remembered: records that come late are of a tenth of a second ago.
const VERSIONS_MAX: usize = 8;

/// A table's text from a time on; None: it is not known.
type Version = (KtimeNs, Option<TableText>);

/// One table's versions.
#[derive(Debug, Default)]
struct Versions {
    kept: VecDeque<Version>,
    /// There were earlier ones.
    cut: bool,
}

/// The tables' texts of one target.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<(Arc<str>, Versions)>);

impl Texts {
    fn set(&mut self, path: &str, text: Option<TableText>, from: KtimeNs) {
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
        let (_, Versions { kept, cut }) = self.0.iter().find(|(known, _)| &**known == path)?;
        let version = kept.iter().rfind(|(from, _)| *from <= at);
        let (from, text) = version.or_else(|| kept.front().filter(|_| !cut))?;
        text.as_ref().map(|text| (*from, text))
    }

    fn memory_bytes(&self) -> usize {
        let texts = self.0.iter().flat_map(|(_, versions)| &versions.kept);
        texts.filter_map(|(_, text)| text.as_ref()).map(TableText::memory_bytes).sum()
    }

    /// Forgets the oldest text that is there; false where there is none.
    fn forget_oldest(&mut self) -> bool {
        let texts = self.0.iter_mut().flat_map(|(_, versions)| &mut versions.kept);
        let oldest = texts.filter(|(_, text)| text.is_some()).min_by_key(|(from, _)| *from);
        oldest.map(|(_, text)| *text = None).is_some()
    }
}

/// Enters a text, and forgets others until all fit.
pub(super) fn set(
    targets: &mut HashMap<u32, Target>,
    tgid: u32,
    path: &str,
    text: Option<TableText>,
    from: KtimeNs,
) {
    let target = targets.entry(tgid).or_default();
    target.inferred.clear();
    target.texts.set(path, text, from);
    keep_to(MOST_BYTES, targets);
}

fn keep_to(most_bytes: usize, targets: &mut HashMap<u32, Target>) {
    while targets.values().map(|target| target.texts.memory_bytes()).sum::<usize>() > most_bytes {
        // Of two that take as much, the same one whenever this is told again.
        let largest = targets.iter_mut().max_by_key(|(tgid, target)| (target.texts.memory_bytes(), **tgid));
        if !largest.is_some_and(|(_, target)| target.texts.forget_oldest()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rules: usize) -> TableText {
        TableText::new(&"ALL: 10.0.2.14\n".repeat(rules))
    }

    fn set(targets: &mut HashMap<u32, Target>, tgid: u32, path: &str, text: TableText, from: u64) {
        super::set(targets, tgid, path, Some(text), KtimeNs(from));
    }

    #[test]
    fn whoever_takes_most_loses_his_oldest() {
        let mut targets = HashMap::default();
        set(&mut targets, 1, "/small", text(1), 0);
        for at in 1..5 {
            set(&mut targets, 2, "/large", text(1000), at);
        }
        keep_to(3 * text(1000).memory_bytes(), &mut targets);
        let of = |tgid: u32, path, at| targets[&tgid].texts.at(path, KtimeNs(at)).map(|(from, _)| from.0);
        assert!(of(1, "/small", 9).is_some(), "older than all others, and of another");
        assert_eq!((of(2, "/large", 0), of(2, "/large", 1), of(2, "/large", 2)), (None, None, None));
        assert_eq!((of(2, "/large", 3), of(2, "/large", 4)), (Some(3), Some(4)));
    }

    #[test]
    fn what_was_before_the_versions_that_are_kept_is_not_known() {
        let mut targets = HashMap::default();
        for at in 1..=u64::try_from(VERSIONS_MAX).unwrap() {
            set(&mut targets, 1, "/table", text(1), at);
        }
        assert!(targets[&1].texts.at("/table", KtimeNs(0)).is_some(), "it was so before anybody looked");
        set(&mut targets, 1, "/table", text(1), 99);
        assert!(targets[&1].texts.at("/table", KtimeNs(1)).is_none());
        assert!(targets[&1].texts.at("/table", KtimeNs(2)).is_some());
    }

    #[test]
    fn a_version_that_is_not_known_hides_those_before_it() {
        let mut targets = HashMap::default();
        set(&mut targets, 1, "/table", text(1), 1);
        super::set(&mut targets, 1, "/table", None, KtimeNs(2));
        assert!(targets[&1].texts.at("/table", KtimeNs(1)).is_some());
        assert!(targets[&1].texts.at("/table", KtimeNs(2)).is_none());
    }

    #[test]
    fn moving_tables_of_a_mebibyte_stay_within_the_bound() {
        let mut targets = HashMap::default();
        let large = TableText::new(&"a:b\n".repeat((1 << 20) / 4));
        for at in 0..64 {
            set(&mut targets, 1, &format!("/table/{}", at % 16), large.clone(), at);
        }
        assert!(targets[&1].texts.memory_bytes() <= MOST_BYTES);
        assert!(targets[&1].texts.at("/table/15", KtimeNs(63)).is_some(), "the newest stays");
    }
}
