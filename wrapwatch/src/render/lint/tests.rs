//! What other programs make of it: SARIF against the standard's own schema.

use super::{github, sarif};
use crate::model::Severity;
use crate::wrappers::lint::Report;
use crate::wrappers::problems::groups;
use crate::wrappers::test_host::Host;
use crate::wrappers::{Table, Tables};

fn report() -> Report {
    report_of(
        "mysqld : ALL : twist /bin/echo 100%, no\nmysqld:\u{a0}10.\nsshd: 10.0.2.% 10.0.0.1/8 : logg\nmysqld: .example.com",
    )
}

fn report_of(allow: &str) -> Report {
    let tables =
        Tables { allow: Table::parse(allow.as_bytes()), deny: Table::unreadable("Permission denied") };
    let paths = ["/etc/my tables/hosts.allow", "hosts,deny"];
    Host { tables, paths, ..Host::new(allow.as_bytes(), b"") }.lint()
}

#[test]
fn sarif_is_what_its_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/schemas/sarif-2.1.0.json");
    let mut schema: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // The standard's own pattern for a language has a bracket too many, and wrapwatch names none.
    for owner in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][owner]["properties"]["language"];
        language.as_object_mut().unwrap().remove("pattern").unwrap();
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let log = sarif::report(&report());
    let errors: Vec<String> =
        validator.iter_errors(&log).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert_eq!(errors, [""; 0]);
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), report().problems.len());
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    // A log that is none is refused: the schema is not one that takes everything.
    let mut broken = log;
    broken["runs"][0]["results"][0]["level"] = "bad".into();
    assert!(!validator.is_valid(&broken));
}

#[test]
fn github_gets_one_line_a_problem() {
    let text = github::report(&report());
    assert_eq!(text.lines().count(), groups::groups(&report().problems).len());
    for line in text.lines() {
        let rest = line.strip_prefix("::").unwrap();
        let (command, _) = rest.split_once("::").unwrap();
        let (level, properties) = command.split_once(' ').unwrap();
        assert!(["error", "warning", "notice"].contains(&level), "{line}");
        let names: Vec<&str> =
            properties.split(',').map(|property| property.split_once('=').unwrap().0).collect();
        assert!(names.iter().all(|name| ["file", "line", "col", "title"].contains(name)), "{line}");
    }
    assert!(text.contains("file=hosts%2Cdeny,title=table-unreadable"), "{text}");
}

#[test]
fn twelve_thousand_lines_give_a_few_annotations() {
    let rules: String =
        (0..12_000).map(|n| format!("mysqld: 10.{}.{}.0/8 : logg\n", n / 256, n % 256)).collect();
    let report = report_of(&rules);
    assert!(report.problems.len() > 20_000);
    let text = github::report(&report);
    assert!(text.lines().count() < 20, "{} lines", text.lines().count());
    assert!(text.contains("line=1,title=unknown-option") && text.contains("1 to 12000"), "{text}");
}

/// Each annotation put together by the toolkit's port from the same values, and compared with ours.
#[test]
fn github_gets_what_its_own_toolkit_would_write() {
    let library =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/actions_toolkit-0.1.15-py3-none-any.whl");
    let script = r"
import json, sys
from actions_toolkit.command import issue_command
for level, properties, message in json.load(sys.stdin):
    issue_command(level, dict(properties), message)
";
    let report = report();
    let raw: Vec<serde_json::Value> = groups::groups(&report.problems)
        .iter()
        .map(|group| {
            let problem = group.first;
            let level = match problem.severity {
                _ if problem.other_daemons => "notice",
                Severity::Critical => "error",
                Severity::Warning => "warning",
                Severity::Info => "notice",
            };
            let mut properties = vec![serde_json::json!(["file", problem.file])];
            properties.extend(problem.line.map(|line| serde_json::json!(["line", line])));
            properties.extend(problem.column.map(|column| serde_json::json!(["col", column])));
            properties.push(serde_json::json!(["title", problem.kind.name()]));
            let change = problem.change.as_ref().map_or(String::new(), |change| format!("\n{change}"));
            serde_json::json!([level, properties, format!("{}{change}", problem.message)])
        })
        .collect();
    let mut child = std::process::Command::new("python3")
        .args(["-c", script])
        .env("PYTHONPATH", library)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &raw).unwrap();
    let theirs = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let ours = github::report(&report);
    assert!(ours.contains("%25") && ours.contains("%0A") && ours.contains("%2C"), "{ours}");
    assert_eq!(ours, theirs);
}
