//! Settings of the resolver that make lookups slow or strange.

use super::asked::NamedFiles;
use super::{Finding, Problem, ProblemKind as Kind, Scene, Severity};
use crate::wrappers::cost::other_service;
use crate::wrappers::cost::{Nameserver, SECOND_NS, question};
use crate::wrappers::pattern::same_host;
use crate::wrappers::{Ignored, daemons};

pub(super) fn find<'a>(scene: &Scene<'a>, files: &NamedFiles<'a>, out: &mut Vec<Problem>) {
    let looks_up = scene.rules_for_daemon().any(|rule| files.looks_up(rule));
    // Settings nobody uses are nobody's problem.
    if !looks_up {
        return;
    }
    services(scene, out);
    if scene.resolver.asks_dns() {
        nameservers(scene, out);
    }
    hosts(scene, out);
}

fn nameservers(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    let conf = scene.resolver.conf;
    if conf.unknown.is_some() {
        return;
    }
    let blocking = daemons::blocking(scene.daemon);
    let others = blocking.others();
    let mut push = |line, finding| out.push(scene.in_file(scene.resolv_path, line, finding));
    for ignored in &conf.ignored_lines {
        let (why, change) = match ignored.why {
            Ignored::BlankAtStart => ("it begins with a blank", "Remove the blanks before the keyword."),
            Ignored::CarriageReturn => {
                ("it ends in a carriage return, as Windows writes them", "sed -i 's/\\r$//' on this file")
            }
            Ignored::Address => {
                ("it has no address that glibc can read", "Write one address: nameserver 10.0.0.53")
            }
            Ignored::Keyword => {
                ("it has no keyword that glibc knows, or nothing behind it", "See resolv.conf(5).")
            }
        };
        // A line that was meant to name a nameserver changes who is asked.
        let server = ignored.text.trim_ascii_start().starts_with("nameserver");
        let severity = if server { Severity::Warning } else { Severity::Info };
        let message = format!("glibc ignores this line, because {why}: {}", ignored.text);
        push(Some(ignored.line), Finding::new(Kind::ResolvConfIgnored, severity, message).change(change));
    }
    for (line, option) in &conf.unknown_options {
        let message = format!("glibc does not know the option {option} and ignores it.");
        let finding = Finding::new(Kind::ResolvConfIgnored, Severity::Info, message);
        push(Some(*line), finding.change("See resolv.conf(5): timeout:N, attempts:N, rotate, …"));
    }
    if conf.default_nameserver {
        let (message, change) = match &conf.cannot_open {
            Some(why) => (
                format!("The file cannot be opened ({why}), so glibc asks 127.0.0.1 with its own timeouts."),
                "Make it readable for the server, and each folder above it.",
            ),
            None => (
                "No line names a nameserver that glibc can use, so it asks 127.0.0.1.".to_owned(),
                "Name a nameserver, or run a cache on this host that listens on 127.0.0.1.",
            ),
        };
        push(None, Finding::new(Kind::NoNameserver, Severity::Warning, message).change(change));
    }
    if let Some(line) = conf.endless_line {
        let message = "glibc never finishes reading this line, because of a carriage return or a byte that is not ASCII. Every process that looks a name up hangs.";
        let finding = Finding::new(Kind::EndlessSortlist, Severity::Critical, message);
        push(Some(line), finding.change("Remove the line: IPv4's sortlist is hardly ever needed."));
    }
    if conf.attempts <= 0 {
        let message = "With attempts:0 or less glibc asks no nameserver at all: every name is unknown.";
        push(None, Finding::new(Kind::NoAttempts, Severity::Warning, message).change("options attempts:1"));
        return;
    }
    if conf.ignored_nameservers > 0 {
        let message = "glibc asks the first three nameservers only.";
        push(
            None,
            Finding::new(Kind::NameserverIgnored, Severity::Info, message).change("Keep the three best."),
        );
    }
    if conf.use_vc {
        let message = format!(
            "Queries go over TCP: a nameserver that is gone holds {} as long as the kernel tries to connect.",
            blocking.held()
        );
        push(
            None,
            Finding::new(Kind::TcpQueries, Severity::Warning, message).change("Remove options use-vc."),
        );
        return;
    }
    let silent = |states: &[Nameserver]| question(conf, states).ns.unwrap_or(0) / SECOND_NS;
    let mut first_dead = vec![Nameserver::Answers; conf.nameservers.len()];
    if let Some(first) = first_dead.first_mut() {
        *first = Nameserver::Silent;
    }
    let (one, all) = (silent(&first_dead), silent(&[Nameserver::Silent; 3]));
    if all > 3 {
        let message = match conf.nameservers.len() {
            1 => format!("When the nameserver is silent a lookup takes {all} s{others}."),
            _ => format!(
                "When the first nameserver is silent a lookup takes {one} s, when all are {all} s{others}."
            ),
        };
        let finding = Finding::new(Kind::SlowTimeout, Severity::Warning, message);
        push(None, finding.change("options timeout:1 attempts:1"));
    }
    if conf.nameservers.len() == 1 && !conf.default_nameserver {
        let message = "There is one nameserver: while it is silent every lookup fails.";
        push(
            None,
            Finding::new(Kind::SingleNameserver, Severity::Info, message)
                .change("Add a second one, or a cache on this host."),
        );
    }
}

fn services(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    let at = |name: &str| scene.resolver.services.iter().position(|service| service.name == name);
    let mut push = |message: String, change: &str| {
        let finding = Finding::new(Kind::ServiceOrder, Severity::Info, message).change(change);
        out.push(scene.in_file(scene.nsswitch_path, None, finding));
    };
    match (at("files"), at("dns")) {
        (None, _) => push("/etc/hosts is not asked for names.".to_owned(), "hosts: files dns"),
        (Some(files), Some(dns)) if dns < files => {
            push(
                "DNS is asked before /etc/hosts: an entry there saves nothing.".to_owned(),
                "hosts: files dns",
            );
        }
        _ => {}
    }
    for name in scene.resolver.others() {
        let (ns, known) = other_service(name);
        if ns == Some(0) {
            continue;
        }
        let message = format!(
            "Names also come from the service {name}, whose timeouts are not those of resolv.conf ({known})."
        );
        push(message, "Find out how long it can take, or remove it: hosts: files dns");
    }
}

/// Names in /etc/hosts that make their own address paranoid.
fn hosts(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    // The check below is quadratic; a file that long is generated, and its names are its generator's business.
    for entry in scene.hosts.entries.iter().take(2000) {
        let Some(name) = entry.names.first() else { continue };
        let address = entry.address.to_canonical();
        let first = scene.hosts.reverse(address) == Some(name.as_str());
        let Some(found) = scene.hosts.forward(name, address.is_ipv6()).filter(|_| first) else { continue };
        let itself = found.canonical.as_ref().is_some_and(|canonical| same_host(canonical, name))
            || same_host(name, "localhost");
        if !itself || !found.addresses.contains(&address) {
            let message = format!(
                "{name} does not lead back to {address}: an earlier line has it for another name, so the client counts as paranoid."
            );
            let finding = Finding::new(Kind::HostsMismatch, Severity::Warning, message);
            out.push(scene.in_file(
                scene.hosts_path,
                Some(entry.line),
                finding.change("Give each name one line where it stands first."),
            ));
        }
    }
}
