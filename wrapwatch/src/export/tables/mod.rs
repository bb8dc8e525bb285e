//! A trace as flat tables, for DuckDB, ClickHouse, spreadsheets: `connection`, `lookup`, `query`, `stall`, `finding`.
//!
//! The columns stand once, in [`rows`]: CSV and Parquet are two writers of the same rows, and `wrapwatch schema parquet` and the docs' schemas are made from them.
//! `(host, recording, conn)` names a connection, over any number of files of any number of hosts. Columns are added, never renamed or given another meaning; whoever
//! must do that gives [`SCHEMA_VERSION`] its next number.

mod column;
mod csv;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use column::Row;
pub use column::{Cell, Column, Kind};
pub use csv::Csv;
#[cfg(feature = "parquet")]
pub use parquet::Parquet;
use rows::{ConnectionRow, FindingRow, LookupRow, Origin, QueryRow, StallRow};

use super::commands::Commands;
use crate::diagnose::Report;
use crate::model::{Connection, Line, Stall};
use crate::observe::Observer;
use crate::trace::{Head, Input};

/// Number of the columns' meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Table {
    /// A row for each accepted connection.
    Connection,
    /// A row for each name that was looked up.
    Lookup,
    /// A row for each packet to a nameserver.
    Query,
    /// A row for each second in which an accept thread was blocked.
    Stall,
    /// A row for each finding of the report.
    Finding,
}

impl Table {
    /// The table's name, as in file names.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What a row is, one sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Connection => ConnectionRow::ABOUT,
            Self::Lookup => LookupRow::ABOUT,
            Self::Query => QueryRow::ABOUT,
            Self::Stall => StallRow::ABOUT,
            Self::Finding => FindingRow::ABOUT,
        }
    }

    /// The columns, in order.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Connection => ConnectionRow::COLUMNS,
            Self::Lookup => LookupRow::COLUMNS,
            Self::Query => QueryRow::COLUMNS,
            Self::Stall => StallRow::COLUMNS,
            Self::Finding => FindingRow::COLUMNS,
        }
    }
}

/// Takes the rows of one table.
pub trait WriteRows {
    /// A cell for each column.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;

    /// No row comes any more.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Turns lines into rows, for those tables that somebody writes.
pub struct Tables {
    writers: BTreeMap<Table, Box<dyn WriteRows>>,
    origin: Origin,
    commands: Commands,
}

impl Default for Tables {
    fn default() -> Self {
        Self { writers: BTreeMap::new(), origin: Origin::default(), commands: Commands::new() }
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("tables", &self.writers.keys()).finish_non_exhaustive()
    }
}

impl Tables {
    /// Has a table written.
    pub fn write(&mut self, table: Table, writer: Box<dyn WriteRows>) {
        self.writers.insert(table, writer);
    }

    /// What it all comes to, and the files' ends.
    pub fn finish(mut self, report: &Report) -> io::Result<()> {
        for (n, finding) in report.findings.iter().enumerate() {
            let row = FindingRow::new(&self.origin, n, finding, report.trace.to);
            put(&mut self.writers, Table::Finding, &row)?;
        }
        self.writers.into_values().try_for_each(WriteRows::finish)
    }

    fn head(&mut self, head: &Head) {
        self.origin = Origin { host: head.hostname.clone(), recording: head.clock.wall(head.clock.ktime) };
    }

    fn connection(&mut self, connection: &Connection, request: bool) -> io::Result<()> {
        let (origin, writers) = (&self.origin, &mut self.writers);
        let command = self.commands.of(connection.pid);
        put(writers, Table::Connection, &ConnectionRow::new(origin, command, connection, request))?;
        for (n, lookup) in connection.lookups.iter().enumerate() {
            put(writers, Table::Lookup, &LookupRow::new(origin, connection, n, lookup))?;
            for (m, query) in lookup.queries.iter().enumerate() {
                put(writers, Table::Query, &QueryRow::new(origin, connection, (n, lookup), m, query))?;
            }
        }
        Ok(())
    }

    fn stall(&mut self, stall: &Stall) -> io::Result<()> {
        let command = self.commands.of(stall.pid);
        put(&mut self.writers, Table::Stall, &StallRow::new(&self.origin, command, stall))
    }
}

fn put(writers: &mut BTreeMap<Table, Box<dyn WriteRows>>, table: Table, row: &impl Row) -> io::Result<()> {
    writers.get_mut(&table).map_or(Ok(()), |writer| writer.row(&row.cells()))
}

impl Observer for Tables {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.commands.input(input);
        if let Input::Head(head) = input {
            self.head(head);
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Connection(connection) => self.connection(connection, false),
            Line::Request(request) => self.connection(request, true),
            Line::Stall(stall) => self.stall(stall),
            _ => Ok(()),
        }
    }
}
