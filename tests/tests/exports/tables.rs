//! A trace as tables, read by DuckDB: types, every value against what `--to jsonl` says, CSV against Parquet, the report's numbers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use wrapwatch_tests::python;

use crate::support::{record, run, wrapwatch};

pub const TABLES: [&str; 5] = ["connection", "lookup", "query", "stall", "finding"];

/// Rows of each query as objects; times as nanoseconds since 1970.
const ROWS: &str = r#"
import duckdb, json, sys
out = []
for sql in sys.argv[1:]:
    result = duckdb.sql(sql)
    if result is None:
        out.append([])
        continue
    times = [name for name, type in zip(result.columns, result.types) if str(type).startswith("TIMESTAMP")]
    result = duckdb.sql("select * replace (%s) from result" % ", ".join(f"epoch_ns({t}) as {t}" for t in times)) if times else result
    out.append([dict(zip(result.columns, row)) for row in result.fetchall()])
print(json.dumps(out))
"#;

/// What DuckDB answers to each query.
pub fn duckdb(queries: &[String]) -> Vec<Vec<Value>> {
    serde_json::from_value(python(ROWS, queries).unwrap()).unwrap()
}

/// A trace, and both forms of its tables.
pub fn exported(dir: &Path) -> (PathBuf, PathBuf) {
    let (file, tables) = (dir.join("a.wwt"), dir.join("tables"));
    record(&file);
    let (from, to) = (file.to_str().unwrap(), tables.to_str().unwrap());
    for form in ["parquet", "csv"] {
        run(&["export", from, "--to", form, "-o", to]);
    }
    (file, tables)
}

/// Nanoseconds since 1970 of a time in JSON.
fn wall_ns(text: &str) -> i64 {
    let at: jiff::Timestamp = text.parse().unwrap();
    i64::try_from(at.as_nanosecond()).unwrap()
}

/// Holds each value of a row against the field of the same name; says how many there were.
fn assert_same(row: &Value, said: &Value) -> usize {
    let mut same = 0;
    for (name, value) in row.as_object().unwrap() {
        let Some(said) = said.get(name).filter(|said| !said.is_object() && !said.is_array()) else {
            continue;
        };
        match said.as_str() {
            Some(time) if value.is_i64() => assert_eq!(*value, wall_ns(time), "{name}"),
            _ => assert_eq!(value, said, "{name} of {row:#}"),
        }
        same += 1;
    }
    same
}

#[test]
fn duckdb_reads_what_is_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (file, tables) = exported(dir.path());
    let parquet = |table: &str| format!("'{}'", tables.join(format!("{table}.parquet")).display());
    let from = file.to_str().unwrap();
    let lines: Vec<Value> = run(&["export", from, "--to", "jsonl"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let report: Value = serde_json::from_str(&run(&["report", from, "--json"])).unwrap();

    let rows = duckdb(&TABLES.map(|table| format!("select * from {}", parquet(table))));
    let [connections, lookups, queries, stalls, findings] = rows.try_into().unwrap();
    let told: BTreeMap<u64, &Value> =
        of("connection").into_iter().map(|said| (said["conn"].as_u64().unwrap(), said)).collect();
    assert_eq!((connections.len(), told.len()), (9, 9));
    let (mut lookups, mut queries) = (lookups.into_iter(), queries.into_iter());
    for row in &connections {
        let said = told[&row["conn"].as_u64().unwrap()];
        // That many columns have their names from there.
        assert!(assert_same(row, said) >= 25, "{row:#}");
        let peer = format!("{}:{}", row["peer_address"].as_str().unwrap(), row["peer_port"]);
        assert_eq!(said["peer"], peer.as_str());
        assert_eq!(row["rule_text"], said["rule"]["text"]);
        for (n, lookup) in said["lookups"].as_array().unwrap().iter().enumerate() {
            let row = lookups.next().unwrap();
            assert_eq!((&row["conn"], &row["lookup_n"]), (&said["conn"], &json!(n)));
            assert!(
                assert_same(
                    &row,
                    &json!({"kind": lookup["kind"], "name": lookup["name"], "thread": lookup["thread"],
                "outcome": lookup["outcome"], "at_ns": lookup["at_ns"], "dur_ns": lookup["dur_ns"]})
                ) == 6
            );
            for (m, query) in lookup["queries"].as_array().unwrap().iter().enumerate() {
                let row = queries.next().unwrap();
                assert_eq!(
                    (&row["conn"], &row["lookup_n"], &row["query_n"]),
                    (&said["conn"], &json!(n), &json!(m))
                );
                assert!(assert_same(&row, query) >= 6, "{row:#}");
                assert_eq!(row["nameserver"], query["server"]);
                let sent = wall_ns(said["accepted"].as_str().unwrap()) + query["at_ns"].as_i64().unwrap();
                assert_eq!(row["sent"], sent);
            }
        }
    }
    assert!(lookups.next().is_none() && queries.next().is_none());
    assert!(stalls.len() > 1, "the silent nameserver was not told as a stall");
    for (row, said) in stalls.iter().zip(of("stall")) {
        assert!(assert_same(row, said) >= 7, "{row:#}");
        assert_eq!(row["found"], wall_ns(said["at"].as_str().unwrap()));
    }
    assert_eq!(stalls.len(), of("stall").len());
    let reported = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), reported.len());
    for (row, said) in findings.iter().zip(reported) {
        assert_eq!(
            (&row["finding"], &row["message"], &row["change"]),
            (&said["id"], &said["message"], &said["change"])
        );
    }
    let host = report["trace"]["hostname"].as_str().unwrap();
    assert!(connections.iter().chain(&stalls).chain(&findings).all(|row| row["host"] == host));
}

#[test]
fn both_forms_hold_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (file, tables) = exported(dir.path());
    let files = |table: &str| {
        let named = |suffix: &str| tables.join(format!("{table}.{suffix}")).display().to_string();
        (named("parquet"), named("csv"))
    };
    let mut queries = Vec::new();
    for table in TABLES {
        let (parquet, csv) = files(table);
        // Times in CSV are RFC 3339: read as text, and compared as what they mean.
        let csv = format!(
            "(select * from read_csv('{csv}', all_varchar = true, header = true, delim = ',', quote = '\"', allow_quoted_nulls = false))"
        );
        queries.push(format!("create temp table t_{table} as (from '{parquet}' limit 0)"));
        queries.push(format!("insert into t_{table} from {csv}"));
        let typed = format!("(from t_{table})");
        queries.push(format!("select count(*) as n from ({typed} except all from '{parquet}')"));
        queries.push(format!("select count(*) as n from (from '{parquet}' except all {typed})"));
        queries.push(format!("select count(*) as n from '{parquet}'"));
        queries.push(format!(
            "select value::varchar as n from parquet_kv_metadata('{parquet}') where key = 'wrapwatch.schema'"
        ));
    }
    for (table, answers) in TABLES.iter().zip(duckdb(&queries).chunks(6)) {
        let [_, _, only_csv, only_parquet, rows, version] = answers else { panic!("{answers:?}") };
        assert_eq!((&only_csv[0]["n"], &only_parquet[0]["n"]), (&json!(0), &json!(0)), "{table}");
        assert!(rows[0]["n"].as_u64() > Some(0), "{table}");
        assert_eq!(version[0]["n"], "1");
    }

    // As the schema describes them.
    let schema: Value = serde_json::from_str(&run(&["schema", "parquet"])).unwrap();
    for (table, described) in TABLES.iter().zip(schema["tables"].as_array().unwrap()) {
        let (parquet, csv) = files(table);
        let answers = duckdb(&[format!(
            "select column_name as name, column_type as type from (describe from '{parquet}')"
        )]);
        let columns = described["columns"].as_array().unwrap().iter().map(|column| {
            let kind = match column["type"].as_str().unwrap() {
                "integer" => "BIGINT",
                "boolean" => "BOOLEAN",
                "timestamp" => "TIMESTAMPTZ_NS",
                _ => "VARCHAR",
            };
            json!({ "name": column["name"], "type": kind })
        });
        let columns: Vec<Value> = columns.collect();
        assert_eq!(answers[0], columns, "{table}");
        let names: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        let csv = std::fs::read_to_string(csv).unwrap();
        assert_eq!(csv.lines().next(), Some(names.join(",").as_str()), "{table}");
    }

    // One table into a file, or onto stdout; never over what is there.
    let from = file.to_str().unwrap();
    let printed = run(&["export", from, "--to", "csv", "--table", "query"]);
    assert_eq!(printed, std::fs::read_to_string(tables.join("query.csv")).unwrap());
    let refused = wrapwatch(["export", from, "--to", "parquet", "-o", tables.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("connection.parquet") && said.lines().count() == 1, "{said}");
    let left: Vec<_> = std::fs::read_dir(&tables).unwrap().collect();
    assert_eq!(left.len(), 10, "{left:?}");
}
