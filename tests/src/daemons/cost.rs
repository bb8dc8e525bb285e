//! What tracing costs a server whose processes are followed, and everybody else meanwhile: the same work in turn, with wrapwatch and without.
//!
//! Twenty clients a second, one after the other, each with a process of its own. CPU time is the kernel's count of the server and of what it has waited for; another process'
//! is its thread's own.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::getppid;
use wrapwatch::host::usage;

use super::client::{self, Way};
use super::spec::Daemon;
use super::world::{World, address};
use crate::bench::stats::median;
use crate::watch::Watch;

/// Turns, each without and with.
const TURNS: usize = 5;
/// Clients of a turn.
const CLIENTS: u32 = 200;
/// From one to the next.
const APART: Duration = Duration::from_millis(50);
/// Calls of another process: of one that nobody hooks, and reads of a byte.
const CALLS: u32 = 1_000_000;

/// What one turn took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// CPU time of the server and its processes, by client.
    server: u64,
    /// wrapwatch's.
    own: u64,
    /// Of another process, by call.
    unhooked: f64,
    hooked: f64,
    /// How long attaching took.
    attach: u64,
}

/// Processes that do nothing; they end with this.
struct Idle(Vec<Child>);

impl Idle {
    fn start(n: usize) -> Result<Self> {
        let mut all = Self(Vec::with_capacity(n));
        for _ in 0..n {
            all.0.push(Command::new("sleep").arg("infinity").stdin(Stdio::null()).spawn()?);
        }
        Ok(all)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// Measures, beside so many processes that do nothing, and gives a text.
pub fn measure(daemon: &Daemon, processes: usize) -> Result<String> {
    let world = World::start(daemon, &[])?;
    world.answer_after(0)?;
    let _idle = Idle::start(processes)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        eprintln!("turn {} of {TURNS}", turn + 1);
        without.push(work(daemon, &world)?);
        with.push(traced(daemon, &world)?);
    }
    Ok(text(daemon, processes, &without, &with))
}

fn traced(daemon: &Daemon, world: &World) -> Result<Turn> {
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    let watch = Watch::record(world.pid, &folder.path().join("cost.wwt"), [] as [&str; 0])?;
    let attach = began.elapsed();
    let own_ns = || Ok::<_, anyhow::Error>(usage::read(watch.id())?.cpu_ns);
    let before = own_ns()?;
    let turn = work(daemon, world)?;
    let own = own_ns()? - before;
    let seen = watch.stop()?;
    ensure!(seen.connections().len() >= CLIENTS as usize, "not all connections were seen");
    let attach = u64::try_from(attach.as_nanos())?;
    Ok(Turn { own: own / u64::from(CLIENTS), attach, ..turn })
}

/// A turn's clients, and another process' calls.
fn work(daemon: &Daemon, world: &World) -> Result<Turn> {
    let server = i32::try_from(world.pid)?;
    let before = cpu_ns(server)?;
    clients(daemon, world)?;
    world.wait_done()?;
    let server = (cpu_ns(server)? - before) / u64::from(CLIENTS);
    let mut zero = File::open("/dev/zero")?;
    let mut byte = [0];
    let unhooked = each(|| {
        std::hint::black_box(getppid());
    })?;
    let hooked = each(|| drop(zero.read(&mut byte)))?;
    Ok(Turn { server, unhooked, hooked, ..Turn::default() })
}

/// One after the other; each from an address of its own, so that nothing is remembered of it.
fn clients(daemon: &Daemon, world: &World) -> Result<()> {
    let group = daemon.clients.first().context("it has no clients")?;
    let to = world.server();
    std::thread::scope(|scope| {
        let all = scope.spawn(|| -> Result<()> {
            world.enter_clients()?;
            for n in 0..CLIENTS {
                let next = Instant::now() + APART;
                let from: IpAddr = address(usize::try_from(n % 100)?);
                let clock = client::follow(Way { from, to, transport: daemon.transport }, &group.steps);
                ensure!(clock.failed.is_none(), "a client failed: {:?}", clock.failed);
                // The rate is the load, not a condition to wait for.
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(())
        });
        all.join().map_err(|_| anyhow::anyhow!("the clients panicked"))?
    })
}

/// CPU time of a call of this thread.
fn each(mut call: impl FnMut()) -> Result<f64> {
    let now = || -> Result<Duration> { Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into()) };
    let before = now()?;
    for _ in 0..CALLS {
        call();
    }
    Ok(now()?.saturating_sub(before).as_secs_f64() * 1e9 / f64::from(CALLS))
}

/// CPU time of a process, and of those that it has waited for.
fn cpu_ns(pid: i32) -> Result<u64> {
    let stat = procfs::process::Process::new(pid)?.stat()?;
    let waited = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    Ok((stat.utime + stat.stime + waited) * (1_000_000_000 / procfs::ticks_per_second()))
}

fn text(daemon: &Daemon, processes: usize, without: &[Turn], with: &[Turn]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "numbers for people")]
    let ms = |ns: u64| ns as f64 / 1e6;
    let row = |name: &str, of: &dyn Fn(&Turn) -> f64, unit: &str| {
        let [none, traced] = [without, with]
            .map(|turns| median(&turns.iter().map(of).collect::<Vec<_>>()).unwrap_or_default());
        format!("{name:<44} {none:>9.3} {traced:>9.3} {unit}\n")
    };
    let mut text = format!(
        "{}, 20 clients a second, {processes} idle processes; medians of {TURNS} turns\n{:<44} {:>9} {:>9}\n",
        daemon.name, "", "without", "with"
    );
    text += &row("the server and its processes, a client", &|turn| ms(turn.server), "ms of CPU");
    text += &row("wrapwatch itself, a client", &|turn| ms(turn.own), "ms of CPU");
    text += &row("another process, a call that nobody hooks", &|turn| turn.unhooked, "ns");
    text += &row("another process, a read of a byte", &|turn| turn.hooked, "ns");
    text += &row("to attach", &|turn| ms(turn.attach), "ms");
    text
}
