//! The table of `docs/privileges.md`: what each set of privileges gives on each kernel, as the guests found it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{pins::by_age, record::Privileges};
use crate::workspace;

const FILE: &str = "docs/privileges.md";
const BEGIN: &str = "<!-- begin:privileges -->\n";
const END: &str = "<!-- end:privileges -->";

/// What stands in the table: by set in its order, then by kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    kernels: Vec<String>,
    rows: Vec<(String, BTreeMap<String, String>)>,
}

fn path() -> Result<PathBuf> {
    Ok(workspace::root()?.join(FILE))
}

/// The page before, in and after its table.
fn split(page: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{FILE}: no {BEGIN}"))?;
    let (table, after) = rest.split_once(END).with_context(|| format!("{FILE}: no {END}"))?;
    Ok((before, table, after))
}

impl Table {
    /// Reads it.
    pub(crate) fn read() -> Result<Self> {
        let path = path()?;
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(split(&page)?.1))
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(cells).filter(|cells| cells.len() > 1);
        let kernels = lines.next().unwrap_or_default().into_iter().skip(1).map(ToOwned::to_owned).collect();
        let mut table = Self { kernels, rows: Vec::new() };
        for cells in lines.filter(|cells| !cells.iter().all(|cell| cell.starts_with('-'))) {
            let mut cells = cells.into_iter();
            let set = cells.next().unwrap_or_default().to_owned();
            let row = table.kernels.iter().cloned().zip(cells.map(ToOwned::to_owned)).collect();
            table.rows.push((set, row));
        }
        table
    }

    /// Writes it into its page.
    pub(crate) fn write(&self) -> Result<()> {
        let path = path()?;
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (before, _, after) = split(&page)?;
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", self.text()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self) -> String {
        let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
        let kernels: Vec<&str> = self.kernels.iter().map(String::as_str).collect();
        let mut text = line(&[&["privileges"], kernels.as_slice()].concat());
        text.push_str(&line(&vec!["---"; kernels.len().saturating_add(1)]));
        for (set, row) in &self.rows {
            let cells = self.kernels.iter().map(|kernel| row.get(kernel).map_or("?", String::as_str));
            text.push_str(&line(&[set.as_str()].into_iter().chain(cells).collect::<Vec<_>>()));
        }
        text
    }

    /// Puts what one kernel's guest found in.
    pub(crate) fn put(&mut self, kernel: &str, found: &[Privileges]) {
        if !self.kernels.iter().any(|known| known == kernel) {
            self.kernels.push(kernel.to_owned());
            self.kernels.sort_by_key(|kernel| by_age(kernel));
        }
        for Privileges { set, gives } in found {
            if !self.rows.iter().any(|(known, _)| known == set) {
                self.rows.push((set.clone(), BTreeMap::new()));
            }
            let row = self.rows.iter_mut().find(|(known, _)| known == set);
            if let Some((_, row)) = row {
                row.insert(kernel.to_owned(), gives.clone());
            }
        }
    }

    /// Fails where one kernel's guest found something else.
    pub(crate) fn compare(&self, kernel: &str, found: &[Privileges]) -> Result<()> {
        if !self.kernels.iter().any(|known| known == kernel) {
            bail!("{FILE} has nothing of {kernel} yet: cargo xtask vm --update");
        }
        let mut bad = Vec::new();
        for Privileges { set, gives } in found {
            let row = self.rows.iter().find(|(known, _)| known == set).map(|(_, row)| row);
            let written = row.and_then(|row| row.get(kernel)).map_or("nothing at all", String::as_str);
            if written != gives {
                bad.push(format!("{set}: found {gives:?}, written {written:?}"));
            }
        }
        if !bad.is_empty() {
            bail!("{FILE}: {}; if that is meant to be: cargo xtask vm --update", bad.join("; "));
        }
        Ok(())
    }
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(gives: &str) -> [Privileges; 1] {
        [Privileges { set: "root".to_owned(), gives: gives.to_owned() }]
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut table = Table::default();
        table.put("6.1", &found("everything"));
        table.put("5.10", &found("all but: rule"));
        assert_eq!(
            table.text(),
            "| privileges | 5.10 | 6.1 |\n| --- | --- | --- |\n| root | all but: rule | everything |\n"
        );
        assert_eq!(Table::parse(&table.text()), table);
    }

    #[test]
    fn another_finding_is_a_failure() {
        let mut table = Table::default();
        table.put("6.1", &found("everything"));
        table.compare("6.1", &found("everything")).unwrap();
        let error = table.compare("6.1", &found("nothing")).unwrap_err().to_string();
        assert!(error.contains("root: found \"nothing\", written \"everything\""), "{error}");
        table.compare("7.2", &found("everything")).unwrap_err();
    }

    #[test]
    fn the_page_has_its_table() {
        Table::read().unwrap();
    }
}
