//! unbound.conf(5): whom it asks for any name stands in the forward-zone of the root; without one it asks the servers of each zone itself.

use super::{Upstreams, address};
use crate::doctor::configuration::{Source, below, expand};

const FOLDER: &str = "/etc/unbound";
/// So deep files may include each other.
const DEPTH_MAX: usize = 16;
/// What begins another part of the file.
const CLAUSES: [&str; 13] = [
    "server:",
    "remote-control:",
    "forward-zone:",
    "stub-zone:",
    "auth-zone:",
    "view:",
    "python:",
    "dynlib:",
    "dnscrypt:",
    "cachedb:",
    "ipset:",
    "rpz:",
    "dnstap:",
];

#[derive(Debug, Default)]
struct Zone {
    /// It says to whom questions are passed on.
    passes_on: bool,
    name: String,
    addresses: Vec<String>,
    /// Hosts by name, which it has to look up itself.
    hosts: Vec<String>,
    tls: bool,
}

#[derive(Debug, Default)]
struct Found {
    zones: Vec<Zone>,
    /// All that it asks it asks over TLS.
    tls: bool,
}

/// By the arguments that it was started with.
pub(super) fn read(source: &mut dyn Source, cmdline: &[String]) -> Upstreams {
    let mut words = cmdline.iter().skip(1);
    let mut path = format!("{FOLDER}/unbound.conf");
    while let Some(word) = words.next() {
        if let Some(rest) = word.strip_prefix("-c") {
            let given =
                if rest.is_empty() { words.next().map(String::as_str).unwrap_or_default() } else { rest };
            path = below(FOLDER, given);
        }
    }
    let mut found = Found { zones: vec![Zone::default()], tls: false };
    file(source, &path, 0, &mut found);
    let mut out = Upstreams { recursive: true, ..Upstreams::default() };
    for zone in found.zones.iter().filter(|zone| zone.passes_on) {
        if zone.name != "." {
            out.others = true;
            continue;
        }
        out.recursive = false;
        if zone.tls || found.tls {
            source.doubt("it asks over TLS, which was not tried here".to_owned());
            continue;
        }
        for host in &zone.hosts {
            source.doubt(format!("it asks {host}, which is no address"));
        }
        for text in &zone.addresses {
            out.any.extend(address(source, text, '@'));
        }
    }
    out
}

fn file(source: &mut dyn Source, path: &str, depth: usize, found: &mut Found) {
    if depth > DEPTH_MAX {
        return source.doubt(format!("{path}: files include each other"));
    }
    let Some(text) = source.text(path) else { return };
    let words = words(&text);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if CLAUSES.contains(&word) {
            let passes_on = matches!(word, "forward-zone:" | "stub-zone:");
            found.zones.push(Zone { passes_on, ..Zone::default() });
            continue;
        }
        if !word.ends_with(':') {
            continue;
        }
        let value = words.next().unwrap_or_default();
        if matches!(word, "include:" | "include-toplevel:") {
            if word == "include-toplevel:" {
                found.zones.push(Zone::default());
            }
            for included in expand(source, &below(FOLDER, value)) {
                file(source, &included, depth + 1, found);
            }
            continue;
        }
        if matches!(word, "tls-upstream:" | "ssl-upstream:") {
            found.tls = value == "yes";
        }
        let Some(zone) = found.zones.last_mut().filter(|zone| zone.passes_on) else { continue };
        match word {
            "name:" => value.clone_into(&mut zone.name),
            "forward-addr:" | "stub-addr:" => zone.addresses.push(value.to_owned()),
            "forward-host:" | "stub-host:" => zone.hosts.push(value.to_owned()),
            "forward-tls-upstream:"
            | "forward-ssl-upstream:"
            | "stub-tls-upstream:"
            | "stub-ssl-upstream:" => {
                zone.tls = value == "yes";
            }
            _ => {}
        }
    }
}

/// A file's words, without comments and quotes. What stands behind a name's colon at once is a word of its own: `name:"."`.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = if let Some(quoted) = rest.strip_prefix('"') {
                quoted.split_once('"').unwrap_or((quoted, ""))
            } else {
                let is_name = rest.starts_with(|c: char| c.is_ascii_alphabetic());
                let end = rest.char_indices().find_map(|(at, c)| match c {
                    c if c.is_whitespace() => Some(at),
                    ':' if is_name && rest.get(at + 1..).is_some_and(|after| after.starts_with('"')) => {
                        Some(at + 1)
                    }
                    _ => None,
                });
                rest.split_at(end.unwrap_or(rest.len()))
            };
            out.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::tests::Texts;

    fn upstreams(texts: &[(&str, &str)], arguments: &str) -> (Vec<String>, bool, bool, Option<String>) {
        let mut source = Texts::of(texts);
        let cmdline: Vec<String> = arguments.split(' ').map(ToOwned::to_owned).collect();
        let found = read(&mut source, &cmdline);
        let any = found.any.iter().map(ToString::to_string).collect();
        (any, found.others, found.recursive, source.doubt)
    }

    fn conf(text: &str) -> (Vec<String>, bool, bool, Option<String>) {
        upstreams(&[("/etc/unbound/unbound.conf", text)], "unbound -d -p")
    }

    #[test]
    fn the_roots_forward_zone_says_whom_it_asks() {
        let root = "server:\n  interface: 127.0.0.1 # name: \"x\"\nforward-zone:\n  name: \".\"\n  forward-addr: 10.1.1.53\n  forward-addr: 10.1.1.54@53\n";
        let any = vec!["10.1.1.53".to_owned(), "10.1.1.54".to_owned()];
        assert_eq!(conf(root), (any, false, false, None));
        assert_eq!(
            conf("server:\n  verbosity: 1\n"),
            (vec![], false, true, None),
            "it goes to the root's servers"
        );
        let domain = "stub-zone:\n name:\"corp.example\"\n stub-addr: 10.1.1.55\n";
        assert_eq!(conf(domain), (vec![], true, true, None));
    }

    /// As Debian has it, and with a file that is named.
    #[test]
    fn files_that_are_included_count() {
        let files = [
            ("/etc/unbound/unbound.conf", "include-toplevel: \"/etc/unbound/unbound.conf.d/*.conf\"\n"),
            ("/etc/unbound/unbound.conf.d/forward.conf", "forward-zone: name: . forward-addr: 10.1.1.53\n"),
            ("/etc/unbound/unbound.conf.d/off", "forward-zone: name: . forward-addr: 10.9.9.9\n"),
            ("/own.conf", "include: more.conf\n"),
            ("/etc/unbound/more.conf", "forward-zone:\nname: \".\"\nforward-addr: 2001:db8::53\n"),
        ];
        assert_eq!(upstreams(&files, "unbound").0, ["10.1.1.53"]);
        assert_eq!(upstreams(&files, "unbound -c /own.conf").0, ["2001:db8::53"]);
    }

    #[test]
    fn what_was_not_asked_or_not_read_is_a_doubt() {
        let doubted = |text: &str| conf(&format!("forward-zone:\n name: .\n{text}\n")).3.unwrap();
        assert!(doubted("forward-addr: 10.1.1.53@5353").contains("port 5353"));
        assert!(doubted("forward-tls-upstream: yes\nforward-addr: 1.1.1.1@853#one.example").contains("TLS"));
        assert!(doubted("forward-host: dns.example").contains("dns.example"));
        assert!(upstreams(&[], "unbound").3.unwrap().contains("unbound.conf: not there"));
        assert!(conf("include: /etc/unbound/unbound.conf\n").3.unwrap().contains("include each other"));
    }
}
