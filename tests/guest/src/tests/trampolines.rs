//! Trampolines, beside what every set of hooks has to show: that they tell the same as the others, beside other tools, and where they are not used.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use wrapwatch::{
    model::{Connection, DegradationKind, Line, Missing, Outcome, waits_for_tasks},
    probe::raw_skips_calls,
};
use wrapwatch_tests::{
    bench::floor::{Floor, Hook},
    clients::{ClientResult, ClientsSpec},
    nameserver::Rule,
    watch::{Seen, Watch, binary, told},
};

use super::{has_trampolines, programs, release};
use crate::{
    report::Report,
    site::{NS1, Site, StandIn},
};

const SETS: [&str; 3] = ["raw", "tracepoint", "trampoline"];
/// Of a server of this test's own.
const PORT: u16 = 3310;
/// Clients that come one after the other.
const SEVERAL: usize = 5;
/// As the kernel calls the function in which the server sleeps.
const ACCEPT: &str = if cfg!(target_arch = "aarch64") { "__arm64_sys_accept4" } else { "__x64_sys_accept4" };
/// How long an emulated machine may take to turn to a thread.
const LIMIT: Duration = Duration::from_mins(1);
const FTRACE_ENABLED: &str = "/proc/sys/kernel/ftrace_enabled";

/// The tests.
pub(super) fn run(report: &mut Report, site: &Site) {
    if !has_trampolines() {
        return;
    }
    // The others leave out calls on raw tracepoints. On 7.2 the end of such a call is not lost, either.
    if !raw_skips_calls() {
        report.test("trampolines: tell the same", || the_same_is_told(site));
        report.test("trampolines: a lost end is counted", || a_lost_end_is_counted(site));
    }
    report.test("trampolines: another tool comes and goes", || another_comes_and_goes(site));
    report.test("trampolines: in a PID namespace", in_a_pid_namespace);
    report.test("trampolines: none are run", || none_are_run(site));
    report.test("trampolines: others take their place", || others_take_their_place(site));
}

fn watch(hooks: &str, site: &Site) -> Result<Watch> {
    Watch::live(["--hooks", hooks, "-p", &site.pid().to_string()])
}

/// By all sets at once of the same clients: fast ones, and one for whom the first nameserver does not answer.
fn the_same_is_told(site: &Site) -> Result<()> {
    let mut watches = SETS.iter().map(|hooks| watch(hooks, site)).collect::<Result<Vec<_>>>()?;
    let mut clients = site.clients(&ClientsSpec::one_by_one(SEVERAL))?;
    clients.extend(site.clients(&ClientsSpec::at_once(SEVERAL))?);
    site.rules([Rule::silent().at(NS1)])?;
    clients.extend(site.clients(&ClientsSpec::one_by_one(1))?);
    site.rules([])?;
    watches.iter_mut().try_for_each(|watch| watch.wait_connections(clients.len()))?;
    let seen = watches.into_iter().map(Watch::stop).collect::<Result<Vec<Seen>>>()?;
    let [raw, others @ ..] = &seen[..] else { bail!("nobody looked on") };
    for client in clients {
        let peer = client.source.context("a client has no address")?.to_string();
        let by_raw = told(raw.of(&peer)?);
        for (hooks, other) in SETS.iter().skip(1).zip(others) {
            let by_other = told(other.of(&peer)?);
            ensure!(by_raw == by_other, "of {peer}: raw:\n{by_raw}\n{hooks}:\n{by_other}");
        }
    }
    Ok(())
}

/// A thread sleeps in `accept`, since before the trace began and then while the other tool comes and goes: of the ends of such calls no trampoline on them tells.
fn another_comes_and_goes(site: &Site) -> Result<()> {
    // Its first thread waits in `poll`.
    let server = StandIn::with_neighbour(PORT, 1)?;
    let pid = server.pid();
    let mut watch = Watch::live(["--hooks", "trampoline", "-p", &pid.to_string()])?;
    let one = ClientsSpec { port: PORT + 1, ..ClientsSpec::one_by_one(1) };
    site.clients(&one)?;
    for _ in 1..SEVERAL {
        sleeps_in_accept(pid)?;
        let hooks = [Hook::Entry(ACCEPT.to_owned()), Hook::Exit(ACCEPT.to_owned())];
        drop(Floor::attach(&hooks, pid)?);
        site.clients(&one)?;
    }
    watch.wait_connections(SEVERAL)?;
    let seen = watch.stop()?;
    ensure!(seen.summary()?.accepts == SEVERAL as u64, "{:?}", seen.summary());
    for connection in seen.connections() {
        ensure!(is_whole(connection) && connection.queued_ns.is_some(), "{connection:?}");
    }
    Ok(())
}

/// An `accept` that is interrupted begins again. That its end was not seen shows then, and only where there was none.
fn a_lost_end_is_counted(site: &Site) -> Result<()> {
    let server = StandIn::with_neighbour(PORT, 1)?;
    let pid = server.pid();
    let one = ClientsSpec { port: PORT + 1, ..ClientsSpec::one_by_one(1) };
    for (others, lost) in [(false, 0), (true, 1)] {
        let mut watch = Watch::live(["--hooks", "trampoline", "-p", &pid.to_string()])?;
        // From here on the beginning of the call in which the thread sleeps was seen.
        site.clients(&one)?;
        sleeps_in_accept(pid)?;
        if others {
            drop(Floor::attach(&[Hook::Entry(ACCEPT.to_owned()), Hook::Exit(ACCEPT.to_owned())], pid)?);
        }
        interrupt(pid)?;
        sleeps_in_accept(pid)?;
        site.clients(&one)?;
        watch.wait_connections(2)?;
        let seen = watch.stop()?;
        let found = seen.lost("lost_end");
        ensure!(found == lost, "{found} and not {lost}: {:?}", seen.lines);
        ensure!(seen.connections().into_iter().all(is_whole), "{:?}", seen.connections());
    }
    Ok(())
}

/// Nothing is missing; on a kernel that leaves out calls it may be that it did.
fn is_whole(connection: &Connection) -> bool {
    connection.complete
        || (raw_skips_calls() && connection.missing.iter().all(|missing| *missing == Missing::CallsSkipped))
}

/// Waits until a thread of the process sleeps in `accept4` (proc(5), `syscall`).
fn sleeps_in_accept(pid: u32) -> Result<()> {
    let number = format!("{} ", libc::SYS_accept4);
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            if fs::read_to_string(task?.path().join("syscall")).is_ok_and(|call| call.starts_with(&number)) {
                return Ok(());
            }
        }
        thread::yield_now();
    }
    bail!("no thread of {pid} waits for a client")
}

/// Stops all threads of a process and has them go on.
fn interrupt(pid: u32) -> Result<()> {
    let process = Pid::from_raw(pid.cast_signed());
    kill(process, Signal::SIGSTOP)?;
    ensure!(matches!(waitpid(process, Some(WaitPidFlag::WUNTRACED))?, WaitStatus::Stopped(..)));
    kill(process, Signal::SIGCONT)?;
    Ok(())
}

/// Where a killed PID namespace could have the kernel wait for ever they are not attached.
fn in_a_pid_namespace() -> Result<()> {
    let mut command = Command::new("/bin/busybox");
    command.args(["unshare", "-p", "-f", "--mount-proc"]).arg(binary()?);
    command.args(["live", "--hooks", "trampoline", "--wait", "--comm", "nobody-is-called-so", "-d", "1s"]);
    let output = command.output().context("busybox")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = said.contains("PID namespace of its own: if that were killed");
    ensure!(refused == waits_for_tasks(&release()), "{said}");
    ensure!(refused != output.status.success(), "{said}");
    Ok(())
}

/// While the kernel runs no trampolines. Linux 6.1 counts wrongly those that are taken off after it does again, and says so.
fn without_ftrace<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    fs::write(FTRACE_ENABLED, "0").context(FTRACE_ENABLED)?;
    let done = work();
    let gone = programs::wait_trampolines_gone();
    fs::write(FTRACE_ENABLED, "1").context(FTRACE_ENABLED)?;
    gone.and(done)
}

/// The kernel takes them and runs none, at the beginning or after a while.
fn none_are_run(site: &Site) -> Result<()> {
    let watch = watch("trampoline", site)?;
    let seen = without_ftrace(|| watch.wait())?;
    ensure!(seen.status == Some(1), "{}", seen.stderr);
    ensure!(seen.degradations().iter().any(|lost| lost.kind == DegradationKind::NoHook), "{}", seen.stderr);
    let file = Path::new("/tmp/none.wwt");
    let came = without_ftrace(|| Ok(Watch::record(site.pid(), file, ["--hooks", "trampoline"])))?;
    let Err(error) = came else { bail!("it was not noticed") };
    let said = format!("{error:#}");
    ensure!(said.contains("ftrace_enabled is 0"), "{said}");
    Ok(())
}

/// While a client waits in its check the kernel stops running them, of which nobody had asked for. What takes their place sees that check's end, and all that comes later.
fn others_take_their_place(site: &Site) -> Result<()> {
    let one = ClientsSpec::one_by_one(1);
    let mut watch = Watch::pid(site.pid())?;
    site.clients(&one)?;
    watch.wait_connections(1)?;
    site.rules([Rule::silent().at(NS1)])?;
    site.forget_asked();
    let waits = thread::scope(|scope| {
        let client = scope.spawn(|| site.clients(&one));
        site.wait_asked()?;
        without_ftrace(|| watch.find(|line| is_about_hooks(line).then_some(())))?;
        client.join().map_err(|_| anyhow!("the client that waits panicked"))?
    });
    site.rules([])?;
    let waited = peer(&waits?)?;
    let later = site.clients(&ClientsSpec::one_by_one(SEVERAL))?;
    watch.wait_connections(3 + SEVERAL)?;
    let seen = watch.stop()?;
    ensure!(seen.status == Some(0), "{}", seen.stderr);
    ensure!(seen.lines.iter().filter(|line| is_about_hooks(line)).count() == 1, "{:?}", seen.degradations());
    ensure!(seen.summary()?.accepts == 2 + SEVERAL as u64, "{:?}", seen.summary());
    // Twice: as far as it was seen until then, and as one that had begun before.
    let waited = waited.parse()?;
    let twice: Vec<&Connection> =
        seen.connections().into_iter().filter(|told| told.peer == Some(waited)).collect();
    let missing = |of: &Connection, what| of.missing.contains(&what);
    let [until, since] = twice[..] else { bail!("{twice:?}") };
    ensure!(missing(until, Missing::CallsSkipped) && until.outcome != Outcome::Greeted, "{until:?}");
    ensure!(missing(since, Missing::BeganBefore) && since.outcome == Outcome::Greeted, "{since:?}");
    for client in later {
        let told = seen.of(&client.source.context("a client has no address")?.to_string())?;
        ensure!(is_whole(told) && !told.lookups.is_empty(), "{told:?}");
    }
    Ok(())
}

fn is_about_hooks(line: &Line) -> bool {
    matches!(line, Line::Degradation(degradation) if degradation.kind == DegradationKind::NoHook)
}

/// The address of the only client.
fn peer(clients: &[ClientResult]) -> Result<String> {
    let [client] = clients else { bail!("{clients:?}") };
    Ok(client.source.context("a client has no address")?.to_string())
}
