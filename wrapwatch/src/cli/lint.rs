//! `wrapwatch lint`: what the tables cost and where they mislead, before the outage.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use super::common::{Color, FailOn};
use super::output::{note, print, text_for_stdout};
use super::traces;
use super::wrong_use;
use crate::linter::{self, Files, HostReport, IGNORE_FILE, IgnoreFile, Paths, Subject};
use crate::model::Severity;
use crate::render::{json, lint, text::escape};
use crate::replay::LintInput;
use crate::trace::SnapshotRole;
use crate::wrappers::problems::explain;
use crate::wrappers::{Endpoint, TableKind, daemons};
use crate::wrappers::{input::Client, lint::Report};

const EXAMPLES: &str = "\
Examples:
  wrapwatch lint                                      the problems in this machine's files
  wrapwatch lint --client 10.0.2.14                   what a client's check decides and costs
  wrapwatch lint --client 10.0.2.14=db1.example.com   the same, if DNS gives it that name
  wrapwatch lint --trace FILE.wwt                     the files and the clients of a trace
  wrapwatch lint --client 10.0.2.14=db1.example.com --fix | patch -d / -p0 --dry-run
  wrapwatch lint --hosts-dir inventory                one line a host: inventory/HOST/hosts.allow, or …/HOST/etc/hosts.allow
  wrapwatch lint --format sarif > lint.sarif          for code hosts; --format github inside a GitHub action
  wrapwatch lint --explain never-matches              what a problem means
  wrapwatch lint --json --fail-on critical

lint sends no DNS queries. It ignores the problems listed in hosts.lint-ignore beside hosts.allow: a line there is PROBLEM [FILE [RULE]],
for example `fails-closed hosts.allow mysqld: .example.com`.
Exit status: 0 done, 1 failed, 2 wrong use, 3 if a problem reached the --fail-on severity.";

/// The daemon's name where nobody says another.
const DAEMON: &str = "mysqld";
/// More clients than this of a trace are not looked at.
const MAX_CLIENTS: usize = 1000;

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; equal problems are grouped
    #[default]
    Text,
    /// One object; with --hosts-dir one for each host
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// `wrapwatch lint`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// hosts.allow [default: the trace's, or /etc/hosts.allow]
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// hosts.deny [default: the trace's, or /etc/hosts.deny]
    #[arg(long, value_name = "FILE")]
    deny: Option<PathBuf>,
    /// resolv.conf [default: the trace's, or /etc/resolv.conf]
    #[arg(long, value_name = "FILE")]
    resolv: Option<PathBuf>,
    /// hosts [default: the trace's, or /etc/hosts]
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// nsswitch.conf [default: the trace's, or /etc/nsswitch.conf]
    #[arg(long, value_name = "FILE")]
    nsswitch: Option<PathBuf>,
    /// The daemon's name: the base name of what the server was started as [default: the trace's, or mysqld]
    #[arg(long, value_name = "NAME")]
    daemon: Option<String>,
    /// The server's own address and port, for rules that name them
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:3306")]
    server: SocketAddr,
    /// Check this client; NAME is its name in DNS, if you know it; may be given several times
    #[arg(long = "client", value_name = "ADDR[=NAME]", value_parser = client)]
    clients: Vec<Client>,
    /// Check the clients of this trace, against its copies of all files that no option gives
    #[arg(long, value_name = "FILE.wwt")]
    trace: Option<PathBuf>,
    /// Check the tables of many hosts, one folder each; print one line for each host
    #[arg(long, value_name = "DIR", conflicts_with_all = ["trace", "fix", "write", "clients", "allow", "deny", "resolv", "hosts", "nsswitch", "ignore", "no_ignore"])]
    hosts_dir: Option<PathBuf>,
    /// File with problems to ignore [default: hosts.lint-ignore beside hosts.allow]
    #[arg(long, value_name = "FILE", conflicts_with = "no_ignore")]
    ignore: Option<PathBuf>,
    /// Ignore no problem
    #[arg(long)]
    no_ignore: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Exit with status 3 if a problem has this severity or a higher one
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Print a diff of the tables that gives the clients the same verdicts without lookups
    #[arg(long, conflicts_with_all = ["json", "format"])]
    fix: bool,
    /// With --fix: change the tables as the diff says, and leave a copy of each beside it (FILE.orig)
    #[arg(long, requires = "fix", conflicts_with = "trace")]
    write: bool,
    /// Explain a problem, and do nothing else
    #[arg(long, value_name = "PROBLEM", exclusive = true)]
    explain: Option<String>,
    /// Use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

fn client(text: &str) -> anyhow::Result<Client> {
    let (address, name) = text.split_once('=').map_or((text, None), |(address, name)| (address, Some(name)));
    let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address: IpAddr = inside.parse().with_context(|| format!("{} is not an address", escape(address)))?;
    match name {
        Some("") => bail!("there is no name behind the ="),
        name => Ok(Client { address, name: name.map(ToOwned::to_owned) }),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(kind) = &args.explain {
        let explanation = explain::find(kind).ok_or_else(|| {
            wrong_use(format!("there is no problem called {}; docs/lint-rules.md lists them", escape(kind)))
        })?;
        print(&text_for_stdout(args.color).lint_explanation(&explanation.text()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let recorded = args.trace.as_deref().map(|path| read_trace(path, args.daemon.as_deref())).transpose()?;
    // The name of the host that lint runs on says nothing of the domain of a trace's.
    let own_name = match recorded {
        Some(_) => String::new(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
    };
    let clients = clients(args, recorded.as_ref());
    let its_daemon = recorded.as_ref().and_then(|recorded| recorded.daemon.as_deref());
    let subject = Subject {
        daemon: daemon(args.daemon.as_deref().or(its_daemon).unwrap_or(DAEMON)),
        server: Endpoint::new(args.server.ip(), args.server.port()),
        own_domain: own_name.trim().split_once('.').map(|(_, domain)| domain),
        clients: &clients,
    };
    if let Some(folder) = &args.hosts_dir {
        return hosts(args, folder, &subject);
    }
    let paths = Paths {
        tables: [args.allow.clone(), args.deny.clone()],
        resolv: args.resolv.clone(),
        hosts: args.hosts.clone(),
        nsswitch: args.nsswitch.clone(),
    };
    let files = Files::read(&paths, recorded.as_ref())?;
    if args.fix {
        fix(args, &files, &subject)?;
    }
    say_missing(&files);
    let ignored = ignore_file(args)?;
    let (report, applied) = files.lint(&subject, &ignored.list);
    for remark in ignored.remarks(&applied) {
        note(&escape(&remark));
    }
    if !args.fix {
        print(&shown(args, &report)?)?;
    }
    Ok(status(args, report.worst()))
}

fn status(args: &Args, worst: Option<Severity>) -> ExitCode {
    let failed = args.fail_on.is_some_and(|least| worst.is_some_and(|worst| worst >= least.into()));
    if failed { ExitCode::from(3) } else { ExitCode::SUCCESS }
}

/// The name that libwrap gets, where a program's is given.
fn daemon(name: &str) -> &str {
    let own = daemons::name_for_libwrap(name);
    if own != name {
        note(&format!("{} calls itself {own} for libwrap: rules for {own} are looked at", escape(name)));
    }
    if let Some(by) = daemons::find(name).and_then(|daemon| daemon.named_by) {
        note(&format!(
            "{} gives libwrap a name of its configuration, {by}: give that with --daemon",
            escape(name)
        ));
    }
    own
}

/// Those given, then those of the trace.
fn clients(args: &Args, recorded: Option<&LintInput>) -> Vec<Client> {
    let mut clients = args.clients.clone();
    let given: HashSet<IpAddr> = clients.iter().map(|client| client.address.to_canonical()).collect();
    let seen = recorded.into_iter().flat_map(|recorded| &recorded.clients);
    let seen = seen.filter(|(address, _)| !given.contains(address));
    clients.extend(seen.map(|(address, name)| Client { address: *address, name: name.clone() }));
    clients
}

fn shown(args: &Args, report: &Report) -> anyhow::Result<String> {
    Ok(match (args.json, args.format) {
        (true, _) | (_, Format::Json) => json::one_line(report)? + "\n",
        (_, Format::Sarif) => serde_json::to_string_pretty(&lint::sarif::report(report))? + "\n",
        (_, Format::Github) => lint::github::report(report),
        (_, Format::Text) => text_for_stdout(args.color).lint(report),
    })
}

/// The ignore file; where nobody named one it need not be there, nor be of use.
fn ignore_file(args: &Args) -> anyhow::Result<IgnoreFile> {
    let allow = args.allow.as_deref().unwrap_or(Path::new(TableKind::Allow.default_path()));
    let path = args.ignore.clone().unwrap_or_else(|| allow.with_file_name(IGNORE_FILE));
    if args.no_ignore {
        return Ok(IgnoreFile::default());
    }
    let name = path.to_string_lossy();
    let file = IgnoreFile::read(&path, &name)?;
    if args.ignore.is_some() {
        let file = file.as_ref().with_context(|| format!("there is no {}", escape(&name)))?;
        if let Some(why) = file.unusable() {
            bail!("cannot read {}: {why}", escape(&name));
        }
    }
    Ok(file.unwrap_or_default())
}

/// What is not known of the files, and tables that were named and are not there: for libwrap they are as good as empty.
fn say_missing(files: &Files) {
    let usual = ["/etc/hosts.allow", "/etc/hosts.deny"];
    for remark in &files.remarks {
        note(&escape(remark));
    }
    for path in files.missing_tables().filter(|path| !usual.contains(path)) {
        note(&format!("there is no {}: it counts as empty", escape(path)));
    }
}

/// One line a host.
fn hosts(args: &Args, folder: &Path, subject: &Subject<'_>) -> anyhow::Result<ExitCode> {
    if args.format == Format::Sarif || args.format == Format::Github {
        return Err(wrong_use("--hosts-dir prints text or JSON"));
    }
    let text = text_for_stdout(args.color);
    let as_json = args.json || args.format == Format::Json;
    let (mut worst, mut count, mut failed) = (None, 0_u64, 0_u64);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let without = linter::each_host(folder, subject, |host: &HostReport| {
        count += 1;
        failed += u64::from(host.error.is_some());
        worst = worst.max(host.worst.as_ref().map(|problem| problem.severity));
        for remark in &host.remarks {
            note(&format!("{}: {}", escape(&host.host), escape(remark)));
        }
        if as_json {
            writeln!(out, "{}", json::one_line(host)?)
        } else {
            out.write_all(text.lint_host(host).as_bytes())
        }
    })
    .with_context(|| format!("cannot read {}", escape(&folder.to_string_lossy())))?;
    out.flush()?;
    if count == 0 {
        bail!(
            "no host in {}: a host is a folder with hosts.allow or hosts.deny",
            escape(&folder.to_string_lossy())
        );
    }
    if let Some(first) = without.first() {
        note(&format!(
            "{} without hosts.allow and hosts.deny left out, the first is {}",
            plural(without.len()),
            escape(first)
        ));
    }
    if failed > 0 {
        note(&format!("cannot check {failed} of {count} hosts"));
        return Ok(ExitCode::from(1));
    }
    Ok(status(args, worst))
}

fn plural(folders: usize) -> String {
    if folders == 1 { "1 folder".to_owned() } else { format!("{folders} folders") }
}

/// The diff to stdout; what belongs to no table to stderr.
fn fix(args: &Args, files: &Files, subject: &Subject<'_>) -> anyhow::Result<()> {
    if subject.clients.is_empty() {
        return Err(wrong_use(
            "--fix must know the clients whose verdicts stay the same: give --client ADDR=NAME, or --trace",
        ));
    }
    let input = files.input(subject);
    let changes = linter::changes(files, &input);
    let diff = lint::diff::unified(&changes.files)
        .map_err(|path| anyhow::anyhow!("{path} holds more than plain text: no diff of it can be printed"))?;
    if diff.is_empty() {
        note("nothing to change for these clients");
    }
    for (client, why) in &changes.left_alone {
        note(&format!("{client} is left as it is: {}", escape(why)));
    }
    print(&diff)?;
    if !args.write {
        return Ok(());
    }
    let written = linter::write(changes.files.iter().filter(|change| change.table));
    for (path, backup) in written.done {
        note(&format!(
            "changed {}; the old version is in {}",
            escape(&path),
            escape(&backup.to_string_lossy())
        ));
    }
    if let Some((path, error)) = written.error {
        return Err(anyhow::Error::new(error).context(format!("cannot write {}", escape(&path))));
    }
    Ok(())
}

fn read_trace(path: &Path, named: Option<&str>) -> anyhow::Result<LintInput> {
    let name = || escape(&path.to_string_lossy());
    let seen = LintInput::read(traces::open(path)?, MAX_CLIENTS)
        .with_context(|| format!("cannot read {}", name()))?;
    if seen.left_out {
        note(&format!("{} has more than {MAX_CLIENTS} clients: only the first ones are checked", name()));
    }
    if seen.daemon.is_none() && named.is_none() {
        note(&format!("{} does not have the daemon's name: {DAEMON} is used (--daemon NAME)", name()));
    }
    if seen.several_servers {
        note(&format!("{} has several servers: the first one's files are used", name()));
    }
    let has = |role, kind: TableKind| seen.file(role, seen.table_path(kind)).is_some();
    if !has(SnapshotRole::HostsAllow, TableKind::Allow) && !has(SnapshotRole::HostsDeny, TableKind::Deny) {
        note(&format!("{} has no copy of the tables: this machine's are used", name()));
    }
    Ok(seen)
}
