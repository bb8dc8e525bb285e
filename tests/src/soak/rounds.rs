//! Rounds of a storm, each with something else that happens in it.

use std::{
    fmt,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::recorder::{Recorder, Takes};
use crate::{
    clients::{ClientsSpec, Source},
    lab::{Files, Lab, LabConfig, ServerConfig, Signal as ToServer},
    nameserver::Rule,
};

/// The recorder that saves when something happens.
const FLIGHT: &str = "flight";
/// Clients in a round, and how many come at once.
const CLIENTS: usize = 5_000;
const AT_ONCE: usize = 8;
/// Names that the server looks up.
const NAMES: u32 = 200;
/// A flight recorder's limit, and its disk; the other one's disk.
const MAX_TOTAL: u64 = 8 << 20;
const DISK: u64 = 12 << 20;
/// A recording in files of this size, and how many stay.
const MAX_SIZE: u64 = 1 << 20;
const KEEP: u64 = 4;

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing.
    Storm,
    /// The tables change, several times.
    Tables,
    /// The recorders do not run for a while: what happens then is more than their rings hold.
    RecordersStop,
    /// The flight recorder's disk is full.
    DiskFull,
    /// The nameserver is slow, for some.
    SlowNames,
    /// The server does not run for a second.
    ServerStops,
    /// The server starts again afterwards.
    Restart,
}

/// In turn.
const EVENTS: [Event; 7] = [
    Event::Storm,
    Event::Tables,
    Event::RecordersStop,
    Event::DiskFull,
    Event::SlowNames,
    Event::ServerStops,
    Event::Restart,
];

/// What came of a recorder.
pub struct Outcome {
    name: &'static str,
    accepted: u64,
    connections: u64,
    incomplete: u64,
    lost: u64,
    saved: u64,
    traces: usize,
    /// Most accepts that were not reported when a round in which something was lost had ended.
    late: u64,
    takes: Vec<Takes>,
    /// Rounds in which it did not report as many accepts as there were, and other things that are wrong.
    pub wrong: Vec<String>,
}

/// For so long. `shown` gets a line a round.
pub fn run(time: Duration, mut shown: impl FnMut(&str) -> Result<()>) -> Result<Vec<Outcome>> {
    let folder = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp")?;
    let mut soak = Soak::start(folder.path())?;
    let began = Instant::now();
    let mut events = EVENTS.iter().cycle();
    while began.elapsed() < time {
        let event = *events.next().context("no event")?;
        soak.round(event)?;
        shown(&format!("{:>5} s {:<14} {soak}", began.elapsed().as_secs(), format!("{event:?}")))?;
    }
    // What was late comes with this one.
    soak.round(Event::Storm)?;
    soak.end()
}

/// All of it.
struct Soak {
    lab: Lab,
    /// A flight recorder, and one that writes file after file; with what came of each.
    recorders: Vec<(Recorder, Outcome)>,
    tables: usize,
}

impl Soak {
    fn start(folder: &Path) -> Result<Self> {
        let disks = ["flight", "files"].map(|name| folder.join(name));
        for disk in &disks {
            std::fs::create_dir(disk)?;
        }
        // Under a name of its own: no other server of this machine is meant.
        let name = format!("soak{}", std::process::id());
        let program: PathBuf = folder.join(&name);
        symlink("/usr/sbin/mariadbd", &program)?;
        let server =
            ServerConfig { path: Some(program), daemon: Some("mariadbd".into()), ..ServerConfig::default() };
        let lab = Lab::start(LabConfig { server, ..LabConfig::default() })?;
        let target = ["--wait", "--comm", &name];
        let total = MAX_TOTAL.to_string();
        let flight = ["--last", "2m", "--after", "2s", "--cooldown", "5s", "--max-total", &total, "--when"];
        let when = ["queued>900ms", "dns>200ms", "lost"];
        let (size, keep) = (MAX_SIZE.to_string(), KEEP.to_string());
        let files = ["--max-size", &size, "--keep", &keep];
        let [flight_disk, files_disk] = disks;
        let start = |name, at: &Path, args: &[&str]| {
            let args: Vec<String> = target.iter().chain(args).map(ToString::to_string).collect();
            Ok::<_, anyhow::Error>((Recorder::start(name, at, DISK, &args)?, Outcome::new(name)))
        };
        let flight = start(FLIGHT, &flight_disk, &[&flight[..], &when].concat())?;
        let mut soak = Self { lab, recorders: vec![flight, start("files", &files_disk, &files)?], tables: 0 };
        soak.wait_watching()?;
        Ok(soak)
    }

    /// Waits until the recorders see the server that runs now.
    fn wait_watching(&mut self) -> Result<()> {
        let pid = format!("pid {}", self.lab.server_pid()?);
        self.recorders.iter_mut().try_for_each(|(recorder, _)| recorder.wait_said(&pid))
    }

    fn round(&mut self, event: Event) -> Result<()> {
        let spec = ClientsSpec {
            count: CLIENTS,
            concurrency: AT_ONCE,
            source: Source::Distinct(NAMES),
            ..ClientsSpec::default()
        };
        if event == Event::SlowNames {
            self.lab.rules([Rule { times: Some(6), ..Rule::delay(300) }])?;
        }
        let clients = self.lab.begin_clients(spec)?;
        self.happens(event)?;
        let clients = clients.wait()?;
        let came = clients.iter().filter(|client| client.t_connected_ns.is_some()).count() as u64;
        ensure!(came > 0, "no client came: {:?}", clients.first());
        for (recorder, outcome) in &mut self.recorders {
            outcome.accepted += came;
            recorder.settle(outcome.accepted, outcome.lost)?;
            outcome.look(recorder, event)?;
        }
        if event == Event::Restart {
            self.lab.restart_server(None)?;
            self.wait_watching()?;
        }
        Ok(())
    }

    /// What happens while clients come.
    fn happens(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Storm | Event::SlowNames | Event::Restart => {}
            Event::Tables => {
                for _ in 0..10 {
                    self.tables += 1;
                    let lines = format!("# {}\n", self.tables).repeat(self.tables % 1_000);
                    self.lab.files(Files::tables(format!("{lines}ALL: .lab.example\n"), "ALL: ALL\n"))?;
                }
            }
            Event::RecordersStop => {
                self.all(Signal::SIGSTOP)?;
                std::thread::sleep(Duration::from_secs(8));
                self.all(Signal::SIGCONT)?;
            }
            Event::DiskFull => {
                let Some((recorder, _)) = self.recorders.first() else { return Ok(()) };
                recorder.disk.fill()?;
                std::thread::sleep(Duration::from_secs(3));
                recorder.disk.free()?;
            }
            Event::ServerStops => {
                self.lab.signal(ToServer::Stop)?;
                std::thread::sleep(Duration::from_secs(1));
                self.lab.signal(ToServer::Cont)?;
            }
        }
        Ok(())
    }

    fn all(&self, signal: Signal) -> Result<()> {
        self.recorders.iter().try_for_each(|(recorder, _)| recorder.signal(signal))
    }

    fn end(self) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for (recorder, mut outcome) in self.recorders {
            outcome.is_flat();
            outcome.traces += recorder.disk.read_all()?;
            outcome.saved = recorder.saved();
            let disk_was_full = recorder.name == FLIGHT;
            if let Err(error) = recorder.stop(disk_was_full) {
                outcome.wrong.push(format!("{error:#}"));
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (recorder, outcome) in &self.recorders {
            let takes = outcome.takes.last().copied().unwrap_or_default();
            write!(
                f,
                "| {}: {} accepted, {} reported, {} lost, {} kB, {} descriptors, {} wrong ",
                recorder.name,
                outcome.accepted,
                outcome.connections,
                outcome.lost,
                takes.resident_kb,
                takes.descriptors,
                outcome.wrong.len()
            )?;
        }
        Ok(())
    }
}

impl Outcome {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            accepted: 0,
            connections: 0,
            incomplete: 0,
            lost: 0,
            saved: 0,
            traces: 0,
            late: 0,
            takes: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// After a round.
    fn look(&mut self, recorder: &Recorder, event: Event) -> Result<()> {
        let lost = recorder.lost() > self.lost;
        (self.connections, self.lost) = (recorder.connections(), recorder.lost());
        self.incomplete = recorder.incomplete();
        self.takes.push(recorder.takes()?);
        let (accepted, reported) = (self.accepted, recorder.accepts());
        // A connection whose end was lost is reported when its thread comes to the next one: in the next round.
        if reported > accepted || (reported < accepted && !lost) {
            self.wrong
                .push(format!("after {event:?}: {accepted} were accepted, {reported} reported or lost"));
        }
        self.late = self.late.max(accepted.saturating_sub(reported));
        let bytes: u64 = recorder.disk.traces()?.iter().map(|(_, bytes)| bytes).sum();
        if self.name == FLIGHT {
            // As an administrator would: else there is no room for more of them.
            self.traces += recorder.disk.take_all()?;
        }
        let most = if self.name == FLIGHT { MAX_TOTAL } else { MAX_SIZE * (KEEP + 1) };
        if bytes > most {
            self.wrong.push(format!("{event:?}: {bytes} bytes on disk, of {most}"));
        }
        Ok(())
    }

    /// What it takes in the last quarter of the time is what it took in the second.
    fn is_flat(&mut self) {
        let quarter = self.takes.len() / 4;
        let most = |part: &[Takes]| Takes {
            resident_kb: part.iter().map(|takes| takes.resident_kb).max().unwrap_or_default(),
            descriptors: part.iter().map(|takes| takes.descriptors).max().unwrap_or_default(),
        };
        let second = most(self.takes.get(quarter..quarter * 2).unwrap_or_default());
        let last = most(self.takes.get(quarter * 3..).unwrap_or_default());
        // A trace that is being saved takes some of each.
        if last.resident_kb > second.resident_kb + second.resident_kb / 10 + 2_048
            || last.descriptors > second.descriptors + 4
        {
            self.wrong.push(format!("it grows: {second:?} in the second quarter, {last:?} in the last"));
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = || self.takes.iter().skip(1).map(|takes| takes.resident_kb);
        let descriptors = || self.takes.iter().skip(1).map(|takes| takes.descriptors);
        write!(
            f,
            "{}: {} rounds, {} accepted = {} connections ({} incomplete, {} late) + {} lost; {} saved, {} traces whole; {} to {} kB, {} to {} descriptors",
            self.name,
            self.takes.len(),
            self.accepted,
            self.connections,
            self.incomplete,
            self.late,
            self.lost,
            self.saved,
            self.traces,
            sizes().min().unwrap_or_default(),
            sizes().max().unwrap_or_default(),
            descriptors().min().unwrap_or_default(),
            descriptors().max().unwrap_or_default()
        )?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n    WRONG: {wrong}"))
    }
}
