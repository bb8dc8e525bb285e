//! The rows: work for the server, and for a process that is not the server.

use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::clients::{ClientResult, ClientsSpec, Mode, Outcome, Source};
use crate::lab::{Command, Engine, ExecResult, Files, Lab, LabConfig, Namespace, ServerConfig};

/// Clients of a storm at once.
const STORM_CLIENTS: usize = 8;
/// Addresses they come from: enough for their ports in TIME_WAIT.
const STORM_ADDRESSES: u32 = 4_096;
/// Open connections of the OLTP row.
const OLTP_CONNECTIONS: usize = 64;
/// Rows of its table.
const OLTP_ROWS: usize = 10_000;

const ADDRESSES_ONLY: &str = "mysqld mariadbd: 10.\n";
const NAMES: &str = "mysqld mariadbd: .lab.example\n";
const NOBODY_ELSE: &str = "ALL: ALL\n";

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// Connect, greeting, close, as fast as it goes; rules of addresses only.
    Storm,
    /// The same with two lookups for each, answered at once.
    StormDns,
    /// sysbench's point selects over connections that stay open.
    Oltp,
    /// A syscall that is hooked, of another process.
    OtherHooked,
    /// One that is not.
    OtherUnhooked,
}

/// How much work.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections of a storm.
    pub storm: usize,
    /// Seconds of OLTP.
    pub oltp_s: u32,
    /// Syscalls of the other process.
    pub calls: u64,
}

impl Size {
    /// For a column of a full run.
    pub const FULL: Self = Self { storm: 12_000, oltp_s: 2, calls: 400_000 };
    /// While trying things out.
    pub const QUICK: Self = Self { storm: 3_000, oltp_s: 1, calls: 200_000 };

    /// Beside a tool under which everything takes ten times as long.
    #[must_use]
    pub const fn small(self) -> Self {
        Self { storm: self.storm / 8, oltp_s: self.oltp_s, calls: self.calls }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// How many: connections, queries, calls.
    pub count: u64,
    /// A second.
    pub per_s: f64,
}

impl Row {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Storm, Self::StormDns, Self::Oltp, Self::OtherHooked, Self::OtherUnhooked];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Storm => "storm",
            Self::StormDns => "storm_dns",
            Self::Oltp => "oltp",
            Self::OtherHooked => "other_hooked",
            Self::OtherUnhooked => "other_unhooked",
        }
    }

    /// As the table names it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Storm => "connection storm, no DNS",
            Self::StormDns => "connection storm, fast DNS",
            Self::Oltp => "OLTP point select, 64 open",
            Self::OtherHooked => "other process, hooked calls",
            Self::OtherUnhooked => "other process, unhooked calls",
        }
    }

    /// What is counted.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Storm | Self::StormDns => "connections",
            Self::Oltp => "queries",
            Self::OtherHooked | Self::OtherUnhooked => "calls",
        }
    }

    /// Does it.
    pub fn run(self, lab: &Lab, size: Size) -> Result<Done> {
        match self {
            Self::Storm => storm(lab, ADDRESSES_ONLY, size.storm),
            Self::StormDns => storm(lab, NAMES, size.storm / 2),
            Self::Oltp => oltp(lab, size.oltp_s),
            Self::OtherHooked => calls(size.calls, hooked()?),
            Self::OtherUnhooked => calls(size.calls, || {
                // SAFETY: it has no preconditions.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }),
        }
    }
}

/// A lab for all rows.
pub fn lab() -> Result<Lab> {
    let options = ["--max-connections=500", "--max-connect-errors=4294967295", "--back-log=512"];
    let server = ServerConfig {
        engine: Engine::Innodb,
        options: options.map(str::to_owned).into(),
        ..ServerConfig::default()
    };
    let files = Files {
        resolv: Some("nameserver 10.1.1.53\noptions timeout:1\n".to_owned()),
        ..Files::tables(ADDRESSES_ONLY, NOBODY_ELSE)
    };
    Lab::start(LabConfig { files, server, ..LabConfig::default() })
}

/// Makes sysbench's table.
pub fn prepare_oltp(lab: &Lab) -> Result<()> {
    let sql = Mode::Query { sql: "create database if not exists sbtest".to_owned() };
    let made = lab.clients(ClientsSpec { mode: sql, ..ClientsSpec::default() })?;
    ensure!(made.iter().all(|client| client.outcome == Outcome::Greeting), "no database: {made:?}");
    sysbench(lab, &["prepare"], 60_000).map(|_| ())
}

fn storm(lab: &Lab, allow: &str, count: usize) -> Result<Done> {
    lab.files(Files::tables(allow, NOBODY_ELSE))?;
    let spec = ClientsSpec {
        count,
        concurrency: STORM_CLIENTS,
        source: Source::Distinct(STORM_ADDRESSES),
        ..ClientsSpec::default()
    };
    let results = lab.clients(spec)?;
    // Nobody reads it, and it grows.
    lab.take_dns_log()?;
    done_of(&results)
}

fn done_of(results: &[ClientResult]) -> Result<Done> {
    if let Some(bad) = results.iter().find(|client| client.outcome != Outcome::Greeting) {
        anyhow::bail!("a client of the storm was not greeted: {bad:?}");
    }
    let first = results.iter().map(|client| client.t_connect_called_ns).min().context("no clients")?;
    let last = results.iter().map(|client| client.t_closed_ns).max().unwrap_or(first);
    Ok(done(results.len() as u64, last.saturating_sub(first)))
}

#[expect(clippy::cast_precision_loss, reason = "rates of a benchmark")]
fn done(count: u64, ns: u64) -> Done {
    Done { count, per_s: count as f64 * 1e9 / ns.max(1) as f64 }
}

fn oltp(lab: &Lab, seconds: u32) -> Result<Done> {
    lab.files(Files::tables(ADDRESSES_ONLY, NOBODY_ELSE))?;
    let time = format!("--time={seconds}");
    let threads = format!("--threads={OLTP_CONNECTIONS}");
    let said = sysbench(lab, &[&time, &threads, "run"], 120_000)?;
    queries(&said.stdout).with_context(|| format!("sysbench said: {}{}", said.stdout, said.stderr))
}

/// Of sysbench's `queries: 182736 (91251.13 per sec.)`.
fn queries(text: &str) -> Result<Done> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("queries:")).context("no queries")?;
    let (count, rest) = line.trim().split_once('(').context("no rate")?;
    let per_s = rest.split_whitespace().next().context("no rate")?;
    Ok(Done { count: count.trim().parse()?, per_s: per_s.parse()? })
}

fn sysbench(lab: &Lab, args: &[&str], timeout_ms: u64) -> Result<ExecResult> {
    let rows = format!("--table-size={OLTP_ROWS}");
    let host = format!("--mysql-host={}", lab.info().server4);
    let fixed = [
        "sysbench",
        "oltp_point_select",
        &host,
        "--mysql-user=root",
        "--mysql-db=sbtest",
        "--tables=1",
        &rows,
    ];
    let argv = fixed.iter().chain(args).map(|word| (*word).to_owned()).collect();
    let result: ExecResult = lab.begin(Command::Exec { ns: Namespace::Clients, argv, timeout_ms })?.wait()?;
    ensure!(result.status == Some(0), "sysbench failed: {}{}", result.stdout, result.stderr);
    Ok(result)
}

/// Receives nothing, which is what a server's other sockets mostly do.
fn hooked() -> Result<impl FnMut()> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    let mut buffer = [0_u8; 16];
    Ok(move || {
        let nothing = socket.recv(&mut buffer);
        debug_assert!(nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    })
}

/// The fastest of ten batches: what the machine does besides only makes it slower.
fn calls(count: u64, mut call: impl FnMut()) -> Result<Done> {
    let batch = count / 10;
    let mut best = u64::MAX;
    for _ in 0..10 {
        let begun = Instant::now();
        for _ in 0..batch {
            call();
        }
        best = best.min(u64::try_from(begun.elapsed().as_nanos())?);
    }
    Ok(done(batch, best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysbenchs_queries_are_read() {
        let text = "SQL statistics:\n    transactions: 9 (4.5 per sec.)\n    queries:                             182736 (91251.13 per sec.)\n";
        let done = queries(text).unwrap();
        assert_eq!((done.count, done.per_s), (182_736, 91_251.13));
        assert!(queries("nothing").is_err());
    }
}
