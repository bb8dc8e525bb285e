//! Tables that give the named clients the verdicts they have now, without lookups, and everybody else and every other daemon the same as before.
//!
//! Words that need no lookup to say the same are replaced (`[::1]` by `[::1]/128`; not `192.168.*` by `192.168.`, which no name matches), and in
//! front of the rule that forces a client's lookup goes a rule with the daemon's name, the client's address and its verdict. Such a rule holds for
//! every address and port of the daemon, so that there is none where other rules tell those apart. What is wrong with a table stays: a missing last
//! newline, for instance, takes a rule from everybody, and adding it would give it back to everybody. The result is checked with the evaluator
//! against the tables that are there before it is given away; a client who would fare otherwise gets no rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use super::candidates::Candidates;
use super::classify::{Kind, client_words, without_lookup};
use super::evaluation::{Evaluation, Reason, Verdict};
use super::inet;
use super::input::{Client, Input};
use super::lint::{NameSource, check, known_name, usual_world};
use super::options::{Keyword, lossy, steps};
use super::problems::{may_concern, names_own_end};
use super::table::{Entry, EntryKind, Table, TableKind, Tables};

/// The new texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// hosts.allow and hosts.deny.
    pub tables: [Vec<u8>; 2],
    /// Lines for /etc/hosts that would help by themselves: clients whose name is known and not there.
    pub hosts: Vec<String>,
    /// Clients for whom nothing can be done here, and why.
    pub left_alone: Vec<(String, String)>,
}

/// A rule to be put in front of another.
struct Insertion {
    table: TableKind,
    at: usize,
    line: u32,
    options: String,
    addresses: Vec<String>,
}

/// Rewrites the tables for the input's clients.
pub fn rewrite(input: &Input<'_>) -> Rewrite {
    let candidates = Candidates::of(input);
    let mut left_alone = BTreeMap::new();
    if !is_plain_name(input.daemon) {
        let why = format!("no rule can be written for {} and no other daemon", input.daemon);
        left_alone.extend(input.clients.iter().map(|client| (client.address.to_canonical(), why.clone())));
    }
    loop {
        let (mut out, failed) = attempt(input, &candidates, &left_alone);
        let before = left_alone.len();
        left_alone.extend(failed);
        if left_alone.len() == before {
            out.left_alone.extend(left_alone.into_iter().map(|(address, why)| (address.to_string(), why)));
            return out;
        }
    }
}

/// Whether a word in a daemon list means this daemon and no other (see `string_match`, and Debian's ports).
fn is_plain_name(daemon: &str) -> bool {
    let special = ["ALL", "KNOWN", "EXCEPT"].iter().any(|word| daemon.eq_ignore_ascii_case(word));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !special
        && daemon.bytes().all(plain)
        && daemon.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !daemon.starts_with('.')
        && !daemon.ends_with('.')
        && inet::scan_unsigned(daemon.as_bytes(), 10).is_none()
}

type Reasons = BTreeMap<IpAddr, String>;

/// New tables without rules for those left alone; and whom they would not serve.
fn attempt(input: &Input<'_>, candidates: &Candidates, left_alone: &Reasons) -> (Rewrite, Reasons) {
    let mut out = Rewrite { tables: replaced(input), hosts: Vec::new(), left_alone: Vec::new() };
    let tables = parse(input, &out.tables);
    let mut insertions: Vec<Insertion> = Vec::new();
    let mut kept: Vec<&Client> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    // Whoever is named twice gets one rule and one line.
    for client in input.clients.iter().filter(|client| seen.insert(client.address.to_canonical())) {
        out.hosts.extend(hosts_line(input, client));
        if left_alone.contains_key(&client.address.to_canonical()) {
            continue;
        }
        let address = client.address.to_canonical().to_string();
        match plan(input, candidates, &tables, client) {
            Plan::Nothing => kept.push(client),
            Plan::LeaveAlone(why) => out.left_alone.push((address, why)),
            Plan::Insert { table, at, line, options } => {
                let word = if client.address.to_canonical().is_ipv6() {
                    format!("[{address}]/128")
                } else {
                    address
                };
                let same = |i: &&mut Insertion| i.table == table && i.at == at && i.options == options;
                match insertions.iter_mut().find(same) {
                    Some(insertion) => insertion.addresses.push(word),
                    None => insertions.push(Insertion { table, at, line, options, addresses: vec![word] }),
                }
                kept.push(client);
            }
        }
    }
    insert(input.daemon, insertions, &mut out.tables);
    let failed = failures(input, candidates, &out.tables, &kept);
    (out, failed)
}

fn parse(input: &Input<'_>, texts: &[Vec<u8>; 2]) -> Tables {
    let table = |kind: TableKind| {
        let old = input.tables.get(kind);
        let text = &texts[kind as usize];
        if text.is_empty() && (old.is_missing() || old.why_unreadable().is_some()) {
            old.clone()
        } else {
            Table::parse(text)
        }
    };
    Tables { allow: table(TableKind::Allow), deny: table(TableKind::Deny) }
}

fn replaced(input: &Input<'_>) -> [Vec<u8>; 2] {
    [TableKind::Allow, TableKind::Deny].map(|kind| without_needless_lookups(input, kind))
}

/// Replaces words in rules that the daemon can reach.
fn without_needless_lookups(input: &Input<'_>, kind: TableKind) -> Vec<u8> {
    let (text, table) = (input.texts[kind as usize], input.tables.get(kind));
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut copied = 0;
    let concerns = |entry: &Entry| {
        entry.kind == EntryKind::Rule && may_concern(table.daemons(entry), input.daemon, input.server.port)
    };
    for entry in table.entries().filter(concerns) {
        for (range, new) in replacements(text, table, &entry) {
            out.extend_from_slice(text.get(copied..range.start).unwrap_or_default());
            out.extend_from_slice(new.as_bytes());
            copied = range.end;
        }
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    out
}

/// Words of a rule's client list to be replaced, where they stand in the table's text. Words that a continuation splits are left.
fn replacements(text: &[u8], table: &Table, entry: &Entry) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    let source = text.get(entry.source()).unwrap_or_default();
    // The daemon list is left: what stands before the first colon.
    let mut from = table.daemons(entry).len();
    for word in client_words(table.clients(entry)) {
        let place = position(source, word.word, from);
        if let Some(at) = place {
            from = at + word.word.len();
        }
        // An address with stars is compared with names too: whoever has a name that begins so would lose what it gives.
        let alike = word.user.is_none() && word.kind == Kind::BareV6;
        let new = if alike { without_lookup(word.host) } else { None };
        if let (Some(at), Some(new)) = (place, new) {
            let start = entry.source().start + at;
            found.push((start..start + word.word.len(), new));
        }
    }
    found
}

/// Where `word` stands as a word of its own.
fn position(text: &[u8], word: &[u8], from: usize) -> Option<usize> {
    let edge = |byte: Option<&u8>| byte.is_none_or(|byte| b" ,\t\r\n:\\".contains(byte));
    (from..=text.len().checked_sub(word.len())?).find(|&at| {
        text.get(at..at + word.len()) == Some(word)
            && edge(at.checked_sub(1).and_then(|before| text.get(before)))
            && edge(text.get(at + word.len()))
    })
}

enum Plan {
    /// It costs nothing (any more).
    Nothing,
    LeaveAlone(String),
    Insert {
        table: TableKind,
        at: usize,
        line: u32,
        options: String,
    },
}

fn plan(input: &Input<'_>, candidates: &Candidates, tables: &Tables, client: &Client) -> Plan {
    let Some(world) = usual_world(input, candidates, tables, client) else {
        let address = client.address.to_canonical();
        return Plan::LeaveAlone(not_known(address));
    };
    let now = check(input, tables, client, world);
    let Some(place) = now.lookup_rule() else { return Plan::Nothing };
    let source = known_name(input, client).map(|(_, source)| source);
    if source == Some(NameSource::Hosts)
        && input.services.first().is_some_and(|service| service.name == "files")
    {
        return Plan::Nothing;
    }
    if tells_own_ends_apart(input) {
        return Plan::LeaveAlone("rules depend on the server's own address or port".to_owned());
    }
    let options = match options_for(tables, place.table, &now) {
        Ok(options) => options,
        Err(why) => return Plan::LeaveAlone(why.to_owned()),
    };
    let table = tables.get(place.table);
    match table.entry_at(place.line) {
        Some(entry) => {
            Plan::Insert { table: place.table, at: entry.source().start, line: place.line, options }
        }
        None => Plan::LeaveAlone("the rule that looks it up was not found".to_owned()),
    }
}

fn not_known(address: IpAddr) -> String {
    format!(
        "its verdict may depend on what is not known here: its name (say --client {address}=NAME), a netgroup or its ident service"
    )
}

/// Whether a rule holds for some of the daemon's own addresses or ports and not for others. What is checked here is one of them.
fn tells_own_ends_apart(input: &Input<'_>) -> bool {
    [TableKind::Allow, TableKind::Deny].into_iter().any(|kind| {
        let table = input.tables.get(kind);
        let rules = table.entries().filter(|entry| entry.kind == EntryKind::Rule);
        rules.map(|entry| table.daemons(&entry)).any(|daemons| names_own_end(daemons, input.daemon))
    })
}

/// The options a rule in `table` needs to say what the deciding rule says, or why there are none.
fn options_for(tables: &Tables, table: TableKind, now: &Evaluation) -> Result<String, &'static str> {
    match now.reason {
        Reason::Rule | Reason::Option | Reason::NoRule => {}
        Reason::OptionError(_) => return Err("an option of the rule that decides is wrong"),
        Reason::Unreadable => return Err("hosts.deny cannot be read, and decides by that"),
        Reason::Twist => return Err("the rule that decides hands it to another program"),
        Reason::ServerExits => return Err("at the rule that decides libwrap ends the server process"),
    }
    let asks_again = "the rule that decides needs its name for an option";
    let mut kept = Vec::new();
    if let Some(place) = now.rule {
        let decider = tables.get(place.table);
        let text = decider.entry_at(place.line).and_then(|entry| decider.options(&entry)).unwrap_or_default();
        for step in steps(text) {
            let Ok(step) = step else { return Err("an option of the rule that decides is wrong") };
            let value = step.value.as_deref().map(lossy).unwrap_or_default();
            let asks = ["%n", "%N", "%u"].iter().any(|letter| value.contains(letter));
            match step.keyword {
                Keyword::Allow | Keyword::Deny => {}
                Keyword::Rfc931 | Keyword::Aclexec | Keyword::Twist | Keyword::Banners => {
                    return Err(asks_again);
                }
                _ if asks => return Err(asks_again),
                keyword => kept
                    .push(format!("{} {}", keyword.name(), value.replace(':', "\\:")).trim_end().to_owned()),
            }
        }
    }
    let usual = if table == TableKind::Allow { Verdict::Allow } else { Verdict::Deny };
    if now.verdict != usual {
        kept.push(if now.verdict == Verdict::Allow { "allow".to_owned() } else { "deny".to_owned() });
    }
    Ok(kept.iter().fold(String::new(), |mut all, option| {
        // Writing to a String cannot fail.
        let _ = write!(all, " : {option}");
        all
    }))
}

/// Puts the new rules in, last ones first so that positions stay good.
fn insert(daemon: &str, mut insertions: Vec<Insertion>, tables: &mut [Vec<u8>; 2]) {
    insertions.sort_by_key(|insertion| std::cmp::Reverse((insertion.table, insertion.at, insertion.line)));
    for insertion in insertions {
        let mut rules = String::new();
        // Far below libwrap's limit for a line.
        for addresses in insertion.addresses.chunks(32) {
            let _ = writeln!(rules, "{daemon}: {}{}", addresses.join(" "), insertion.options);
        }
        let text = &mut tables[insertion.table as usize];
        let at = insertion.at.min(text.len());
        text.splice(at..at, rules.into_bytes());
    }
}

fn hosts_line(input: &Input<'_>, client: &Client) -> Option<String> {
    let (name, source) = known_name(input, client)?;
    let usable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let address = client.address.to_canonical();
    // It may be there and not be asked.
    let is_there = input.hosts.reverse(address).is_some_and(|there| there.eq_ignore_ascii_case(&name));
    (source == NameSource::Given && usable && !is_there).then(|| format!("{address} {name}"))
}

/// Whoever would fare otherwise with the new tables, or still be looked up.
fn failures(input: &Input<'_>, candidates: &Candidates, texts: &[Vec<u8>; 2], kept: &[&Client]) -> Reasons {
    let tables = parse(input, texts);
    let mut out = Reasons::new();
    for client in kept {
        let address = client.address.to_canonical();
        let Some(world) = usual_world(input, candidates, input.tables, client) else {
            out.insert(address, not_known(address));
            continue;
        };
        let before = check(input, input.tables, client, world.clone());
        let then = check(input, &tables, client, world);
        let in_hosts = known_name(input, client).is_some_and(|(_, source)| source == NameSource::Hosts);
        if then.verdict != before.verdict || !(then.lookups.is_empty() || in_hosts) {
            let why = "no rule was found that gives it its verdict without a lookup".to_owned();
            out.insert(address, why);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{FileText, HostsFile, test_host::Host};
    use super::*;

    fn rewritten(
        allow: &str,
        deny: &str,
        hosts: &str,
        clients: &[(&str, Option<&str>)],
    ) -> (String, String, Rewrite) {
        rewritten_with(allow, deny, hosts, &BTreeMap::new(), clients)
    }

    fn rewritten_with(
        allow: &str,
        deny: &str,
        hosts: &str,
        files: &BTreeMap<String, FileText>,
        clients: &[(&str, Option<&str>)],
    ) -> (String, String, Rewrite) {
        let host = Host {
            files: files.clone(),
            hosts: HostsFile::parse(hosts.as_bytes()),
            ..Host::new(allow.as_bytes(), deny.as_bytes())
        };
        let host = host.asked_about(clients);
        assert_eq!(host.lint().clients.len(), clients.len());
        let out = rewrite(&host.input());
        let text = |index: usize| String::from_utf8(out.tables[index].clone()).unwrap();
        (text(0), text(1), out)
    }

    #[test]
    fn clients_are_decided_before_the_rule_that_looks_them_up() {
        let allow = "# ours\nsshd: ALL\nmysqld: .example.com : spawn echo %h &\n";
        let clients = [("10.0.2.14", Some("db1.example.com")), ("10.0.2.15", Some("bad.example.org"))];
        let (new, deny, out) = rewritten(allow, "ALL: ALL\n", "", &clients);
        assert_eq!(
            new,
            "# ours\nsshd: ALL\nmysqld: 10.0.2.15 : deny\nmysqld: 10.0.2.14 : spawn echo %h &\nmysqld: .example.com : spawn echo %h &\n"
        );
        assert_eq!(deny, "ALL: ALL\n");
        assert_eq!(out.left_alone, []);
        assert_eq!(out.hosts, ["10.0.2.14 db1.example.com", "10.0.2.15 bad.example.org"]);
    }

    #[test]
    fn a_client_that_is_named_twice_gets_one_rule_and_one_line() {
        let clients = [("10.0.2.14", Some("db1.example.com")), ("::ffff:10.0.2.14", Some("db1.example.com"))];
        let (new, _, out) = rewritten("mysqld: .example.com\n", "ALL: ALL\n", "", &clients);
        assert_eq!(new, "mysqld: 10.0.2.14\nmysqld: .example.com\n");
        assert_eq!(out.hosts, ["10.0.2.14 db1.example.com"]);
    }

    #[test]
    fn words_are_replaced_where_they_stand() {
        let allow =
            "mysqld: 192.168.*, [::1] \\\n [::2]:spawn echo [::2] &\n[::2]: 10.0.0.1\nx: [2001:\\\n:1]\n";
        let hosts = "10.0.2.14 db1.example.com\n";
        let (new, _, out) = rewritten(allow, "ALL: ALL", hosts, &[("10.0.2.14", None)]);
        assert_eq!(
            new,
            "mysqld: 192.168.*, [::1]/128 \\\n [::2]/128:spawn echo [::2] &\n[::2]: 10.0.0.1\nx: [2001:\\\n:1]\n"
        );
        assert_eq!(out.left_alone, []);
        assert_eq!(out.tables[1], b"ALL: ALL");
    }

    #[test]
    fn an_address_with_stars_is_a_beginning_of_names_too() {
        let named = [("10.0.2.14", Some("192.168.example.org"))];
        let (new, _, out) = rewritten("mysqld: 192.168.*\n", "ALL: ALL\n", "", &named);
        assert_eq!(new, "mysqld: 10.0.2.14\nmysqld: 192.168.*\n");
        assert_eq!(out.left_alone, []);
        // Whose name is not known may have one that begins so; by EXCEPT, in a file and alone.
        let files = BTreeMap::from([("/list".to_owned(), FileText::Text(b"192.168.*\n".to_vec()))]);
        for allow in ["mysqld: 192.168.*\n", "mysqld: *.example.org EXCEPT 192.168.*\n", "mysqld: /list\n"] {
            let (new, _, out) = rewritten_with(allow, "ALL: ALL\n", "", &files, &[("10.0.2.14", None)]);
            assert_eq!((new.as_str(), out.left_alone.len()), (allow, 1));
        }
    }

    #[test]
    fn no_rule_for_all_of_a_daemons_ends_is_written_where_others_tell_them_apart() {
        let client = [("10.0.2.14", Some("db1.example.com"))];
        for first in [
            "mysqld@10.0.9.9: .example.com\n",
            "mysqld@10.0.9.8: ALL\nmysqld: .example.com\n",
            "3306: .example.com\n",
            "3307: ALL\nmysqld: .example.com\n",
            "ALL EXCEPT mysqld@10.0.9.8: .example.com\n",
            "ALL EXCEPT 3307: .example.com\n",
        ] {
            let (new, _, out) = rewritten(first, "ALL: ALL\n", "", &client);
            let why = "rules depend on the server's own address or port".to_owned();
            assert_eq!((new.as_str(), out.left_alone), (first, vec![("10.0.2.14".to_owned(), why)]));
        }
        let others = "sshd@10.0.9.9: ALL\nsshd EXCEPT 22: ALL\n";
        let (new, _, out) = rewritten(&format!("{others}mysqld: .example.com\n"), "ALL: ALL\n", "", &client);
        assert_eq!(new, format!("{others}mysqld: 10.0.2.14\nmysqld: .example.com\n"));
        assert_eq!(out.left_alone, []);
    }

    #[test]
    fn the_new_tables_are_held_against_those_that_are_there() {
        let named = [("10.0.2.14", Some("db1.example.com")), ("10.0.2.15", Some("x.example.org"))];
        let host = Host::new(b"mysqld: .example.com\n", b"ALL: ALL\n").asked_about(&named);
        let kept: Vec<&Client> = host.clients.iter().collect();
        let failed = |allow: &[u8]| -> Vec<String> {
            let input = host.input();
            let failed =
                failures(&input, &Candidates::of(&input), &[allow.to_vec(), b"ALL: ALL\n".to_vec()], &kept);
            failed.into_keys().map(|address| address.to_string()).collect()
        };
        assert_eq!(failed(b"mysqld: 10.0.2.14\n"), [""; 0]);
        assert_eq!(failed(b"mysqld: 10.0.2.15\n"), ["10.0.2.14", "10.0.2.15"], "another verdict");
        assert_eq!(failed(b"mysqld: .example.com\n"), ["10.0.2.14", "10.0.2.15"], "still a lookup");
        // What is not known stays so, whatever the new tables no longer ask.
        let host = Host::new(b"mysqld: .example.com\n", b"ALL: ALL\n").asked_about(&[("10.0.2.14", None)]);
        let (input, new) = (host.input(), [b"mysqld: 10.0.2.14\n".to_vec(), Vec::new()]);
        let failed = failures(&input, &Candidates::of(&input), &new, &[&host.clients[0]]);
        assert_eq!(failed.len(), 1, "{failed:?}");
    }

    #[test]
    fn a_lost_rule_is_never_revived() {
        for deny in ["sshd: ALL\nALL: ALL", "sshd: ALL\nsshd: ALL", "sshd: ALL\nmysqld: .bad"] {
            let (_, new, _) = rewritten("", deny, "", &[("10.0.2.14", None)]);
            assert_eq!(new, deny);
        }
    }

    #[test]
    fn however_many_names_stand_before_it_a_name_that_matters_is_not_passed_over() {
        for count in [60, 64, 70] {
            let others: String = (0..count).map(|n| format!("sshd: h{n}\n")).collect();
            let own: String = (0..count).map(|n| format!("mysqld: h{n}\n")).collect();
            for names in [others, own] {
                let allow = format!("{names}mysqld: .example.com\n");
                let (new, _, out) = rewritten(&allow, "ALL: ALL\n", "", &[("10.0.2.14", None)]);
                assert_eq!((new, out.left_alone.len()), (allow, 1), "{count}");
            }
        }
        let list: String = (0..70).map(|n| format!("h{n}\n")).collect();
        let files = BTreeMap::from([("/list".to_owned(), FileText::Text(list.into_bytes()))]);
        let allow = "mysqld: /list\n";
        let (new, _, out) = rewritten_with(allow, "ALL: ALL\n", "", &files, &[("10.0.2.14", None)]);
        assert_eq!((new.as_str(), out.left_alone.len()), (allow, 1), "names in a file");
    }

    #[test]
    fn what_a_netgroup_or_ident_would_say_is_not_guessed() {
        for (allow, name) in [
            ("mysqld: @trusted\n", Some("db1.example.com")),
            ("mysqld: bob@.example.com\n", Some("db1.example.com")),
            ("mysqld: bob@10. .example.com\n", Some("db1.example.com")),
            // Asked under the name only that nobody knows.
            ("mysqld: bob@.example.com\n", None),
        ] {
            let (new, _, out) = rewritten(allow, "ALL: ALL\n", "", &[("10.0.2.14", name)]);
            assert_eq!((new.as_str(), out.left_alone.len()), (allow, 1));
        }
    }

    #[test]
    fn no_rule_is_written_that_other_daemons_match() {
        for daemon in
            ["ALL", "known", ".mysqld", "mysqld.", "3306", "a b", "my*", "mysqld@10.0.0.1", "EXCEPT", ""]
        {
            assert!(!is_plain_name(daemon), "{daemon}");
        }
        assert!(is_plain_name("mysqld") && is_plain_name("rpc.mountd") && is_plain_name("in.tftpd"));
    }

    #[test]
    fn a_verdict_that_hangs_on_an_unknown_name_is_not_guessed() {
        let (new, _, out) = rewritten("mysqld: .example.com\n", "ALL: ALL\n", "", &[("10.0.2.14", None)]);
        assert_eq!(new, "mysqld: .example.com\n");
        assert_eq!(out.left_alone.len(), 1);
        let (new, _, out) = rewritten(
            "mysqld: .example.com\n",
            "ALL: ALL\n",
            "10.0.2.14 db1.example.com\n",
            &[("10.0.2.14", None)],
        );
        assert_eq!((new.as_str(), out.left_alone.len()), ("mysqld: .example.com\n", 0));
    }

    #[test]
    fn why_a_client_is_left_alone_is_told() {
        let named = [("10.0.2.14", Some("db1.example.com"))];
        for (options, why) in [
            (": spawn echo %n &", "the rule that decides needs its name for an option"),
            (": banners /banners", "the rule that decides needs its name for an option"),
            (": no-such-option", "an option of the rule that decides is wrong"),
            // libwrap: "twist option in resident process".
            (": twist /bin/echo", "an option of the rule that decides is wrong"),
        ] {
            let allow = format!("mysqld: .example.com {options}\n");
            let (new, _, out) = rewritten(&allow, "ALL: ALL\n", "", &named);
            assert_eq!((new, out.left_alone), (allow, vec![("10.0.2.14".to_owned(), why.to_owned())]));
        }
    }

    #[test]
    fn where_the_deny_table_cannot_be_read_that_decides() {
        let host = Host::new(b"mysqld: .elsewhere.org\n", b"");
        let tables = Tables { deny: Table::unreadable("EACCES".to_owned()), ..host.tables };
        let host = Host { tables, ..Host::new(b"mysqld: .elsewhere.org\n", b"") }
            .asked_about(&[("10.0.2.14", Some("db1.example.com"))]);
        let why = "hosts.deny cannot be read, and decides by that".to_owned();
        assert_eq!(rewrite(&host.input()).left_alone, [("10.0.2.14".to_owned(), why)]);
    }

    #[test]
    fn clients_admitted_by_no_rule_stay_admitted() {
        let (_, deny, out) =
            rewritten("", "mysqld: .bad.org\n", "", &[("2001:db8::7", Some("db1.example.com"))]);
        assert_eq!(deny, "mysqld: [2001:db8::7]/128 : allow\nmysqld: .bad.org\n");
        assert_eq!(out.left_alone, []);
    }
}
