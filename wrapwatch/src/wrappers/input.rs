//! What a check is judged by: tables, resolver, clients.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::environment::FileText;
use super::hosts_file::HostsFile;
use super::nsswitch::Service;
use super::request::Endpoint;
use super::resolv_conf::ResolvConf;
use super::table::Tables;

/// A name that is surely in no rule, for a client whose name nobody knows.
pub(super) const UNLISTED: &str = "name-in-no-rule.invalid";

/// A client to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// The name DNS gives it, where the caller knows.
    pub name: Option<String>,
}

/// Everything the answer depends on.
#[derive(Debug)]
pub struct Input<'a> {
    /// The tables.
    pub tables: &'a Tables,
    /// Their texts.
    pub texts: [&'a [u8]; 2],
    /// Paths of hosts.allow and hosts.deny.
    pub paths: [&'a str; 2],
    /// Files that rules name, by path.
    pub files: &'a BTreeMap<String, FileText>,
    /// Daemon's name.
    pub daemon: &'a str,
    /// Server's end of the connections.
    pub server: Endpoint,
    /// resolv.conf.
    pub conf: &'a ResolvConf,
    /// Its path.
    pub resolv_path: &'a str,
    /// nsswitch.conf's hosts line.
    pub services: &'a [Service],
    /// nsswitch.conf's netgroup line.
    pub netgroup: &'a [Service],
    /// nsswitch.conf's path.
    pub nsswitch_path: &'a str,
    /// /etc/hosts.
    pub hosts: &'a HostsFile,
    /// Its path.
    pub hosts_path: &'a str,
    /// Domain of the host's own name.
    pub own_domain: Option<&'a str>,
    /// The clients.
    pub clients: &'a [Client],
}
