//! The command line of `cargo xtask`.

use clap::{Args, Parser, Subcommand, ValueEnum};

const TEMPLATE: &str = "\
{about}

Examples:
  cargo xtask setup            install what building and testing need; nothing if it is there
  cargo xtask demo             see wrapwatch at work on a real server with a slow nameserver
  cargo xtask test --fast      before a commit: under a minute, no root
  cargo xtask test             everything that CI runs
  cargo xtask test stall       only the tests whose names contain \"stall\"
  cargo xtask bench --quick    what does tracing cost a server?
  cargo xtask mutants tail     does a test notice when the code is broken on purpose?
  cargo xtask daemons sshd     is what wrapwatch tells of a real sshd true?
  cargo xtask fuzz --time 10m  look for inputs that break a reader
  cargo xtask vm --kernel 6.1  does all of it work on this kernel of Debian's?

{usage-heading} {usage}

{all-args}";

/// Repository chores of wrapwatch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", help_template = TEMPLATE)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The chores.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install what building and testing need
    Setup(Setup),
    /// Build, start the lab and show wrapwatch at work
    Demo(Demo),
    /// Format, lints, unit tests, mutants and end-to-end tests
    Test(Test),
    /// Format, lints and documentation only
    Lint,
    /// Break the code on purpose and see that a test notices
    Mutants(Mutants),
    /// Follow the recipes of CONTRIBUTING.md, each with a dummy, in a copy of the tree
    Recipes(Recipes),
    /// Measure what wrapwatch costs, beside other tools
    Bench(Bench),
    /// Ask docs/fleet.md's questions of many made-up hosts, in DuckDB and ClickHouse
    Fleet(Fleet),
    /// Count the instructions that wrapwatch takes for a record
    Counts(Counts),
    /// Look for inputs that break what reads traces, logs, tables and messages
    Fuzz(Fuzz),
    /// Run real daemons and see whether wrapwatch tells the truth of them
    Daemons(Daemons),
    /// Run recorders or publish under a storm for a long time, while everything changes around them
    Soak(Soak),
    /// Make what users get: one static file, and a Debian package with man pages, completions and a systemd unit
    Dist,
    /// Compile both sides for 64-bit ARM, and compare what it reports there and here
    Arm64,
    /// Boot Debian's kernels in virtual machines and run wrapwatch there
    Vm(Vm),
    /// Check links, words and findings' pages of the documents, and make a book of them
    Docs(Docs),
    /// Renew the generated parts of README.md and CONTRIBUTING.md
    Readme(Readme),
    /// Licences, sources and duplicates of dependencies; spelling
    Audit,
}

/// Options of `setup`.
#[derive(Debug, Default, Args)]
pub(crate) struct Setup {
    /// Say what would be done and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Print wrapwatch's JSON lines and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `daemons`.
#[derive(Debug, Args)]
pub(crate) struct Daemons {
    /// Print a JSON object a daemon: `daemon`, `standing`, `ok`, `honest`, `unexpected`, `known_wrong`, `wanted`, `told`, `why`
    #[arg(long)]
    pub(crate) json: bool,
    /// Without uprobes, as for who has no CAP_SYS_ADMIN: what is told has to be true all the same
    #[arg(long)]
    pub(crate) no_uprobes: bool,
    /// What tracing costs such a server and everybody else: 20 clients a second, beside no and 2 000 idle processes
    #[arg(long, requires = "names", conflicts_with_all = ["json", "no_uprobes"])]
    pub(crate) cost: bool,
    /// Only these: files of tests/daemons, without their ending
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Few rounds and little work, for trying things out
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this row: storm, storm_dns, oltp, other_hooked, other_unhooked
    #[arg(long, value_name = "ROW")]
    pub(crate) only: Vec<String>,
    /// Only wrapwatch's own numbers, no ratios
    #[arg(long, conflicts_with = "only")]
    pub(crate) own: bool,
    /// Print one JSON object: `rows`, `own`, `goals`, `goals_met`
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `fleet`.
#[derive(Debug, Args)]
pub(crate) struct Fleet {
    /// How many hosts, and how many connections of each
    #[arg(long, value_name = "HOSTSxCONNECTIONS", default_value = "500x20000")]
    pub(crate) size: String,
}

/// Options of `counts`.
#[derive(Debug, Default, Args)]
pub(crate) struct Counts {
    /// Write what was counted into the committed figures
    #[arg(long)]
    pub(crate) update: bool,
}

/// Options of `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Leave out what needs root or takes long: the lab's end-to-end tests and the mutants
    #[arg(long)]
    pub(crate) fast: bool,
    /// Also the mutants that the lab has to kill
    #[arg(long, conflicts_with = "fast")]
    pub(crate) mutants: bool,
    /// Also in virtual machines, on each kernel of xtask/kernels.toml
    #[arg(long, conflicts_with = "fast")]
    pub(crate) vm: bool,
    /// Run only the tests whose names contain one of these; leaves out lints and mutants
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// Options of `mutants`.
#[derive(Debug, Args)]
pub(crate) struct Mutants {
    /// Print the mutants and the tests that have to kill them
    #[arg(long)]
    pub(crate) list: bool,
    /// Only those that need no lab
    #[arg(long)]
    pub(crate) no_lab: bool,
    /// Only those whose names contain one of these
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Options of `recipes`.
#[derive(Debug, Args)]
pub(crate) struct Recipes {
    /// Only those whose names contain one of these
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Options of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Only this target (record, dns, trace, strace, rules, elf, proc); may be given several times
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// How long for each target: 30s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = seconds)]
    pub(crate) time: u64,
    /// Commit to the corpus, in as few files as do, what reaches new code
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Options of `soak`.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// What runs
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) what: Soaked,
    /// For how long: 30s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    pub(crate) time: u64,
}

/// What runs for a long time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Soaked {
    /// A flight recorder and one that writes file after file, while the server starts again, tables change, the disk is full, and each of them is stopped
    Recorder,
    /// A recorder and `publish`, at a thousand connections a second, with either killed now and then
    Publish,
}

/// A time in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        _ => 0,
    };
    let time = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    time.filter(|time| *time > 0).ok_or_else(|| "write 30s, 10m, 1h".to_owned())
}

/// Options of `docs`.
#[derive(Debug, Args)]
pub(crate) struct Docs {
    /// Make no book
    #[arg(long)]
    pub(crate) check: bool,
    /// Only draw the pictures of a report and of the live view again, from a log in the repository
    #[arg(long, conflicts_with = "check")]
    pub(crate) picture: bool,
    /// Only write the list of the library's public names again
    #[arg(long, conflicts_with_all = ["check", "picture"])]
    pub(crate) api: bool,
}

/// Options of `readme`.
#[derive(Debug, Args)]
pub(crate) struct Readme {
    /// Change nothing; fail if something is stale
    #[arg(long)]
    pub(crate) check: bool,
}

/// Options of `vm`.
#[derive(Debug, Default, Args)]
pub(crate) struct Vm {
    /// Only this kernel (5.10, 6.1, 6.1-arm64, …); may be given several times
    #[arg(long = "kernel", value_name = "VERSION")]
    pub(crate) kernels: Vec<String>,
    /// Take a debug build of wrapwatch, not the file that users get
    #[arg(long)]
    pub(crate) debug: bool,
    /// Count instructions instead of testing: what queries, connections and other processes' calls take beside nothing, beside empty programs and beside wrapwatch
    #[arg(long, conflicts_with_all = ["debug", "update_pins", "shell", "broken"])]
    pub(crate) instructions: bool,
    /// Of the instructions, only those of this server's work
    #[arg(long, requires = "instructions", value_enum, value_name = "SERVER")]
    pub(crate) server: Option<Server>,
    /// Of the instructions, print a JSON object a line: `kernel`, `hooks`, `work`, `command`, `none`, `floor`, `wrapwatch`, `calls`
    #[arg(long, requires = "instructions")]
    pub(crate) json: bool,
    /// Write down what the verifiers went through and what privileges gave, or the instructions, instead of comparing
    #[arg(long)]
    pub(crate) update: bool,
    /// Pin the newest kernel of each suite in xtask/kernels.toml
    #[arg(long, conflicts_with_all = ["update", "shell", "broken"])]
    pub(crate) update_pins: bool,
    /// A shell in a guest, on this terminal; of several kernels in the newest
    #[arg(long, conflicts_with_all = ["update", "broken"])]
    pub(crate) shell: bool,
    /// Break something on purpose, to see that the run fails
    #[arg(long = "break", value_enum, value_name = "WHAT", conflicts_with = "update")]
    pub(crate) broken: Option<Broken>,
}

/// Whose work's instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// One that only makes a server's system calls; other processes' calls and what wrapwatch does meanwhile are counted beside it
    Plain,
    /// A real MariaDB
    Mariadb,
}

impl Server {
    /// As the guest is told.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Mariadb => "mariadb",
        }
    }
}

/// What can be broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broken {
    /// The guest's kernel crashes
    Panic,
    /// A test never ends
    Loop,
    /// A test's record is not sent
    Record,
    /// The guest ends without a verdict
    Verdict,
    /// The kernel's types say that a socket has its client's port elsewhere
    Offset,
    /// Each of these, one after the other; here it is a success that the runs fail
    All,
}

impl Broken {
    /// Each that can be broken by itself.
    pub(crate) const EACH: [Self; 5] = [Self::Offset, Self::Loop, Self::Panic, Self::Record, Self::Verdict];

    /// As the guest is told.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Loop => "loop",
            Self::Record => "record",
            Self::Verdict => "verdict",
            Self::Offset => "offset",
            Self::All => "all",
        }
    }

    /// What the run has to say of it.
    pub(crate) const fn finding(self) -> &'static str {
        match self {
            Self::Panic => "panic on the console",
            Self::Loop => ", in the test endless on purpose",
            Self::Record => "the verdict says 1 passed, 0 failed, 0 skipped, the records 0 passed",
            Self::Verdict | Self::All => "no verdict",
            Self::Offset => "]: no connection of 127.",
        }
    }
}
