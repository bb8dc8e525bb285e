//! One lab and one wrapwatch for many tests: each sets what it needs, sends its clients and waits for what is told of them.
//!
//! Starting is the dear part (attaching and, most of all, letting go of the hooks), so tests whose server is the usual one share. A
//! test has the stage for itself as long as it holds it. When the test program ends, the lab's input ends, with it the lab, and with its server wrapwatch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wrapwatch::model::{Connection, Line, Lookup, LookupKind, LookupOutcome, Query, QueryOutcome, Transport};
use wrapwatch_tests::{
    clients::{ClientResult, ClientsSpec},
    lab::{Files, Lab, LabConfig, ServerConfig},
    nameserver::{Rule, Settings},
    watch::Watch,
};

use crate::support::peer;

/// A lab and a wrapwatch beside it.
pub struct Stage {
    pub lab: Lab,
    watch: Watch,
}

static USUAL: Mutex<Option<Stage>> = Mutex::new(None);

/// The stage with the usual server, as at the beginning: every nameserver answers, names ending in `.lab.example` are admitted.
pub struct Usual(MutexGuard<'static, Option<Stage>>);

impl std::ops::Deref for Usual {
    type Target = Stage;
    fn deref(&self) -> &Stage {
        self.0.as_ref().unwrap()
    }
}

impl std::ops::DerefMut for Usual {
    fn deref_mut(&mut self) -> &mut Stage {
        self.0.as_mut().unwrap()
    }
}

/// Waits until no other test has it.
pub fn usual() -> Usual {
    // A test that failed with it leaves nothing that is not set anew here.
    let mut stage = USUAL.lock().unwrap_or_else(PoisonError::into_inner);
    let stage_now = stage.get_or_insert_with(|| Stage::with(ServerConfig::default()));
    stage_now.reset();
    Usual(stage)
}

/// resolv.conf with these nameservers, one second for each.
pub fn resolv(servers: &[&str], more: &str) -> Files {
    let servers: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    Files::resolv(format!("{servers}options timeout:1 attempts:2\n{more}"))
}

impl Stage {
    /// A stage of one's own.
    pub fn with(server: ServerConfig) -> Self {
        Self::watched(server, &[])
    }

    /// A stage of one's own, wrapwatch with further arguments.
    pub fn watched(server: ServerConfig, arguments: &[&str]) -> Self {
        let files = resolv(&["10.1.1.53", "10.1.1.54"], "");
        let lab = Lab::start(LabConfig { server, files, ..LabConfig::default() }).unwrap();
        let mut all = vec!["-p".to_owned(), lab.server_pid().unwrap().to_string()];
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Self { watch: Watch::live(all).unwrap(), lab }
    }

    /// Of these two.
    pub const fn of(lab: Lab, watch: Watch) -> Self {
        Self { lab, watch }
    }

    fn reset(&self) {
        let settings = Settings { rules: Some(Vec::new()), zone: Some(Vec::new()), closed: Some(Vec::new()) };
        self.lab.dns(settings).unwrap();
        self.lab.freeze_syslog(false).unwrap();
        self.lab.ident(None).unwrap();
        let mut files = resolv(&["10.1.1.53", "10.1.1.54"], "");
        files.allow = Some("ALL: .lab.example\n".into());
        files.deny = Some("ALL: ALL\n".into());
        files.hosts = Some("127.0.0.1 localhost\n::1 localhost\n".into());
        self.files(files);
        self.lab.take_syslog().unwrap();
    }

    pub fn files(&self, files: Files) {
        self.lab.files(files).unwrap();
    }

    pub fn rules(&self, rules: impl IntoIterator<Item = Rule>) {
        self.lab.rules(rules).unwrap();
    }

    /// Sends one client and gives what is told of it.
    pub fn one(&mut self) -> (ClientResult, Connection) {
        self.clients(ClientsSpec::default()).remove(0)
    }

    /// Sends clients and gives what is told of each.
    pub fn clients(&mut self, spec: ClientsSpec) -> Vec<(ClientResult, Connection)> {
        let clients = self.lab.clients(spec).unwrap();
        self.told(clients)
    }

    /// What is told of each of these.
    pub fn told(&mut self, clients: Vec<ClientResult>) -> Vec<(ClientResult, Connection)> {
        clients
            .into_iter()
            .map(|client| {
                let told = self.told_of(&peer(&client));
                (client, told)
            })
            .collect()
    }

    /// What is told of a client, by its address and port; every connection so told adds up.
    pub fn told_of(&mut self, peer: &str) -> Connection {
        let told = self.watch.find(|line| match line {
            Line::Connection(connection) if connection.peer == peer.parse().ok() => {
                Some((**connection).clone())
            }
            _ => None,
        });
        let connection = told.unwrap();
        assert_eq!(connection.parts.total(), connection.wrapper_ns, "{connection:#?}");
        connection
    }

    /// Waits for a line.
    pub fn line<T>(&mut self, wanted: impl FnMut(&Line) -> Option<T>) -> T {
        self.watch.find(wanted).unwrap()
    }

    /// Ends it.
    pub fn end(self) -> wrapwatch_tests::watch::Seen {
        self.watch.stop().unwrap()
    }

    /// Sends one client after the other until wrapwatch has taken notice of changed files; it looks once a second.
    pub fn until(&mut self, what: &str, mut noticed: impl FnMut(&Connection) -> bool) -> Connection {
        let mut found = None;
        wrapwatch_tests::wait_for(what, || {
            let (_, connection) = self.one();
            found = noticed(&connection).then_some(connection);
            Ok(found.is_some())
        })
        .unwrap();
        found.unwrap()
    }
}

/// A query in a word: last part of the server's address, type, how it ended.
pub fn words(queries: &[Query]) -> Vec<String> {
    queries
        .iter()
        .map(|query| {
            let server = query.server.rsplit_once(':').map_or(&*query.server, |(ip, _)| ip);
            let server = server.rsplit(['.', ':']).next().unwrap_or(server).trim_end_matches(']');
            let transport = match query.transport {
                Transport::Udp => "",
                Transport::Tcp => " tcp",
                Transport::Nscd => " nscd",
                Transport::Resolved => " resolved",
            };
            let outcome = match query.outcome {
                QueryOutcome::Answered => query.rcode.as_deref().unwrap_or("answered"),
                QueryOutcome::Timeout => "timeout",
                QueryOutcome::Unreachable => "unreachable",
                QueryOutcome::Unseen => "unseen",
            };
            let cut = if query.truncated { " cut" } else { "" };
            format!("{server}{transport} {} {outcome}{cut}", query.qtype.as_deref().unwrap_or("-"))
        })
        .collect()
}

/// The only lookup of this kind.
pub fn lookup(connection: &Connection, kind: LookupKind) -> &Lookup {
    let mut found = connection.lookups.iter().filter(|lookup| lookup.kind == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind:?} in {connection:#?}"));
    assert!(found.next().is_none(), "two of {kind:?}: {connection:#?}");
    first
}

/// Checks the whole of what a connection's reverse lookup came to.
pub fn reverse_is(connection: &Connection, outcome: LookupOutcome, queries: &[&str]) {
    assert!(connection.complete, "{connection:#?}");
    let reverse = lookup(connection, LookupKind::Reverse);
    assert_eq!(
        (reverse.outcome, &words(&reverse.queries)[..]),
        (outcome, &to_strings(queries)[..]),
        "{reverse:#?}"
    );
}

/// The same of its forward lookup.
pub fn forward_is(connection: &Connection, outcome: LookupOutcome, queries: &[&str]) {
    let forward = lookup(connection, LookupKind::Forward);
    assert_eq!(
        (forward.outcome, &words(&forward.queries)[..]),
        (outcome, &to_strings(queries)[..]),
        "{forward:#?}"
    );
}

fn to_strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
