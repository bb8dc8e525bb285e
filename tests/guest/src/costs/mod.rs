//! `cargo xtask vm --instructions`: how many instructions things take, beside nothing, beside empty programs and beside wrapwatch.
//!
//! The machine has one processor, whose clock counts instructions ([`crate::processor`]), and is never idle ([`filler`]); so what the whole machine did is what
//! the clock says less what the filler did. What wrapwatch does whether or not anything happens is counted by itself (`idle`) and taken off the rest.

mod filler;
mod mariadb;
mod nameserver;
mod other;
mod plain;
mod profile;
mod tracer;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use wrapwatch_tests::bench::programs::keep_count;

use self::{
    filler::Moment,
    mariadb::MariaDb,
    plain::Plain,
    profile::{Programs, Threads},
    tracer::Tracer,
};
use crate::{
    processor,
    record::{Beside, Cost, Record},
    report::Report,
    site,
    work::Work,
};

/// The one test that such a guest has.
const TEST: &str = "instructions";
/// After booting, and after something was attached or taken off, the kernel has things to do for a while.
const AFTER_BOOT: Duration = Duration::from_secs(8);
const SETTLED: Duration = Duration::from_secs(12);
/// Everything is counted in windows of a second: in each wrapwatch does once what it does each second, and within its last part reads and prints what there is.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows of work, of which the usual one counts: in 0.2 s of five seconds wrapwatch has the kernel take times.
const BURSTS: usize = 5;
/// Windows without work: whatever wrapwatch does now and then, it does as often in each ten seconds.
const IDLE: usize = 10;
/// The sets of hooks: as lines have them and as the command line has them.
const HOOKS: [(&str, &str); 3] = [("raw", "raw"), ("perf", "tracepoint"), ("trampoline", "trampoline")];

/// A server that works as it is told, and its clients.
trait Server {
    /// What lines say before the name of a kind of work.
    const PREFIX: &'static str;
    /// Whether what no server has to do with is counted beside it: other processes' calls, nothing at all.
    const WITH_OTHERS: bool;
    /// It works this many times less often, for it takes that much longer.
    const SLOWER: u32;

    /// Its process id.
    fn pid(&self) -> u32;

    /// Has it work, so many times; what its calls as a server usually took, where that can be seen.
    fn work(&mut self, work: Work, times: u32) -> Result<Option<u64>>;
}

/// What one kind of work took.
#[derive(Clone, Debug)]
struct Took {
    work: String,
    whole: u64,
    calls: Option<u64>,
}

/// Counts, and says what came of it.
pub(crate) fn run(report: &mut Report) {
    report.begin(TEST);
    let began = Instant::now();
    let of_mariadb = report.option("instructions") == Some("mariadb");
    let tell = |cost| report.must_say(&Record::Cost(cost));
    let result = prepare().and_then(|()| {
        if of_mariadb { costs(&mut MariaDb::start()?, tell) } else { costs(&mut Plain::start()?, tell) }
    });
    report.ended(TEST, began, result);
}

fn prepare() -> Result<()> {
    fs::write("/etc/hosts", "127.0.0.1 localhost\n")?;
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\n")?;
    fs::write("/etc/nsswitch.conf", "hosts: files dns\npasswd: files\ngroup: files\n")?;
    site::tables(site::ALLOW, site::DENY)?;
    nameserver::start()?;
    filler::start()
}

fn costs<S: Server>(server: &mut S, mut tell: impl FnMut(Cost)) -> Result<()> {
    thread::sleep(AFTER_BOOT);
    for work in Work::ALL {
        // The first of each fills caches.
        server.work(work, times::<S>(work))?;
    }
    let none = row(server, None, ByItself::Nothing).context("beside nothing")?;
    for (hooks, option) in HOOKS {
        let live = beside(server, Tracer::wrapwatch("live", option, server.pid()), ByItself::Works)?;
        let record = beside(server, Tracer::wrapwatch("record", option, server.pid()), ByItself::Works)?;
        // What hooks there are is in the trace that has just been written.
        let floor = beside(server, Tracer::floor(server.pid()), ByItself::Nothing)?;
        for (command, watched) in [("live", live), ("record", record)] {
            for ((none, floor), wrapwatch) in none.iter().zip(&floor).zip(&watched) {
                tell(cost(hooks, command, [none, floor, wrapwatch]));
            }
        }
    }
    Ok(())
}

/// What is attached does by itself while nothing happens.
#[derive(Clone, Copy)]
enum ByItself {
    /// A second is like any other, but for what the kernel may do once: beside empty trampolines it has taken 33 million instructions in one of ten seconds.
    Nothing,
    /// Some seconds take more: what it does now and then counts.
    Works,
}

/// Each kind of work beside this.
fn beside<S: Server>(server: &mut S, tracer: Result<Tracer>, does: ByItself) -> Result<Vec<Took>> {
    let tracer = tracer?;
    let row = row(server, tracer.pid(), does).with_context(|| format!("beside {tracer}"))?;
    tracer.stop()?;
    Ok(row)
}

fn cost(hooks: &str, command: &str, [none, floor, wrapwatch]: [&Took; 3]) -> Cost {
    let calls = none.calls.zip(floor.calls).zip(wrapwatch.calls);
    Cost {
        hooks: hooks.to_owned(),
        work: none.work.clone(),
        command: command.to_owned(),
        whole: Beside { none: none.whole, floor: floor.whole, wrapwatch: wrapwatch.whole },
        calls: calls.map(|((none, floor), wrapwatch)| Beside { none, floor, wrapwatch }),
    }
}

/// Each kind of work beside what is attached now.
fn row<S: Server>(server: &mut S, wrapwatch: Option<u32>, does: ByItself) -> Result<Vec<Took>> {
    thread::sleep(SETTLED);
    let mut idle = (0..IDLE).map(|_| window(|| Ok(()))).collect::<Result<Vec<u64>>>()?;
    let usual = processor::usual(&mut idle);
    let mut row =
        Work::ALL.into_iter().map(|work| worked(server, work, usual)).collect::<Result<Vec<_>>>()?;
    if let Some(pid) = wrapwatch {
        for work in Work::ALL {
            profile(server, work, pid)?;
        }
    }
    if S::WITH_OTHERS {
        let idle = match does {
            ByItself::Nothing => usual,
            ByItself::Works => idle.iter().sum::<u64>() / IDLE as u64,
        };
        let hooked = other::hooked()?;
        for (work, whole) in [("other-unhooked", other::unhooked()), ("other-hooked", hooked), ("idle", idle)]
        {
            row.push(Took { work: work.to_owned(), whole, calls: None });
        }
    }
    Ok(row)
}

/// A few bursts of work, each in a window of its own, in which without work there would be as many instructions as usual.
fn worked<S: Server>(server: &mut S, work: Work, usual: u64) -> Result<Took> {
    let mut bursts = Vec::new();
    let mut calls = None;
    for _ in 0..BURSTS {
        let all = window(|| {
            let took = server.work(work, times::<S>(work))?;
            calls = calls.map_or(took, |calls: u64| took.map(|took| took.min(calls)));
            Ok(())
        })?;
        bursts.push(all.saturating_sub(usual) / u64::from(times::<S>(work)));
    }
    let work = format!("{}{}", S::PREFIX, work.name());
    eprintln!("{work}: {bursts:?}, of these the server's calls {calls:?}");
    Ok(Took { work, whole: processor::usual(&mut bursts), calls })
}

/// Says what wrapwatch's part consists of: its threads without what they run while nothing happens, and its programs, each run with what counting it takes.
fn profile<S: Server>(server: &mut S, work: Work, pid: u32) -> Result<()> {
    let times = times::<S>(work);
    let began = Threads::now(pid)?;
    window(|| Ok(()))?;
    let idle = Threads::now(pid)?;
    window(|| server.work(work, times).map(drop))?;
    let busy = Threads::now(pid)?;
    let own: Vec<String> = busy
        .since([&began, &idle])
        .into_iter()
        .map(|(name, idle, busy)| {
            format!("{name} {} (idle: {idle} a second)", busy.saturating_sub(idle) / u64::from(times))
        })
        .collect();
    let counting = keep_count()?;
    let before = Programs::now()?;
    window(|| server.work(work, times).map(drop))?;
    let programs = Programs::now()?.since(&before, times);
    drop(counting);
    eprintln!("{}{}: threads: {}; programs:{programs}", S::PREFIX, work.name(), own.join(", "));
    Ok(())
}

/// Instructions of all but the filler, in a window at whose beginning this is done.
fn window(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let (began, beginning) = (Instant::now(), Moment::now());
    work()?;
    let left = WINDOW.checked_sub(began.elapsed()).context("too much work for a window")?;
    thread::sleep(left);
    Ok(beginning.passed())
}

/// How often in a window: long enough for wrapwatch to come and read several times, and short enough for it to have read all at the end.
const fn times<S: Server>(work: Work) -> u32 {
    let times = match work {
        Work::Query => 2_000,
        Work::Connection => 800,
        Work::ConnectionLookups => 300,
    };
    times / S::SLOWER
}
