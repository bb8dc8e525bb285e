//! A daemon as `tests/daemons/NAME.toml` has it.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A daemon, its clients, and what wrapwatch has to say of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    /// The file's name.
    #[serde(skip)]
    pub name: String,
    /// Who accepts, who checks, who waits: for a person.
    pub about: String,
    /// Debian's packages; what they depend on is found by apt.
    pub packages: Vec<String>,
    /// A shell script that makes its files, run as root in its namespaces.
    #[serde(default)]
    pub prepare: String,
    /// Programs that have to run first: what it hands clients on to, or registers with.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// Program and arguments, so that it stays in the foreground; `{preload}` is the lab's library that gives mariadbd wrapper checks.
    pub start: Vec<String>,
    /// What its clients speak.
    #[serde(default)]
    pub transport: Transport,
    /// Its port.
    pub port: u16,
    /// What has to come of it, right or honest. Another outcome, a better one too, fails the run.
    pub expected: Standing,
    /// Parts of what is told falsely of it today: the run fails on anything else that is, and once one of these is not.
    #[serde(default)]
    pub known_wrong: Vec<String>,
    /// The same where libwrap's functions are not seen (`--no-uprobes`).
    #[serde(default)]
    pub wrong_without_uprobes: Vec<String>,
    /// What has to be told of all clients together.
    pub wanted: Wanted,
    /// Its clients.
    pub clients: Vec<Group>,
}

/// What came of a daemon, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It could not be run, or a client failed: nothing is proved.
    Failed,
    /// Something false is told.
    Wrong,
    /// Not all is told, but that is said.
    Honest,
    /// All is told, and true.
    Right,
}

impl Standing {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Wrong => "wrong",
            Self::Honest => "cannot tell",
            Self::Right => "right",
        }
    }
}

/// A program that has to run first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Program and arguments, so that it stays in the foreground.
    pub start: Vec<String>,
    /// Where it listens once it is ready: a TCP port, or a unix socket's path.
    pub listens: String,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP
    #[default]
    Tcp,
    /// UDP: a request is a datagram.
    Udp,
}

/// Behind whom clients wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    /// Each client waits for itself only.
    Nobody,
    /// One thread does all, or a pool that is full: clients wait for others' lookups too.
    Others,
}

/// What has to be told of all clients together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `verdict_kind` is one of these.
    pub verdict: Vec<String>,
    /// Behind whom they wait.
    pub behind: Behind,
    /// The name that libwrap gets, in each check; none: it has no part in this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
    /// It is mysqld: texts may say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mysqld: bool,
    /// What may be told of although it is false of most daemons: see [`mod@super::judge`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// What a text has to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
    /// It cannot be traced: this is said instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// Clients that do the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// How many, all at once, each from an address of its own.
    pub count: usize,
    /// Whether their names are in `.evil.example`, which no rule admits; else in `.lab.example`.
    #[serde(default)]
    pub evil: bool,
    /// What they speak, if not what the daemon's others do.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// They begin when the nameservers have been asked so often; else with the first.
    #[serde(default)]
    pub after_queries: usize,
    /// What they do.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// A program instead of steps; `{address}`, `{server}` and `{parts}` (where the packages are) are filled in.
    #[serde(default)]
    pub program: Vec<String>,
    /// What has to be told of each.
    pub wanted: WantedOfClient,
}

/// One step of a client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    /// Sends this text.
    Send(String),
    /// Sends these bytes, in hexadecimal; blanks do not matter.
    Hex(String),
    /// Sends so many bytes 0.
    Zeros(usize),
    /// Says that it will send no more.
    Shutdown(bool),
    /// Reads until this text has come; the empty text: anything.
    Read(String),
    /// Reads until the server closes.
    End(bool),
}

/// Who asks for a client's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asks {
    /// The wrapper check.
    Check,
    /// The server itself.
    Own,
    /// The wrapper check, and the server itself.
    Both,
    /// Nobody.
    Nobody,
}

/// What has to be told of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedOfClient {
    /// `outcome`
    pub outcome: String,
    /// Who asks for its name.
    pub asks: Asks,
    /// How many lookups of the server's own address it makes for this client, for its log.
    #[serde(default)]
    pub for_the_log: usize,
    /// Lookups after the first byte, until the login ends, have to be told too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub login: bool,
}

impl Daemon {
    /// What fails the run without uprobes: then nobody is asked to tell all, but what is told has to be true, or known not to be.
    pub fn unexpected_without_uprobes(&self, came: Standing, wrong: &[String]) -> Option<String> {
        if came >= Standing::Honest && self.wrong_without_uprobes.is_empty() {
            return None;
        }
        let (expected, known_wrong) = (Standing::Honest, self.wrong_without_uprobes.clone());
        Self { expected, known_wrong, ..self.clone() }.unexpected(came, wrong)
    }

    /// What fails the run, if this came of it; `wrong`: what is told falsely.
    pub fn unexpected(&self, came: Standing, wrong: &[String]) -> Option<String> {
        let (is, expected) = (came.word(), self.expected.word());
        let file = format!("tests/daemons/{}.toml", self.name);
        if came == Standing::Failed {
            return Some("it could not be tried".to_owned());
        }
        if self.known_wrong.is_empty() {
            return match came.cmp(&self.expected) {
                Ordering::Less => Some(format!("{is}, should be {expected}")),
                Ordering::Greater => Some(format!("{is}, more than {expected}: mend {file}")),
                Ordering::Equal => None,
            };
        }
        let is_known = |what: &&String| self.known_wrong.iter().any(|known| what.contains(known.as_str()));
        if let Some(what) = wrong.iter().find(|what| !is_known(what)) {
            return Some(format!("not among what is known as wrong: {what}"));
        }
        let is_told = |known: &&String| wrong.iter().any(|what| what.contains(known.as_str()));
        let not_told = self.known_wrong.iter().find(|known| !is_told(known))?;
        Some(format!("{is}, and {not_told:?} is known as wrong: mend {file}"))
    }
}

/// The folder with all of them.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("daemons")
}

/// All daemons, by name.
pub fn all() -> Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            daemons.push(read(&path)?);
        }
    }
    daemons.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(daemons)
}

/// The daemon of this name.
pub fn named(name: &str) -> Result<Daemon> {
    read(&folder().join(name).with_extension("toml"))
}

fn read(path: &Path) -> Result<Daemon> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let daemon: Daemon = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Daemon { name, ..daemon })
}

/// A file beside the daemons' own, which all of them share.
pub(super) fn shared(name: &str) -> Result<String> {
    let path = folder().join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daemon_is_read_and_has_clients() {
        let daemons = all().unwrap();
        assert!(!daemons.is_empty());
        for daemon in daemons {
            assert!(!daemon.packages.is_empty() && !daemon.start.is_empty(), "{}", daemon.name);
            assert!(!daemon.clients.is_empty() && !daemon.wanted.verdict.is_empty(), "{}", daemon.name);
            assert!(daemon.expected >= Standing::Honest, "{}", daemon.name);
            for group in &daemon.clients {
                assert_ne!(group.steps.is_empty(), group.program.is_empty(), "{}", daemon.name);
                assert!(group.count > 0, "{}", daemon.name);
            }
        }
    }

    #[test]
    fn what_is_not_as_its_file_says_fails_the_run() {
        use Standing::{Failed, Honest, Right, Wrong};
        let all = [Failed, Wrong, Honest, Right];
        let daemon = |expected, known_wrong: &[&str]| {
            let known_wrong = known_wrong.iter().map(ToString::to_string).collect();
            Daemon { expected, known_wrong, ..named("sshd").unwrap() }
        };
        let fails = |daemon: Daemon| all.map(|came| daemon.unexpected(came, &[]).is_some());
        assert_eq!(fails(daemon(Right, &[])), [true, true, true, false]);
        assert_eq!(fails(daemon(Honest, &[])), [true, true, false, true]);
        let fails = |known_wrong: &[&str], wrong: &[&str]| {
            let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            let came = if wrong.is_empty() { Right } else { Wrong };
            daemon(Right, known_wrong).unexpected(came, &wrong).is_some()
        };
        assert!(!fails(&["one", "two"], &["10.0.0.1: one", "10.0.0.2: one", "two"]));
        assert!(fails(&["one"], &["10.0.0.1: one", "two"]), "another one");
        assert!(fails(&["one", "two"], &["one"]), "one less");
        assert!(fails(&["one"], &[]), "none any more");
    }

    #[test]
    fn without_uprobes_only_what_is_false_fails_the_run() {
        use Standing::{Failed, Honest, Right, Wrong};
        let known = |known: &[&str]| Daemon {
            wrong_without_uprobes: known.iter().map(ToString::to_string).collect(),
            ..named("sshd").unwrap()
        };
        let fails = |daemon: Daemon, came, wrong: &[&str]| {
            let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            daemon.unexpected_without_uprobes(came, &wrong).is_some()
        };
        let all = [Failed, Wrong, Honest, Right];
        assert_eq!(all.map(|came| fails(known(&[]), came, &[])), [true, true, false, false]);
        assert!(!fails(known(&["one"]), Wrong, &["10.0.0.1: one"]));
        assert!(fails(known(&["one"]), Wrong, &["10.0.0.1: two"]));
        assert!(fails(known(&["one"]), Honest, &[]), "none any more");
    }
}
