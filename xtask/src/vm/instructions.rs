//! What the verifier goes through for each program on each kernel: `tests/guest/instructions.txt`, so that growth shows in review.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::pins::by_age;
use crate::workspace;

const FILE: &str = "tests/guest/instructions.txt";
/// How much more than written down is accepted: compilers differ a little.
const TOLERANCE_PERCENT: u32 = 10;
/// And so many more, for small programs.
const TOLERANCE: u32 = 20;
/// Head of the file.
const HEAD: &str = "\
# Instructions that each kernel's verifier goes through for each program, paths counted each (before Linux 5.16: of which it consists).
# The verifier gives up at a million. `cargo xtask vm` fails where one has grown by more than 10 %; `cargo xtask vm --update` writes.
";

/// By kernel's series, then by program.
pub(crate) type Table = BTreeMap<String, BTreeMap<String, u32>>;

fn path() -> Result<PathBuf> {
    Ok(workspace::root()?.join(FILE))
}

/// Reads it.
pub(crate) fn read() -> Result<Table> {
    let path = path()?;
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Table> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let kernels: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().skip(1).collect();
    let mut table: Table = kernels.iter().map(|kernel| ((*kernel).to_owned(), BTreeMap::new())).collect();
    for line in lines {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        for kernel in &kernels {
            let word = words.next().with_context(|| format!("{FILE}: too short: {line}"))?;
            if let (Some(column), true) = (table.get_mut(*kernel), word != "-") {
                column.insert(program.to_owned(), word.parse().with_context(|| format!("{FILE}: {line}"))?);
            }
        }
    }
    Ok(table)
}

/// Writes it.
pub(crate) fn write(table: &Table) -> Result<()> {
    let path = path()?;
    fs::write(&path, HEAD.to_owned() + &text(table))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn text(table: &Table) -> String {
    let mut kernels: Vec<&String> = table.keys().collect();
    kernels.sort_by_key(|kernel| by_age(kernel));
    let mut programs: Vec<&String> = table.values().flat_map(BTreeMap::keys).collect();
    programs.sort();
    programs.dedup();
    let head = "program".to_owned();
    let wide = programs.iter().chain([&&head]).map(|program| program.len()).max().unwrap_or(0);
    let mut text = format!("{head:wide$}");
    for kernel in &kernels {
        text.push_str(&format!(" {kernel:>6}"));
    }
    for program in programs {
        text.push_str(&format!("\n{program:wide$}"));
        for kernel in &kernels {
            let count = table.get(*kernel).and_then(|column| column.get(program));
            text.push_str(&format!(" {:>6}", count.map_or("-".to_owned(), ToString::to_string)));
        }
    }
    text + "\n"
}

/// What has grown, or is not written down.
pub(crate) fn grown(written: &Table, kernel: &str, found: &BTreeMap<String, u32>) -> Result<()> {
    let Some(column) = written.get(kernel) else {
        bail!("{FILE} has nothing of {kernel} yet: cargo xtask vm --update");
    };
    let mut bad = Vec::new();
    for (program, count) in found {
        match column.get(program) {
            None => bad.push(format!("{program} ({count}) is not in {FILE}")),
            Some(old) if *count > limit(*old) => bad.push(format!("{program} grew from {old} to {count}")),
            Some(_) => {}
        }
    }
    if !bad.is_empty() {
        bail!("verified instructions: {}; if that is meant to be: cargo xtask vm --update", bad.join("; "));
    }
    Ok(())
}

fn limit(old: u32) -> u32 {
    old.saturating_add(old / 100 * TOLERANCE_PERCENT).saturating_add(TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(count: u32) -> BTreeMap<String, u32> {
        BTreeMap::from([("read".to_owned(), count)])
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let table = Table::from([("5.10".to_owned(), column(3)), ("6.1".to_owned(), BTreeMap::new())]);
        assert_eq!(text(&table), "program   5.10    6.1\nread         3      -\n");
        assert_eq!(parse(&text(&table)).unwrap(), table);
    }

    #[test]
    fn growth_is_a_failure_and_a_little_more_is_not() {
        let written = Table::from([("6.1".to_owned(), column(1000))]);
        grown(&written, "6.1", &column(1100)).unwrap();
        grown(&written, "6.1", &column(10)).unwrap();
        let error = grown(&written, "6.1", &column(1200)).unwrap_err().to_string();
        assert!(error.contains("read grew from 1000 to 1200"), "{error}");
        grown(&written, "7.2", &column(10)).unwrap_err();
    }
}
