//! The tables of `docs/performance.md`, from the committed figures.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::super::record::Cost;
use crate::workspace;

const FILE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- begin:costs -->\n";
const END: &str = "<!-- end:costs -->";
/// Kernels of which the page has a table: most in use, and newest.
pub(super) const KERNELS: [&str; 2] = ["6.12", "7.2"];
/// Sets of hooks, as lines have them.
const HOOKS: [&str; 3] = ["raw", "perf", "trampoline"];

/// Writes the tables into the page.
pub(super) fn write<'a>(costs_of: impl Fn(&str) -> Option<&'a [Cost]>) -> Result<()> {
    let path = path()?;
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    fs::write(&path, renewed(&page, &tables(costs_of))?).with_context(|| path.display().to_string())
}

fn path() -> Result<PathBuf> {
    Ok(workspace::root()?.join(FILE))
}

fn renewed(page: &str, tables: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{FILE}: no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{FILE}: no {END}"))?;
    Ok(format!("{before}{BEGIN}{tables}{END}{after}"))
}

fn tables<'a>(costs_of: impl Fn(&str) -> Option<&'a [Cost]>) -> String {
    let tables = KERNELS.into_iter().filter_map(|kernel| Some(table(kernel, costs_of(kernel)?)));
    tables.collect::<Vec<_>>().join("\n")
}

fn table(kernel: &str, costs: &[Cost]) -> String {
    let mut text = format!(
        "Linux {kernel}:\n\n| work | none |{}\n|---|---|{}\n",
        HOOKS.map(|hooks| format!(" floor {hooks} | live {hooks} | record {hooks} |")).concat(),
        HOOKS.map(|_| "---|---|---|").concat()
    );
    let mut works: Vec<&str> = Vec::new();
    for cost in costs {
        if !works.contains(&&*cost.work) {
            works.push(&cost.work);
        }
    }
    for work in works {
        let find = |hooks: &str, command: &str| {
            costs.iter().find(|cost| (&*cost.work, &*cost.hooks, &*cost.command) == (work, hooks, command))
        };
        let none = find(HOOKS[0], "live").map_or(0, |cost| cost.whole.none);
        let mut cells = vec![format!("`{work}`"), spaced(none)];
        for hooks in HOOKS {
            let (live, record) = (find(hooks, "live"), find(hooks, "record"));
            let beside = [
                live.map(|cost| cost.whole.floor),
                live.map(|cost| cost.whole.wrapwatch),
                record.map(|cost| cost.whole.wrapwatch),
            ];
            cells.extend(beside.map(|figure| figure.map_or("?".to_owned(), |figure| more(figure, none))));
        }
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// What comes on top, and its share.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn more(figure: u64, none: u64) -> String {
    let more = figure.saturating_sub(none);
    format!("+{} ({:.1} %)", spaced(more), more as f64 * 100.0 / none.max(1) as f64)
}

/// With a space between thousands.
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::table::Table, *};

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(spaced), ["0", "999", "1 000", "1 234 567"]);
        assert_eq!(more(1_500, 1_000), "+500 (50.0 %)");
    }

    #[test]
    fn the_page_has_the_committed_figures() {
        let page = fs::read_to_string(path().unwrap()).unwrap();
        let table = Table::read().unwrap();
        assert!(
            renewed(&page, &tables(|kernel| table.of(kernel))).unwrap() == page,
            "cargo xtask vm --instructions --update"
        );
    }
}
