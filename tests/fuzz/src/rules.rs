//! hosts.allow, hosts.deny and the resolver's files: parsed, evaluated for clients in several worlds, linted, rewritten.
//!
//! Parts of an input, separated by lines of `---`: clients (`ADDR` or `ADDR=NAME`, a line each), hosts.allow, hosts.deny, resolv.conf, nsswitch.conf,
//! hosts, a file that rules may name (every path leads to it).

use std::collections::BTreeMap;
use std::net::IpAddr;

use wrapwatch::render::text::Text;
use wrapwatch::wrappers::input::{Client, Input};
use wrapwatch::wrappers::lint::{lint, named_files};
use wrapwatch::wrappers::rewrite::rewrite;
use wrapwatch::wrappers::{
    Addresses, Endpoint, Environment, FileText, FixedNames, HostsFile, Request, ResolvConf, Table, Tables,
    evaluate, nsswitch,
};

const SEPARATOR: &[u8] = b"\n---\n";
/// Clients of one input.
const CLIENTS_MAX: usize = 4;

/// Tables and their world.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    let mut parts = Parts(Some(bytes));
    let clients = clients(parts.next());
    let texts = [parts.next(), parts.next()];
    let [resolv, nsswitch, hosts, file] = [parts.next(), parts.next(), parts.next(), parts.next()];
    let tables = Tables { allow: Table::parse(texts[0]), deny: Table::parse(texts[1]) };
    for table in [&tables.allow, &tables.deny] {
        for entry in table.entries() {
            let _ = (table.daemons(&entry), table.clients(&entry), table.options(&entry));
            let _ = (table.text(&entry), table.entry_at(entry.line), table.entry_around(entry.physical.0));
        }
    }
    let files: BTreeMap<String, FileText> = named_files(&tables, &BTreeMap::new())
        .into_iter()
        .map(|path| (path, FileText::Text(file.to_vec())))
        .collect();
    let (services, netgroup) = (nsswitch::hosts(nsswitch), nsswitch::netgroup(nsswitch));
    let (hosts, conf) = (HostsFile::parse(hosts), ResolvConf::parse(resolv));
    let input = Input {
        tables: &tables,
        texts,
        paths: ["/etc/hosts.allow", "/etc/hosts.deny"],
        files: &files,
        daemon: "mysqld",
        server: Endpoint::new(IpAddr::from([10, 0, 9, 9]), 3306),
        conf: &conf,
        resolv_path: "/etc/resolv.conf",
        services: &services,
        netgroup: &netgroup,
        nsswitch_path: "/etc/nsswitch.conf",
        hosts: &hosts,
        hosts_path: "/etc/hosts",
        own_domain: Some("example.com"),
        clients: &clients,
    };
    evaluate_all(&input, file);
    let report = lint(&input);
    assert_eq!(report.clients.len(), clients.len());
    super::assert_harmless(&Text::PLAIN.lint(&report));
    let _ = rewrite(&input);
}

/// Each client in three worlds; twice the same check is twice the same.
fn evaluate_all(input: &Input<'_>, file: &[u8]) {
    for client in input.clients {
        let endpoint = Endpoint::new(client.address, 40_000);
        let mut request = Request::new(input.daemon, endpoint);
        request.server = Some(input.server.clone());
        let name = client.name.as_deref().unwrap_or("db1.example.com");
        for names in
            [FixedNames::unknown(), FixedNames::paranoid(name), FixedNames::verified(name, client.address)]
        {
            let once = evaluate(input.tables, &request, &mut World { names: names.clone(), file });
            let twice = evaluate(input.tables, &request, &mut World { names, file });
            assert_eq!(once, twice);
        }
        request.client = None;
        evaluate(input.tables, &request, &mut World { names: FixedNames::unknown(), file });
    }
}

/// One answer for each question, and one file under every path.
struct World<'a> {
    names: FixedNames,
    file: &'a [u8],
}

impl Environment for World<'_> {
    fn reverse(&mut self, address: IpAddr) -> Option<String> {
        self.names.reverse(address)
    }

    fn forward(&mut self, name: &str, ipv6: bool) -> Option<Addresses> {
        self.names.forward(name, ipv6)
    }

    fn ident(&mut self) -> Option<String> {
        Some("bob".to_owned())
    }

    fn netgroup(&mut self, group: &str, host: &str) -> bool {
        group.len() > host.len()
    }

    fn file(&mut self, _: &str) -> FileText {
        FileText::Text(self.file.to_vec())
    }

    fn aclexec(&mut self, command: &[u8]) -> bool {
        command.len().is_multiple_of(2)
    }
}

struct Parts<'a>(Option<&'a [u8]>);

impl<'a> Parts<'a> {
    fn next(&mut self) -> &'a [u8] {
        let Some(rest) = self.0 else { return &[] };
        let at = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        // The newline belongs to the part.
        let (part, after) = at.map_or((rest, None), |at| (&rest[..=at], rest.get(at + SEPARATOR.len()..)));
        self.0 = after;
        part
    }
}

fn clients(part: &[u8]) -> Vec<Client> {
    let text = String::from_utf8_lossy(part);
    let client = |line: &str| {
        let (address, name) = line.split_once('=').map_or((line, None), |(a, name)| (a, Some(name)));
        Some(Client { address: address.parse().ok()?, name: name.map(str::to_owned) })
    };
    let mut clients: Vec<_> = text.lines().filter_map(client).take(CLIENTS_MAX).collect();
    if clients.is_empty() {
        clients.push(Client { address: IpAddr::from([10, 0, 2, 14]), name: None });
    }
    clients
}
