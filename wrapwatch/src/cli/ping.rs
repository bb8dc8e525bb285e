//! `wrapwatch ping`: time connections to a server from here, as its clients see it.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    common::{Color, duration},
    output::{note, print, text_for_stdout},
    wrong_use,
};
use crate::{
    diagnose::{
        check::{self, Check},
        ping as judge,
    },
    live::signals::Signals,
    model::{
        Nanos, Protocol, error_line,
        ping::{Ping, PingOutcome},
    },
    ping::{self, Done, News, Settings},
    render::{
        self, json,
        text::{Text, escape},
    },
};

const ABOUT: &str = "\
Makes connections and measures each from its first SYN to the server's first packet. It does not log in (LDAP: it makes
an anonymous bind). The time to the greeting includes the wait in the server's accept queue: the kernel completes the
handshake before the server accepts. Several connections at once (-c) show whether the server takes one client at a time.

A MySQL server counts each connection as interrupted: Aborted_connects rises, and this host comes nearer to
max_connect_errors (error 1129) until its next login. So ping makes five connections by default, and without --force
never enough to get this host blocked.

Examples:
  wrapwatch ping db1:3306                  five, one after another
  wrapwatch ping db1:3306 -n 20 -c 20      what twenty clients at once wait
  wrapwatch ping db1:3306 -n 60 --interval 1s --timeout 60s
  wrapwatch ping [fd00::1]:3306 --json
  wrapwatch ping ldap1:389 -n 5 -c 1        another server's greeting, by its port or --protocol
  wrapwatch ping db1:3306 --check -w 1s -c 5s

Exit status: 0 at least one greeting, 1 no greeting, 2 wrong use. With --check: 0 all greeted in time, 1 some not
greeted or one later than --warning, 2 none greeted or one later than --critical, 3 unknown (wrong use, no such name).";

/// MySQL's own.
const PORT: u16 = 3306;

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// The server [default port: 3306]
    #[arg(value_name = "HOST:PORT")]
    target: String,
    /// Connections in all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Connections at once [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: Option<u32>,
    /// A number (5): same as --concurrency. A time (5s), with --check: same as --critical
    #[arg(short = 'c', value_name = "N|TIME", conflicts_with = "critical", value_parser = short)]
    c: Option<Short>,
    /// Protocol of the greeting: mysql, ssh, smtp, ftp, imap, pop3, ldap [default: by the port, else mysql]
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// Time from the start of one connection to the start of the next, for each of the concurrent ones
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration)]
    interval: Duration,
    /// Give up on a connection that gets no greeting within this time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Make all connections, even if the server then blocks this host
    #[arg(long)]
    force: bool,
    /// Print JSON, one object at the end
    #[arg(long)]
    json: bool,
    /// Act as a monitoring plugin (Nagios, Icinga, Zabbix): one line with numbers, exit status 0 to 3
    #[arg(long, conflicts_with = "json")]
    check: bool,
    /// With --check: warn if the slowest connection takes this long from its first SYN to the greeting
    #[arg(short, long, value_name = "TIME", requires = "check", value_parser = duration)]
    warning: Option<Duration>,
    /// With --check: critical if it takes this long
    #[arg(long, value_name = "TIME", requires = "check", value_parser = duration)]
    critical: Option<Duration>,
    /// Print no line for each connection
    #[arg(short, long)]
    quiet: bool,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.check {
        let (ping, text) = all(args)?;
        let shown = if args.json { json::one_line(&ping)? + "\n" } else { text.ping(&ping) };
        print(&shown)?;
        let greeted = ping.attempts.iter().any(|attempt| attempt.outcome == PingOutcome::Greeted);
        return Ok(ExitCode::from(u8::from(!greeted)));
    }
    let found = limits(args).and_then(|()| all(args));
    let found = found.map(|(ping, _)| check::ping(&ping, args.warning, critical(args)));
    let found = found.unwrap_or_else(|error| Check::unknown(error_line(error.as_ref())));
    print(&render::check::line("PING", &found))?;
    Ok(ExitCode::from(found.state.status()))
}

/// The critical time.
fn critical(args: &Args) -> Option<Duration> {
    match args.c {
        Some(Short::Critical(time)) => Some(time),
        _ => args.critical,
    }
}

/// Whether the limits can be meant.
fn limits(args: &Args) -> anyhow::Result<()> {
    match (args.warning, critical(args)) {
        (Some(warning), Some(critical)) if warning > critical => Err(wrong_use(format!(
            "--warning {warning:?} is longer than --critical {critical:?}: the warning would never be reported"
        ))),
        _ => Ok(()),
    }
}

/// What `-c` is, by its value: `-n 5 -c 1` as in ab(1), `--check -w 1s -c 5s` as in monitoring plugins.
#[derive(Clone, Copy, Debug)]
enum Short {
    /// Connections at once.
    AtOnce(u32),
    /// Critical from this time on.
    Critical(Duration),
}

fn short(text: &str) -> anyhow::Result<Short> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(Short::AtOnce(count)),
        Ok(_) => bail!("connections at once are from 1 to 10000"),
        Err(_) => {
            Ok(Short::Critical(duration(text).context("neither a number of connections nor a time (5s)")?))
        }
    }
}

/// Connections at once.
fn at_once(args: &Args) -> anyhow::Result<usize> {
    let count = match args.c {
        Some(Short::AtOnce(count)) if args.check => {
            return Err(wrong_use(format!(
                "-c {count} with --check: write -c {count}s for a time, or --concurrency {count} for connections at once"
            )));
        }
        Some(Short::Critical(_)) if !args.check => {
            return Err(wrong_use(
                "-c with a time is the critical one of --check; for connections at once write a number: -c 5",
            ));
        }
        Some(Short::AtOnce(_)) if args.concurrency.is_some() => {
            return Err(wrong_use("-c with a number is --concurrency: give one of them"));
        }
        Some(Short::AtOnce(count)) => count,
        _ => args.concurrency.unwrap_or(1),
    };
    Ok(usize::try_from(count)?)
}

fn protocol(text: &str) -> anyhow::Result<Protocol> {
    use Protocol::{Ftp, Imap, Ldap, Mysql, Pop3, Smtp, Ssh};
    let known = [Mysql, Ssh, Smtp, Ftp, Imap, Pop3, Ldap].into_iter().find(|known| known.name() == text);
    known.context("known are mysql, ssh, smtp, ftp, imap, pop3, ldap")
}

/// Makes the connections.
fn all(args: &Args) -> anyhow::Result<(Ping, Text)> {
    let at_once = at_once(args)?;
    let (host, port) = split(&args.target).map_err(|error| wrong_use(error_line(error.as_ref())))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let text = text_for_stdout(args.color);
    let ping = runtime.block_on(measure(args, &text, (host, port), at_once));
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    Ok((ping?, text))
}

async fn measure(
    args: &Args,
    text: &Text,
    (host, port): (&str, u16),
    at_once: usize,
) -> anyhow::Result<Ping> {
    let mut signals = Signals::new().context("cannot wait for Ctrl-C")?;
    let (address, resolve_ns) = tokio::select! {
        found = find(host, port) => found?,
        () = signals.any() => bail!("interrupted while looking {} up", escape(host)),
    };
    let settings = Settings {
        address,
        count: usize::try_from(args.count)?,
        at_once,
        interval: args.interval,
        // A plugin has ten seconds or so, and after the critical time there is nothing left to find out.
        timeout: critical(args).map_or(args.timeout, |critical| critical.min(args.timeout)),
        force: args.force,
        protocol: args.protocol.unwrap_or_else(|| Protocol::of_port(port)),
    };
    let mut unprinted = None;
    let (enough, decided) = (nanos(critical(args)), tokio::sync::Notify::new());
    let news = |news: News<'_>| match news {
        News::Attempt(attempt, _) if !args.json && !args.quiet && !args.check => {
            unprinted = unprinted.take().or(print(&text.ping_attempt(attempt)).err());
        }
        News::Attempt(attempt, _) => {
            if enough.is_some_and(|critical| attempt.total_ns >= critical) {
                decided.notify_one();
            }
        }
        News::Limited { allowed, limit, version } => {
            note(&text.ping_limited(settings.count, allowed, limit, version));
        }
    };
    let Done { attempts, version, stopped } = {
        let end = async {
            tokio::select! {
                () = signals.any() => {}
                () = decided.notified() => {}
            }
        };
        ping::run(&settings, news, end).await
    };
    if let Some(error) = unprinted {
        return Err(error);
    }
    Ok(Ping {
        target: args.target.clone(),
        address: address.to_string(),
        protocol: settings.protocol,
        resolve_ns,
        version,
        wanted: u64::from(args.count),
        stopped,
        outcomes: judge::outcomes(&attempts),
        connect: judge::times(&attempts, |attempt| attempt.connect_ns),
        queue: judge::queue(&attempts),
        greeting: judge::times(&attempts, |attempt| attempt.greeting_ns),
        total: judge::times(&attempts, judge::waited),
        histogram: judge::histogram(&attempts),
        problems: judge::problems(&attempts, resolve_ns),
        attempts,
    })
}

fn nanos(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Host and port of `host:port`, `[v6]:port`, `host`, `v6`.
fn split(target: &str) -> anyhow::Result<(&str, u16)> {
    let bad = || format!("{} is not HOST:PORT", escape(target));
    if target.parse::<IpAddr>().is_ok() {
        return Ok((target, PORT));
    }
    let (host, port) = match target.rsplit_once(':') {
        Some((host, port)) if !target.ends_with(']') => (host, port.parse().with_context(bad)?),
        _ => (target, PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let well = !host.is_empty() && port != 0 && (!host.contains(':') || host.parse::<IpAddr>().is_ok());
    anyhow::ensure!(well, bad());
    Ok((host, port))
}

/// The first address, and how long finding it took.
async fn find(host: &str, port: u16) -> anyhow::Result<(SocketAddr, Option<u64>)> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((SocketAddr::new(address, port), None));
    }
    let began = Instant::now();
    let found = tokio::net::lookup_host((host, port)).await;
    let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut found = found.with_context(|| format!("cannot find {} (tried {})", escape(host), Nanos(took)))?;
    let first = found.next().with_context(|| format!("{} has no address", escape(host)))?;
    Ok((first, Some(took)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Result<Args, clap::Error> {
        <Alone as clap::Parser>::try_parse_from(line.split(' ')).map(|alone| alone.args)
    }

    #[test]
    fn a_critical_time_and_connections_at_once_go_together_and_limits_have_an_order() {
        let both = parsed("ping db1 --check -c 5s --concurrency 2").unwrap();
        assert_eq!((at_once(&both).unwrap(), critical(&both)), (2, Some(Duration::from_secs(5))));
        assert!(at_once(&parsed("ping db1 -c 5 --concurrency 2").unwrap()).is_err());
        assert!(parsed("ping db1 --check -c 5s --critical 4s").is_err());
        let limits = |line: &str| limits(&parsed(line).unwrap()).is_ok();
        assert!(limits("ping db1 --check -w 1s -c 5s") && limits("ping db1 --check -w 5s"));
        assert!(!limits("ping db1 --check -w 5s -c 1s"));
    }

    #[test]
    fn a_plugin_ends_once_it_is_critical() {
        // Accepts by its queue, and greets nobody.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let line = format!("ping {} --check -n 50 -w 10ms -c 100ms", silent.local_addr().unwrap());
        let (ping, _) = all(&parsed(&line).unwrap()).unwrap();
        assert_eq!(ping.attempts.len(), 1, "{ping:?}");
        assert_eq!(check::ping(&ping, None, None).state, check::State::Critical);
    }

    #[test]
    fn targets_are_read_as_people_write_them() {
        for (target, host, port) in [
            ("db1:3307", "db1", 3307),
            ("db1", "db1", 3306),
            ("10.0.0.1:33", "10.0.0.1", 33),
            ("[fd00::1]:33", "fd00::1", 33),
            ("[fd00::1]", "fd00::1", 3306),
            ("fd00::1", "fd00::1", 3306),
        ] {
            assert_eq!(split(target).unwrap(), (host, port), "{target}");
        }
        for bad in ["", ":3306", "db1:", "db1:x", "db1:0", "db1:99999", "a:b:c:3306", "[]:1"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
