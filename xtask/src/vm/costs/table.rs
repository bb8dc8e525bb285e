//! The committed figures: `tests/costs.toml`. Pure but for reading and writing it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::super::{
    pins::by_age,
    record::{Beside, Cost},
};
use crate::workspace;

/// What calls of the server or of another process may differ by, and what the whole machine may: in tenths of a percent.
const CALLS: u64 = 5;
const WHOLE: u64 = 30;
/// The same where records come and wrapwatch reads them: when it does so, and so how often, is another one with each build; up to 4.6 % were seen.
const READER: u64 = 100;
/// Head of the file.
const HEAD: &str = "\
# Instructions in guests with one processor (`cargo xtask vm --instructions`; what each is: docs/performance.md), beside nothing, beside empty programs on wrapwatch's hooks and beside
# wrapwatch: of the whole machine for one query or connection, of another process's call, of a second (idle); `calls` are the server's own calls.
# `cargo xtask vm --instructions --update` renews them, in the change that is to blame: say why.
";

/// By kernel's series, in the order in which the guest counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<String, Vec<Cost>>);

/// The file: a kernel's rows under its series.
#[derive(Deserialize)]
struct File(BTreeMap<String, Vec<Row>>);

/// One of them: three figures each are beside nothing, beside empty programs, beside wrapwatch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    hooks: String,
    command: String,
    work: String,
    whole: [u64; 3],
    calls: Option<[u64; 3]>,
}

impl From<Row> for Cost {
    fn from(Row { hooks, command, work, whole, calls }: Row) -> Self {
        let beside = |[none, floor, wrapwatch]: [u64; 3]| Beside { none, floor, wrapwatch };
        Self { hooks, work, command, whole: beside(whole), calls: calls.map(beside) }
    }
}

impl Table {
    /// Where it is, from the top of the repository.
    pub(super) const FILE: &'static str = "tests/costs.toml";

    fn path() -> Result<PathBuf> {
        Ok(workspace::root()?.join(Self::FILE))
    }

    /// Reads it.
    pub(super) fn read() -> Result<Self> {
        let path = Self::path()?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| Self::FILE.to_owned())
    }

    fn parse(text: &str) -> Result<Self> {
        let File(kernels) = toml::from_str(text)?;
        let costs = |rows: Vec<Row>| rows.into_iter().map(Cost::from).collect();
        Ok(Self(kernels.into_iter().map(|(kernel, rows)| (kernel, costs(rows))).collect()))
    }

    /// Writes it.
    pub(super) fn write(&self) -> Result<()> {
        let path = Self::path()?;
        fs::write(&path, HEAD.to_owned() + &self.text())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self) -> String {
        let mut kernels: Vec<_> = self.0.iter().collect();
        kernels.sort_by_key(|(kernel, _)| by_age(kernel));
        let mut text = String::new();
        for (kernel, costs) in kernels {
            text.push_str(&format!("\n\"{kernel}\" = [\n"));
            for cost in costs {
                text.push_str(&line(cost));
            }
            text.push_str("]\n");
        }
        text
    }

    /// What stands for a kernel.
    pub(super) fn of(&self, kernel: &str) -> Option<&[Cost]> {
        self.0.get(kernel).map(Vec::as_slice)
    }

    /// Puts what one kernel's guests counted in, in the place of what stands of the same servers.
    pub(super) fn put(&mut self, kernel: String, mut costs: Vec<Cost>) {
        let stand = self.0.remove(&kernel).unwrap_or_default();
        let others = stand.into_iter().filter(|cost| !costs.iter().any(|new| is_real(new) == is_real(cost)));
        let others: Vec<Cost> = others.collect();
        costs.extend(others);
        costs.sort_by_key(is_real);
        self.0.insert(kernel, costs);
    }

    /// What one kernel's guest counted otherwise than it stands, in words.
    pub(super) fn off(&self, kernel: &str, counted: &[Cost]) -> Vec<String> {
        let Some(stand) = self.0.get(kernel) else { return vec![format!("{kernel}: nothing stands yet")] };
        let find = |costs: &[Cost], cost: &Cost| costs.iter().find(|other| same(other, cost)).cloned();
        let asked = |cost: &Cost| counted.iter().any(|other| is_real(other) == is_real(cost));
        let gone = stand.iter().filter(|cost| asked(cost) && find(counted, cost).is_none());
        let gone = gone.map(|cost| format!("{}: is gone", name(kernel, cost)));
        let moved = counted.iter().flat_map(|cost| match find(stand, cost) {
            Some(stands) => differences(&stands, cost)
                .into_iter()
                .map(|difference| format!("{}: {difference}", name(kernel, cost)))
                .collect(),
            None => vec![format!("{}: is new", name(kernel, cost))],
        });
        moved.chain(gone).collect()
    }
}

/// Whether it is of a real server, which has a guest of its own.
fn is_real(cost: &Cost) -> bool {
    cost.work.starts_with("mariadb-")
}

/// Whether they are of the same work under the same hooks and command.
fn same(one: &Cost, other: &Cost) -> bool {
    (&one.hooks, &one.work, &one.command) == (&other.hooks, &other.work, &other.command)
}

fn name(kernel: &str, cost: &Cost) -> String {
    format!("{kernel} {} {} {}", cost.hooks, cost.command, cost.work)
}

fn differences(stands: &Cost, found: &Cost) -> Vec<String> {
    // Another process's call is counted by itself.
    let tolerance = match found.work.as_str() {
        work if work.starts_with("other-") => CALLS,
        work if work.contains("connection") => READER,
        _ => WHOLE,
    };
    let mut differences = different("", stands.whole, found.whole, tolerance);
    let calls = |cost: &Cost| cost.calls.unwrap_or_default();
    differences.extend(different("the server's calls ", calls(stands), calls(found), CALLS));
    differences
}

fn different(what: &str, stands: Beside, found: Beside, tolerance: u64) -> Vec<String> {
    figures(stands)
        .into_iter()
        .zip(figures(found))
        .filter(|((_, stands), (_, found))| stands.abs_diff(*found) * 1000 > stands * tolerance)
        .map(|((beside, stands), (_, found))| {
            format!("{what}beside {beside} {found}, where {stands} stands ({})", percent(found, stands))
        })
        .collect()
}

const fn figures(beside: Beside) -> [(&'static str, u64); 3] {
    [("nothing", beside.none), ("empty programs", beside.floor), ("wrapwatch", beside.wrapwatch)]
}

fn line(cost: &Cost) -> String {
    let three = |beside: Beside| format!("[{}]", figures(beside).map(|(_, n)| n.to_string()).join(", "));
    let calls = cost.calls.map(|calls| format!(", calls = {}", three(calls))).unwrap_or_default();
    let Cost { hooks, work, command, whole, .. } = cost;
    format!(
        "  {{ hooks = \"{hooks}\", command = \"{command}\", work = \"{work}\", whole = {}{calls} }},\n",
        three(*whole)
    )
}

/// A line for people.
pub(super) fn in_words(kernel: &str, cost: &Cost) -> String {
    let beside = |beside: Beside| {
        let Beside { none, floor, wrapwatch } = beside;
        format!(
            "{none:>9} {floor:>9} ({:>8}) {wrapwatch:>9} ({:>8})",
            percent(floor, none),
            percent(wrapwatch, none)
        )
    };
    let calls = cost.calls.map(|calls| format!("   calls {}", beside(calls))).unwrap_or_default();
    format!(
        "{kernel:<5} {:<10} {:<6} {:<18} {}{calls}",
        cost.hooks,
        cost.command,
        cost.work,
        beside(cost.whole)
    )
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percent(found: u64, stands: u64) -> String {
    format!("{:+.1} %", (found as f64 / stands.max(1) as f64 - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(work: &str, wrapwatch: u64) -> Cost {
        let beside = Beside { none: 10_000, floor: 11_000, wrapwatch };
        let [hooks, work, command] = ["raw", work, "live"].map(ToOwned::to_owned);
        Cost { hooks, work, command, whole: beside, calls: None }
    }

    fn table(costs: &[Cost]) -> Table {
        Table(BTreeMap::from([("6.12".to_owned(), costs.to_vec())]))
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let calls = Some(Beside { none: 1, floor: 2, wrapwatch: 3 });
        let mut table = table(&[cost("query", 12_000), Cost { calls, ..cost("connection", 9) }]);
        table.put("5.10".to_owned(), vec![cost("idle", 1)]);
        let text = table.text();
        assert!(
            text.contains("work = \"connection\", whole = [10000, 11000, 9], calls = [1, 2, 3] }"),
            "{text}"
        );
        assert!(text.find("5.10") < text.find("6.12"), "{text}");
        assert_eq!(Table::parse(&text).unwrap(), table);
    }

    #[test]
    fn the_whole_machine_has_more_room_than_calls() {
        let table = table(&[cost("query", 12_000), cost("other-hooked", 12_000)]);
        let off = |query, other| table.off("6.12", &[cost("query", query), cost("other-hooked", other)]);
        assert_eq!(off(12_360, 12_060), [""; 0]);
        assert_eq!(
            off(11_600, 12_061),
            [
                "6.12 raw live query: beside wrapwatch 11600, where 12000 stands (-3.3 %)",
                "6.12 raw live other-hooked: beside wrapwatch 12061, where 12000 stands (+0.5 %)"
            ]
        );
    }

    #[test]
    fn what_wrapwatch_reads_has_most_room() {
        let off =
            |found| table(&[cost("connection", 200_000)]).off("6.12", &[cost("connection", found)]).len();
        assert_eq!((off(220_000), off(220_001)), (0, 1));
    }

    #[test]
    fn the_servers_calls_are_compared_by_themselves() {
        let with = |floor| Cost { calls: Some(Beside { floor, ..Beside::default() }), ..cost("query", 1) };
        let off = table(&[with(1000)]).off("6.12", &[with(1006)]);
        let wanted =
            "6.12 raw live query: the server's calls beside empty programs 1006, where 1000 stands (+0.6 %)";
        assert_eq!(off, [wanted]);
    }

    #[test]
    fn what_is_new_or_gone_is_named() {
        let off = table(&[cost("query", 1)]).off("6.12", &[cost("idle", 1)]);
        assert_eq!(off, ["6.12 raw live idle: is new", "6.12 raw live query: is gone"]);
        assert_eq!(table(&[]).off("7.2", &[]), ["7.2: nothing stands yet"]);
    }

    #[test]
    fn one_server_alone_leaves_the_other_as_it_stands() {
        let mut table = table(&[cost("query", 1), cost("mariadb-query", 1)]);
        let counted = [cost("mariadb-query", 2)];
        assert_eq!(table.off("6.12", &counted).len(), 1);
        table.put("6.12".to_owned(), counted.to_vec());
        assert_eq!(table.of("6.12").unwrap(), [cost("query", 1), cost("mariadb-query", 2)]);
        table.put("6.12".to_owned(), vec![cost("idle", 3)]);
        assert_eq!(table.of("6.12").unwrap(), [cost("idle", 3), cost("mariadb-query", 2)]);
    }

    #[test]
    fn the_file_is_sound() {
        assert!(!Table::read().unwrap().0.is_empty());
    }
}
