//! What is known of daemons that use libwrap: the name they give it, which function they call, and whom a check holds up. Observed with
//! Debian's packages; a daemon that is not in the table is taken for one that calls `hosts_access` under its own name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of libwrap's functions a daemon calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `hosts_access(3)`: libwrap looks the client up when a rule needs it.
    HostsAccess,
    /// `hosts_ctl(3)`: libwrap gets the name as a string, mostly "unknown", and never looks anything up.
    HostsCtl,
}

/// Whom a check that takes long holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocking {
    /// The accept thread checks: whoever comes next waits.
    AcceptThread,
    /// One thread does everything: established clients wait as well.
    EventLoop,
    /// Each connection has a process or a thread of its own for it: nobody else waits until the server's limit of them is reached.
    PerConnection,
    /// A number of threads or processes check: others wait when all of them do.
    Pool,
    /// Not known.
    Unknown,
}

impl Blocking {
    /// What a check holds, as the object of a sentence.
    pub const fn held(self) -> &'static str {
        match self {
            Self::AcceptThread => "the accept thread",
            Self::EventLoop => "the server's only thread",
            Self::PerConnection => "this client's process",
            Self::Pool => "one of the server's workers",
            Self::Unknown => "the check",
        }
    }

    /// Who else waits meanwhile, as the end of a sentence.
    pub const fn others(self) -> &'static str {
        match self {
            Self::AcceptThread => ", and nobody else is accepted during that time",
            Self::EventLoop => ", and nobody else is served during that time, established clients included",
            Self::PerConnection => "; others wait only when the server's limit of processes is reached",
            Self::Pool => "; others wait only when all workers do",
            Self::Unknown => "",
        }
    }
}

/// A daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Base name of its executable.
    pub program: &'static str,
    /// The names libwrap gets, where that is not the program's own.
    pub names: &'static [&'static str],
    /// Where the name comes from, for those whose configuration says it.
    pub named_by: Option<&'static str>,
    /// What it calls.
    pub call: Call,
    /// Whom a check holds up.
    pub blocking: Blocking,
    /// Another program that checks its clients, where it is set up so.
    pub helper: Option<Helper>,
}

/// A program that checks clients for a daemon that does not use libwrap itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The program.
    pub program: &'static str,
    /// What in the daemon's configuration says that it does.
    pub set_by: &'static str,
}

const fn daemon(program: &'static str, blocking: Blocking) -> Daemon {
    Daemon { program, names: &[], named_by: None, call: Call::HostsAccess, blocking, helper: None }
}

const fn named(program: &'static str, names: &'static [&'static str], blocking: Blocking) -> Daemon {
    Daemon { names, ..daemon(program, blocking) }
}

const fn configured(program: &'static str, by: &'static str, blocking: Blocking) -> Daemon {
    Daemon { named_by: Some(by), ..daemon(program, blocking) }
}

const fn helped(daemon: Daemon, program: &'static str, set_by: &'static str) -> Daemon {
    Daemon { helper: Some(Helper { program, set_by }), ..daemon }
}

const fn hosts_ctl(program: &'static str, blocking: Blocking) -> Daemon {
    Daemon { call: Call::HostsCtl, ..daemon(program, blocking) }
}

/// The daemons that were looked at.
pub const DAEMONS: [Daemon; 28] = {
    use Blocking::{AcceptThread, EventLoop, PerConnection, Pool};
    let stunnel = configured("stunnel", "the name in [brackets] of each service in stunnel.conf", Pool);
    let inetd = helped(
        configured("inetd", "the base name of the service's server", PerConnection),
        "tcpd",
        "/usr/sbin/tcpd before the server in inetd.conf",
    );
    let sslh =
        Daemon { named_by: Some("the service in sslh's configuration"), ..hosts_ctl("sslh", PerConnection) };
    [
        daemon("mysqld", AcceptThread),
        daemon("mariadbd", AcceptThread),
        helped(
            daemon("sshd", PerConnection),
            "sshd-session",
            "its version (from OpenSSH 9.8 on sshd starts it for each client)",
        ),
        daemon("vsftpd", PerConnection),
        daemon("mosquitto", EventLoop),
        daemon("rpcbind", EventLoop),
        named("rpc.mountd", &["mountd"], EventLoop),
        named("rpc.statd", &["statd"], EventLoop),
        hosts_ctl("slapd", Pool),
        Daemon { program: "stunnel4", ..stunnel },
        stunnel,
        daemon("proftpd", PerConnection),
        configured("socat", "the value of the option tcpwrap", AcceptThread),
        configured("xinetd", "the base name of the service's server, or NAMEINARGS", PerConnection),
        inetd,
        Daemon { program: "inetutils-inetd", ..inetd },
        configured("tcpd", "the base name of the service's server", PerConnection),
        daemon("conserver", AcceptThread),
        daemon("ser2net", AcceptThread),
        daemon("syslog-ng", EventLoop),
        helped(
            named("dovecot", &["imap", "pop3", "submission", "lmtp"], Pool),
            "tcpwrap",
            "login_access_sockets = tcpwrap in dovecot's configuration",
        ),
        sslh,
        Daemon { program: "sslh-select", blocking: EventLoop, ..sslh },
        daemon("nrpe", PerConnection),
        daemon("in.tftpd", PerConnection),
        hosts_ctl("snmpd", EventLoop),
        helped(
            configured("systemd", "the base name of the unit's program", PerConnection),
            "the unit's program",
            "a socket unit, which hands it each client or the listener",
        ),
        helped(
            configured("systemd-socket-activate", "the base name of the program it starts", PerConnection),
            "the program it starts",
            "its arguments",
        ),
    ]
};

/// What is known of a daemon, by the name libwrap gets or by that of its program.
pub fn find(name: &str) -> Option<&'static Daemon> {
    DAEMONS
        .iter()
        .find(|daemon| daemon.program == name)
        .or_else(|| DAEMONS.iter().find(|daemon| daemon.names.contains(&name)))
}

/// Whom a daemon's checks hold up.
pub fn blocking(name: &str) -> Blocking {
    find(name).map_or(Blocking::Unknown, |daemon| daemon.blocking)
}

/// Which function a daemon calls.
pub fn call(name: &str) -> Call {
    find(name).map_or(Call::HostsAccess, |daemon| daemon.call)
}

/// The name libwrap gets from a program of this name: its own, where nothing else is known.
pub fn name_for_libwrap(program: &str) -> &str {
    find(program)
        .filter(|daemon| daemon.program == program)
        .and_then(|daemon| daemon.names.first().copied())
        .unwrap_or(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_found_by_either_name() {
        assert_eq!(name_for_libwrap("rpc.mountd"), "mountd");
        assert_eq!(name_for_libwrap("mountd"), "mountd");
        assert_eq!(name_for_libwrap("sshd"), "sshd");
        assert_eq!(blocking("mountd"), Blocking::EventLoop);
        assert_eq!(blocking("imap"), Blocking::Pool);
        assert_eq!(call("slapd"), Call::HostsCtl);
        assert_eq!((call("none"), blocking("none")), (Call::HostsAccess, Blocking::Unknown));
    }
}
