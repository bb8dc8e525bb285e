//! SARIF 2.1.0, the format in which linters hand results to code hosts and editors.

use serde_json::{Value, json};

use crate::model::Severity;
use crate::wrappers::lint::Report;
use crate::wrappers::problems::{Problem, explain::EXPLANATIONS};

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// One log with one run.
pub fn report(report: &Report) -> Value {
    let rules: Vec<Value> = EXPLANATIONS
        .iter()
        .map(|explanation| {
            json!({
                "id": explanation.kind.name(),
                "shortDescription": { "text": explanation.what },
                "fullDescription": { "text": explanation.why },
                "help": { "text": explanation.fix, "markdown": explanation.text() },
            })
        })
        .collect();
    let results: Vec<Value> = report.problems.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "wrapwatch lint", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(problem: &Problem) -> Value {
    let mut region = serde_json::Map::new();
    if let Some(line) = problem.line {
        // libwrap counts a line without a newline as none.
        region.insert("startLine".to_owned(), line.max(1).into());
    }
    if let (Some(column), true) = (problem.column, problem.line.is_some()) {
        region.insert("startColumn".to_owned(), column.max(1).into());
    }
    let mut place = json!({ "artifactLocation": { "uri": uri(&problem.file) } });
    if !region.is_empty()
        && let Some(place) = place.as_object_mut()
    {
        place.insert("region".to_owned(), region.into());
    }
    let change = problem.change.as_deref().map_or(String::new(), |change| format!("\n{change}"));
    let index = EXPLANATIONS.iter().position(|explanation| explanation.kind == problem.kind);
    let level = if problem.other_daemons { "note" } else { level(problem.severity) };
    json!({
        "ruleId": problem.kind.name(),
        "ruleIndex": index,
        "level": level,
        "message": { "text": format!("{}{change}", problem.message) },
        "locations": [{ "physicalLocation": place }],
        "properties": { "otherDaemons": problem.other_daemons },
    })
}

/// A path as a URI (RFC 3986): absolute ones with their scheme.
fn uri(path: &str) -> String {
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("/etc/hosts.allow"), "file:///etc/hosts.allow");
        assert_eq!(uri("my hosts/a:b%"), "my%20hosts/a%3Ab%25");
    }
}
