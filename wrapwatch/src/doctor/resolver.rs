//! One server's resolver: its files, the sockets of local services, its nameservers.

use std::{net::IpAddr, path::Path};

use super::files::{file_state, is_refused, is_socket, read};
use crate::{
    diagnose::doctor::paths,
    host::{
        HostError, files,
        nameserver::{self, Asked},
        netns,
    },
    model::doctor::{NameserverState, ResolverSocket, ResolverState},
    wrappers::{HostsFile, ResolvConf, nsswitch},
};

/// Where glibc looks for nscd (nscd/nscd-client.h) and nss-resolve for systemd-resolved.
const SOCKETS: [(&str, &str); 2] =
    [("nscd", "/var/run/nscd/socket"), ("systemd-resolved", "/run/systemd/resolve/io.systemd.Resolve")];

/// Where systemd-resolved listens for glibc, and where it writes whom it asks itself (systemd-resolved.service(8)).
const STUBS: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 54))];
const UPSTREAMS: &str = "/run/systemd/resolve/resolv.conf";

/// What a resolver's examination gives.
pub(super) struct Resolver {
    pub(super) state: ResolverState,
    /// resolv.conf, nsswitch.conf, hosts.
    pub(super) texts: [Vec<u8>; 3],
    /// Why the server cannot open its resolv.conf.
    pub(super) cannot_open: Option<String>,
}

/// Process `pid`'s, as process `viewer` sees it; nameservers are asked from its network namespace.
pub(super) fn examine(pid: u32, viewer: u32, queries: bool) -> Resolver {
    let conf = read(pid, viewer, paths::RESOLV_CONF);
    let nsswitch = files::read(viewer, paths::NSSWITCH_CONF);
    let hosts = files::read(viewer, paths::HOSTS);
    let states = vec![
        file_state(paths::RESOLV_CONF, &conf, |text| ResolvConf::parse(text).nameservers.len() as u64),
        file_state(paths::NSSWITCH_CONF, &nsswitch, |text| nsswitch::hosts(text).len() as u64),
        file_state(paths::HOSTS, &hosts, |text| HostsFile::parse(text).entries.len() as u64),
    ];
    let cannot_open = conf.as_ref().err().filter(|_| is_refused(&conf)).map(HostError::why);
    let texts = [conf, nsswitch, hosts].map(|read| read.map(|copy| copy.bytes).unwrap_or_default());
    let settings = ResolvConf::parse(&texts[0]);
    let sockets = SOCKETS
        .iter()
        .map(|(service, path)| ResolverSocket {
            service: (*service).to_owned(),
            path: (*path).to_owned(),
            present: is_socket(viewer, Path::new(path)),
        })
        .collect();
    let asks_resolved = settings.nameservers.iter().any(|server| STUBS.contains(server));
    let upstreams = if asks_resolved { upstreams(viewer, queries) } else { Vec::new() };
    let state = ResolverState {
        files: states,
        services: nsswitch::hosts(&texts[1]).into_iter().map(|service| service.name).collect(),
        nameservers: nameservers(viewer, &settings, queries),
        timeout_s: settings.timeout_s,
        attempts: settings.attempts,
        search: settings.search.clone().unwrap_or_default(),
        sockets,
        upstreams,
    };
    Resolver { state, texts, cannot_open }
}

/// Whom systemd-resolved asks, by the file that it writes. It may ask others for single domains: `resolvectl status` tells.
fn upstreams(viewer: u32, queries: bool) -> Vec<NameserverState> {
    let Ok(copy) = files::read(viewer, UPSTREAMS) else { return Vec::new() };
    let settings = ResolvConf::parse(&copy.bytes);
    if settings.default_nameserver { Vec::new() } else { nameservers(viewer, &settings, queries) }
}

fn nameservers(viewer: u32, settings: &ResolvConf, queries: bool) -> Vec<NameserverState> {
    let unasked = |error: Option<String>| {
        settings
            .nameservers
            .iter()
            .map(|&server| NameserverState {
                server,
                asked: None,
                found: None,
                outcome: None,
                rtt_ns: None,
                rcode: None,
                error: error.clone(),
            })
            .collect()
    };
    if !queries {
        return unasked(None);
    }
    // Each for its own name: a question that reveals nothing.
    let questions: Vec<_> = settings.nameservers.iter().map(|&server| (server, server)).collect();
    match netns::within(viewer, || Ok(nameserver::ask_all(&questions))) {
        Ok(answers) => answers
            .into_iter()
            .zip(&settings.nameservers)
            .map(|(asked, &server)| answered(server, asked))
            .collect(),
        Err(error) => unasked(Some(error.to_string())),
    }
}

/// What a nameserver did, as it is told.
pub(super) fn answered(server: IpAddr, asked: Asked) -> NameserverState {
    NameserverState {
        server,
        asked: Some(asked.name),
        found: asked.found,
        outcome: Some(asked.outcome),
        rtt_ns: asked.rtt.map(|rtt| u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX)),
        rcode: asked.rcode,
        error: asked.error,
    }
}
