//! What goes over the lab's stdin and stdout, one JSON object a line.
//!
//! The lab is started with a [`super::LabConfig`] as its only argument and first prints a [`Welcome`]. Then every [`Request`] gets one
//! [`Reply`], one after the other; those in the background (`clients`, `exec`, `burn`) run side by side with what comes after them,
//! so that their replies come when they are done; `id` tells which is which.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::{Files, ServerConfig};
use crate::clients::ClientsSpec;
use crate::nameserver::Settings;

/// A network namespace of the lab; `Server` is also the mount namespace with the server's own `/etc` and `/dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// The server's.
    Server,
    /// The clients'.
    Clients,
    /// The nameservers'.
    Dns,
}

/// A link between namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Server and nameservers, seen at the nameservers' end.
    Dns,
    /// Server and clients, seen at the clients' end.
    Clients,
}

/// A signal for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Cont,
    /// SIGTERM
    Term,
    /// SIGKILL
    Kill,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case")]
pub enum Command {
    /// Changes the nameservers' behaviour.
    Dns(Settings),
    /// The nameservers' log, an array of [`crate::nameserver::LogEntry`].
    DnsLog {
        /// Forget it afterwards.
        #[serde(default)]
        clear: bool,
    },
    /// Changes the server's files.
    Files(Files),
    /// Drives clients; an array of [`crate::clients::ClientResult`].
    Clients(ClientsSpec),
    /// What came to `/dev/log`, an array of strings.
    Syslog {
        /// Forget it afterwards.
        #[serde(default)]
        clear: bool,
    },
    /// Nobody reads `/dev/log` and its buffer is full: whoever logs, blocks. Or as usual again.
    SyslogFreeze {
        /// Which of the two.
        frozen: bool,
    },
    /// Sends the server a signal.
    Signal {
        /// The signal.
        sig: Signal,
    },
    /// Ends the server (SIGTERM, SIGKILL after 10 s) where it runs, starts a new one; [`LabInfo`] with the new pid.
    RestartServer {
        /// With this configuration from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<ServerConfig>,
    },
    /// The server's error log, a string.
    ServerLog,
    /// Captures a link; when it has begun, a [`Capture`].
    TcpdumpStart {
        /// Which.
        link: Link,
    },
    /// Ends the capture when all that has passed so far is in the file; a [`Capture`].
    TcpdumpStop {
        /// Which.
        link: Link,
    },
    /// Starves the server of CPU: it runs only when nothing else on its one CPU wants to, and something does.
    Burn {
        /// For so long, 20 000 at most.
        ms: u64,
    },
    /// Runs a command; an [`ExecResult`].
    Exec {
        /// Where.
        ns: Namespace,
        /// What.
        argv: Vec<String>,
        /// It is killed after so long.
        #[serde(default = "ten_seconds")]
        timeout_ms: u64,
    },
    /// Starts another server, which runs as long as the lab; its process id, a number. What it prints is in `daemon.log` beside the lab's other files.
    Daemon {
        /// Program and arguments; in the foreground.
        argv: Vec<String>,
    },
    /// From now on something listens on port 113 of all clients (RFC 1413), or as before nothing does.
    Ident {
        /// How it answers.
        server: Option<Ident>,
    },
    /// From now on something listens on systemd-resolved's socket (`io.systemd.Resolve`) and knows all clients' names.
    Resolved {
        /// It answers that much later.
        after_ms: u64,
    },
    /// Ends the lab.
    Quit,
}

/// An identification server (RFC 1413).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ident {
    /// It answers, or closes, that much later.
    pub after_ms: u64,
    /// This user; none: it closes without an answer.
    pub user: Option<String>,
}

const fn ten_seconds() -> u64 {
    10_000
}

/// A command with the number that its reply bears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Any number; may be left out.
    #[serde(default)]
    pub id: u64,
    /// Go on with the next request meanwhile, where this one can take long: `clients`, `exec`, `burn`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// Answer to a request: `ok` or `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's.
    pub id: u64,
    /// What the command gives, or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Value>,
    /// Why it did not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// First line of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Welcome {
    /// It runs.
    Ready(Box<LabInfo>),
    /// It could not start.
    Error(String),
}

/// Where things are. Process ids are those that whoever started the lab sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabInfo {
    /// The server's process id; null when it was not started.
    pub server_pid: Option<u32>,
    /// Process id of the lab's first process; when it goes, all goes.
    pub init_pid: u32,
    /// Marks the lab's mounts: the source of its file system on `/run`.
    pub marker: String,
    /// Inodes of its namespaces, as in `/proc/PID/ns`.
    pub namespaces: BTreeMap<String, u64>,
    /// Server's IPv4 address.
    pub server4: Ipv4Addr,
    /// Server's IPv6 address.
    pub server6: Ipv6Addr,
    /// Path of the server's unix socket, from inside; from outside behind `/proc/INIT_PID/root`.
    pub socket: PathBuf,
}

/// A capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The pcap file, readable from outside as long as the lab lives.
    pub path: PathBuf,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    /// Exit status; null where a signal ended it, or the time limit.
    pub status: Option<i32>,
    /// It was killed at its time limit.
    pub timed_out: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{LeaveBy, Mode, Source};

    #[test]
    fn requests_are_what_the_manual_says() {
        let request: Request = serde_json::from_str(
            r#"{"cmd":"clients","count":3,"source":"own","mode":{"give_up":{"after_ms":100,"by":"rst"}}}"#,
        )
        .unwrap();
        let Command::Clients(spec) = request.command else { panic!("{request:?}") };
        assert_eq!(spec.mode, Mode::GiveUp { after_ms: 100, by: LeaveBy::Rst });
        assert_eq!((spec.count, spec.source), (3, Source::Own));
        let request: Request = serde_json::from_str(r#"{"id":7,"cmd":"quit"}"#).unwrap();
        assert_eq!(request, Request { id: 7, background: false, command: Command::Quit });
        let mistyped = serde_json::from_str::<Request>(r#"{"cmd":"clients","number":3}"#);
        assert!(mistyped.is_err(), "a mistyped field must not be ignored");
    }
}
