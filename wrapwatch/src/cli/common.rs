//! Options that several subcommands share: which processes, how long, how it is shown.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::{
    host::wanted::Wanted,
    live::Measure,
    model::{self, doctor::HookKind},
    probe,
    render::text::escape,
};

/// What stands above the options that say which processes. At each of them: a heading for what follows would go on behind them.
const TARGET: &str = "Target (default: every mysqld and mariadbd of root, of a system user or with a root-owned program; others: -p)";

/// Which processes to look at.
#[derive(Args, Clone, Debug)]
pub struct TargetArgs {
    /// The process with this ID; may be given several times
    #[arg(short, long = "pid", value_name = "PID", conflicts_with_all = ["comm", "unit"], help_heading = TARGET)]
    pub pids: Vec<u32>,
    /// Every process with this name, of the same owners as the default
    #[arg(long, value_name = "NAME", conflicts_with = "unit", help_heading = TARGET)]
    pub comm: Option<String>,
    /// The server of this systemd unit
    #[arg(long, value_name = "NAME", help_heading = TARGET)]
    pub unit: Option<String>,
    /// Every server that uses libwrap (sshd, vsftpd, stunnel…); for servers that inetd starts use -p
    #[arg(long, conflicts_with_all = ["pids", "comm", "unit"], help_heading = TARGET)]
    pub wrapped: bool,
    /// Wait for the server to start, and again each time it ends
    #[arg(long, help_heading = TARGET)]
    pub wait: bool,
}

impl TargetArgs {
    /// As the library takes it.
    pub fn wanted(&self) -> Wanted {
        if !self.pids.is_empty() {
            Wanted::Pids(self.pids.clone())
        } else if let Some(comm) = &self.comm {
            Wanted::Comm(comm.clone())
        } else if let Some(unit) = &self.unit {
            Wanted::Unit(unit.clone())
        } else if self.wrapped {
            Wanted::Wrapped
        } else {
            Wanted::Servers
        }
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Of which zone times of day are.
#[cfg(feature = "tui")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Zone {
    /// Universal time
    #[default]
    Utc,
    /// The machine's time zone, or the one in the variable TZ
    Local,
}

/// Which hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Hooks {
    /// The best that this kernel and these capabilities allow
    #[default]
    Auto,
    /// Trampolines (fentry, fexit), Linux 5.17 and later: cost other processes nothing and queries least
    Trampoline,
    /// Raw tracepoints: every system call of the machine pays for them; attached and detached at once
    Raw,
    /// Perf tracepoints: work where kernel memory may not be read
    Tracepoint,
}

/// How the kernel side is attached.
#[derive(Args, Clone, Copy, Debug)]
pub struct ProbeArgs {
    /// Kind of hooks that show the server's system calls
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub hooks: Hooks,
    /// Follow each client of MySQL or MariaDB past the greeting, until it is logged in: two more records a connection
    #[arg(long)]
    pub logins: bool,
}

impl ProbeArgs {
    /// As the library takes it. With -v twice the kernel side logs what it does.
    pub fn options(self, verbose: u8) -> probe::Options {
        let hooks = match self.hooks {
            Hooks::Auto => None,
            Hooks::Raw => Some(HookKind::RawTracepoint),
            Hooks::Tracepoint => Some(HookKind::Tracepoint),
            Hooks::Trampoline => Some(HookKind::Trampoline),
        };
        probe::Options { kernel_log: verbose >= 2, hooks, logins: self.logins, ..probe::Options::default() }
    }
}

/// As whom.
#[derive(Args, Clone, Debug)]
pub struct UserArgs {
    /// Go on as this user, with the capabilities that tracing takes and no others; files are that user's
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl UserArgs {
    /// Before anything is opened and there is another thread.
    pub fn apply(&self) -> anyhow::Result<()> {
        Ok(self.user.as_deref().map_or(Ok(()), probe::become_user)?)
    }
}

/// Options of everything that traces.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Which processes
    #[command(flatten)]
    pub target: TargetArgs,
    /// Stop after this time (60s, 10m, 1h)
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Threshold for slow connections (shown with their queries) and for stalls (checks that take this long)
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    pub slow: Duration,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Put no uprobes on libwrap; wrapwatch then takes the last table's close as the check's end
    #[arg(long)]
    pub no_uprobes: bool,
    /// Detach and exit with status 1 when the BPF programs and the kernel's way to them take more than this share of one core (1%, 0.5%)
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub max_overhead: Option<f64>,
    /// How the kernel side is attached
    #[command(flatten)]
    pub probe: ProbeArgs,
    /// As whom
    #[command(flatten)]
    pub user: UserArgs,
    /// Print only errors on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more on stderr; twice: also what the BPF programs log
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

impl Common {
    /// Sends log lines to stderr. The kernel side logs only when asked to twice.
    pub fn init_log(&self) {
        init_log(self.quiet, self.verbose);
    }

    /// `--slow` in nanoseconds.
    pub fn slow_ns(&self) -> u64 {
        u64::try_from(self.slow.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Color {
    /// Whether stdout gets colours.
    pub fn on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// Sends log lines to stderr. The kernel side logs only when asked to twice.
pub fn init_log(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => log::LevelFilter::Error,
        (false, 0) => log::LevelFilter::Warn,
        (false, 1) => log::LevelFilter::Info,
        (false, _) => log::LevelFilter::Debug,
    };
    // aya tells of every feature it tries; that is its own debugging, not ours.
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .filter_module("aya", log::LevelFilter::Warn)
        .target(env_logger::Target::Stderr)
        // Names in it may be anybody's.
        .format(|out, record| {
            let message = record.args().to_string();
            writeln!(out, "[{} {}] {}", record.level(), record.target(), escape(&message))
        })
        .parse_default_env()
        .try_init();
}

/// A number of bytes such as `100M`: K, M, G and T are powers of 1024.
pub fn bytes(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase();
    let shift = match unit.trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => bail!("{text:?} is not a number of bytes; write 100M or 1G"),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match number {
        Some(number) if number > 0 => Ok(number),
        _ => bail!("{text:?} is not a number of bytes; write 100M or 1G"),
    }
}

/// A share such as `1%` or `0.5 %`, of one core.
pub fn percent(text: &str) -> anyhow::Result<f64> {
    let number = text.trim().trim_end_matches('%').trim_end().parse::<f64>().ok();
    match number.filter(|number| number.is_finite() && *number >= 0.0) {
        Some(number) => Ok(number / 100.0),
        None => bail!("{text:?} is not a percentage; write 1% or 0.5%"),
    }
}

/// How often to measure what the server pays.
pub fn measure(max_overhead: Option<f64>) -> Measure {
    max_overhead.map_or(Measure::Sometimes, Measure::Limit)
}

/// A time such as `60s`, `100ms`, `1h 30m`.
pub fn duration(text: &str) -> anyhow::Result<Duration> {
    let parsed: SignedDuration =
        text.parse().with_context(|| format!("{text:?} is not a duration; write 60s, 100ms or 10m"))?;
    if parsed.is_negative() || parsed.is_zero() {
        bail!("a duration must be longer than 0");
    }
    Ok(parsed.unsigned_abs())
}

/// `--fail-on`: from which severity on the exit status is 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Anything
    Info,
    /// Warnings and worse
    Warning,
    /// Critical only
    Critical,
}

impl From<FailOn> for model::Severity {
    fn from(fail_on: FailOn) -> Self {
        match fail_on {
            FailOn::Info => Self::Info,
            FailOn::Warning => Self::Warning,
            FailOn::Critical => Self::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_say_which_processes_stand_under_that_heading() {
        use clap::CommandFactory as _;
        for command in super::super::Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                let which = ["pids", "comm", "unit", "wrapped", "wait"].contains(&arg.get_id().as_str());
                let targets = command.get_arguments().any(|arg| arg.get_id() == "unit");
                assert_eq!(
                    arg.get_help_heading() == Some(TARGET),
                    which && targets,
                    "{} {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = [("512", 512), ("100K", 100 << 10), ("5MiB", 5 << 20), ("1G", 1 << 30), ("2tb", 2 << 40)];
        for (text, size) in sizes {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for bad in ["", "0", "M", "-1M", "1.5G", "1X", "99999999999T"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_read_as_people_write_them() {
        let shares = ["1%", "0.5 %", "100"].map(|text| percent(text).ok());
        assert_eq!(shares, [Some(0.01), Some(0.005), Some(1.0)]);
        for bad in ["", "%", "-1%", "much", "inf"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("100ms").unwrap(), Duration::from_millis(100));
        assert_eq!(duration("10m").unwrap(), Duration::from_mins(10));
        for bad in ["", "0s", "-1s", "60", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
