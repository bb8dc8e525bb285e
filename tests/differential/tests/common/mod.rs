//! One case put to both: the real libwrap and wrapwatch's evaluator.

use std::net::IpAddr;
use std::path::Path;

use wrapwatch::wrappers::{
    Addresses, Endpoint, Environment, Evaluation, FileText, Keyword, LookupKind, Place, Reason, Request,
    Table, TableKind, Tables, Verdict, evaluate,
};
use wrapwatch_differential::{Answer, Case, End, Forward, Oracle, TableText, What};

/// The oracle built beside these tests.
pub(crate) fn oracle() -> Oracle {
    Oracle::start(Path::new(env!("CARGO_BIN_EXE_wrap-oracle"))).expect("the oracle starts")
}

/// A case with nothing in it.
pub(crate) fn case(allow: &str, deny: &str, client: &str) -> Case {
    Case {
        allow: TableText::Text(allow.as_bytes().to_vec()),
        deny: TableText::Text(deny.as_bytes().to_vec()),
        daemon: "mysqld".into(),
        client: Some(end(client, 40_000)),
        server: Some(end(if client.contains(':') { "2001:db8::33" } else { "10.0.9.9" }, 3306)),
        names: Vec::new(),
        addresses: Vec::new(),
        user: None,
        netgroups: Vec::new(),
        files: Vec::new(),
        aclexec: true,
        first: false,
    }
}

/// One end of a connection.
pub(crate) fn end(address: &str, port: u16) -> End {
    End { address: address.parse().expect("an address"), port, scope: 0 }
}

/// Gives the client a name that leads back to it.
pub(crate) fn named(mut case: Case, name: &str) -> Case {
    let address = case.client.as_ref().expect("a client").address.to_canonical();
    case.names.push((address, name.into()));
    let forward = Forward { canonical: Some(name.into()), addresses: vec![address] };
    case.addresses.push((name.into(), address.is_ipv6(), forward));
    case
}

struct World<'a>(&'a Case);

impl Environment for World<'_> {
    fn reverse(&mut self, address: IpAddr) -> Option<String> {
        self.0.names.iter().find(|(of, _)| *of == address).map(|(_, name)| name.clone())
    }

    fn forward(&mut self, name: &str, ipv6: bool) -> Option<Addresses> {
        let (_, _, found) = self.0.addresses.iter().find(|(of, v6, _)| of == name && *v6 == ipv6)?;
        (!found.addresses.is_empty())
            .then(|| Addresses { canonical: found.canonical.clone(), addresses: found.addresses.clone() })
    }

    fn ident(&mut self) -> Option<String> {
        self.0.user.clone()
    }

    fn netgroup(&mut self, group: &str, host: &str) -> bool {
        self.0.netgroups.iter().any(|(g, h)| g == group && h == host)
    }

    fn file(&mut self, path: &str) -> FileText {
        match self.0.files.iter().find(|(of, _)| of == path) {
            Some((_, text)) => FileText::Text(text.clone()),
            None => FileText::Missing,
        }
    }

    fn user(&mut self, name: &str) -> bool {
        name == "root"
    }

    fn group(&mut self, name: &str) -> bool {
        name == "root"
    }

    fn interface(&self, name: &str) -> bool {
        name == "lo"
    }

    fn aclexec(&mut self, _: &[u8]) -> bool {
        self.0.aclexec
    }
}

fn table(text: &TableText) -> Table {
    match text {
        TableText::Missing => Table::missing(),
        TableText::Unreadable => Table::unreadable("Not a directory"),
        TableText::Text(text) => Table::parse(text),
    }
}

fn endpoint(end: &End) -> Endpoint {
    let scope = (end.scope == 1).then(|| "lo".to_owned());
    Endpoint { scope, ..Endpoint::new(end.address, end.port) }
}

/// wrapwatch's opinion.
pub(crate) fn ours(case: &Case, pid: u32, aclexec_failed: bool) -> Evaluation {
    let tables = Tables { allow: table(&case.allow), deny: table(&case.deny) };
    let request = Request {
        daemon: case.daemon.clone(),
        client: case.client.as_ref().map(endpoint),
        server: case.server.as_ref().map(endpoint),
        pid,
        resident: !case.first,
        aclexec_failed,
        given_name: None,
    };
    evaluate(&tables, &request, &mut World(case))
}

/// What both have to agree on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// `hosts_access`'s result; none where it did not return.
    pub allowed: Option<bool>,
    /// Lookups and commands with the rule behind each, in order.
    pub lookups: Vec<(String, Option<(bool, u32)>)>,
    /// Commands.
    pub commands: Vec<(String, Option<(bool, u32)>)>,
    /// Messages and the line each names.
    pub warnings: Vec<(String, Option<(bool, u32)>)>,
    /// Line of hosts.allow and hosts.deny where reading stopped.
    pub read_to: [Option<u32>; 2],
}

fn place(place: Option<Place>) -> Option<(bool, u32)> {
    place.map(|place| (place.table == TableKind::Deny, place.line))
}

/// wrapwatch's story.
pub(crate) fn our_story(e: &Evaluation) -> Story {
    let gone = matches!(e.reason, Reason::Twist | Reason::ServerExits);
    let lookups = e.lookups.iter().map(|lookup| {
        let text = match lookup.kind {
            LookupKind::Reverse => format!("reverse {}", lookup.question),
            LookupKind::Forward => format!("forward {}", lookup.question),
            LookupKind::Ident => "ident".to_owned(),
            LookupKind::Netgroup => format!("netgroup {}", lookup.question),
        };
        (text, place(lookup.place))
    });
    let commands = e.commands.iter().map(|command| {
        let text = String::from_utf8_lossy(&command.command);
        let text = match command.option {
            Keyword::Aclexec => "aclexec".to_owned(),
            Keyword::Twist => format!("twist {text}"),
            _ => format!("spawn {text}"),
        };
        (text, place(command.place))
    });
    Story {
        allowed: (!gone).then_some(e.verdict == Verdict::Allow),
        lookups: lookups.collect(),
        commands: commands.collect(),
        warnings: e.warnings.iter().map(|w| (w.message.clone(), place(w.place))).collect(),
        read_to: e.read_to,
    }
}

/// libwrap's story. Messages that come from sock_hostname are left out (the name itself says as much), and so are those of options
/// whose system call failed.
pub(crate) fn their_story(answer: &Answer) -> Story {
    let mut story = Story {
        allowed: answer.allowed,
        lookups: Vec::new(),
        commands: Vec::new(),
        warnings: Vec::new(),
        read_to: [None; 2],
    };
    for event in &answer.events {
        let context = event.context;
        match event.what {
            What::Reverse => story.lookups.push((format!("reverse {}", event.text), context)),
            What::Forward => story.lookups.push((format!("forward {}", event.text), context)),
            What::Ident => story.lookups.push(("ident".into(), context)),
            What::Netgroup => story.lookups.push((format!("netgroup {}", event.text), context)),
            What::Spawn => story.commands.push((format!("spawn {}", event.text), context)),
            What::Twist => story.commands.push((format!("twist {}", event.text), context)),
            What::Aclexec => story.commands.push(("aclexec".into(), context)),
            What::Warn => {
                let text = message(&event.text);
                let from_names =
                    ["host name/", "can't verify hostname"].iter().any(|start| text.starts_with(start));
                if !from_names {
                    story.warnings.push((text, context));
                }
            }
            What::Close => {
                if let Some((deny, line)) = context {
                    story.read_to[usize::from(deny)] = Some(line);
                }
            }
            What::Exit => {}
        }
    }
    story
}

/// The part behind "warning: /path, line 3: ", with the table's path in it made the usual one.
fn message(text: &str) -> String {
    let text = text.split_once(": ").map_or(text, |(_, rest)| rest);
    let text = match text.split_once(", line ") {
        Some((file, rest)) if file.starts_with('/') => rest.split_once(": ").map_or(rest, |(_, rest)| rest),
        _ => text,
    };
    match text.strip_prefix("cannot open ").and_then(|rest| rest.split_once("/hosts.")) {
        Some((_, rest)) => format!("cannot open /etc/hosts.{rest}"),
        None => text.to_owned(),
    }
}

/// Compares libwrap's answer with the evaluator's, and gives the latter.
pub(crate) fn compare(
    pid: u32,
    case: &Case,
    answer: &Answer,
    aclexec_failed: bool,
) -> Result<Evaluation, String> {
    let ours = ours(case, pid, aclexec_failed);
    let (mine, theirs) = (our_story(&ours), their_story(answer));
    if mine == theirs {
        Ok(ours)
    } else {
        Err(format!("wrapwatch: {mine:#?}\nlibwrap: {theirs:#?}\n{}", describe(case)))
    }
}

/// A case for a person.
pub(crate) fn describe(case: &Case) -> String {
    let text = |table: &TableText| match table {
        TableText::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
        other => format!("{other:?}"),
    };
    format!(
        "allow: {}\ndeny: {}\nclient: {:?}\nserver: {:?}\ndaemon: {}\nnames: {:?}\naddresses: {:?}\nuser: {:?}\nfiles: {:?}",
        text(&case.allow),
        text(&case.deny),
        case.client,
        case.server,
        case.daemon,
        case.names,
        case.addresses,
        case.user,
        case.files.iter().map(|(name, text)| (name, String::from_utf8_lossy(text))).collect::<Vec<_>>(),
    )
}
