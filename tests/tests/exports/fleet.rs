//! The ten questions of docs/fleet.md, asked as they stand there: of DuckDB, and of ClickHouse (chDB) where it is unpacked; over two hosts, and over as many made-up ones as wanted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};
use wrapwatch_tests::{lab::parts::unpacked, python};

use crate::{
    support::{made_up, run},
    tables::{TABLES, duckdb, exported},
};

/// The blocks of SQL of a page that are for this database.
fn code<'a>(page: &'a str, database: &str) -> Vec<&'a str> {
    let blocks = page.split("```sql ").skip(1).filter_map(|block| {
        let (databases, rest) = block.split_once('\n')?;
        databases.split(' ').any(|of| of == database).then(|| rest.split("```").next())?
    });
    blocks.collect()
}

/// What has to be said first, and the questions of the page, asked of a store in this folder.
fn fleet(dir: &Path, database: &str) -> (Vec<String>, Vec<String>) {
    let blocks = code(include_str!("../../../docs/fleet.md"), database);
    let store = format!("'{}/", dir.join("fleet").display());
    let views = blocks[0].split(';').map(str::trim).filter(|view| !view.is_empty());
    let questions = blocks[1..].iter().map(|query| query.trim().trim_end_matches(';').to_owned());
    (views.map(|view| view.replace("'fleet/", &store)).collect(), questions.collect())
}

/// A store with the tables of two hosts.
fn store(dir: &Path) {
    let (_, tables) = exported(dir);
    // Another host's, as it would be in the store.
    let fleet = dir.join("fleet/day=2026-11-22");
    std::fs::create_dir_all(&fleet).unwrap();
    std::fs::rename(tables, fleet.join("here-a")).unwrap();
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/data/traces/format-1-abi-2.wwt");
    run(&["export", other, "--to", "parquet", "-o", fleet.join("db1-a").to_str().unwrap(), "--quiet"]);
}

#[test]
fn the_fleets_ten_questions_have_answers() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let (mut queries, questions) = fleet(dir.path(), "duckdb");
    let views = queries.len();
    queries.extend(questions);
    assert_eq!((views, queries.len()), (5, 15));
    queries
        .push("select count(*) as n from query where thread = 'accept' and outcome = 'timeout'".to_owned());
    let mut answers = duckdb(&queries).split_off(views);
    let timeouts = answers.pop().unwrap()[0]["n"].as_u64().unwrap();
    assert!(timeouts > 0);
    let [nameservers, behind, rules, waits, causes, _, stalls, names, findings, _] =
        answers.try_into().unwrap();
    for rows in [&nameservers, &behind, &rules, &waits, &causes, &stalls, &names, &findings] {
        assert!(!rows.is_empty());
    }
    let unanswered: u64 = nameservers.iter().map(|row| row["unanswered"].as_u64().unwrap()).sum();
    assert_eq!(unanswered, timeouts);
    assert_eq!(waits.len(), 2, "two hosts: {waits:#?}");
    assert!(stalls.iter().any(|row| row["cause"] == "dns"), "{stalls:#?}");
    assert!(findings[0]["severity"] == "critical", "worst first: {findings:#?}");
}

/// What is not known is no other host's, nor nobody's fault.
#[test]
fn the_fleets_questions_tell_what_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let (views, questions) = fleet(dir.path(), "duckdb");
    let mut queries = views.clone();
    let mut ask = |view: usize, columns: &str, question: usize| {
        let other = views[view].replace("create view", "create or replace view");
        queries.push(other.replace(" as from", &format!(" as select * replace ({columns}) from")));
        queries.push(questions[question - 1].clone());
    };
    let nobody = "null as blame_cause, null as blame_server, null as blame_ns";
    let some = "'dns' as blame_cause, '192.0.2.1:53' as blame_server, waited_ns / 4 as blame_ns";
    ask(0, &format!("{nobody}, waited_ns + 1 as unknown_ns"), 5);
    ask(0, &format!("{some}, waited_ns / 2 + 1 as unknown_ns"), 5);
    ask(0, &format!("{some}, waited_ns / 8 as unknown_ns, null as queued_ns"), 5);
    ask(0, &format!("{nobody}, 0 as unknown_ns, null as queued_ns"), 5);
    ask(0, &format!("{nobody}, 0 as unknown_ns, 0 as queued_ns"), 5);
    ask(0, "null as queued_ns", 4);
    ask(2, "'ident' as lookup_kind", 1);
    ask(2, "null as lookup_kind, 'unseen' as outcome", 1);
    let answers: Vec<Vec<Value>> = duckdb(&queries).split_off(views.len());
    let [_, unknown, _, less, _, known, _, unseen, _, nothing, _, waits, _, ident, _, older] =
        answers.try_into().unwrap();
    let all = |rows: &[Value], cause: &str, nameserver: Option<&str>| {
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!((&row["cause"], row["nameserver"].as_str()), (&json!(cause), nameserver), "{row}");
        }
    };
    all(&unknown, "unknown", None);
    all(&less, "unknown", None);
    all(&known, "dns", Some("192.0.2.1:53"));
    all(&unseen, "unknown: the queue was not seen", None);
    all(&nothing, "nothing of the wrappers", None);
    assert!(waits.len() == 2 && waits.iter().all(|row| row["queue_unseen"] == row["clients"]), "{waits:#?}");
    assert_eq!(ident, Vec::<Value>::new());
    assert!(!older.is_empty() && older.iter().all(|row| row["unseen"] == row["queries"]), "{older:#?}");
}

/// Rows of each statement, times as nanoseconds since 1970, and how long it took.
const DUCKDB: &str = r#"
import duckdb, json, sys, time
out = []
duckdb.sql("set enable_progress_bar = false")
for sql in sys.argv[1:]:
    begun = time.monotonic()
    result = duckdb.sql(sql)
    if result is None:
        out.append({"rows": [], "s": time.monotonic() - begun})
        continue
    times = [str(type).startswith("TIMESTAMP") for type in result.types]
    names, rows = result.columns, result.fetchall()
    took = time.monotonic() - begun
    ns = lambda is_time, v: round(v.timestamp()) * 10**9 if is_time and v is not None else v
    out.append({"rows": [dict(zip(names, map(ns, times, row))) for row in rows], "s": took})
print(json.dumps(out))
"#;

/// The same, of ClickHouse as a library, which lies in the folder named first.
const CLICKHOUSE: &str = r#"
import datetime, json, re, sys, time
sys.path.insert(0, sys.argv[1])
from chdb import session
asked, out = session.Session(), []
asked.query("set output_format_json_quote_64bit_integers = 0")
def plain(v):
    if isinstance(v, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]{8,}", v):
        at = datetime.datetime.fromisoformat(v[:19]).replace(tzinfo=datetime.timezone.utc)
        return round(at.timestamp()) * 10**9
    return v
for sql in sys.argv[2:]:
    begun = time.monotonic()
    said = asked.query(sql, "JSONEachRow").bytes().decode()
    took = time.monotonic() - begun
    rows = [json.loads(line) for line in said.splitlines()]
    out.append({"rows": [{k: plain(v) for k, v in row.items()} for row in rows], "s": took})
print(json.dumps(out))
"#;

/// What a question was answered, and how long that took.
#[derive(serde::Deserialize)]
struct Answer {
    rows: Vec<BTreeMap<String, Value>>,
    s: f64,
}

/// The ten answers that DuckDB gives.
fn of_duckdb(dir: &Path) -> Vec<Answer> {
    let (mut statements, questions) = fleet(dir, "duckdb");
    let first = statements.len();
    statements.extend(questions);
    let mut answers: Vec<Answer> = serde_json::from_value(python(DUCKDB, statements).unwrap()).unwrap();
    answers.split_off(first)
}

/// And those of ClickHouse, of tables that it has loaded; and how long that took.
fn of_clickhouse(dir: &Path) -> (Vec<Answer>, f64) {
    let chdb = unpacked("chdb").unwrap().display().to_string();
    let (load, questions) = fleet(dir, "clickhouse");
    let mut statements = vec![chdb];
    for table in TABLES {
        // What stands there of one table holds for all of them; and nothing is too old.
        let of = |statement: &String| {
            let statement = statement.replace("interval 90 day", "interval 9000 day");
            let statement = statement.replace("table connection", &format!("table {table}"));
            statement
                .replace("into connection", &format!("into {table}"))
                .replace("connection.parquet", &format!("{table}.parquet"))
        };
        statements.extend(load.iter().map(of));
    }
    let first = statements.len() - 1;
    statements.extend(questions);
    let mut answers: Vec<Answer> = serde_json::from_value(python(CLICKHOUSE, statements).unwrap()).unwrap();
    let ten = answers.split_off(first);
    (ten, answers.iter().map(|answer| answer.s).sum())
}

/// Of two stores' worth of the same rows, in any order: numbers as close as another order of adding leaves them.
fn assert_same(question: usize, one: &Answer, other: &Answer) {
    let rows = |answer: &Answer| {
        let text = |value: &Value| match value {
            Value::Bool(yes) => format!("{:.6e}", f64::from(u8::from(*yes))),
            Value::Number(number) => format!("{:.6e}", number.as_f64().unwrap()),
            other => other.to_string(),
        };
        let mut rows: Vec<Vec<String>> = answer
            .rows
            .iter()
            // Any of several: which one is not said.
            .map(|row| {
                row.iter()
                    .filter(|(name, _)| *name != "change")
                    .map(|(name, value)| format!("{name}={}", text(value)))
                    .collect()
            })
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(rows(one), rows(other), "question {question}");
}

/// A store of many hosts, and the reports on some of them.
struct Store {
    hosts: u64,
    connections: u64,
    reports: BTreeMap<String, Value>,
}

/// Hosts whose reports are compared, at most.
const REPORTS: u64 = 25;

/// Writes one; says what it takes.
fn store_of(dir: &Path, hosts: u64, connections: u64) -> Store {
    let fleet = dir.join("fleet/day=2026-11-22");
    fs::create_dir_all(&fleet).unwrap();
    let (trace, mut traces, mut exporting) = (dir.join("a.wwt"), 0, 0.0);
    let mut reports = BTreeMap::new();
    let file = trace.to_str().unwrap();
    for host in 1..=hosts {
        made_up(&trace, host, connections);
        traces += fs::metadata(&trace).unwrap().len();
        let to = fleet.join(format!("db{host}-a"));
        let begun = Instant::now();
        run(&["export", file, "--to", "parquet", "-o", to.to_str().unwrap(), "--quiet"]);
        exporting += begun.elapsed().as_secs_f64();
        if host % hosts.div_ceil(REPORTS) == 0 {
            let report = run(&["report", file, "--json"]);
            reports.insert(format!("db{host}"), serde_json::from_str(&report).unwrap());
        }
    }
    fs::remove_file(&trace).unwrap();
    println!("| {hosts} hosts with {connections} connections each | |\n|---|---|");
    println!("| traces | {} MB |", traces / 1_000_000);
    for table in TABLES {
        let files = (1..=hosts).map(|host| fleet.join(format!("db{host}-a/{table}.parquet")));
        let bytes: u64 = files.map(|file: PathBuf| fs::metadata(file).unwrap().len()).sum();
        println!(
            "| {table}.parquet | {} MB, {} bytes a connection |",
            bytes / 1_000_000,
            bytes / (hosts * connections)
        );
    }
    println!("| exporting, one after another | {exporting:.0} s |");
    println!("| reports compared | {} |", reports.len());
    Store { hosts, connections, reports }
}

/// What is answered of many hosts are the numbers that their reports have.
fn assert_are_the_reports(store: &Store, answers: &[Answer]) {
    for question in [1, 3, 4, 5, 6] {
        assert_eq!(answers[question - 1].rows.len() as u64, store.hosts, "question {question}");
    }
    let all: u64 = answers[3].rows.iter().map(|row| row["clients"].as_u64().unwrap()).sum();
    assert_eq!(all, store.hosts * store.connections);
    for (host, report) in &store.reports {
        assert_is_the_report(host, &report["summary"], answers);
    }
}

fn assert_is_the_report(host: &str, summary: &Value, answers: &[Answer]) {
    let number = |value: &Value| value.as_f64().unwrap();
    let near = |one: f64, other: f64, share: f64| {
        assert!((one - other).abs() <= other * share, "{host}: {one} for {other}");
    };
    let row = |question: usize| answers[question - 1].rows.iter().find(|row| row["host"] == host).unwrap();
    let nameserver = &summary["nameservers"][0];
    assert_eq!(row(1)["queries"], nameserver["queries"], "{host}");
    assert_eq!(
        (&row(1)["unanswered"], &row(1)["nameserver"]),
        (&nameserver["timeouts"], &nameserver["server"]),
        "{host}"
    );
    near(number(&row(3)["dns_s"]), number(&summary["waiting"]["dns_ns"]) / 1e9, 1e-9);
    let waits = row(4);
    near(number(&waits["max_s"]), number(&summary["total"]["max_ns"]) / 1e9, 1e-9);
    // The report's are of a histogram with two digits.
    near(number(&waits["p50_ms"]), number(&summary["total"]["p50_ns"]) / 1e6, 0.02);
    near(number(&waits["p99_ms"]), number(&summary["total"]["p99_ns"]) / 1e6, 0.05);
    for question in [4, 5, 6] {
        assert_eq!(row(question)["clients"], summary["connections"], "{host}, question {question}");
    }
}

/// How many hosts, and how many connections of each: `WRAPWATCH_FLEET=500x20000`.
fn size() -> (u64, u64) {
    let asked = std::env::var("WRAPWATCH_FLEET").unwrap_or_else(|_| "3x300".to_owned());
    let (hosts, connections) = asked.split_once('x').unwrap();
    (hosts.parse().unwrap(), connections.parse().unwrap())
}

fn print_times(database: &str, answers: &[Answer]) {
    let times: Vec<String> = answers.iter().map(|answer| format!("{:.2}", answer.s)).collect();
    println!("| {database}: seconds for each of the ten | {} |", times.join(", "));
}

#[test]
fn what_is_answered_of_many_hosts_their_reports_say() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 3, 300);
    assert_are_the_reports(&store, &of_duckdb(dir.path()));
}

#[test]
#[ignore = "ClickHouse as a library takes 0.6 GB: cargo xtask fleet unpacks it and runs this"]
fn clickhouse_answers_as_duckdb_does() {
    let few = tempfile::tempdir().unwrap();
    store(few.path());
    let (answers, _) = of_clickhouse(few.path());
    for (n, (one, other)) in (1..).zip(of_duckdb(few.path()).iter().zip(&answers)) {
        assert_same(n, one, other);
    }
    assert!(answers.iter().filter(|answer| !answer.rows.is_empty()).count() >= 9);

    let dir = tempfile::tempdir().unwrap();
    let (hosts, connections) = size();
    let store = store_of(dir.path(), hosts, connections);
    let answers = of_duckdb(dir.path());
    print_times("DuckDB, of the files", &answers);
    assert_are_the_reports(&store, &answers);
    let (answers, loading) = of_clickhouse(dir.path());
    println!("| ClickHouse: loading | {loading:.0} s |");
    print_times("ClickHouse, of its tables", &answers);
    assert_are_the_reports(&store, &answers);
}
