//! What `wrapwatch lint` finds: for each client the verdict, the rules behind it and what they cost, and every problem in the files.
//!
//! No name is looked up. A client's name is what /etc/hosts or the caller says; where neither does, the verdict is that for a client
//! with a name no rule has, and the names that would change it are listed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bound::{self, Wait};
use super::candidates::Candidates;
use super::classify::{Kind, client_words};
use super::cost::{Nameserver, Resolver, Wanted};
use super::daemons::{self, Blocking, Call};
use super::environment::{Addresses, Environment, FileText};
use super::evaluation::{Evaluation, Lookup, LookupKind, Place, Reason, Subject, Verdict};
use super::hosts_access::evaluate;
use super::input::{Client, Input, UNLISTED};
use super::options::{Keyword, lossy};
use super::problems::{self, Problem, Scene};
use super::request::{Endpoint, Request};
use super::table::{TableKind, Tables};
use crate::model::{How, RuleRef, Severity};

/// Where a client's name is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// /etc/hosts.
    Hosts,
    /// DNS, as the command line says, or the trace.
    Given,
}

/// The verdict in another world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Otherwise {
    /// The world: the reverse lookup fails (`dns_fails`), its name does not lead back (`mismatch`), the rule's command fails (`command_fails`), or the
    /// pattern the client's name would have to match.
    pub when: String,
    /// The verdict there.
    pub verdict: Verdict,
    /// Its rule.
    pub verdict_rule: Option<RuleRef>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientReport {
    /// Its address.
    pub client: String,
    /// Its name; null where it is not known without asking DNS.
    pub name: Option<String>,
    /// Where that is from.
    pub name_from: Option<NameSource>,
    /// The verdict while DNS works.
    pub verdict: Verdict,
    /// The rule that decides; null where none does.
    pub verdict_rule: Option<RuleRef>,
    /// Why, where it is not simply that a rule matches or none does.
    pub reason: Option<String>,
    /// Lookups made.
    pub lookups: Vec<LookupKind>,
    /// The rule that forces the first.
    pub lookup_rule: Option<RuleRef>,
    /// How long lookups and commands take together at worst, whatever the nameservers do; null where something takes part that nothing bounds.
    pub worst_case_ns: Option<u64>,
    /// The same when only the first of several nameservers is silent; null where there is one only, or no bound.
    pub first_silent_ns: Option<u64>,
    /// Of what that consists: each lookup, each command that is waited for, and the longest that it can take.
    pub waits: Vec<Wait>,
    /// Commands run for it. The check waits for each that does not go into the background (&).
    pub commands: Vec<String>,
    /// Where the verdict is another: when DNS fails, and for names it might have.
    pub otherwise: Vec<Otherwise>,
    /// More names are in the rules than were tried: there may be others for which the verdict is another.
    pub names_left_out: bool,
}

/// Everything found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Lint")]
pub struct Report {
    /// The daemon.
    pub daemon: String,
    /// Whom its checks hold up.
    pub blocking: Blocking,
    /// The clients asked about, in order.
    pub clients: Vec<ClientReport>,
    /// Problems: what concerns the daemon first, worst first.
    pub problems: Vec<Problem>,
    /// Problems left out, as the ignore file says.
    pub ignored: u64,
}

impl Report {
    /// The worst problem that concerns the daemon.
    pub fn worst(&self) -> Option<Severity> {
        self.problems.iter().filter(|problem| !problem.other_daemons).map(|problem| problem.severity).max()
    }
}

/// Looks at everything.
pub fn lint(input: &Input<'_>) -> Report {
    let resolver = Resolver {
        conf: input.conf,
        services: input.services,
        netgroup: input.netgroup,
        own_domain: input.own_domain,
    };
    let scene = Scene {
        tables: input.tables,
        texts: input.texts,
        paths: input.paths,
        daemon: input.daemon,
        port: input.server.port,
        resolver,
        resolv_path: input.resolv_path,
        nsswitch_path: input.nsswitch_path,
        hosts: input.hosts,
        hosts_path: input.hosts_path,
        files: input.files,
    };
    let candidates = Candidates::of(input);
    Report {
        daemon: input.daemon.to_owned(),
        blocking: daemons::blocking(input.daemon),
        clients: input.clients.iter().map(|client| report(input, &resolver, &candidates, client)).collect(),
        problems: problems::find(&scene),
        ignored: 0,
    }
}

/// Paths that rules name; read them, and ask again for those in the files.
pub fn named_files(tables: &Tables, files: &BTreeMap<String, FileText>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut paths = Vec::new();
    let mut add = |word: &[u8]| {
        let path = lossy(word);
        if !files.contains_key(&path) && seen.insert(path.clone()) {
            paths.push(path);
        }
    };
    for kind in [TableKind::Allow, TableKind::Deny] {
        let table = tables.get(kind);
        for entry in table.entries() {
            client_words(table.clients(&entry))
                .filter(|word| word.kind == Kind::File)
                .for_each(|word| add(word.host));
        }
    }
    for text in files.values() {
        if let FileText::Text(text) = text {
            text.split(u8::is_ascii_whitespace).filter(|word| word.starts_with(b"/")).for_each(&mut add);
        }
    }
    paths
}

/// What the resolver says in one world.
#[derive(Clone, Debug)]
pub(super) enum World {
    /// It works, and this is the client's name.
    Named(String),
    /// The reverse lookup fails.
    Unknown,
    /// The name does not lead back.
    Paranoid,
}

/// A world for one client, with the files that are what they are in every world.
pub(super) struct LintWorld<'a> {
    input: &'a Input<'a>,
    world: World,
    /// Whether commands succeed.
    commands: bool,
    /// The first file that was asked for and is not known.
    not_known: Option<String>,
}

impl<'a> LintWorld<'a> {
    pub(super) const fn new(input: &'a Input<'a>, world: World) -> Self {
        Self { input, world, commands: true, not_known: None }
    }

    fn asks_files(&self) -> bool {
        self.input.services.iter().any(|service| service.name == "files")
    }
}

impl Environment for LintWorld<'_> {
    fn reverse(&mut self, address: IpAddr) -> Option<String> {
        if self.asks_files()
            && let Some(name) = self.input.hosts.reverse(address)
        {
            return Some(name.to_owned());
        }
        match &self.world {
            World::Named(name) => Some(name.clone()),
            World::Paranoid => Some(UNLISTED.to_owned()),
            World::Unknown => None,
        }
    }

    fn forward(&mut self, name: &str, ipv6: bool) -> Option<Addresses> {
        if self.asks_files()
            && let Some(found) = self.input.hosts.forward(name, ipv6)
        {
            return Some(found);
        }
        let own = |client: &Client| client.address.to_canonical();
        match &self.world {
            // Whoever has the name has all the clients' addresses: the one in question is among them.
            World::Named(_) => Some(Addresses {
                canonical: Some(name.to_owned()),
                addresses: self
                    .input
                    .clients
                    .iter()
                    .map(own)
                    .filter(|address| address.is_ipv6() == ipv6)
                    .collect(),
            }),
            World::Unknown | World::Paranoid => None,
        }
    }

    fn aclexec(&mut self, _: &[u8]) -> bool {
        self.commands
    }

    fn file(&mut self, path: &str) -> FileText {
        let text = self.input.files.get(path).cloned().unwrap_or(FileText::Missing);
        if matches!(text, FileText::Elsewhere | FileText::NotKnown(_)) {
            self.not_known.get_or_insert_with(|| path.to_owned());
        }
        text
    }
}

/// The check of one client in one world.
pub(super) fn check(input: &Input<'_>, tables: &Tables, client: &Client, world: World) -> Evaluation {
    check_in(input, tables, client, &mut LintWorld::new(input, world))
}

fn check_in(input: &Input<'_>, tables: &Tables, client: &Client, world: &mut LintWorld<'_>) -> Evaluation {
    // The port stands for any; ident needs one, and %r.
    let request = Request::new(input.daemon, Endpoint::new(client.address, 1024));
    let request = match daemons::call(input.daemon) {
        Call::HostsAccess => Request { server: Some(input.server.clone()), ..request },
        // The server gives strings: the address, and a name where it asked for one itself.
        Call::HostsCtl => {
            let name = client.name.clone().unwrap_or_else(|| "unknown".to_owned());
            Request { given_name: Some(name), ..request }
        }
    };
    evaluate(tables, &request, world)
}

/// A client's name and where it is from.
pub(super) fn known_name(input: &Input<'_>, client: &Client) -> Option<(String, NameSource)> {
    let asks_files = daemons::call(input.daemon) == Call::HostsAccess
        && input.services.iter().any(|service| service.name == "files");
    let in_hosts = input.hosts.reverse(client.address.to_canonical()).filter(|_| asks_files);
    match (in_hosts, &client.name) {
        (Some(name), _) => Some((name.to_owned(), NameSource::Hosts)),
        (None, Some(name)) => Some((name.clone(), NameSource::Given)),
        (None, None) => None,
    }
}

fn report(
    input: &Input<'_>,
    resolver: &Resolver<'_>,
    candidates: &Candidates,
    client: &Client,
) -> ClientReport {
    let known = known_name(input, client);
    let name = known.as_ref().map_or(UNLISTED, |(name, _)| name);
    let found =
        known.as_ref().is_some_and(|(_, source)| *source == NameSource::Hosts) || resolver.can_find_names();
    let world = if found { World::Named(name.to_owned()) } else { World::Unknown };
    let mut usual_world = LintWorld::new(input, world.clone());
    let usual = check_in(input, input.tables, client, &mut usual_world);
    let asks_names = usual.lookups.iter().any(|lookup| lookup.kind == LookupKind::Reverse);
    let mut otherwise = Vec::new();
    if asks_names {
        for (when, world) in worlds(candidates, known.is_some()) {
            let other = check(input, input.tables, client, world);
            if other.verdict != usual.verdict {
                let verdict_rule = rule_ref(input, other.rule);
                otherwise.push(Otherwise { when, verdict: other.verdict, verdict_rule });
            }
        }
    }
    if usual.commands.iter().any(|command| command.option == Keyword::Aclexec) {
        let mut world = LintWorld { commands: false, ..LintWorld::new(input, world) };
        let other = check_in(input, input.tables, client, &mut world);
        if other.verdict != usual.verdict {
            let verdict_rule = rule_ref(input, other.rule);
            otherwise.push(Otherwise {
                when: "command_fails".to_owned(),
                verdict: other.verdict,
                verdict_rule,
            });
        }
    }
    let waits = bound::waits(input, resolver, (client.address, name), &usual);
    let worst_case_ns = bound::sum(&waits);
    let servers = input.conf.nameservers.len();
    let mut first_silent = vec![Nameserver::Answers; servers];
    first_silent.iter_mut().take(1).for_each(|state| *state = Nameserver::Silent);
    let first_silent_ns = with_servers(input, resolver, client, name, &usual.lookups, &first_silent, &waits);
    ClientReport {
        client: client.address.to_canonical().to_string(),
        name: known.as_ref().map(|(name, _)| name.clone()),
        name_from: known.as_ref().map(|(_, source)| *source),
        verdict: usual.verdict,
        verdict_rule: rule_ref(input, usual.rule),
        reason: (usual_world.not_known.as_deref().map(by_unknown_file))
            .or_else(|| reason(&usual.reason))
            .or_else(|| without_names(input, client, found)),
        lookups: usual.lookups.iter().map(|lookup| lookup.kind).collect(),
        lookup_rule: rule_ref(input, usual.lookup_rule()),
        first_silent_ns: first_silent_ns.filter(|_| servers > 1 && worst_case_ns.is_some()),
        worst_case_ns,
        waits,
        commands: usual.commands.iter().map(|c| lossy(&c.command).replace(UNLISTED, "NAME")).collect(),
        otherwise,
        names_left_out: asks_names && known.is_none() && candidates.are_cut,
    }
}

/// The other worlds there are: DNS fails, and where the name is not known, each name that means something to the rules.
fn worlds(candidates: &Candidates, name_known: bool) -> Vec<(String, World)> {
    let mut out = vec![("dns_fails".to_owned(), World::Unknown), ("mismatch".to_owned(), World::Paranoid)];
    if !name_known {
        let named = |(pattern, example): &(String, String)| (pattern.clone(), World::Named(example.clone()));
        out.extend(candidates.names.iter().map(named));
    }
    out
}

/// The world to judge a client by; none where what is not known of it may matter: its name, or what ident or a netgroup would say.
pub(super) fn usual_world(
    input: &Input<'_>,
    candidates: &Candidates,
    tables: &Tables,
    client: &Client,
) -> Option<World> {
    let known = known_name(input, client);
    let usual = World::Named(known.as_ref().map_or(UNLISTED, |(name, _)| name).to_owned());
    let mut world = LintWorld::new(input, usual.clone());
    let now = check_in(input, tables, client, &mut world);
    if world.not_known.is_some() {
        return None;
    }
    // What they would say is not known here, in whichever world they are asked.
    let guessed = |checked: &Evaluation| {
        let asked = |lookup: &Lookup| matches!(lookup.kind, LookupKind::Ident | LookupKind::Netgroup);
        checked.lookups.iter().any(asked)
    };
    if guessed(&now) {
        return None;
    }
    if known.is_some() || now.lookups.is_empty() {
        return Some(usual);
    }
    if candidates.are_cut || candidates.are_combined {
        return None;
    }
    let same = |world| {
        let other = check(input, tables, client, world);
        !guessed(&other) && (other.verdict, other.rule) == (now.verdict, now.rule)
    };
    worlds(candidates, false).into_iter().all(|(_, world)| same(world)).then_some(usual)
}

fn reason(reason: &Reason) -> Option<String> {
    Some(match reason {
        Reason::Rule | Reason::NoRule | Reason::Option => return None,
        Reason::OptionError(error) => format!("the rule matches, but: {error}"),
        Reason::Unreadable => "hosts.deny cannot be read to its end".to_owned(),
        Reason::Twist => "the server process is replaced by the twist command".to_owned(),
        Reason::ServerExits => "an expansion is too long: libwrap ends the server process".to_owned(),
    })
}

/// A place with the rule's text.
pub(super) fn rule_ref(input: &Input<'_>, place: Option<Place>) -> Option<RuleRef> {
    let place = place?;
    let table = input.tables.get(place.table);
    Some(RuleRef {
        file: input.paths[place.table as usize].into(),
        line: place.line,
        text: table.entry_at(place.line).map(|entry| table.text(&entry).into()),
        how: How::Inferred,
    })
}

/// What a file that is not known leaves open.
fn by_unknown_file(path: &str) -> String {
    format!(
        "wrapwatch does not know what {path} contains: verdict and lookups are those without it, and may differ"
    )
}

/// Why no name is looked up or found, where that is so.
fn without_names(input: &Input<'_>, client: &Client, found: bool) -> Option<String> {
    if daemons::call(input.daemon) == Call::HostsCtl {
        return client.name.is_none().then(|| {
            "the server calls hosts_ctl and gives no name: rules by name do not match (with --client ADDR=NAME: the name it gives)".to_owned()
        });
    }
    (!found && input.services.iter().any(|service| service.name == "dns"))
        .then(|| "no nameserver is asked (attempts in resolv.conf): every name is unknown".to_owned())
}

/// How long the lookups of a check take with nameservers in these states; ident as long as it may.
fn with_servers(
    input: &Input<'_>,
    resolver: &Resolver<'_>,
    client: &Client,
    name: &str,
    lookups: &[Lookup],
    states: &[Nameserver],
    waits: &[Wait],
) -> Option<u64> {
    let mut total = 0u64;
    for (lookup, wait) in lookups.iter().zip(waits) {
        let ns = match (lookup.kind, lookup.subject) {
            (LookupKind::Ident | LookupKind::Netgroup, _) => wait.ns?,
            (LookupKind::Reverse, Subject::Client) => names(input, resolver, client.address, name, states)?,
            (LookupKind::Reverse, Subject::Server) => {
                names(input, resolver, input.server.address, UNLISTED, states)?
            }
            // Counted with its reverse lookup.
            (LookupKind::Forward, _) => 0,
        };
        total = total.saturating_add(ns);
    }
    Some(total)
}

fn names(
    input: &Input<'_>,
    resolver: &Resolver<'_>,
    address: IpAddr,
    name: &str,
    states: &[Nameserver],
) -> Option<u64> {
    let address = address.to_canonical();
    let in_hosts = input.hosts.reverse(address).is_some();
    let in_hosts_forward = input.hosts.forward(name, address.is_ipv6()).is_some();
    let wanted = Wanted::Forward { name, ipv6: address.is_ipv6() };
    let reverse = resolver.lookup(Wanted::Reverse, in_hosts, states);
    let forward = resolver.lookup(wanted, in_hosts_forward, states);
    let (reverse_ns, forward_ns) = (reverse.ns?, forward.ns?);
    Some(if reverse.answered { reverse_ns.saturating_add(forward_ns) } else { reverse_ns.max(forward_ns) })
}
