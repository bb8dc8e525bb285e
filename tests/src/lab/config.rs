//! What a lab is to be like: its nameservers, its server, the server's files.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a lab begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabConfig {
    /// Addresses that have a nameserver. One on the loopback is in the server's own network namespace.
    pub nameservers: Vec<IpAddr>,
    /// The server's files at the beginning.
    pub files: Files,
    /// The server.
    pub server: ServerConfig,
    /// Whether it is started with the lab.
    pub start_server: bool,
    /// The library to preload; else looked for beside the lab's own executable.
    pub preload: Option<PathBuf>,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            nameservers: vec![
                Ipv4Addr::new(10, 1, 1, 53).into(),
                Ipv4Addr::new(10, 1, 1, 54).into(),
                Ipv4Addr::new(10, 1, 1, 55).into(),
                Ipv6Addr::new(0xfd00, 1, 1, 0, 0, 0, 0, 0x53).into(),
            ],
            files: Files::default(),
            server: ServerConfig::default(),
            start_server: true,
            preload: None,
        }
    }
}

/// Which of Debian's two names the server is started by; the kernel's name of its threads and libwrap's daemon name follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// `/usr/sbin/mariadbd`
    #[default]
    Mariadbd,
    /// `/usr/sbin/mysqld`
    Mysqld,
}

/// The default storage engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Aria, and no InnoDB at all: starts in a tenth of a second.
    #[default]
    Aria,
    /// InnoDB.
    Innodb,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Its name.
    pub program: Program,
    /// Its program elsewhere, for a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Whether it checks its clients with libwrap.
    pub wrapped: bool,
    /// libwrap's daemon name, where it shall not be the program's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
    /// Further options: `--max-connections=5`, `--extra-port=3307`, `--thread-handling=pool-of-threads`, …
    pub options: Vec<String>,
    /// Host names are looked up only by libwrap (`--skip-name-resolve`).
    pub skip_name_resolve: bool,
    /// With privilege tables (0.8 s longer): only root@localhost may log in, and error 1130 is for all others. Else there are none, and
    /// everybody may.
    pub grant_tables: bool,
    /// Where its tables are; with `grant_tables` always InnoDB.
    pub engine: Engine,
    /// Further environment variables: those of the preloaded library, `LD_LIBRARY_PATH`, `RES_OPTIONS`, …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            program: Program::default(),
            path: None,
            wrapped: true,
            daemon: None,
            options: Vec::new(),
            skip_name_resolve: true,
            grant_tables: false,
            engine: Engine::default(),
            env: BTreeMap::new(),
        }
    }
}

impl ServerConfig {
    /// With further options.
    pub fn options<S: Into<String>>(options: impl IntoIterator<Item = S>) -> Self {
        Self { options: options.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// With a further environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// A new file is moved over the old one: another inode, never half written.
    #[default]
    Replace,
    /// The old file is truncated and written: the same inode.
    InPlace,
}

/// Files of the server's own `/etc`. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// `hosts.allow`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// `hosts.deny`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<String>,
    /// `resolv.conf`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolv: Option<String>,
    /// `hosts`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<String>,
    /// `nsswitch.conf`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nsswitch: Option<String>,
    /// Others, by name within `/etc`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
    /// Names within `/etc` to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// How they are written.
    pub how: Write,
}

impl Files {
    /// Only hosts.allow and hosts.deny.
    pub fn tables(allow: impl Into<String>, deny: impl Into<String>) -> Self {
        Self { allow: Some(allow.into()), deny: Some(deny.into()), ..Self::default() }
    }

    /// Only resolv.conf.
    pub fn resolv(resolv: impl Into<String>) -> Self {
        Self { resolv: Some(resolv.into()), ..Self::default() }
    }
}
