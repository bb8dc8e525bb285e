//! Logs as people have them, through `wrapwatch import strace` and `wrapwatch report --json`: what comes out is what was really so.
//!
//! `tests/data/field-cases/strace/README.md` says what each log is.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it is surprised")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SEC: f64 = 1e9;

fn log(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/field-cases/strace");
    std::fs::read_to_string(dir.join(name)).unwrap()
}

fn wrapwatch(args: &[&str], stdin: Option<&[u8]>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wrapwatch"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // One that reads nothing of it may be gone already.
    let _ = pipe.write_all(stdin.unwrap_or_default());
    drop(pipe);
    child.wait_with_output().unwrap()
}

/// What `import` says, and what the report does.
#[derive(Debug)]
struct Case {
    said: String,
    report: Value,
}

fn import(text: &[u8]) -> (tempfile::TempDir, PathBuf, Output) {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("a.wwt");
    let args = ["import", "strace", "-", "-o", trace.to_str().unwrap(), "--date", "2026-11-20"];
    let output = wrapwatch(&args, Some(text));
    (dir, trace, output)
}

fn case(text: &[u8]) -> Case {
    let (_dir, trace, output) = import(text);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let output = wrapwatch(&["report", "--json", trace.to_str().unwrap()], None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Case { said, report: serde_json::from_slice(&output.stdout).unwrap() }
}

fn of(name: &str) -> Case {
    case(log(name).as_bytes())
}

impl Case {
    fn summary(&self, field: &str) -> &Value {
        &self.report["summary"][field]
    }

    fn share(&self, field: &str) -> f64 {
        self.summary(field).as_f64().unwrap_or(-1.0)
    }

    fn connection(&self) -> &Value {
        &self.report["connections"][0]
    }

    fn queries(&self) -> Vec<&Value> {
        let lookups = self.connection()["lookups"].as_array().unwrap();
        lookups.iter().flat_map(|lookup| lookup["queries"].as_array().unwrap()).collect()
    }

    /// Server, how it ended, seconds.
    fn asked(&self) -> Vec<(&str, &str, f64)> {
        let queries = self.queries().into_iter();
        queries
            .map(|q| {
                let text = |field: &str| q[field].as_str().unwrap_or("-");
                (text("server"), text("outcome"), q["rtt_ns"].as_f64().unwrap_or(0.0) / SEC)
            })
            .collect()
    }

    fn blind(&self) -> Vec<&str> {
        let all = self.report["trace"]["degradations"].as_array().unwrap();
        all.iter().map(|degradation| degradation["kind"].as_str().unwrap()).collect()
    }

    fn findings(&self) -> Vec<&str> {
        let all = self.report["findings"].as_array().unwrap();
        all.iter().map(|finding| finding["id"].as_str().unwrap()).collect()
    }

    fn all_text(&self) -> String {
        self.report.to_string()
    }
}

#[track_caller]
fn assert_close(got: f64, want: f64) {
    assert!((got - want).abs() < 0.02 * want.max(0.01), "{got}, not {want}");
}

#[test]
fn messages_cut_by_strace_are_answered_all_the_same() {
    let case = of("F1-min.log");
    let [(server, outcome, rtt)] = case.asked()[..] else { panic!("{:?}", case.asked()) };
    assert_eq!((server, outcome), ("10.9.0.53:53", "answered"));
    assert_close(rtt, 0.2997);
    assert_eq!(case.queries()[0]["rcode"], "NOERROR");
    let lookup = &case.connection()["lookups"][0];
    assert_eq!(
        (&lookup["name"], &lookup["kind"], &lookup["outcome"]),
        (&Value::Null, &"reverse".into(), &"found".into())
    );
    assert!(case.share("lookup_share") > 0.99);
    assert!(case.blind().contains(&"log-cut"));
    assert!(!case.all_text().contains("unreachable (ICMP"), "{:?}", case.findings());
}

#[test]
fn a_resolv_conf_that_is_cut_bounds_nothing() {
    let case = of("F1b-cutresolv.log");
    assert!(case.share("lookup_share") > 0.99, "{:?}", case.summary("verdict"));
    assert!(!case.all_text().contains("timeout:5"), "settings that were not seen");
}

#[test]
fn a_log_with_durations_only_tells_them_and_no_others() {
    let case = of("F2-min-Tonly.log");
    let [(server, outcome, rtt)] = case.asked()[..] else { panic!("{:?}", case.asked()) };
    assert_eq!((server, outcome), ("10.9.0.54:53", "timeout"));
    assert_close(rtt, 5.005);
    assert!(case.blind().contains(&"no-line-times"));
    assert_eq!(case.summary("verdict_kind"), "wrappers");
    assert!(case.share("lookup_share") > 0.99);
    assert!(case.said.contains("12 of 12 lines understood as calls"), "{}", case.said);

    // Without -T either, nothing is known of times.
    let bare: String = log("F2-min-Tonly.log")
        .lines()
        .map(|line| line.rsplit_once(" <").unwrap().0.to_owned() + "\n")
        .collect();
    let case = self::case(bare.as_bytes());
    assert_eq!(case.summary("verdict_kind"), "cannot_tell");
    assert!(case.asked().iter().all(|(_, _, rtt)| *rtt == 0.0), "{:?}", case.asked());
}

#[test]
fn what_a_filter_left_out_is_not_taken_for_absent() {
    let case = of("F4-min-network.log");
    assert!(case.share("lookup_share") > 0.99, "{:?}", case.summary("verdict"));
    assert!(case.blind().contains(&"no-file-calls"));
    assert!(!case.findings().contains(&"not-wrapped"));
    let outcomes: Vec<_> = case.asked().iter().map(|(_, outcome, _)| *outcome).collect();
    assert_eq!(outcomes, ["timeout", "answered"]);
}

#[test]
fn a_log_without_clients_says_what_it_has() {
    let case = of("F4b-openread.log");
    assert!(case.said.contains("59 of 59 lines understood as calls"), "{}", case.said);
    assert!(case.said.contains("hosts.allow and hosts.deny were opened 4 times"), "{}", case.said);
    assert!(case.said.contains("strace -f -ttt"), "{}", case.said);
    assert_eq!(case.summary("verdict_kind"), "cannot_tell");
}

#[test]
fn a_log_that_begins_within_a_check_shows_it() {
    let case = of("A12-midcheck.log");
    assert_eq!(case.connection()["outcome"], "greeted");
    assert_eq!(case.connection()["complete"], false);
    let asked: Vec<_> = case.asked().iter().map(|(server, outcome, _)| (*server, *outcome)).collect();
    assert_eq!(
        asked,
        [
            ("unknown", "unseen"),
            ("10.9.0.53:53", "answered"),
            ("10.9.0.54:53", "timeout"),
            ("10.9.0.53:53", "answered")
        ]
    );
    assert!(case.share("lookup_share") > 0.99);
}

#[test]
fn a_child_that_checks_is_followed() {
    let case = of("F5-min-fork.log");
    let connection = case.connection();
    assert_eq!(
        (&connection["outcome"], &connection["lookups"][0]["thread"]),
        (&"greeted".into(), &"checker".into())
    );
    assert_close(connection["dns_ns"].as_f64().unwrap() / SEC, 5.005);
    assert_eq!(connection["files"][0]["path"], "/etc/hosts.allow");
    assert!(case.share("wrapper_share") > 0.99);
    assert!(!case.findings().contains(&"dns-in-accept-path"), "the accept thread was free");
}

#[test]
fn a_child_of_which_the_log_has_nothing_is_not_known() {
    // strace without -f.
    let parent: String = log("F5-min-fork.log")
        .lines()
        .filter(|line| line.starts_with("9 "))
        .map(|l| format!("{l}\n"))
        .collect();
    let case = self::case(parent.as_bytes());
    assert_eq!(case.summary("verdict_kind"), "cannot_tell", "{:?}", case.summary("verdict"));
    assert!(case.blind().contains(&"not-followed"));
}

#[test]
fn addresses_that_were_written_over_are_unknown() {
    let case = of("F6-min-redacted.log");
    let [(server, outcome, rtt)] = case.asked()[..] else { panic!("{:?}", case.asked()) };
    assert_eq!((server, outcome), ("unknown", "timeout"));
    assert_close(rtt, 5.005);
    assert!(case.share("lookup_share") > 0.99);
    assert_eq!(case.connection()["peer"], Value::Null);
    assert!(
        !case.all_text().contains("`nameserver unknown`"),
        "advice on a server whose address is not known"
    );
}

#[test]
fn a_table_that_could_not_be_opened_is_told() {
    let case = of("F8-min-eacces.log");
    assert_eq!(case.connection()["files"][0]["error"], "EACCES");
}

#[test]
fn over_tcp_nothing_bounds_the_wait() {
    let case = of("F13c-tcp-read-resolv.log");
    let [(server, outcome, rtt)] = case.asked()[..] else { panic!("{:?}", case.asked()) };
    assert_eq!((server, outcome), ("10.9.0.54:53", "timeout"));
    assert_close(rtt, 60.0);
    assert!(case.share("lookup_share") > 0.99);
}

#[test]
fn the_servers_own_lookups_count() {
    let case = of("D6-threaddns.log");
    assert!(case.share("lookup_share") > 0.98);
}

/// `accept` fails again and again: the limit of open files is too low.
#[test]
fn accepts_that_fail_are_counted() {
    let text: String = (0..300)
        .map(|i| {
            format!(
                "9 10:00:{:02}.{:06} accept(3, 0x7f, [128]) = -1 EMFILE (Too many open files) <0.000010>\n",
                i / 10,
                i % 10 * 1000
            )
        })
        .collect();
    let case = self::case(text.as_bytes());
    assert!(case.said.contains("accept failed 300 times"), "{}", case.said);
}

/// The clock goes on to the next day, however short the night was.
#[test]
fn times_that_go_back_by_hours_are_the_next_days() {
    let text = log("F2-min-Tonly.log");
    let one = |hour: u32| -> String {
        let mut us = 0;
        let lines = text.lines().map(|line| {
            let rest = line.strip_prefix("9  ").unwrap();
            let at = format!("9  {hour:02}:00:{:02}.{:06} {rest}\n", us / 1_000_000, us % 1_000_000);
            us += if rest.starts_with("poll([{fd=6") { 5_005_000 } else { 100 };
            at
        });
        lines.collect()
    };
    let case = self::case((one(20) + &one(10)).as_bytes());
    let totals: Vec<f64> = case.report["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["total_ns"].as_f64().unwrap() / SEC)
        .collect();
    let [a, b] = totals[..] else { panic!("{totals:?}") };
    assert_close(a, 5.0058);
    assert_close(b, 5.0058);
    let from = self::case(one(20).as_bytes()).summary("from").to_string();
    assert!(case.summary("to").as_str().unwrap()[..10] > from[1..11], "another day");
}

/// The same log with what mail programs, web pages and terminals do to it.
#[test]
fn what_was_done_to_a_log_changes_nothing() {
    let plain = of("F13c-tcp-read-resolv.log");
    let text = log("F13c-tcp-read-resolv.log");
    let each = |f: &dyn Fn(&str) -> String| -> String { text.lines().map(|line| f(line) + "\n").collect() };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let forms = [
        ("quoted", each(&|line| format!("> {line}")).into_bytes()),
        (
            "coloured",
            each(&|line| format!("\u{1b}[32m{}\u{1b}[0m", line.replace(" = ", " \u{1b}[1m=\u{1b}[m ")))
                .into_bytes(),
        ),
        (
            "entities",
            each(&|line| line.replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")).into_bytes(),
        ),
        ("typographic", each(&|line| line.replacen('"', "“", 1).replace('"', "”")).into_bytes()),
        (
            "at 80 columns",
            each(&|line| {
                if line.len() > 80 { format!("{}\n{}", &line[..80], &line[80..]) } else { line.to_owned() }
            })
            .into_bytes(),
        ),
        ("gzip", gzip.finish().unwrap()),
    ];
    for (name, form) in forms {
        let case = self::case(&form);
        assert_eq!(case.asked(), plain.asked(), "{name}: {}", case.said);
        assert_eq!(case.summary("lookup_share"), plain.summary("lookup_share"), "{name}");
    }
}

#[test]
fn what_is_no_log_of_strace_says_so_first() {
    let perf = "     0.022 ( 0.003 ms): mysqld/812 openat(dfd: CWD, filename: 0x7f) = 3\n".repeat(20);
    let ltrace = "libwrap.so.0->fopen(\"/etc/hosts.allow\", \"r\") = 0x55\n".repeat(20);
    let truss = "openat(AT_FDCWD,\"/etc/hosts.allow\",O_RDONLY,00) = 5 (0x5)\n".repeat(20);
    for (text, name) in [(perf, "perf trace"), (ltrace, "ltrace"), (truss, "truss")] {
        let (_dir, _, output) = import(text.as_bytes());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("0 of 20 lines") && said.contains(name), "{said}");
    }
    // Where some of it is strace's, that comes first and the rest is told all the same.
    let mixed = log("F1-min.log") + &"Hello, could you look at this?\n".repeat(30);
    let case = self::case(mixed.as_bytes());
    let first = case.said.lines().next().unwrap();
    assert!(first.contains("11 of 41 lines"), "{first}");
    assert_ne!(case.summary("verdict_kind"), "elsewhere");
}

/// Neither the answer nor a close is in the log: the check lasted as long as its wait did, and the wait is not the server's own.
#[test]
fn a_check_of_which_the_end_is_not_seen_lasts_as_long_as_its_wait() {
    let rest = log("F1-min.log");
    let kept = rest.lines().filter(|line| !line.contains("close(") && !line.contains("recvfrom("));
    let case = self::case(kept.map(|line| format!("{line}\n")).collect::<String>().as_bytes());
    assert_ne!(case.summary("verdict_kind"), "server_lookups", "{:?}", case.summary("verdict"));
}
