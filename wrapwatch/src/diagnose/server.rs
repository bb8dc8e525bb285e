//! Which server a trace is of, as texts name it, and where its own lookups are turned off.
//!
//! Assumes that the targets of one trace are one kind of server: the first one that is named says which. Where none is, it is taken for mysqld, which
//! logs that are imported do not name.

use crate::context::Context;
use crate::model::Connection;
use crate::trace::Target;
use crate::wrappers::daemons;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// As a person calls it.
    pub name: String,
    /// It is MySQL's or MariaDB's.
    pub is_mysqld: bool,
    program: String,
}

/// Where a server's own lookups are turned off.
pub(super) struct OwnLookups {
    /// Why it looks clients up: a clause.
    pub because: &'static str,
    /// What to change.
    pub change: &'static str,
}

impl Server {
    /// The server of these targets.
    pub(crate) fn of(facts: &Context) -> Self {
        let program = facts.targets.iter().map(program).find(|name| !name.is_empty()).unwrap_or("mysqld");
        let is_mysqld = program.starts_with("mysqld") || program.starts_with("mariadbd");
        let name = match program {
            _ if is_mysqld => "mysqld",
            "master" | "smtpd" => "postfix",
            "postgres" => "PostgreSQL",
            "apache2" | "httpd" => "Apache",
            other => other,
        };
        Self { name: name.to_owned(), is_mysqld, program: program.to_owned() }
    }

    /// The name that rules know it by: what libwrap was given for this connection, else its usual one.
    pub(super) fn rule_name(&self, connection: Option<&Connection>) -> String {
        if self.is_mysqld {
            return self.name.clone();
        }
        let given = connection.and_then(|connection| connection.checks.last());
        if let Some(check) = given.filter(|check| !check.daemon.is_empty()) {
            return check.daemon.to_string();
        }
        let known = daemons::find(&self.program).and_then(|daemon| daemon.names.first());
        known.map_or_else(|| self.program.clone(), |&name| name.to_owned())
    }

    /// What it calls the moment until which clients wait.
    pub(super) const fn greeting(&self) -> &'static str {
        if self.is_mysqld { "greeting" } else { "first byte" }
    }

    /// How long its accept queue is: who says so.
    pub(super) fn backlog(&self) -> String {
        if self.is_mysqld {
            "back_log".to_owned()
        } else {
            format!("the backlog that {} asks for", self.name)
        }
    }

    /// What bounds how many clients it serves at once.
    pub(super) fn workers(&self) -> &'static str {
        match self.program.as_str() {
            _ if self.is_mysqld => "`thread_pool_size` in my.cnf",
            "slapd" => "`threads` in slapd.conf, `olcThreads`",
            "master" | "smtpd" => {
                "the process limit of smtpd in master.cf, `default_process_limit` in main.cf"
            }
            "apache2" | "httpd" => "`MaxRequestWorkers`, and `ThreadsPerChild` of each process",
            "sshd" => "`MaxStartups` in sshd_config",
            "xinetd" => "`instances` in xinetd.conf",
            "vsftpd" => "`max_clients` in vsftpd.conf",
            "proftpd" => "`MaxInstances` in proftpd.conf",
            "postgres" => "`max_connections` in postgresql.conf",
            _ => "its own limit of clients, threads or processes",
        }
    }

    /// Where its own lookups are turned off.
    pub(super) fn own_lookups(&self) -> OwnLookups {
        let (because, change) = match self.program.as_str() {
            _ if self.is_mysqld => (
                "skip_name_resolve is off",
                "Set `skip_name_resolve = ON` under [mysqld] in my.cnf and restart; accounts must then be named by address, not by host name \
                 (SELECT user, host FROM mysql.user).",
            ),
            "postgres" => (
                "log_hostname is on, or pg_hba.conf has host names",
                "Set `log_hostname = off` in postgresql.conf and write addresses instead of host names into pg_hba.conf; a reload is enough.",
            ),
            "sshd" => (
                "UseDNS is on",
                "Set `UseDNS no` in sshd_config and restart; `Match Host` and `from=` in authorized_keys must then name addresses.",
            ),
            "master" | "smtpd" => (
                "smtpd_peername_lookup is on",
                "Set `smtpd_peername_lookup = no` in main.cf and reload; restrictions by the client's name then match nobody.",
            ),
            "apache2" | "httpd" => (
                "HostnameLookups is on, or a rule says `Require host`",
                "Set `HostnameLookups Off`, write `Require ip` instead of `Require host`, and reload; logs can be resolved later (logresolve).",
            ),
            "slapd" => (
                "reverse-lookup is on",
                "Set `reverse-lookup off` and restart; rules in hosts.allow must then be addresses, since names match nobody.",
            ),
            _ => (
                "its own setting for reverse lookups",
                "Turn the server's own setting for reverse lookups off; what matches clients by name must then match them by address.",
            ),
        };
        OwnLookups { because, change }
    }
}

/// Base name of a target's program; its command name where the file is not known.
fn program(target: &Target) -> &str {
    let file = target.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    let file = file.map(|name| name.trim_end_matches(" (deleted)")).filter(|name| !name.is_empty());
    file.unwrap_or(&target.comm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(exe: Option<&str>, comm: &str) -> Server {
        let mut facts = Context::default();
        facts.target(&Target { exe: exe.map(str::to_owned), comm: comm.to_owned(), ..Target::default() });
        Server::of(&facts)
    }

    #[test]
    fn a_server_is_named_by_its_program_and_mysqld_where_nothing_is_known() {
        assert!(Server::of(&Context::default()).is_mysqld);
        assert_eq!(server(Some("/usr/sbin/mariadbd"), "mariadbd").name, "mysqld");
        assert_eq!(server(Some("/opt/mysql/mysqld-debug (deleted)"), "x").name, "mysqld");
        let sshd = server(Some("/usr/sbin/sshd"), "mysqld");
        assert!(!sshd.is_mysqld && sshd.name == "sshd", "a process may call itself anything: {sshd:?}");
        assert_eq!(server(None, "vsftpd").name, "vsftpd");
    }

    #[test]
    fn rules_know_a_server_by_what_libwrap_was_given() {
        let sshd = server(Some("/usr/sbin/rpc.mountd"), "rpc.mountd");
        assert_eq!(sshd.rule_name(None), "mountd");
        assert_eq!(server(Some("/usr/sbin/nrpe"), "nrpe").rule_name(None), "nrpe");
    }

    #[test]
    fn each_server_has_its_own_setting() {
        for (program, setting) in [
            ("mysqld", "skip_name_resolve"),
            ("postgres", "log_hostname"),
            ("sshd", "UseDNS"),
            ("master", "smtpd_peername_lookup"),
            ("apache2", "HostnameLookups"),
            ("slapd", "reverse-lookup"),
            ("conserver", "its own setting"),
        ] {
            let own = server(Some(program), "").own_lookups();
            assert!(own.because.contains(setting), "{program}");
            assert_eq!(own.change.contains("mysql"), program == "mysqld", "{program}");
        }
    }
}
