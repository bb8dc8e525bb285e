//! Talking to `wrap-oracle`, a process in which the real libwrap checks made-up clients against made-up tables.
//!
//! One [`Case`] a line goes in as JSON, one [`Answer`] a line comes out. The oracle keeps libwrap's state between cases, as a server does.

pub mod check;
pub mod libwrap;
pub mod nameserver;
pub mod resolver;
pub mod took;
pub mod world;

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Scope id; the oracle's host must have such an interface where it is not 0 (1 is the loopback everywhere).
    pub scope: u32,
}

/// A table of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableText {
    /// No such file.
    Missing,
    /// A path that cannot be opened (a component of it is a file).
    Unreadable,
    /// Its bytes.
    Text(Vec<u8>),
}

/// A forward answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Canonical name.
    pub canonical: Option<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// One wrapper check and the world it happens in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// hosts.allow.
    pub allow: TableText,
    /// hosts.deny.
    pub deny: TableText,
    /// Daemon's name.
    pub daemon: String,
    /// Client; none as after a failed getpeername(2).
    pub client: Option<End>,
    /// Server's end.
    pub server: Option<End>,
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// Addresses of names, by family (true: IPv6).
    pub addresses: Vec<(String, bool, Forward)>,
    /// The client's user.
    pub user: Option<String>,
    /// Members of netgroups: group, host.
    pub netgroups: Vec<(String, String)>,
    /// Files that rules name.
    pub files: Vec<(String, Vec<u8>)>,
    /// Whether aclexec commands succeed.
    pub aclexec: bool,
    /// Whether this is the process's first check; it answers that one and ends.
    pub first: bool,
}

/// What libwrap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named after the functions")]
pub enum What {
    Reverse,
    Forward,
    Ident,
    Netgroup,
    Spawn,
    Twist,
    Aclexec,
    Warn,
    Close,
    Exit,
}

/// Something libwrap did, and the rule in `tcpd_context` when it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub what: What,
    /// Address, name, command, message.
    pub text: String,
    /// `tcpd_context`: false hosts.allow, true hosts.deny, and the line.
    pub context: Option<(bool, u32)>,
}

/// The end of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `hosts_access`'s result; none where it did not return.
    pub allowed: Option<bool>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A running oracle.
#[derive(Debug)]
pub struct Oracle {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Oracle {
    /// Starts one.
    pub fn start(program: &Path) -> std::io::Result<Self> {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("no stdout"))?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// The process libwrap lives in.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts one case to libwrap.
    pub fn ask(&mut self, case: &Case) -> std::io::Result<Answer> {
        self.ask_all(std::slice::from_ref(case))?.pop().ok_or_else(|| std::io::Error::other("no answer"))
    }

    /// Puts a few cases to libwrap, one after another. Their answers must fit into a pipe: a dozen or two at a time.
    pub fn ask_all(&mut self, cases: &[Case]) -> std::io::Result<Vec<Answer>> {
        let mut lines = Vec::new();
        for case in cases {
            serde_json::to_writer(&mut lines, case)?;
            lines.push(b'\n');
        }
        let stdin = self.stdin.as_mut().ok_or_else(|| std::io::Error::other("closed"))?;
        stdin.write_all(&lines)?;
        stdin.flush()?;
        let mut answers = Vec::with_capacity(cases.len());
        for _ in cases {
            let mut answer = String::new();
            if self.stdout.read_line(&mut answer)? == 0 {
                return Err(std::io::Error::other("the oracle ended without an answer"));
            }
            answers.push(serde_json::from_str(&answer)?);
        }
        Ok(answers)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It ends at the end of its input.
        self.stdin = None;
        let _ = self.child.wait();
    }
}
