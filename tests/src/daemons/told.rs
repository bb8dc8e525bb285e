//! What wrapwatch tells: `record --json` beside a daemon, and the report of what was recorded.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use wrapwatch::model::{DegradationKind, Line};

use crate::watch::{Watch, binary};

/// All of it. Read as JSON, as a user's program would.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// It did not attach, and said this.
    pub refused: Option<String>,
    /// Lines of type `connection`.
    pub connections: Vec<Value>,
    /// Lines of type `request`.
    pub requests: Vec<Value>,
    /// The report.
    pub report: Value,
    /// libwrap's functions are not seen, which is said.
    pub without_uprobes: bool,
}

/// Attaches, lets `work` happen, and gives what is told of it and what `work` gave. `work` happens also where wrapwatch does not attach.
pub fn beside<T>(
    pid: u32,
    folder: &Path,
    options: &[&str],
    work: impl FnOnce() -> Result<T>,
) -> Result<(Told, T)> {
    let trace = folder.join("daemon.wwt");
    let watch = match Watch::record(pid, &trace, options) {
        Ok(watch) => watch,
        Err(error) => {
            let refused = Some(format!("{error:#}"));
            return Ok((Told { refused, ..Told::default() }, work()?));
        }
    };
    let result = work()?;
    let seen = watch.stop()?;
    let mut told = Told { report: report(&trace)?, ..Told::default() };
    for line in &seen.lines {
        match line {
            Line::Connection(connection) => told.connections.push(serde_json::to_value(connection)?),
            Line::Request(request) => told.requests.push(serde_json::to_value(request)?),
            Line::Degradation(degradation) => {
                told.without_uprobes |= degradation.kind == DegradationKind::NoUprobes;
            }
            _ => {}
        }
    }
    Ok((told, result))
}

fn report(trace: &Path) -> Result<Value> {
    let output = Command::new(binary()?).args(["report", "--json"]).arg(trace).output()?;
    ensure!(output.status.success(), "report: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the report is not JSON")
}

impl Told {
    /// Of the report's summary.
    pub fn summary(&self, name: &str) -> &Value {
        self.report.get("summary").and_then(|summary| summary.get(name)).unwrap_or(&Value::Null)
    }

    /// The report's verdict in a word.
    pub fn verdict_kind(&self) -> &str {
        self.summary("verdict_kind").as_str().unwrap_or_default()
    }

    /// The report's findings.
    pub fn findings(&self) -> &[Value] {
        self.report.get("findings").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// In short.
    pub fn short(&self) -> Value {
        if let Some(refused) = &self.refused {
            return json!({ "refused": refused });
        }
        let of = |connection: &Value| {
            let mut short = serde_json::Map::new();
            for name in [
                "peer",
                "outcome",
                "complete",
                "missing",
                "queued_ns",
                "wrapper_ns",
                "dns_ns",
                "resolve_ns",
                "handover_ns",
                "served_behind_ns",
                "total_ns",
                "unknown_ns",
                "checks",
                "within",
                "waited_ns",
            ] {
                if let Some(value) = connection.get(name) {
                    short.insert(name.to_owned(), value.clone());
                }
            }
            Value::Object(short)
        };
        let id = |finding: &Value| finding.get("id").cloned().unwrap_or_default();
        json!({
            "verdict_kind": self.verdict_kind(),
            "verdict": self.summary("verdict"),
            "lookup_share": self.summary("lookup_share"),
            "unknown_share": self.summary("unknown_share"),
            "findings": self.findings().iter().map(id).collect::<Vec<_>>(),
            "connections": self.connections.iter().map(of).collect::<Vec<_>>(),
            "requests": self.requests.iter().map(of).collect::<Vec<_>>(),
        })
    }
}
