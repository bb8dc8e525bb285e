//! What lookups can cost: glibc's waiting, from the resolver's settings and the state its nameservers might be in.
//!
//! Sources: `send_dg`, `__res_context_send` (res_send.c) and `__res_context_search` (res_query.c) of glibc 2.36; checked against the
//! real glibc with nameservers that keep silent.

use super::nsswitch::{Service, Status};
use super::resolv_conf::ResolvConf;

pub use super::resolv_conf::SECOND_NS;

/// `rfc931_timeout` in Debian's libwrap.
pub const IDENT_TIMEOUT_NS: u64 = 10 * SECOND_NS;

/// What a nameserver does with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nameserver {
    /// It answers at once.
    Answers,
    /// Nothing comes back.
    Silent,
    /// An ICMP error comes back.
    Refuses,
}

/// A lookup's cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How long it waits; none where the settings set no bound (TCP).
    pub ns: Option<u64>,
    /// Whether a nameserver answered in the end.
    pub answered: bool,
}

/// One question (a name as it is sent) to the nameservers in these states, until one answers. With `rotate` the worst start counts.
pub fn question(conf: &ResolvConf, states: &[Nameserver]) -> Waiting {
    let waits = conf.waits_ns();
    let count = waits.len();
    let starts = if conf.rotate { count } else { 1 };
    let one = |start: usize| {
        let mut ns = 0u64;
        for _ in 0..conf.attempts.max(0) {
            for shift in 0..count {
                let index = (start + shift) % count;
                match states.get(index).copied().unwrap_or(Nameserver::Silent) {
                    Nameserver::Answers => return Waiting { ns: Some(ns), answered: true },
                    // A TCP connection to nowhere waits as long as the kernel likes.
                    // What is not known bounds nothing either.
                    Nameserver::Silent if conf.use_vc || conf.unknown.is_some() => {
                        return Waiting { ns: None, answered: false };
                    }
                    Nameserver::Silent => ns = ns.saturating_add(waits.get(index).copied().unwrap_or(0)),
                    Nameserver::Refuses => {}
                }
            }
        }
        Waiting { ns: Some(ns), answered: false }
    };
    // No bound is more than any.
    (0..starts).map(one).max_by_key(|waiting| waiting.ns.map_or(u64::MAX, |ns| ns)).unwrap_or(one(0))
}

/// How many names one forward lookup asks for before it gives up, when nobody answers: the name itself and at most one with a domain of
/// the search list, for glibc leaves the list at the first time-out.
pub fn names_tried(conf: &ResolvConf, own_domain: Option<&str>, name: &str) -> u32 {
    if name.ends_with('.') {
        return 1;
    }
    let own = own_domain.filter(|domain| !domain.is_empty());
    let first = conf.search.as_ref().map_or(own, |list| list.first().map(String::as_str));
    let dots = u32::try_from(name.matches('.').count()).unwrap_or(u32::MAX);
    match first {
        None => 1,
        // The root as a domain is the name itself again; tried first, it is not repeated.
        Some(".") if dots < conf.ndots => 1,
        Some(_) => 2,
    }
}

/// What a service of nsswitch.conf can answer, how long each answer takes at most, and what that is made of where it waits for somebody.
struct ServiceCosts {
    outcomes: Vec<(Status, Option<u64>)>,
    of: Option<String>,
}

/// `SD_RESOLVED_QUERY_TIMEOUT_USEC` in systemd: what nss-resolve waits for systemd-resolved.
const RESOLVED_NS: u64 = 120 * SECOND_NS;

/// What is known of the time that other services take, by their names in nsswitch.conf.
pub fn other_service(name: &str) -> (Option<u64>, String) {
    match name {
        "resolve" => (
            Some(RESOLVED_NS),
            "systemd-resolved: 120 s; its nameservers and timeouts are its own".to_owned(),
        ),
        "mdns_minimal" | "mdns4_minimal" | "mdns6_minimal" => {
            (Some(0), format!("{name}: at once, but for link-local addresses and names in .local"))
        }
        "mdns" | "mdns4" | "mdns6" => {
            (None, format!("{name}: as long as avahi-daemon takes, some 5 s where nobody answers"))
        }
        "sss" => (None, "sss: as long as sssd and its servers take".to_owned()),
        "wins" | "winbind" => (None, format!("{name}: as long as Samba's daemons and their servers take")),
        "nis" | "nisplus" | "ldap" | "hesiod" => (None, format!("{name}: as long as its servers take")),
        "libvirt" | "libvirt_guest" | "db" | "compat" => {
            (Some(0), format!("{name}: from files of this host"))
        }
        _ => (None, format!("{name}: not known")),
    }
}

/// How many names a forward lookup asks for at most, whatever the answers: the name itself and one with each domain of the search list.
fn names_at_most(conf: &ResolvConf, own_domain: Option<&str>, name: &str) -> u32 {
    if name.ends_with('.') {
        return 1;
    }
    let own = u32::from(own_domain.is_some_and(|domain| !domain.is_empty()));
    let count = |list: &Vec<String>| u32::try_from(list.len()).unwrap_or(u32::MAX - 1);
    let domains = conf.search.as_ref().map_or(own, count);
    let root = conf.search.as_ref().is_some_and(|list| list.iter().any(|domain| domain == "."));
    let dots = u32::try_from(name.matches('.').count()).unwrap_or(u32::MAX);
    // The root as a domain is the name itself again: where it was not tried first, it is not tried another time.
    if root && dots < conf.ndots { domains } else { domains.saturating_add(1) }
}

/// Which lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// An address's name.
    Reverse,
    /// A name's addresses.
    Forward {
        /// The name.
        name: &'a str,
        /// AAAA instead of A.
        ipv6: bool,
    },
}

/// Everything that decides what a lookup costs.
#[derive(Clone, Copy, Debug)]
pub struct Resolver<'a> {
    /// resolv.conf.
    pub conf: &'a ResolvConf,
    /// nsswitch.conf's hosts line.
    pub services: &'a [Service],
    /// nsswitch.conf's netgroup line.
    pub netgroup: &'a [Service],
    /// Domain of the host's own name, for a resolv.conf without search list.
    pub own_domain: Option<&'a str>,
}

impl Resolver<'_> {
    /// A lookup of something that /etc/hosts has (`in_files`) or has not, with the nameservers in these states. Services other than
    /// `files` and `dns` are taken to know nothing at once; see [`Resolver::others`].
    pub fn lookup(&self, wanted: Wanted<'_>, in_files: bool, states: &[Nameserver]) -> Waiting {
        let mut total = Some(0u64);
        for service in self.services {
            let status = match service.name.as_str() {
                "files" if in_files => Status::Success,
                "files" => Status::NotFound,
                "dns" => {
                    let waiting = self.dns(wanted, states);
                    total = total.zip(waiting.ns).map(|(a, b)| a.saturating_add(b));
                    match (waiting.answered, wanted) {
                        (true, _) => Status::Success,
                        // nss_dns calls an address without an answer not found, a name without one unavailable.
                        (false, Wanted::Reverse) => Status::NotFound,
                        (false, Wanted::Forward { .. }) => Status::Unavail,
                    }
                }
                _ => Status::Unavail,
            };
            if service.stops_at(status) {
                return Waiting { ns: total, answered: status == Status::Success };
            }
        }
        Waiting { ns: total, answered: false }
    }

    fn dns(&self, wanted: Wanted<'_>, states: &[Nameserver]) -> Waiting {
        let once = question(self.conf, states);
        match wanted {
            Wanted::Reverse => once,
            Wanted::Forward { ipv6: true, .. } if self.conf.no_aaaa => {
                Waiting { ns: Some(0), answered: false }
            }
            Wanted::Forward { .. } if once.answered => once,
            Wanted::Forward { name, .. } => {
                let times = u64::from(names_tried(self.conf, self.own_domain, name));
                Waiting { ns: once.ns.map(|ns| ns.saturating_mul(times)), ..once }
            }
        }
    }

    /// The longest that a lookup can take, whatever the nameservers do, and of what it consists; no number where a service takes part whose time
    /// nothing here bounds.
    pub fn bound(&self, wanted: Wanted<'_>, in_files: bool) -> (Option<u64>, String) {
        let mut parts = Vec::new();
        // From the last service to the first: what the rest costs is known when a service may pass the question on.
        let mut rest = Some(0u64);
        for service in self.services.iter().rev() {
            let costs = self.service(service, wanted, in_files);
            if let Some(of) = costs.of {
                if !costs.outcomes.iter().any(|(status, _)| !service.stops_at(*status)) {
                    parts.clear();
                }
                parts.push(of);
            } else if costs.outcomes.iter().all(|(status, _)| service.stops_at(*status)) {
                parts.clear();
            }
            rest = costs
                .outcomes
                .iter()
                .map(|&(status, ns)| {
                    let after = if service.stops_at(status) { Some(0) } else { rest };
                    Some(ns?.saturating_add(after?))
                })
                // No bound is more than any.
                .max_by_key(|ns| ns.unwrap_or(u64::MAX))
                .unwrap_or(rest);
        }
        parts.reverse();
        let of = if parts.is_empty() { "answered from files".to_owned() } else { parts.join("; ") };
        (rest, of)
    }

    /// What one service can do, and how long each takes at most.
    fn service(&self, service: &Service, wanted: Wanted<'_>, in_files: bool) -> ServiceCosts {
        use Status::{NotFound, Success, TryAgain, Unavail};
        let all = |ns| vec![(Success, ns), (NotFound, ns), (TryAgain, ns), (Unavail, Some(0))];
        match service.name.as_str() {
            "files" => ServiceCosts {
                outcomes: vec![(if in_files { Success } else { NotFound }, Some(0))],
                of: None,
            },
            "myhostname" | "mymachines" => ServiceCosts { outcomes: all(Some(0)), of: None },
            "dns" => {
                let (ns, of) = self.dns_bound(wanted);
                let outcomes = [Success, NotFound, TryAgain, Unavail].map(|status| (status, ns)).to_vec();
                ServiceCosts { outcomes, of: Some(of) }
            }
            name => {
                let (ns, of) = other_service(name);
                ServiceCosts { outcomes: all(ns), of: Some(of) }
            }
        }
    }

    /// The longest that a netgroup takes, and of what it consists. Files of this host answer at once, also where one group names others; how long a
    /// service takes that asks servers, nothing here bounds.
    pub fn netgroup_bound(&self) -> (Option<u64>, String) {
        let mut asked = Vec::new();
        for service in self.netgroup {
            match service.name.as_str() {
                "files" | "db" if service.stops_at(Status::NotFound) && service.stops_at(Status::Unavail) => {
                    break;
                }
                "files" | "db" => {}
                name => asked.push(name),
            }
        }
        if asked.is_empty() {
            return (Some(0), "from files of this host".to_owned());
        }
        (
            None,
            format!(
                "as long as {} and its servers take (nsswitch.conf's netgroup line)",
                asked.join(", then ")
            ),
        )
    }

    fn dns_bound(&self, wanted: Wanted<'_>) -> (Option<u64>, String) {
        if let Some(why) = &self.conf.unknown {
            return (None, format!("DNS: the resolver's settings are not known ({why})"));
        }
        if self.conf.attempts <= 0 {
            return (Some(0), "attempts:0 or less: no nameserver is asked".to_owned());
        }
        let names = match wanted {
            Wanted::Reverse => 1,
            Wanted::Forward { ipv6: true, .. } if self.conf.no_aaaa => {
                return (Some(0), "no AAAA queries".to_owned());
            }
            Wanted::Forward { name, .. } => names_at_most(self.conf, self.own_domain, name),
        };
        let silent = vec![Nameserver::Silent; self.conf.nameservers.len()];
        let Some(each) = question(self.conf, &silent).ns else {
            return (None, "DNS over TCP (use-vc): as long as the kernel tries to connect".to_owned());
        };
        let waits = self.conf.waits_ns();
        let seconds = waits.iter().map(|ns| (ns / SECOND_NS).to_string()).collect::<Vec<_>>().join(" + ");
        let seconds = if waits.len() > 1 { format!("({seconds}) s") } else { format!("{seconds} s") };
        let names_of = if names == 1 { String::new() } else { format!("{names} names (search list) of ") };
        let rounds = if self.conf.attempts == 1 { "round" } else { "rounds" };
        let of = format!("DNS: {names_of}{seconds} × {} {rounds}", self.conf.attempts);
        (Some(each.saturating_mul(u64::from(names))), of)
    }

    /// Whether any service can find the name of an address that /etc/hosts has not.
    pub fn can_find_names(&self) -> bool {
        self.services.iter().any(|service| match service.name.as_str() {
            "files" => false,
            "dns" => self.conf.attempts > 0,
            _ => true,
        })
    }

    /// Whom a lookup can wait for, as they are named: DNS, or services of nsswitch.conf. None where all of them answer at once.
    pub fn waits_for(&self) -> Option<String> {
        let waits = |service: &&Service| match service.name.as_str() {
            "files" | "myhostname" | "mymachines" => false,
            "dns" => self.conf.attempts > 0,
            name => other_service(name).0 != Some(0),
        };
        let named =
            |service: &Service| if service.name == "dns" { "DNS".to_owned() } else { service.name.clone() };
        let names: Vec<String> = self.services.iter().filter(waits).map(named).collect();
        (!names.is_empty()).then(|| names.join(" and "))
    }

    /// Whether lookups can reach a nameserver by resolv.conf at all.
    pub fn asks_dns(&self) -> bool {
        self.services.iter().any(|service| service.name == "dns")
    }

    /// Services whose own timeouts are not resolv.conf's: `resolve` (systemd-resolved), `mdns…`, `sss`, …
    pub fn others(&self) -> impl Iterator<Item = &str> {
        let quick = ["files", "dns", "myhostname", "mymachines"];
        self.services.iter().map(|service| service.name.as_str()).filter(move |name| !quick.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::nsswitch;
    use super::*;

    fn conf(text: &str) -> ResolvConf {
        ResolvConf::parse(text.as_bytes())
    }

    fn servers(count: usize) -> String {
        ["nameserver 10.0.0.1\n", "nameserver 10.0.0.2\n", "nameserver 10.0.0.3\n"][..count].concat()
    }

    fn seconds(waiting: Waiting) -> Option<u64> {
        waiting.ns.map(|ns| ns / SECOND_NS)
    }

    #[test]
    fn dead_servers_cost_what_was_measured() {
        use Nameserver::{Answers, Refuses, Silent};
        let dead = [Silent; 3];
        for (count, expected) in [(1, 10), (2, 20), (3, 28)] {
            assert_eq!(seconds(question(&conf(&servers(count)), &dead)), Some(expected));
        }
        assert_eq!(seconds(question(&conf(&servers(2)), &[Silent, Answers])), Some(5));
        assert_eq!(seconds(question(&conf(&servers(2)), &[Refuses, Answers])), Some(0));
        let short = conf(&(servers(3) + "options timeout:1 attempts:1\n"));
        assert_eq!(seconds(question(&short, &dead)), Some(3));
        let none = conf(&(servers(1) + "options attempts:0\n"));
        assert_eq!(question(&none, &[Answers]), Waiting { ns: Some(0), answered: false });
        let tcp = conf(&(servers(1) + "options use-vc\n"));
        assert_eq!(seconds(question(&tcp, &dead)), None);
        let rotate = conf(&(servers(2) + "options timeout:3 attempts:1 rotate\n"));
        assert_eq!(seconds(question(&rotate, &[Answers, Silent])), Some(3));
    }

    #[test]
    fn a_search_list_doubles_a_forward_lookup() {
        let services = nsswitch::hosts(b"");
        let cost = |text: &str, domain: Option<&str>, name: &str| {
            let conf = conf(text);
            let resolver = Resolver { conf: &conf, services: &services, netgroup: &[], own_domain: domain };
            seconds(resolver.lookup(Wanted::Forward { name, ipv6: false }, false, &[Nameserver::Silent]))
        };
        assert_eq!(cost("nameserver 10.0.0.1\n", None, "db1.example.com"), Some(10));
        assert_eq!(cost("nameserver 10.0.0.1\n", Some("corp.test"), "db1.example.com"), Some(20));
        assert_eq!(cost("search a.test b.test\n", None, "db1.example.com"), Some(20));
        assert_eq!(cost("search .\n", None, "db1.example.com"), Some(20));
        assert_eq!(cost("search . b.test\noptions ndots:5\n", None, "db1.example.com"), Some(10));
        assert_eq!(cost("search a.test .\noptions ndots:5\n", None, "db1"), Some(20));
    }

    #[test]
    fn services_are_asked_in_order_until_one_stops() {
        let conf = conf("nameserver 10.0.0.1\n");
        let cost = |line: &str, wanted, in_files| {
            let services = nsswitch::hosts(line.as_bytes());
            let resolver = Resolver { conf: &conf, services: &services, netgroup: &[], own_domain: None };
            let waiting = resolver.lookup(wanted, in_files, &[Nameserver::Silent]);
            (seconds(waiting), waiting.answered)
        };
        let forward = Wanted::Forward { name: "a.b", ipv6: false };
        assert_eq!(cost("hosts: files dns", Wanted::Reverse, true), (Some(0), true));
        assert_eq!(cost("hosts: dns files", Wanted::Reverse, true), (Some(10), true));
        assert_eq!(cost("hosts: dns [!UNAVAIL=return] files", Wanted::Reverse, true), (Some(10), false));
        assert_eq!(cost("hosts: dns [!UNAVAIL=return] files", forward, true), (Some(10), true));
        assert_eq!(cost("hosts: files [NOTFOUND=return] dns", forward, false), (Some(0), false));
        assert_eq!(cost("hosts: dns dns", forward, false), (Some(20), false));
        assert_eq!(cost("hosts: files", forward, false), (Some(0), false));
    }
}
