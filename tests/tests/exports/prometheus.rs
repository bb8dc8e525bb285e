//! A real Prometheus scrapes the endpoint, and its alert fires while a nameserver is dead; what the endpoint does for others.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig},
    nameserver::Rule,
    wait::wait_for,
    watch::{Watch, binary, nobody},
};

use crate::support::{assert_promtool_is_content, prometheus, record, run, samples, wrapwatch};

const RULES: &str = include_str!("../../../packaging/prometheus/wrapwatch.rules.yml");

/// A process that goes with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nobody listens there at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Publishes a trace over HTTP, and says where.
fn publish(file: &Path) -> (Running, SocketAddr) {
    let mut command = Command::new(binary().unwrap());
    command.args(["publish", "--follow", "--listen", "127.0.0.1:0"]).arg(file).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address =
        said.trim().strip_prefix("wrapwatch: answering http://").and_then(|at| at.strip_suffix("/metrics"));
    let address = address.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    (Running(child), address)
}

/// Head and body of an answer.
fn ask(address: SocketAddr, request: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let whole = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    // What is too long is answered, and the connection closed, before all of it was sent.
    if let Err(error) = stream.write_all(whole.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.to_lowercase(), body.to_owned())
}

/// A Prometheus that scrapes every second, with the rules that are shipped; with these features of its own.
fn watched_by_prometheus(dir: &Path, scraped: SocketAddr, features: &[&str]) -> (Running, u16) {
    std::fs::write(dir.join("wrapwatch.rules.yml"), RULES).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [wrapwatch.rules.yml]\n\
         scrape_configs:\n  - job_name: wrapwatch\n    static_configs: [{{targets: [\"{scraped}\"]}}]\n"
    );
    std::fs::write(dir.join("prometheus.yml"), config).unwrap();
    let port = free_port();
    let mut command = prometheus("prometheus");
    command
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(features)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(File::create(dir.join("prometheus.log")).unwrap());
    (Running(command.spawn().unwrap()), port)
}

/// What a query gives, as promtool prints it; nothing where there is nothing, or Prometheus is not there yet.
fn query(port: u16, query: &str) -> String {
    let mut promtool = prometheus("promtool");
    let output =
        promtool.args(["query", "instant", &format!("http://127.0.0.1:{port}"), query]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn an_alert_fires_while_the_nameservers_are_dead() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    let lab = Lab::start(LabConfig::default()).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    let (_publisher, address) = publish(&file);
    let (_prometheus, port) = watched_by_prometheus(dir.path(), address, &[]);
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    wait_for("Prometheus has scraped", || {
        Ok(query(port, "wrapwatch_connections_total{outcome=\"greeted\"}").contains("=> 3 @"))
    })
    .unwrap();
    let firing = "ALERTS{alertstate=\"firing\",alertname=\"WrapwatchAcceptThreadStalled\"}";
    assert_eq!(query(port, firing), "");
    lab.rules([Rule::silent()]).unwrap();
    let client = lab.begin_clients(ClientsSpec::one_by_one(1)).unwrap();
    wait_for("the stall is seen", || Ok(!query(port, "wrapwatch_stall_age_seconds > 1").is_empty())).unwrap();
    wait_for("the alert fires", || Ok(!query(port, firing).is_empty())).unwrap();
    // The resolver's next attempt is answered.
    lab.rules([]).unwrap();
    client.wait().unwrap();
    wait_for("the alert resolves", || Ok(query(port, firing).is_empty())).unwrap();
    // They are counted when the check is over, which need not be scraped yet.
    let timeouts = "sum(wrapwatch_queries_total{outcome=\"timeout\"}) > 0";
    wait_for("the timeouts are scraped", || Ok(!query(port, timeouts).is_empty())).unwrap();
    // Prometheus asks for OpenMetrics, and could read it all along.
    assert!(query(port, "min_over_time(up[5m])").contains("=> 1 @"));
    assert_eq!(recorder.stop().unwrap().status, Some(0));
}

/// The text file, as Debian's node exporter reads it, and Prometheus scrapes that.
#[test]
fn prometheus_reads_the_text_file_through_the_node_exporter() {
    let dir = tempfile::tempdir().unwrap();
    let (file, texts) = (dir.path().join("a.wwt"), dir.path().join("texts"));
    std::fs::create_dir(&texts).unwrap();
    record(&file);
    run(&["publish", file.to_str().unwrap(), "--textfile", texts.join("wrapwatch.prom").to_str().unwrap()]);
    let exporter = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = prometheus("prometheus-node-exporter");
    command.args(["--collector.disable-defaults", "--collector.textfile", "--collector.textfile.directory"]);
    command.arg(&texts).arg(format!("--web.listen-address={exporter}")).stderr(Stdio::null());
    let _exporter = Running(command.spawn().unwrap());
    let (_prometheus, port) = watched_by_prometheus(dir.path(), exporter, &[]);
    wait_for("Prometheus has scraped", || {
        Ok(query(port, "wrapwatch_connections_total{outcome=\"greeted\"}").contains("=> 8 @"))
    })
    .unwrap();
    assert!(query(port, "wrapwatch_client_wait_seconds_count").contains("=> 9 @"));
    assert!(query(port, "node_textfile_scrape_error").contains("=> 0 @"));
}

/// One that asks for native histograms has quantiles that no bucket of the text's bounds; the text's own it has not.
#[test]
fn native_histograms_are_scraped_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wwt");
    record(&file);
    let connections: serde_json::Value =
        serde_json::from_str(&run(&["report", file.to_str().unwrap(), "--json"])).unwrap();
    let (_publisher, address) = publish(&file);
    let (_prometheus, port) =
        watched_by_prometheus(dir.path(), address, &["--enable-feature=native-histograms"]);
    let count = "histogram_count(wrapwatch_client_wait_seconds)";
    wait_for("Prometheus has scraped", || Ok(query(port, count).contains("=> 9 @"))).unwrap();
    let value = |asked: &str| -> f64 {
        let answer = query(port, asked);
        let value = answer.split("=> ").nth(1).and_then(|value| value.split(' ').next()).map(str::parse);
        value.unwrap_or_else(|| panic!("{asked}: {answer:?}")).unwrap()
    };
    let longest = connections["summary"]["total"]["max_ns"].as_f64().unwrap() / 1e9;
    let quantile = value("histogram_quantile(1, wrapwatch_client_wait_seconds)");
    // Its bucket is no wider than 10 %, where those of the text go from 10 s to 15 s.
    assert!((longest..longest * 1.1).contains(&quantile), "{quantile} for {longest}");
    let sum = value("histogram_sum(wrapwatch_client_wait_seconds)");
    let wanted = connections["summary"]["total"]["sum_ns"].as_f64().unwrap() / 1e9;
    assert!((sum - wanted).abs() < 1e-6, "{sum} for {wanted}");
    assert_eq!(value("wrapwatch_connections_total{outcome=\"greeted\"}"), 8.0);
    assert_eq!(query(port, "wrapwatch_client_wait_seconds_bucket"), "");
}

#[test]
fn the_rules_fire_for_what_they_are_there_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("wrapwatch.rules.yml"), RULES).unwrap();
    let tests = include_str!("../../data/prometheus/rules.test.yml");
    std::fs::write(dir.path().join("rules.test.yml"), tests).unwrap();
    for check in [["check", "rules", "wrapwatch.rules.yml"], ["test", "rules", "rules.test.yml"]] {
        let output = prometheus("promtool").args(check).current_dir(dir.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn every_question_of_the_dashboard_can_be_asked() {
    let dashboard = include_str!("../../../packaging/grafana/wrapwatch.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let exprs = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| {
        target["expr"].as_str().unwrap().replace("$__rate_interval", "1m").replace("$instance", ".*")
    });
    // As rules, so that promtool reads them.
    let rules: Vec<_> = exprs
        .enumerate()
        .map(|(n, expr)| serde_json::json!({"record": format!("q{n}"), "expr": expr}))
        .collect();
    assert!(rules.len() > 20);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yml");
    std::fs::write(&file, serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string())
        .unwrap();
    let output = prometheus("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn it_answers_for_metrics_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (_publisher, address) = publish(&dir.path().join("to-come.wwt"));
    let (head, body) = ask(address, "GET /metrics", "");
    assert!(head.starts_with("http/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert_eq!(samples(&body).len(), 1, "{body}");
    assert_promtool_is_content(&body);
    let (head, body) =
        ask(address, "GET /metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    assert!(ask(address, "GET /", "").0.starts_with("http/1.1 404 "));
    assert!(ask(address, "POST /metrics", "Content-Length: 0\r\n").0.starts_with("http/1.1 405 "));
    let long = format!("X: {}\r\n", "x".repeat(64 << 10));
    assert!(ask(address, "GET /metrics", &long).0.starts_with("http/1.1 431 "));
}

/// Those who say nothing do not keep others out for long.
#[test]
fn silent_connections_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (_publisher, address) = publish(&dir.path().join("to-come.wwt"));
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (head, _) = ask(address, "GET /metrics", "");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    drop(silent);
}

#[test]
fn a_socket_of_systemd_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As systemd passes it on: descriptor 3, and whom it is for.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(binary().unwrap());
    command.args(["publish", "--follow", "--quiet", "--listen", "systemd"]).arg(dir.path());
    let _publisher =
        Running(command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).spawn().unwrap());
    assert!(ask(address, "GET /metrics", "").0.starts_with("http/1.1 200 "));
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (foreign, trace) = (dir.path().join("foreign.wwt"), dir.path().join("to-come.wwt"));
    std::fs::write(&foreign, "SELECT 1;\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let (trace, foreign) = (trace.to_str().unwrap(), foreign.to_str().unwrap());
    let cases: [(&[&str], i32, &str); 7] = [
        (&[trace, "--follow", "--listen", "0.0.0.0:9817"], 2, "--listen-anywhere"),
        (&[trace, "--follow", "--listen", "[::]:9817"], 2, "--listen-anywhere"),
        (&[trace, "--follow", "--listen", &taken], 1, "in use"),
        (&[foreign, "--follow", "--listen", "127.0.0.1:0", "--quiet"], 1, "not a wrapwatch trace"),
        (&[foreign], 1, "not a wrapwatch trace"),
        (&[trace], 1, "No such file"),
        (&[trace, "--follow", "--listen", "systemd"], 1, "systemd passed no socket on"),
    ];
    for (args, status, why) in cases {
        let output = wrapwatch(["publish"].iter().chain(args));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(status), 1), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

#[test]
fn a_trace_that_may_not_be_read_is_refused_in_one_line() {
    let dir = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let trace = dir.path().join("a.wwt");
    std::fs::write(&trace, "").unwrap();
    std::fs::set_permissions(&trace, PermissionsExt::from_mode(0o600)).unwrap();
    for following in [&[][..], &["--follow", "--quiet", "--listen", "127.0.0.1:0"]] {
        let (mut command, _copy) = nobody(None).unwrap();
        let output = command.arg("publish").arg(&trace).args(following).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains("a.wwt") && said.contains("ermission"), "{said}");
    }
}

#[test]
fn a_collector_that_cannot_be_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for (variable, value, why) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318", "TLS"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.example:4318", "is no address"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "nothing", "is no NAME=VALUE"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "is no number of milliseconds"),
    ] {
        let mut command = Command::new(binary().unwrap());
        command
            .args(["publish", "--follow", "--otlp"])
            .arg(dir.path().join("to-come.wwt"))
            .env(variable, value);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{value}: {said}");
        assert!(said.contains(why), "{value}: {said}");
    }
}

/// A text file on a full disk: the old one stays, and the new one is written when there is room.
#[test]
fn on_a_full_disk_the_old_text_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, trace) = (dir.path().join("disk"), dir.path().join("to-come.wwt"));
    std::fs::create_dir(&disk).unwrap();
    // In a mount namespace of its own; it fills the disk, and makes room when told to.
    let script = "mount -t tmpfs -o size=64k tmpfs \"$1\" || exit 99; echo old 1 > \"$1/a.prom\"; \
                  head -c 60K /dev/zero > \"$1/full\" 2>/dev/null; cat /dev/zero >> \"$1/full\" 2>/dev/null; \
                  disk=\"$1\"; shift; \"$@\" & publisher=$!; \
                  read -r _; cat \"$disk/a.prom\"; echo .; rm \"$disk/full\"; \
                  read -r _; kill $publisher; wait $publisher; cat \"$disk/a.prom\"; ls -A \"$disk\" | wc -l";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&disk);
    command.arg(binary().unwrap()).args(["publish", "--follow", "--every", "100ms", "--textfile"]);
    command
        .args([&disk.join("a.prom"), &trace])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (said, lines) = mpsc::channel();
    let stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(said.send(line)));
    });
    let next = || lines.recv_timeout(Duration::from_mins(1)).unwrap();
    let full = next();
    assert!(
        full.contains("a.prom") && full.contains("No space left") && full.contains("the old one stays"),
        "{full}"
    );
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    let again = next();
    assert!(again.contains("written again"), "{again}");
    stdin.write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (old, new) = text.split_once(".\n").unwrap();
    assert_eq!(old, "old 1\n");
    assert!(new.contains("wrapwatch_build_info{") && new.ends_with("\n1\n"), "{new}");
}
