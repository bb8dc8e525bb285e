//! What wrapwatch itself takes: time to attach and to go, memory, CPU, events until the first is lost, bytes of a trace, the programs' own run time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use wrapwatch::model::{Cost, Summary};

use super::generator::{Generator, Order};
use super::programs::{self, RunTime};
use super::rows::{Row, Size};
use super::screen::Screen;
use super::tools::{Bench, Process, Running, Tool, wrapwatch};
use crate::clients::{ClientsSpec, Source};
use crate::lab::{Files, Lab};
use crate::wait::wait_for;
use crate::watch;

/// Events of a connection of the generator that only floods: 3 for each file, and a handful besides.
const FLOOD_FILES: u64 = 300;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Connections after which memory is read.
    pub connections: u64,
    /// Seconds of each rate of the flood.
    pub flood_s: u64,
    /// Seconds of 100 connections a second.
    pub steady_s: u64,
    /// Seconds of the live view.
    pub screen_s: u64,
}

impl Scale {
    /// A full run's.
    pub const FULL: Self = Self { connections: 500_000, flood_s: 2, steady_s: 10, screen_s: 60 };
    /// While trying things out.
    pub const QUICK: Self = Self { connections: 20_000, flood_s: 1, steady_s: 3, screen_s: 5 };
}

/// Everything.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Own {
    /// From its start until it sees everything, milliseconds.
    pub attach_ms: f64,
    /// From Ctrl-C to its end, milliseconds.
    pub detach_ms: f64,
    /// BPF programs that are still there afterwards.
    pub programs_left: usize,
    /// Resident after one connection, bytes.
    pub rss_first_bytes: u64,
    /// Resident after [`Self::connections`], bytes.
    pub rss_bytes: u64,
    /// Connections after which that was.
    pub connections: u64,
    /// Highest rate of a flood without a loss, events a second.
    pub flood_per_s: f64,
    /// Whether the next rate lost something; else the generator could not do more.
    pub flood_lost: bool,
    /// CPU seconds for a million events of the flood: ring, decode, correlate.
    pub cpu_s_per_million: f64,
    /// The same of connections with DNS of a real server.
    pub cpu_s_per_million_storm: f64,
    /// Share of a core at 100 connections a second with two lookups each.
    pub steady_cpu_share: f64,
    /// Events lost in it.
    pub steady_lost: u64,
    /// Bytes of a trace for each connection with two lookups.
    pub trace_bytes_per_connection: f64,
    /// Connections a second that `report` reads.
    pub report_per_s: f64,
    /// Run time of the programs for each connection, nanoseconds: wrapwatch's, the floor's.
    pub connection_ns: (f64, f64),
    /// For each connection with two lookups.
    pub connection_dns_ns: (f64, f64),
    /// For each OLTP query.
    pub query_ns: (f64, f64),
    /// Runs of programs for each OLTP query.
    pub query_runs: (f64, f64),
    /// The live view.
    pub screen: Screen,
}

impl Own {
    /// Measures it all.
    pub fn measure(bench: &Bench<'_>, lab: &Lab, size: Size, scale: Scale) -> Result<Self> {
        let mut own = Self { connections: scale.connections, ..Self::default() };
        let begun = Instant::now();
        let done = |what: &str| eprintln!("{what} after {:.0} s", begun.elapsed().as_secs_f64());
        own.coming_and_going(lab)?;
        done("attach and detach");
        own.run_times(bench, lab, size)?;
        done("run times");
        own.steady(bench, lab, scale)?;
        done("a steady load");
        own.trace(bench, lab, size)?;
        done("a trace");
        own.flood(bench, scale)?;
        done("the flood");
        own.memory(scale)?;
        done("memory");
        own.screen = Screen::measure(scale.screen_s)?;
        done("the live view");
        Ok(own)
    }

    fn coming_and_going(&mut self, lab: &Lab) -> Result<()> {
        let pid = lab.server_pid()?.to_string();
        let before = loaded_programs();
        let (mut attach, mut detach) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let process = wrapwatch(["live", "-p", &pid])?;
            attach.push(ms(process.attached_in));
            detach.push(ms(process.stop()?.1));
        }
        self.attach_ms = super::stats::median(&attach).unwrap_or(f64::NAN);
        self.detach_ms = super::stats::median(&detach).unwrap_or(f64::NAN);
        self.programs_left = left_of(before);
        Ok(())
    }

    /// The programs' run times, wrapwatch's and the floor's, for the same work.
    fn run_times(&mut self, bench: &Bench<'_>, lab: &Lab, size: Size) -> Result<()> {
        let counting = programs::keep_count()?;
        let pid = lab.server_pid()?;
        let mut sides = Vec::new();
        for tool in [Tool::Live, Tool::Floor] {
            let running = bench.start(tool, pid)?;
            let mut per_unit = Vec::new();
            for row in [Row::Storm, Row::StormDns, Row::Oltp] {
                let before = run_time(&running)?;
                let done = row.run(lab, size)?;
                let took = run_time(&running)?.since(before);
                per_unit.push((of(took.ns, done.count), of(took.runs, done.count)));
            }
            running.stop()?;
            sides.push(per_unit);
        }
        drop(counting);
        let [wrapwatch, floor] = sides.as_slice() else { return Ok(()) };
        let [(storm, _), (dns, _), (query, runs)] = wrapwatch.as_slice() else { return Ok(()) };
        let [(floor_storm, _), (floor_dns, _), (floor_query, floor_runs)] = floor.as_slice() else {
            return Ok(());
        };
        self.connection_ns = (*storm, *floor_storm);
        self.connection_dns_ns = (*dns, *floor_dns);
        self.query_ns = (*query, *floor_query);
        self.query_runs = (*runs, *floor_runs);
        Ok(())
    }

    /// 100 connections a second, two lookups each.
    fn steady(&mut self, bench: &Bench<'_>, lab: &Lab, scale: Scale) -> Result<()> {
        lab.files(Files::tables("mysqld mariadbd: .lab.example\n", "ALL: ALL\n"))?;
        let out = bench.scratch.join("steady.json");
        let process = live_json(lab.server_pid()?, &out)?;
        let count = usize::try_from(100 * scale.steady_s)?;
        let spec = ClientsSpec {
            count,
            concurrency: 4,
            stagger_us: 10_000,
            source: Source::Distinct(4_096),
            ..ClientsSpec::default()
        };
        lab.clients(spec)?;
        lab.take_dns_log()?;
        process.stop()?;
        let cost = cost(&out)?;
        self.steady_cpu_share = cost.cpu_share;
        self.steady_lost = cost.lost;
        Ok(())
    }

    /// A trace of a storm with DNS, and its report.
    fn trace(&mut self, bench: &Bench<'_>, lab: &Lab, size: Size) -> Result<()> {
        let running = bench.start(Tool::Record, lab.server_pid()?)?;
        let done = Row::StormDns.run(lab, size)?;
        running.stop()?;
        let bytes = fs::metadata(bench.trace())?.len();
        self.trace_bytes_per_connection = of(bytes, done.count);
        let begun = Instant::now();
        let report = Command::new(watch::binary()?).args(["report", "--json"]).arg(bench.trace()).output()?;
        ensure!(report.status.success(), "report failed: {}", String::from_utf8_lossy(&report.stderr));
        self.report_per_s = of(done.count, 1) / begun.elapsed().as_secs_f64();
        let report: serde_json::Value = serde_json::from_slice(&report.stdout)?;
        let cost: Cost = serde_json::from_value(report["summary"]["cost"].clone())?;
        self.cpu_s_per_million_storm = of(cost.cpu_ns, cost.events.max(1)) / 1e3;
        Ok(())
    }

    /// Faster and faster until something is lost.
    fn flood(&mut self, bench: &Bench<'_>, scale: Scale) -> Result<()> {
        let mut generator = Generator::start()?;
        let out = bench.scratch.join("flood.json");
        let events_each = 3 * FLOOD_FILES;
        for rate in [100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000, 1_250_000, 1_500_000, 0_u64] {
            let per_s = rate / events_each;
            let connections = if rate == 0 { 3_000 * scale.flood_s } else { per_s * scale.flood_s };
            let process = live_json(generator.id(), &out)?;
            let made = generator.make(Order { connections, files: FLOOD_FILES, per_s })?;
            process.stop()?;
            let cost = cost(&out)?;
            let reached = of(cost.events + cost.lost, made.ns.max(1)) * 1e9;
            eprintln!(
                "  {rate} wanted, {reached:.0} events/s, {} lost, {:.2} s of CPU",
                cost.lost,
                of(cost.cpu_ns, 1) / 1e9
            );
            if cost.lost > 0 {
                self.flood_lost = true;
                break;
            }
            self.flood_per_s = self.flood_per_s.max(reached);
            self.cpu_s_per_million = of(cost.cpu_ns, cost.events.max(1)) / 1e3;
        }
        Ok(())
    }

    /// Resident memory after one connection and after very many.
    fn memory(&mut self, scale: Scale) -> Result<()> {
        let mut generator = Generator::start()?;
        let process = wrapwatch(["live", "-p", &generator.id().to_string()])?;
        generator.make(Order { connections: 1, files: 1, per_s: 0 })?;
        std::thread::sleep(Duration::from_millis(300));
        self.rss_first_bytes = rss(&process)?;
        generator.make(Order { connections: scale.connections, files: 2, per_s: 0 })?;
        std::thread::sleep(Duration::from_millis(300));
        self.rss_bytes = rss(&process)?;
        process.stop()?;
        Ok(())
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "quotients of a benchmark")]
fn of(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn run_time(running: &Running) -> Result<RunTime> {
    match running {
        Running::None => Ok(RunTime::default()),
        Running::Floor(floor) => Ok(programs::of(floor.programs())),
        Running::Process(process) => programs::of_process(process.id()),
    }
}

/// Programs beyond so many: the kernel frees those of a process that is gone only when no CPU can be in them any more.
fn left_of(before: usize) -> usize {
    let gone = wait_for("the kernel to free the programs", || Ok(loaded_programs() <= before));
    if gone.is_ok() { 0 } else { loaded_programs().saturating_sub(before) }
}

fn loaded_programs() -> usize {
    aya::programs::loaded_programs().flatten().count()
}

fn rss(process: &Process) -> Result<u64> {
    Ok(wrapwatch::host::usage::read(process.id())?.rss_bytes)
}

/// `wrapwatch live --json` into a file.
fn live_json(pid: u32, out: &Path) -> Result<Process> {
    Process::into_file(&["live", "--json", "-p", &pid.to_string()], out)
}

/// Of the summary, which is the last line.
fn cost(out: &Path) -> Result<Cost> {
    let text = fs::read_to_string(out)?;
    let line = text.lines().last().context("wrapwatch said nothing")?;
    let summary: Summary = serde_json::from_str(line).with_context(|| line.to_owned())?;
    summary.cost.context("a summary without its cost")
}
