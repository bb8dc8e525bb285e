//! A host's files for tests: what a test does not say is as it usually is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::input::{Client, Input};
use super::lint::{Report, lint};
use super::nsswitch::{self, Service};
use super::{Endpoint, FileText, HostsFile, ResolvConf, Table, Tables};

/// A host with a mysqld on it.
pub(crate) struct Host<'a> {
    pub(crate) tables: Tables,
    pub(crate) texts: [&'a [u8]; 2],
    pub(crate) paths: [&'a str; 2],
    /// Files that rules name.
    pub(crate) files: BTreeMap<String, FileText>,
    pub(crate) daemon: &'a str,
    pub(crate) server: IpAddr,
    pub(crate) conf: ResolvConf,
    pub(crate) services: Vec<Service>,
    pub(crate) netgroup: Vec<Service>,
    pub(crate) hosts: HostsFile,
    pub(crate) clients: Vec<Client>,
}

impl<'a> Host<'a> {
    /// With these tables; nobody is asked about, and no other file says anything.
    pub(crate) fn new(allow: &'a [u8], deny: &'a [u8]) -> Self {
        Self {
            tables: Tables { allow: Table::parse(allow), deny: Table::parse(deny) },
            texts: [allow, deny],
            paths: ["/etc/hosts.allow", "/etc/hosts.deny"],
            files: BTreeMap::new(),
            daemon: "mysqld",
            server: "10.0.9.9".parse().unwrap(),
            conf: ResolvConf::default(),
            services: nsswitch::hosts(b""),
            netgroup: nsswitch::netgroup(b""),
            hosts: HostsFile::default(),
            clients: Vec::new(),
        }
    }

    /// The clients asked about: each its address, and its name where DNS is known to give one.
    pub(crate) fn asked_about(self, clients: &[(&str, Option<&str>)]) -> Self {
        let client = |(address, name): &(&str, Option<&str>)| Client {
            address: address.parse().unwrap(),
            name: name.map(str::to_owned),
        };
        Self { clients: clients.iter().map(client).collect(), ..self }
    }

    pub(crate) fn input(&self) -> Input<'_> {
        Input {
            tables: &self.tables,
            texts: self.texts,
            paths: self.paths,
            files: &self.files,
            daemon: self.daemon,
            server: Endpoint::new(self.server, 3306),
            conf: &self.conf,
            resolv_path: "/etc/resolv.conf",
            services: &self.services,
            netgroup: &self.netgroup,
            nsswitch_path: "/etc/nsswitch.conf",
            hosts: &self.hosts,
            hosts_path: "/etc/hosts",
            own_domain: None,
            clients: &self.clients,
        }
    }

    pub(crate) fn lint(&self) -> Report {
        lint(&self.input())
    }
}
