//! Lists in a trace's JSON, bounded while they are read: `[{},{},…]` takes three bytes for each element in the file, and a hundred times that in memory.
//!
//! What is beyond the bound is passed over. The bounds are beyond what a recorder writes, so that only what was made by hand meets them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};

use crate::model::{Degradation, DegradationKind};

/// Most bytes of JSON in a block.
pub(super) const JSON_MAX: usize = 4 << 20;
/// Most bytes of a file of a target: no more is read of one.
pub(super) const FILE_MAX: usize = 1 << 20;

/// Targets, and what loses sight.
pub(super) fn targets<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List { most: 256, of: PhantomData })
}

/// Arguments, threads, probes, what a target listens on.
pub(super) fn names<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List { most: 1024, of: PhantomData })
}

/// Accept queues in a sample.
pub(super) fn queues<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List { most: 32 << 10, of: PhantomData })
}

/// Options, counters.
pub(super) fn map<'de, D, V>(from: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    from.deserialize_map(Map { most: 256, of: PhantomData })
}

/// A degradation of any kind.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnyDegradation {
    kind: String,
    pid: Option<u32>,
    message: String,
}

/// The degradations that this version knows: one of a kind that came later must not cost the head.
pub(super) fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Degradation>, D::Error> {
    let any: Vec<AnyDegradation> = targets(from)?;
    let known = any.into_iter().filter_map(|AnyDegradation { kind, pid, message }| {
        let kind = kind.as_str().into_deserializer();
        let kind: Result<_, serde::de::value::Error> = DegradationKind::deserialize(kind);
        Some(Degradation { kind: kind.ok()?, pid, message })
    });
    Ok(known.collect())
}

struct List<T> {
    most: usize,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while list.len() < self.most {
            let Some(element) = from.next_element()? else { return Ok(list) };
            list.push(element);
        }
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(list)
    }
}

struct Map<V> {
    most: usize,
    of: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Map<V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<BTreeMap<String, V>, A::Error> {
        let mut map = BTreeMap::new();
        while map.len() < self.most {
            let Some((key, value)) = from.next_entry()? else { return Ok(map) };
            map.insert(key, value);
        }
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use crate::trace::{Head, Sample, Target};

    #[test]
    fn lists_end_at_their_bound_and_what_follows_is_read() {
        let many = vec!["{}"; 5_000].join(",");
        let head: Head = serde_json::from_str(&format!(
            r#"{{"targets":[{many}],"degradations":[{many},{{"kind":"no-uprobes","pid":null,"message":"!"}}],"hostname":"db1"}}"#
        ))
        .unwrap();
        assert_eq!((head.targets.len(), head.degradations.len(), head.hostname.as_str()), (256, 0, "db1"));
        let words = vec![r#""""#; 5_000].join(",");
        let target: Target = serde_json::from_str(&format!(r#"{{"cmdline":[{words}],"pid":7}}"#)).unwrap();
        assert_eq!((target.cmdline.len(), target.pid), (1024, 7));
        let counters: Vec<String> = (0..5_000).map(|n| format!(r#""{n}":1"#)).collect();
        let text = format!(r#"{{"counters":{{{}}},"at":9}}"#, counters.join(","));
        let sample: Sample = serde_json::from_str(&text).unwrap();
        assert_eq!((sample.counters.len(), sample.at.0), (256, 9));
    }
}
