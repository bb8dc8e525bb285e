//! Recorder and `publish` beside a thousand connections a second, with rotation, and either killed now and then: counters go back only with a restart, all that was published is what the
//! files hold, memory does not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use wrapwatch::host::usage;
use wrapwatch::trace::synth::SplitMix;

use super::generator::{Generator, Order};
use crate::wait::wait_for;
use crate::watch::binary;

/// Connections a second.
const PER_S: u64 = 1_000;
/// Kills of each, in all of the time.
const KILLS: usize = 10;
/// None in the last seconds, so that all is published at the end.
const CALM_S: u64 = 20;
/// Bytes of a file: a new one twice a minute.
const FILE: &str = "700K";
/// By then a publisher has read again what was there.
const SETTLED_S: u64 = 10;
/// Finished files that stay, of all recorders together.
const KEPT: usize = 4;
/// Counts connections, however they ended.
const CONNECTIONS: &str = "wrapwatch_connections_total";

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Soak {
    /// Connections made.
    pub made: u64,
    /// Kills of the recorder and of the publisher.
    pub kills: [u64; 2],
    /// Connections published, by all publishers together.
    pub published: u64,
    /// Connections in the files, told in one go.
    pub in_files: u64,
    /// The sum of what a report on each file says: one that was open where a file ended is in both.
    pub reported: u64,
    /// Files there were.
    pub files: u64,
    /// Counters that went back without a restart.
    pub went_back: BTreeSet<String>,
    /// Greatest resident memory of the recorder and of the publisher: in the first third of the time, and at all.
    pub rss_bytes: [[u64; 2]; 2],
    /// CPU of all publishers, what each took to read again what was there included, as a share of one core.
    pub publish_cpu_share: f64,
    /// The same without the ten seconds after each start.
    pub publish_cpu_settled: f64,
    /// CPU of all recorders.
    pub record_cpu_share: f64,
}

/// A process that goes with the soak.
struct Running {
    child: Child,
    cpu_ns: u64,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        Ok(Self { child: command.spawn()?, cpu_ns: 0 })
    }

    fn look(&mut self) -> Result<usage::Usage> {
        let usage = usage::read(self.child.id())?;
        self.cpu_ns = usage.cpu_ns;
        Ok(usage)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where all of it lies: what the recorder writes, and all files that there ever were, in order.
struct Place {
    dir: tempfile::TempDir,
    seen: BTreeMap<u64, PathBuf>,
}

impl Place {
    fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("wrapwatch-soak").tempdir()?;
        fs::create_dir(dir.path().join("all"))?;
        fs::create_dir(dir.path().join("now"))?;
        Ok(Self { dir, seen: BTreeMap::new() })
    }

    fn trace(&self) -> PathBuf {
        self.dir.path().join("now/db.wwt")
    }

    fn all(&self) -> PathBuf {
        self.dir.path().join("all/db.wwt")
    }

    /// Keeps each file under a second name, in the order in which they came; of those under their first one the latest few stay.
    fn keep(&mut self) -> Result<()> {
        let mut names = self.numbered()?;
        for name in names.iter().cloned().chain([self.trace()]) {
            let Ok(meta) = fs::metadata(&name) else { continue };
            if !self.seen.contains_key(&meta.ino()) {
                let kept = self.all().with_file_name(format!("db.{:06}.wwt", self.seen.len() + 1));
                fs::hard_link(&name, &kept)?;
                self.seen.insert(meta.ino(), kept);
            }
        }
        names.truncate(names.len().saturating_sub(KEPT));
        names.iter().try_for_each(fs::remove_file)?;
        Ok(())
    }

    fn numbered(&self) -> Result<Vec<PathBuf>> {
        let trace = self.trace();
        let entries = fs::read_dir(trace.parent().context("no folder")?)?;
        let mut names: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        names.retain(|name| name.to_string_lossy().contains("/db.0"));
        names.sort();
        Ok(names)
    }

    /// What a killed recorder was writing becomes one of the finished.
    fn set_aside(&self) -> Result<()> {
        let last = self.numbered()?.pop();
        let digits = last
            .as_deref()
            .and_then(Path::file_stem)
            .and_then(|stem| stem.to_str()?.rsplit('.').next()?.parse().ok());
        let next: u64 = digits.unwrap_or(0) + 1;
        Ok(fs::rename(self.trace(), self.trace().with_file_name(format!("db.{next:06}.wwt")))?)
    }
}

fn recorder(place: &Place, pid: u32) -> Result<Running> {
    let trace = place.trace();
    let mut command = Command::new(binary()?);
    command.args(["record", "--quiet", "--max-size", FILE, "-p", &pid.to_string(), "-o"]).arg(&trace);
    let running = Running::start(&mut command)?;
    wait_for("the recorder", || Ok(trace.exists()))?;
    Ok(running)
}

/// `publish`, and what it said last.
struct Publisher {
    running: Running,
    address: String,
    last: BTreeMap<String, f64>,
}

impl Publisher {
    fn start(place: &Place) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["publish", "--follow", "--listen", "127.0.0.1:0", "--position"]);
        command.arg(place.dir.path().join("position")).arg(place.trace());
        let mut running = Running::start(command.stderr(Stdio::piped()))?;
        let mut said = String::new();
        BufReader::new(running.child.stderr.take().context("no stderr")?).read_line(&mut said)?;
        let address = said.trim().strip_prefix("wrapwatch: answering http://");
        let address = address.and_then(|at| at.strip_suffix("/metrics")).context(said.clone())?.to_owned();
        Ok(Self { running, address, last: BTreeMap::new() })
    }

    /// Scrapes it; none while it reads again what was published before. Says which counters went back.
    fn scrape(&mut self) -> Result<Vec<String>> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 503") {
            return Ok(Vec::new());
        }
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        let now = samples(body);
        let is_counter = |series: &str| {
            let name = series.split('{').next().unwrap_or(series);
            ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
        };
        let back = self
            .last
            .iter()
            .filter(|(series, before)| is_counter(series) && now.get(*series).is_none_or(|now| now < before));
        let back = back.map(|(series, _)| series.clone()).collect();
        self.last = now;
        Ok(back)
    }

    fn connections(&self) -> u64 {
        connections(&self.last)
    }
}

/// Samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn connections(samples: &BTreeMap<String, f64>) -> u64 {
    samples.iter().filter(|(series, _)| series.starts_with(CONNECTIONS)).map(|(_, value)| *value as u64).sum()
}

/// What `wrapwatch` prints.
fn printed(args: &[&std::ffi::OsStr]) -> Result<String> {
    let output = Command::new(binary()?).args(args).stderr(Stdio::null()).output()?;
    ensure!(output.status.success(), "{args:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// In which seconds a process is killed.
fn moments(random: &mut SplitMix, seconds: u64) -> BTreeSet<u64> {
    let mut all: Vec<u64> = (0..seconds.saturating_sub(CALM_S)).collect();
    let mut draw = |_| {
        let at = usize::try_from(random.below(all.len() as u64)).ok()?;
        (at < all.len()).then(|| all.swap_remove(at))
    };
    (0..KILLS).map_while(&mut draw).collect()
}

impl Soak {
    /// So many seconds of it.
    pub fn run(seconds: u64) -> Result<Self> {
        let mut soak = Self::default();
        let (mut place, mut random) = (Place::new()?, SplitMix(seconds));
        let kills = [moments(&mut random, seconds), moments(&mut random, seconds)];
        let mut generator = Generator::start()?;
        let mut recording = recorder(&place, generator.id())?;
        let mut publisher = Publisher::start(&place)?;
        let (mut cpu_ns, mut settled, mut since, begun) = ([0_u64; 2], [0_u64; 2], 0, Instant::now());
        for second in 0..seconds {
            let (cpu_before, at) = (publisher.running.cpu_ns, Instant::now());
            generator.make(Order { connections: PER_S, files: 1, per_s: PER_S })?;
            soak.made += PER_S;
            place.keep()?;
            soak.went_back.extend(publisher.scrape()?);
            let rss = [recording.look()?.rss_bytes, publisher.running.look()?.rss_bytes];
            for (greatest, rss) in soak.rss_bytes.iter_mut().zip(rss) {
                let first = if second < seconds / 3 { rss } else { 0 };
                *greatest = [greatest[0].max(first), greatest[1].max(rss)];
            }
            if second > since + SETTLED_S {
                settled[0] += publisher.running.cpu_ns.saturating_sub(cpu_before);
                settled[1] += u64::try_from(at.elapsed().as_nanos())?;
            }
            if kills[0].contains(&second) {
                recording.kill();
                cpu_ns[0] += recording.cpu_ns;
                place.keep()?;
                place.set_aside()?;
                recording = recorder(&place, generator.id())?;
                soak.kills[0] += 1;
            }
            if kills[1].contains(&second) {
                publisher.running.kill();
                cpu_ns[1] += publisher.running.cpu_ns;
                soak.published += publisher.connections();
                publisher = Publisher::start(&place)?;
                (since, soak.kills[1]) = (second, soak.kills[1] + 1);
            }
        }
        let took_ns = u64::try_from(begun.elapsed().as_nanos())?;
        soak.record_cpu_share = share(cpu_ns[0] + recording.cpu_ns, took_ns);
        soak.publish_cpu_share = share(cpu_ns[1] + publisher.running.cpu_ns, took_ns);
        soak.publish_cpu_settled = share(settled[0], settled[1]);
        soak.end(&mut place, recording, publisher)
    }

    /// The recorder ends; what was published is held against what the files hold.
    fn end(mut self, place: &mut Place, mut recording: Running, mut publisher: Publisher) -> Result<Self> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(recording.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        recording.child.wait()?;
        place.keep()?;
        let all = place.all();
        let last = place.seen.values().max().context("no files")?;
        fs::rename(last, &all)?;
        self.files = place.seen.len() as u64;
        self.in_files = connections(&samples(&printed(&["publish".as_ref(), all.as_ref()])?));
        for file in fs::read_dir(all.parent().context("no folder")?)? {
            let report = printed(&["report".as_ref(), "--json".as_ref(), file?.path().as_ref()])?;
            let report: Value = serde_json::from_str(&report)?;
            self.reported += report["summary"]["connections"].as_u64().context("no number")?;
        }
        let before = self.published;
        let _ = wait_for("all of it is published", || {
            self.went_back.extend(publisher.scrape()?);
            Ok(before + publisher.connections() >= self.in_files)
        });
        self.published += publisher.connections();
        Ok(self)
    }

    /// What is otherwise than promised.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut hold = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        hold(self.kills.iter().all(|kills| *kills >= KILLS as u64), format!("killed: {:?}", self.kills));
        hold(self.went_back.is_empty(), format!("went back: {:?}", self.went_back));
        hold(
            self.published == self.in_files,
            format!("published {}, in the files {}", self.published, self.in_files),
        );
        let twice = self.reported.checked_sub(self.in_files);
        hold(
            twice.is_some_and(|twice| twice <= self.files),
            format!("reported {}, in the files {}", self.reported, self.in_files),
        );
        // A killed recorder takes a moment to be there again, and has not written its last second.
        hold(
            self.in_files <= self.made && self.made - self.in_files <= (self.kills[0] + 1) * 5 * PER_S,
            format!("made {}, in the files {}", self.made, self.in_files),
        );
        for (who, [first, all]) in ["recorder", "publisher"].iter().zip(self.rss_bytes) {
            hold(all < 64 << 20, format!("{who}: {all} bytes resident"));
            hold(
                all <= first + first / 4,
                format!("{who}: {first} bytes resident in the first third, later {all}"),
            );
        }
        hold(
            self.publish_cpu_settled < 0.02,
            format!("publish takes {:.1} % of a core", self.publish_cpu_settled * 100.0),
        );
        wrong
    }
}

/// A share of one core.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(cpu_ns: u64, took_ns: u64) -> f64 {
    cpu_ns as f64 / took_ns.max(1) as f64
}
