//! The table of ratios: rounds in which every column does the same work, each compared with the same round's baseline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::rows::{Row, Size};
use super::stats::{Estimate, estimate};
use super::tools::{Bench, Tool};
use crate::lab::Lab;

/// Heavy columns take part in every so many rounds.
const HEAVY_EVERY: usize = 4;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Work of a column in a round.
    pub size: Size,
    /// Least rounds.
    pub rounds: usize,
    /// Rounds go on for so long.
    pub at_least: Duration,
}

/// Rates of one round, by column and row.
type Round = BTreeMap<(Tool, Row), f64>;

/// Everything measured.
#[derive(Debug, Default)]
pub struct Ratios {
    rounds: Vec<Round>,
    /// Events that `record` lost in all rounds, over all rows.
    pub lost: u64,
    /// Columns that do not work here, and why.
    pub absent: BTreeMap<Tool, String>,
}

impl Ratios {
    /// Measures.
    pub fn measure(bench: &Bench<'_>, lab: &Lab, plan: &Plan, rows: &[Row]) -> Result<Self> {
        let begun = Instant::now();
        let mut ratios = Self::default();
        // Whatever is slower the first time: caches, threads, tables.
        for row in rows {
            row.run(lab, plan.size.small())?;
        }
        for number in 0.. {
            if number >= plan.rounds && begun.elapsed() >= plan.at_least {
                break;
            }
            let round = ratios.round(bench, lab, plan, rows, number)?;
            eprintln!("round {} after {:.0} s", number + 1, begun.elapsed().as_secs_f64());
            ratios.rounds.push(round);
        }
        Ok(ratios)
    }

    /// One round: the baseline at both ends, the columns between them in an order that changes.
    fn round(
        &mut self,
        bench: &Bench<'_>,
        lab: &Lab,
        plan: &Plan,
        rows: &[Row],
        number: usize,
    ) -> Result<Round> {
        let mut round = Round::new();
        let before = self.column(bench, lab, Tool::None, plan.size, rows)?;
        let mut tools: Vec<Tool> = Tool::ALL
            .into_iter()
            .filter(|tool| *tool != Tool::None && !self.absent.contains_key(tool))
            .filter(|tool| !tool.is_heavy() || number.is_multiple_of(HEAVY_EVERY))
            .collect();
        let shift = number % tools.len().max(1);
        tools.rotate_left(shift);
        for tool in tools {
            let size = if tool.is_heavy() { plan.size.small() } else { plan.size };
            match self.column(bench, lab, tool, size, rows) {
                Ok(rates) => round.extend(rates.into_iter().map(|(row, rate)| ((tool, row), rate))),
                // Not every machine has a perf that fits its kernel.
                Err(error) if tool.is_heavy() => {
                    eprintln!("{} does not work here: {error:#}", tool.name());
                    self.absent.insert(tool, format!("{error:#}"));
                }
                Err(error) => return Err(error),
            }
        }
        let after = self.column(bench, lab, Tool::None, plan.size, rows)?;
        for (row, rate) in before {
            let again = after.get(&row).copied().unwrap_or(rate);
            round.insert((Tool::None, row), f64::midpoint(rate, again));
        }
        Ok(round)
    }

    fn column(
        &mut self,
        bench: &Bench<'_>,
        lab: &Lab,
        tool: Tool,
        size: Size,
        rows: &[Row],
    ) -> Result<BTreeMap<Row, f64>> {
        let running = bench.start(tool, lab.server_pid()?)?;
        let mut rates = BTreeMap::new();
        for &row in rows {
            rates.insert(row, row.run(lab, size)?.per_s);
        }
        let said = running.stop()?;
        if tool == Tool::Record {
            self.lost += lost(&said);
        }
        Ok(rates)
    }

    /// How many rounds.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// A column's rate over another's in the same rounds.
    pub fn ratio(&self, row: Row, tool: Tool, over: Tool) -> Option<Estimate> {
        let ratios: Vec<f64> = self
            .rounds
            .iter()
            .filter_map(|round| Some(round.get(&(tool, row))? / round.get(&(over, row))?))
            .collect();
        estimate(&ratios)
    }

    /// A column's rate.
    pub fn rate(&self, row: Row, tool: Tool) -> Option<Estimate> {
        let rates: Vec<f64> =
            self.rounds.iter().filter_map(|round| round.get(&(tool, row)).copied()).collect();
        estimate(&rates)
    }
}

/// Of record's last words: `…: 12 connections, 345 records, 0 lost, 6789 bytes`.
fn lost(said: &str) -> u64 {
    let part =
        said.lines().rev().find_map(|line| line.split(", ").find_map(|part| part.strip_suffix(" lost")));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_record_lost_is_read() {
        let said = "wrapwatch: watching mariadbd\nwrapwatch: /t/a.wwt: 12 connections, 345 records, 7 lost, 6789 bytes\nwrapwatch: next: …\n";
        assert_eq!(super::lost(said), 7);
    }
}
