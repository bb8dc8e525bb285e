//! What several tests need.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::{
    model::{ClockPair, KtimeNs},
    trace::{End, FileSink, Head, SingleFile, Writer, WriterOptions, synth::Synth},
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Lab, LabConfig, parts::unpacked},
    nameserver::Rule,
    watch::{Watch, binary},
};

/// Runs `wrapwatch` to its end.
pub fn wrapwatch<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(binary().unwrap()).args(args).output().unwrap()
}

/// Ends it as systemd does: its status, and what it said.
pub fn end(child: Child) -> (Option<i32>, String) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A program of Debian's package of Prometheus.
pub fn prometheus(program: &str) -> Command {
    Command::new(unpacked(&format!("usr/bin/{program}")).unwrap())
}

/// Fails where `promtool check metrics` has anything to say of a text.
pub fn assert_promtool_is_content(text: &str) {
    let mut promtool = prometheus("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said.iter().all(String::is_empty), "{said:?} of:\n{text}");
}

/// Samples of a text by series: `name{labels}`.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Samples of a text file; none where it is not there yet.
pub fn samples_in(file: &Path) -> BTreeMap<String, f64> {
    std::fs::read_to_string(file).map(|text| samples(&text)).unwrap_or_default()
}

/// Runs `wrapwatch` to its end, and gives what it printed.
pub fn run(args: &[&str]) -> String {
    let output = wrapwatch(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Records clients that wait for answers, for no answer, and for each other: nine of them, from the fourth on slow.
pub fn record(file: &Path) {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), file, [""; 0]).unwrap();
    lab.clients(ClientsSpec::one_by_one(3)).unwrap();
    lab.rules([Rule::delay(200)]).unwrap();
    lab.clients(ClientsSpec::at_once(5)).unwrap();
    lab.rules([Rule::silent()]).unwrap();
    lab.clients(ClientsSpec::one_by_one(1)).unwrap();
    recorder.stop().unwrap();
}

/// Writes the trace of a made-up host: as many connections, a thousand a second.
pub fn made_up(file: &Path, host: u64, connections: u64) {
    let start = KtimeNs(1_000_000_000);
    let clock = ClockPair { ktime: start, wall_ns: 1_795_326_189_000_000_000 };
    let head = Head { hostname: format!("db{host}"), clock, ..Head::default() };
    let sink = SingleFile::new(FileSink::create(file, true).unwrap());
    let mut writer = Writer::new(sink, &head, WriterOptions::default()).unwrap();
    let mut synth = Synth::new(host, start.0, 1_000);
    for _ in 0..connections {
        synth.connection(&mut |record| writer.record(record).unwrap());
    }
    writer.finish(End { at: KtimeNs(synth.now_ns()), ..End::default() }).1.unwrap();
}
