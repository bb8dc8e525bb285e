//! `wrapwatch lint`: what the tables cost and where they mislead, before the outage.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use similar::TextDiff;

use super::common::{Color, FailOn};
use super::output::text_for_stdout;
use crate::host::local::{self, Found};
use crate::render::{json, text::escape};
use crate::story::{FileCopy, Seen};
use crate::trace::SnapshotRole;
use crate::wrappers::lint::{Client, Input, Report, lint, named_files};
use crate::wrappers::rewrite::rewrite;
use crate::wrappers::{Endpoint, FileText, HostsFile, ResolvConf, Table, TableKind, Tables, nsswitch};

const EXAMPLES: &str = "\
Examples:
  wrapwatch lint                                      the problems in this machine's files
  wrapwatch lint --client 10.0.2.14                   what a client's check decides and costs
  wrapwatch lint --client 10.0.2.14=db1.example.com   the same, if DNS gives it that name
  wrapwatch lint --trace FILE.wwt                     the files and the clients of a trace
  wrapwatch lint --client 10.0.2.14=db1.example.com --fix | patch -p0 --dry-run
  wrapwatch lint --json --fail-on critical

No name is looked up. Exit status: 0 done, 1 failed, 2 wrong use, 3 --fail-on found as much.";

/// The daemon's name where nobody says another.
const DAEMON: &str = "mysqld";
/// More clients than this of a trace are not looked at.
const MAX_CLIENTS: usize = 1000;

/// `wrapwatch lint`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// hosts.allow
    #[arg(long, value_name = "FILE", default_value = "/etc/hosts.allow")]
    allow: PathBuf,
    /// hosts.deny
    #[arg(long, value_name = "FILE", default_value = "/etc/hosts.deny")]
    deny: PathBuf,
    /// resolv.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    resolv: PathBuf,
    /// hosts
    #[arg(long, value_name = "FILE", default_value = "/etc/hosts")]
    hosts: PathBuf,
    /// nsswitch.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/nsswitch.conf")]
    nsswitch: PathBuf,
    /// The daemon's name: the base name of what the server was started as [default: the trace's, or mysqld]
    #[arg(long, value_name = "NAME")]
    daemon: Option<String>,
    /// The server's own address and port, for rules that name them
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:3306")]
    server: SocketAddr,
    /// A client, with the name DNS gives it where that is known; may be given several times
    #[arg(long = "client", value_name = "ADDR[=NAME]", value_parser = client)]
    clients: Vec<Client>,
    /// The clients seen in a trace with their names, and its copies of the files not given by an option
    #[arg(long, value_name = "FILE.wwt")]
    trace: Option<PathBuf>,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
    /// Exit with status 3 if there is a problem of this severity or a higher one
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Print a diff of the tables that gives the clients the same verdicts without lookups
    #[arg(long, conflicts_with = "json")]
    fix: bool,
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

/// The files, by what they are to the check.
struct Files {
    tables: Tables,
    texts: [Vec<u8>; 2],
    paths: [String; 2],
    resolv: (String, ResolvConf),
    hosts: (String, Vec<u8>),
    nsswitch: (String, Vec<u8>),
    named: BTreeMap<String, FileText>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let recorded = args.trace.as_deref().map(read_trace).transpose()?.unwrap_or_default();
    let mut clients = args.clients.clone();
    let given: HashSet<IpAddr> = clients.iter().map(|client| client.address.to_canonical()).collect();
    let seen = recorded.clients.iter().filter(|(address, _)| !given.contains(address));
    clients.extend(seen.map(|(address, name)| Client { address: *address, name: name.clone() }));
    let files = Files::read(args, &recorded)?;
    let hosts = HostsFile::parse(&files.hosts.1);
    let services = nsswitch::hosts(&files.nsswitch.1);
    let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let input = Input {
        tables: &files.tables,
        texts: [&files.texts[0], &files.texts[1]],
        paths: [&files.paths[0], &files.paths[1]],
        files: &files.named,
        daemon: args.daemon.as_deref().or(recorded.daemon.as_deref()).unwrap_or(DAEMON),
        server: Endpoint::new(args.server.ip(), args.server.port()),
        conf: &files.resolv.1,
        resolv_path: &files.resolv.0,
        services: &services,
        nsswitch_path: &files.nsswitch.0,
        hosts: &hosts,
        hosts_path: &files.hosts.0,
        own_domain: own_name.trim().split_once('.').map(|(_, domain)| domain),
        clients: &clients,
    };
    let report = lint(&input);
    if args.fix {
        if clients.is_empty() {
            bail!("--fix needs the clients whose verdicts are to stay: give --client ADDR=NAME, or --trace");
        }
        print_fix(&input, &files)?;
    } else {
        print(args, &report)?;
    }
    let worst = report.problems.iter().map(|problem| problem.severity).max();
    let failed = args.fail_on.is_some_and(|least| worst.is_some_and(|worst| worst >= least.into()));
    Ok(if failed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn print(args: &Args, report: &Report) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json::one_line(report)?)?;
    } else {
        out.write_all(text_for_stdout(args.color).lint(report).as_bytes())?;
    }
    Ok(out.flush()?)
}

/// The diffs to stdout; what belongs to no table to stderr.
fn print_fix(input: &Input<'_>, files: &Files) -> anyhow::Result<()> {
    let fix = rewrite(input);
    let mut out = String::new();
    for (index, new) in fix.tables.iter().enumerate() {
        out += &diff(&files.paths[index], &files.texts[index], new)?;
    }
    let mut hosts = files.hosts.1.clone();
    if !fix.hosts.is_empty() && !hosts.is_empty() && !hosts.ends_with(b"\n") {
        hosts.push(b'\n');
    }
    for line in &fix.hosts {
        hosts.extend_from_slice(line.as_bytes());
        hosts.push(b'\n');
    }
    out += &diff(&files.hosts.0, &files.hosts.1, &hosts)?;
    if out.is_empty() {
        eprintln!("wrapwatch: nothing to change for these clients");
    }
    for (client, why) in &fix.left_alone {
        eprintln!("wrapwatch: {client} is left as it is: {}", escape(why));
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(out.as_bytes())?;
    Ok(stdout.flush()?)
}

/// A unified diff; empty where nothing changes.
fn diff(path: &str, old: &[u8], new: &[u8]) -> anyhow::Result<String> {
    let text = |bytes| {
        std::str::from_utf8(bytes).ok().filter(|text| {
            // What a terminal might act upon cannot be printed as it is, and escaped it would not apply.
            text.lines().all(|line| {
                escape(&line.replace('\t', " ").replace('\r', ""))
                    == line.replace('\t', " ").replace('\r', "")
            })
        })
    };
    let (Some(old), Some(new)) = (text(old), text(new)) else {
        bail!("{} holds more than plain text: no diff of it can be printed", escape(path));
    };
    if old == new {
        return Ok(String::new());
    }
    let path = escape(path);
    Ok(TextDiff::from_lines(old, new).unified_diff().context_radius(3).header(&path, &path).to_string())
}

impl Files {
    fn read(args: &Args, recorded: &Seen) -> anyhow::Result<Self> {
        let read = |path: &Path, default: &str, role| copy_or_file(recorded, path, default, role);
        let mut tables = Tables::default();
        let mut texts = [Vec::new(), Vec::new()];
        let mut paths = [String::new(), String::new()];
        for (kind, path, role) in [
            (TableKind::Allow, &args.allow, SnapshotRole::HostsAllow),
            (TableKind::Deny, &args.deny, SnapshotRole::HostsDeny),
        ] {
            let slot = kind as usize;
            let table = match read(path, kind.default_path(), role)? {
                Found::Text(text) => {
                    texts[slot] = text;
                    Table::parse(&texts[slot])
                }
                Found::Missing => Table::missing(),
                Found::Unusable(why) => Table::unreadable(why),
            };
            *(if kind == TableKind::Allow { &mut tables.allow } else { &mut tables.deny }) = table;
            paths[slot] = path.to_string_lossy().into_owned();
        }
        let other = |path: &Path, default: &str, role| -> anyhow::Result<(String, Vec<u8>)> {
            let text = match read(path, default, role)? {
                Found::Text(text) => text,
                Found::Missing | Found::Unusable(_) => Vec::new(),
            };
            Ok((path.to_string_lossy().into_owned(), text))
        };
        let (resolv_path, resolv) = other(&args.resolv, "/etc/resolv.conf", SnapshotRole::ResolvConf)?;
        let named = read_named(&tables, recorded);
        Ok(Self {
            texts,
            paths,
            resolv: (resolv_path, ResolvConf::parse(&resolv)),
            hosts: other(&args.hosts, "/etc/hosts", SnapshotRole::Hosts)?,
            nsswitch: other(&args.nsswitch, "/etc/nsswitch.conf", SnapshotRole::NsswitchConf)?,
            named,
            tables,
        })
    }
}

/// Files that rules name, and files that those name.
fn read_named(tables: &Tables, recorded: &Seen) -> BTreeMap<String, FileText> {
    // libwrap goes deeper, but nobody does.
    const AT_MOST: usize = 200;
    let mut named = BTreeMap::new();
    loop {
        let paths = named_files(tables, &named);
        if paths.is_empty() || named.len() >= AT_MOST {
            return named;
        }
        for path in paths {
            let copy = recorded.named.get(&path).cloned();
            let found = match copy.map_or_else(|| local::read(Path::new(&path)), |text| Ok(Found::Text(text)))
            {
                Ok(Found::Text(text)) => FileText::Text(text),
                Ok(Found::Missing) => FileText::Missing,
                Ok(Found::Unusable(why)) => FileText::Unreadable(why),
                Err(error) => FileText::Unreadable(error.to_string()),
            };
            named.insert(path, found);
        }
    }
}

/// The copy in the trace, unless the path was given by an option.
fn copy_or_file(recorded: &Seen, path: &Path, default: &str, role: SnapshotRole) -> anyhow::Result<Found> {
    Ok(match recorded.file(role).filter(|_| path == Path::new(default)) {
        Some(FileCopy::Text(text)) => Found::Text(text.clone()),
        Some(FileCopy::Missing) => Found::Missing,
        Some(FileCopy::Unreadable(why)) => Found::Unusable(why.clone()),
        None => local::read(path)?,
    })
}

fn read_trace(path: &Path) -> anyhow::Result<Seen> {
    let name = || escape(&path.to_string_lossy());
    let file = File::open(path).with_context(|| format!("cannot open {}", name()))?;
    let seen = Seen::read(file, MAX_CLIENTS).with_context(|| format!("cannot read {}", name()))?;
    if seen.left_out {
        eprintln!("wrapwatch: {} has more than {MAX_CLIENTS} clients: the first ones are looked at", name());
    }
    if seen.several_servers {
        eprintln!("wrapwatch: {} has several servers: the first one's files are looked at", name());
    }
    if seen.file(SnapshotRole::HostsAllow).is_none() && seen.file(SnapshotRole::HostsDeny).is_none() {
        eprintln!("wrapwatch: {} has no copy of the tables: this machine's are looked at", name());
    }
    Ok(seen)
}
