//! dnsmasq(8): whom it asks stands in its arguments, in /etc/dnsmasq.conf and what that names, and in files like resolv.conf.

use std::net::IpAddr;

use super::{Upstreams, address};
use crate::doctor::configuration::Source;

const CONFIGURATION: &str = "/etc/dnsmasq.conf";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// So deep files may name each other.
const DEPTH_MAX: usize = 16;

/// Options that decide it; one letter where arguments may have it so.
const OPTIONS: [(&str, Option<char>); 10] = [
    ("server", Some('S')),
    ("local", None),
    ("resolv-file", Some('r')),
    ("no-resolv", Some('R')),
    ("conf-file", Some('C')),
    ("conf-dir", Some('7')),
    ("servers-file", None),
    ("rev-server", None),
    ("enable-dbus", Some('1')),
    ("enable-ubus", None),
];

#[derive(Debug, Default)]
struct Found {
    servers: Vec<IpAddr>,
    others: bool,
    no_resolv: bool,
    resolv_files: Vec<String>,
}

/// By the arguments that it was started with; `own` is where it answers itself, and it never asks itself.
pub(super) fn read(source: &mut dyn Source, cmdline: &[String], own: IpAddr) -> Upstreams {
    let mut found = Found::default();
    let given = given(cmdline);
    if !given.iter().any(|(name, _)| *name == "conf-file") && source.is_there(CONFIGURATION) {
        file(source, CONFIGURATION, 0, &mut found);
    }
    for (name, value) in given {
        take(source, (name, &value), 0, &mut found);
    }
    if found.resolv_files.len() > 1 {
        source.doubt("of several files like resolv.conf it takes the newest".to_owned());
    }
    if found.resolv_files.is_empty() {
        found.resolv_files.push(RESOLV_CONF.to_owned());
    }
    for path in found.resolv_files.iter().filter(|_| !found.no_resolv) {
        let text = source.text(path).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if matches!(words.next(), Some("nameserver" | "server"))
                && let Some(word) = words.next()
            {
                found.servers.extend(address(source, word, '#'));
            }
        }
    }
    let mut any: Vec<IpAddr> = Vec::new();
    for server in found.servers {
        if server != own && !any.contains(&server) {
            any.push(server);
        }
    }
    Upstreams { any, others: found.others, recursive: false }
}

/// The arguments that decide it: `--name=value`, `--name value`, `-Xvalue`, `-X value`.
fn given(cmdline: &[String]) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let mut words = cmdline.iter().skip(1);
    while let Some(word) = words.next() {
        let long = word
            .strip_prefix("--")
            .map(|rest| rest.split_once('=').map_or((rest, None), |(n, v)| (n, Some(v))));
        let (name, value) = match (long, word.strip_prefix('-')) {
            (Some((name, value)), _) => {
                let Some((name, _)) = OPTIONS.iter().find(|(own, _)| *own == name) else { continue };
                (*name, value.map(ToOwned::to_owned))
            }
            (None, Some(short)) => {
                let Some((name, _)) =
                    OPTIONS.iter().find(|(_, own)| own.is_some_and(|own| short.starts_with(own)))
                else {
                    continue;
                };
                let value = short.get(1..).filter(|value| !value.is_empty());
                (*name, value.map(ToOwned::to_owned))
            }
            (None, None) => continue,
        };
        let needs_value = !matches!(name, "no-resolv" | "enable-dbus" | "enable-ubus" | "local");
        let value = value.or_else(|| needs_value.then(|| words.next().cloned()).flatten());
        out.push((name, value.unwrap_or_default()));
    }
    out
}

fn take(source: &mut dyn Source, (name, value): (&str, &str), depth: usize, found: &mut Found) {
    match name {
        "server" | "local" => server(source, value, found),
        "rev-server" => found.others = true,
        "resolv-file" => found.resolv_files.push(value.to_owned()),
        "no-resolv" => found.no_resolv = true,
        "conf-file" | "servers-file" => file(source, value, depth + 1, found),
        "conf-dir" => folder(source, value, depth + 1, found),
        "enable-dbus" | "enable-ubus" => {
            source.doubt("it may have been given others over D-Bus".to_owned());
        }
        _ => {}
    }
}

/// `server=10.1.1.53`, `server=/example.com/10.1.1.53`, `server=/example.com/`.
fn server(source: &mut dyn Source, value: &str, found: &mut Found) {
    if let Some((domains, server)) = value.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) {
        match domains {
            "#" => found.servers.extend(address(source, server, '#')),
            // Without a server it answers these itself.
            _ => found.others |= !server.is_empty(),
        }
    } else if !value.is_empty() {
        found.servers.extend(address(source, value, '#'));
    }
}

fn file(source: &mut dyn Source, path: &str, depth: usize, found: &mut Found) {
    if path == "/dev/null" || path.is_empty() {
        return;
    }
    if depth > DEPTH_MAX {
        return source.doubt(format!("{path}: files name each other"));
    }
    let Some(text) = source.text(path) else { return };
    for line in text.lines() {
        // A comment begins where a # stands at the beginning or behind a blank: `10.1.1.53#5353` is a port.
        let end = line.match_indices('#').map(|(at, _)| at).find(|&at| {
            line.get(..at).is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
        });
        let line = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
        let (name, value) = line.split_once('=').map_or((line, ""), |(name, value)| (name, value));
        take(source, (name.trim(), value.trim().trim_matches('"')), depth, found);
    }
}

/// `/etc/dnsmasq.d`, `/etc/dnsmasq.d,.dpkg-old,.bak` (all but these), `/etc/dnsmasq.d/,*.conf` (these alone).
fn folder(source: &mut dyn Source, value: &str, depth: usize, found: &mut Found) {
    let mut parts = value.split(',');
    let path = parts.next().unwrap_or_default().trim_end_matches('/');
    let (only, but): (Vec<&str>, Vec<&str>) =
        parts.filter(|end| !end.is_empty()).partition(|end| end.starts_with('*'));
    let ends = |name: &str, ends: &[&str]| ends.iter().any(|end| name.ends_with(end.trim_start_matches('*')));
    for name in source.names(path).unwrap_or_default() {
        let is_leftover =
            name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'));
        if !is_leftover && !ends(&name, &but) && (only.is_empty() || ends(&name, &only)) {
            file(source, &format!("{path}/{name}"), depth, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::tests::Texts;

    fn upstreams(texts: &[(&str, &str)], arguments: &str) -> (Vec<String>, bool, Option<String>) {
        let mut source = Texts::of(texts);
        let cmdline: Vec<String> = arguments.split(' ').map(ToOwned::to_owned).collect();
        let found = read(&mut source, &cmdline, "127.0.0.1".parse().unwrap());
        (found.any.iter().map(ToString::to_string).collect(), found.others, source.doubt)
    }

    fn known(servers: &[&str]) -> (Vec<String>, bool, Option<String>) {
        (servers.iter().map(|server| (*server).to_owned()).collect(), false, None)
    }

    #[test]
    fn without_settings_it_asks_whom_resolv_conf_names_and_never_itself() {
        let resolv = ("/etc/resolv.conf", "nameserver 127.0.0.1\nnameserver 10.1.1.53\n");
        assert_eq!(upstreams(&[resolv], "dnsmasq"), known(&["10.1.1.53"]));
        let conf = ("/etc/dnsmasq.conf", "# server=10.9.9.9\nserver=10.1.1.54 # ours\ndomain-needed\n");
        assert_eq!(upstreams(&[resolv, conf], "dnsmasq -k"), known(&["10.1.1.54", "10.1.1.53"]));
        let conf = ("/etc/dnsmasq.conf", "no-resolv\nserver=10.1.1.54#53\nserver=10.1.1.54\n");
        assert_eq!(upstreams(&[resolv, conf], "dnsmasq"), known(&["10.1.1.54"]));
    }

    /// As Debian's unit starts it.
    #[test]
    fn arguments_count_as_the_file_does() {
        let files = [
            ("/etc/dnsmasq.conf", "\n"),
            ("/run/dnsmasq/resolv.conf", "nameserver 10.1.1.53\n"),
            ("/etc/dnsmasq.d/more", "server=10.1.1.55\n"),
            ("/etc/dnsmasq.d/old.dpkg-old", "server=10.9.9.1\n"),
            ("/etc/dnsmasq.d/left~", "server=10.9.9.2\n"),
        ];
        let arguments = "/usr/sbin/dnsmasq -x /run/dnsmasq/dnsmasq.pid -u dnsmasq -r /run/dnsmasq/resolv.conf -7 /etc/dnsmasq.d,.dpkg-dist,.dpkg-old --local-service";
        assert_eq!(upstreams(&files, arguments), known(&["10.1.1.55", "10.1.1.53"]));
        let only = "dnsmasq -C/etc/own.conf";
        let files = [
            ("/etc/own.conf", "conf-dir=/d/,*.conf\nno-resolv\n"),
            ("/d/a.conf", "server=10.1.1.56"),
            ("/d/b", "server=10.9.9.3"),
        ];
        assert_eq!(upstreams(&files, only), known(&["10.1.1.56"]));
        assert_eq!(
            upstreams(&[], "dnsmasq --conf-file=/dev/null --no-resolv --server 10.1.1.57"),
            known(&["10.1.1.57"])
        );
    }

    #[test]
    fn what_is_for_some_domains_or_not_in_a_file_is_said() {
        let conf = |text: &str| upstreams(&[("/etc/dnsmasq.conf", text)], "dnsmasq -R");
        assert_eq!(
            conf("server=/corp.example/10.1.1.53\nserver=10.1.1.54\n"),
            (vec!["10.1.1.54".to_owned()], true, None)
        );
        assert_eq!(conf("rev-server=10.0.0.0/8,10.1.1.53\n"), (vec![], true, None));
        assert_eq!(conf("local=/corp.example/\nserver=/#/10.1.1.54\n"), known(&["10.1.1.54"]));
        let doubted = |text: &str| conf(text).2.unwrap();
        assert!(doubted("enable-dbus\n").contains("D-Bus"));
        assert!(doubted("server=127.0.0.1#5353\n").contains("port 5353"));
        assert!(doubted("conf-file=/etc/dnsmasq.conf\n").contains("name each other"));
        assert!(doubted("conf-file=/nowhere\n").contains("/nowhere: not there"));
    }
}
