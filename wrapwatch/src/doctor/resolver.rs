//! One server's resolver: its files, the sockets of local services, its nameservers.

use std::path::Path;

use super::files::{TOO_LARGE, file_state, is_null, is_refused, is_socket, read};
use super::forwarders;
use super::nameservers::{STUBS, ask};
use crate::{
    diagnose::doctor::paths,
    host::{HostError, files},
    model::doctor::{NameserverState, ResolverSocket, ResolverState},
    wrappers::{HostsFile, ResolvConf, nsswitch},
};

/// Where glibc looks for nscd (nscd/nscd-client.h) and nss-resolve for systemd-resolved.
const SOCKETS: [(&str, &str); 2] =
    [("nscd", "/var/run/nscd/socket"), ("systemd-resolved", "/run/systemd/resolve/io.systemd.Resolve")];

/// Where systemd-resolved writes whom it asks itself (systemd-resolved.service(8)).
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
    let (cannot_open, doubt) = not_opened(&conf, || {
        files::metadata(viewer, paths::RESOLV_CONF).ok().flatten().is_some_and(|meta| is_null(&meta))
    });
    let texts = [conf, nsswitch, hosts].map(|read| read.map(|copy| copy.bytes).unwrap_or_default());
    let mut settings = ResolvConf::parse(&texts[0]);
    if doubt.is_some() {
        settings.nameservers.clear();
    }
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
    // From another network the same address would be another's.
    let forwarders =
        if viewer == pid { forwarders::examine(viewer, &settings.nameservers, queries) } else { Vec::new() };
    let state = ResolverState {
        files: states,
        services: nsswitch::hosts(&texts[1]).into_iter().map(|service| service.name).collect(),
        nameservers: ask(viewer, &settings.nameservers, queries),
        timeout_s: settings.timeout_s,
        attempts: settings.attempts,
        search: settings.search.clone().unwrap_or_default(),
        sockets,
        upstreams,
        forwarders,
        doubt,
    };
    Resolver { state, texts, cannot_open }
}

/// Why the server cannot open its resolv.conf, as glibc then does without it; or why nothing of it is known.
fn not_opened(
    conf: &Result<files::Copy, HostError>,
    is_null: impl FnOnce() -> bool,
) -> (Option<String>, Option<String>) {
    match conf {
        Ok(copy) if copy.exists && !copy.is_whole() => (None, Some(TOO_LARGE.to_owned())),
        Ok(_) => (None, None),
        Err(error) if is_refused(conf) || is_loop(error) => (Some(error.why()), None),
        // glibc opens it, and has nothing to read.
        Err(HostError::Unusable { .. }) if is_null() => (None, None),
        Err(error) => (None, Some(error.why())),
    }
}

/// Symbolic links that lead nowhere, for whoever follows them.
fn is_loop(error: &HostError) -> bool {
    matches!(error, HostError::Io { source, .. } if source.raw_os_error() == Some(libc::ELOOP))
}

/// Whom systemd-resolved asks, by the file that it writes. It may ask others for single domains: `resolvectl status` tells.
fn upstreams(viewer: u32, queries: bool) -> Vec<NameserverState> {
    let Ok(copy) = files::read(viewer, UPSTREAMS) else { return Vec::new() };
    let settings = ResolvConf::parse(&copy.bytes);
    if settings.default_nameserver { Vec::new() } else { ask(viewer, &settings.nameservers, queries) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_glibc_cannot_open_either_is_as_good_as_missing() {
        let of = |conf: Result<files::Copy, HostError>, null| {
            let (cannot_open, doubt) = not_opened(&conf, || null);
            (cannot_open.is_some(), doubt.is_some())
        };
        let errno = |errno| Err(HostError::io(paths::RESOLV_CONF, std::io::Error::from_raw_os_error(errno)));
        let of_size = |size| {
            let mark = files::Mark { size, ..files::Mark::default() };
            Ok(files::Copy { path: "/x".into(), bytes: Vec::new(), exists: size > 0, mark })
        };
        let unusable = || HostError::Unusable { what: "/x".into(), why: "not a regular file".into() };
        let (known, without, unknown) = ((false, false), (true, false), (false, true));
        assert_eq!([of_size(0), of_size(9)].map(|conf| of(conf, false)), [known; 2]);
        assert_eq!([libc::EACCES, libc::ELOOP].map(|number| of(errno(number), false)), [without; 2]);
        let limit = std::time::Duration::ZERO;
        let others = [
            of_size(files::MAX_BYTES + 1),
            errno(libc::EIO),
            Err(HostError::Permission { pid: 1, what: "its files" }),
            Err(HostError::Slow { what: "/x".into(), limit }),
            Err(HostError::Stuck(1)),
            Err(unusable()),
        ];
        assert_eq!(others.map(|conf| of(conf, false)), [unknown; 6]);
        assert_eq!(of(Err(unusable()), true), known);
    }
}
