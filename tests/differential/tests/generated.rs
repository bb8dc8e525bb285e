//! Thousands of generated tables, clients and worlds: wrapwatch's evaluator and the real libwrap must tell the same story of each:
//! verdict, lookups and commands with the line that forced them, messages, and where reading stopped.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it is surprised")]

mod common;
#[path = "common/rng.rs"]
mod rng;

use common::{compare, oracle};
use rng::Rng;
use wrapwatch::wrappers::Reason;
use wrapwatch_differential::{Case, End, Forward, TableText};

const CLIENTS: &str = "\
    10.0.2.14 10.0.2.15 10.0.12.1 192.168.7.9 8.0.0.1 127.0.0.1 255.255.255.255 0.0.0.0 ::ffff:10.0.2.14 \
    ::ffff:192.168.7.9 2001:db8::7 2001:db8:0:1::7 ::1 fe80::1 ::10.0.2.14 :: ff02::1 \
    2001:db8:7fff:ffff::1 ::ffff:0:10.0.2.14";

const NAMES: &str = "\
    db1.example.com DB1.Example.COM a.b.example.com web.example.org bad.host.net localhost db1 unknown \
    paranoid 10.0.2.14 10.2 0x0a.1 2001:db8::7 known all example.com x_y.example.com we$ird.example.com \
    xx.example.com. *.example.com";

const DAEMONS: &str = "\
    mysqld ALL mysqld ALL sshd MYSQLD mysql* my?qld 3306 +3306 3307 4294970602 65536 -1 0 3306x \
    mysqld@10.0.9.9 mysqld@10.0.9. mysqld@db-server.example.com ALL@ALL 3306@10.0.9.0/24 KNOWN .d mysql. \
    UNKNOWN mysqld@ @mysqld mysqld@[2001:db8::33] mysqld@/list sshd@db.example.com mysqld@LOCAL";

const PATTERNS: &str = "\
    ALL LOCAL KNOWN UNKNOWN PARANOID all local 10.0.2.14 10.0.2.15 10.0.2. 10. 10.0.2 .14 .1 192.168. \
    10.0.2.0/24 10.0.2.14/24 10.0.2.14/32 10.0.2.0/255.255.255.0 10.0.2.14/255.255.255.255 0.0.0.0/0 \
    10.0.0.0/8 10.0.0.0/24x 10.0.0.0/ 010.0.0.1 0xa.0.2.14 10.2 10.0.2.0/4294967320 10.0.2.0/-1 \
    10.0.2.0/0xff.0xff.0xff.0 /10 10.0.2.* 192.168.* 10.0.2.1? * ** ?* *.example.com db?.example.com *1* \
    DB1* *.*.*.* 2001:* .example.com .Example.Com example.com db1.example.com localhost .com db1 unknown \
    paranoid . .. [::1] [2001:db8::7] [2001:db8::]/64 [2001:db8::]/32 [2001:db8::]/33 \
    [2001:db8:0:1::7]/64 [::]/0 [::]/ [::]/129 [::]/128 [::ffff:10.0.2.0]/120 [::ffff:10.0.2.14] \
    [fe80::1] [fe80::1%lo] [fe80::1%1] [fe80::]/10 [ff02::1%lo] [2001:db8::7%lo] [::10.0.2.14] [::1 ::1] \
    [] []/0 [*]/0 [10.0.2.14] [2001:DB8::7] [2001:db8:0:0:0:0:0:7] [1:2:3:4:5:6:7::] [00001::] \
    [1:2:3:4:5:6:7.8.9.10] @admins @nobody @ @admins@10.0.2.14 /list /nested /missing /self bob@ALL \
    ALL@10.0.2.14 bob@10.0.2. KNOWN@.example.com UNKNOWN@ALL bob@ b*@10.0.2.14 bob@alice@ALL bob@/list \
    bob@@admins 10.0.2.14@10.0.2.14 .example.com/24 foo/bar 10.0.2.0/24@x mysqld ] [ a]b";

/// Separated by semicolons.
const OPTIONS: &str = "\
    allow;deny;ALLOW;Deny ;allow yes;spawn echo %a;spawn echo %h %c %d %s;\
    spawn (echo %n | mail %H) &;spawn echo %u %r %R %A;spawn echo %N;spawn echo %% %z %;spawn %p;\
    spawn;spawn=x;spawn = y ;twist echo %a;twist /bin/echo %n;aclexec check %a;aclexec check %n;\
    severity info;severity daemon.info;severity authpriv.info;severity auth.nonsense;severity;rfc931;\
    rfc931 5;rfc931 0;rfc931 x;setenv A b;setenv A=b;setenv A;setenv A %n;setenv %z;umask 022;umask 9;\
    umask 1000;keepalive;keepalive 1;linger 5;linger -1;linger x;nice;nice 5;nice x;user root;\
    user nosuchuser;user root.root;user root.nosuchgroup;group root;group nosuchgroup;banners /banners;\
    banners /nowhere;banners;bogus;bogus value;; ;sp\\:awn;spawn a\\:b;allow\t;spawn echo \\\\;=;= x;\
    allow=";

/// Options that libwrap takes.
const GOOD_OPTIONS: &str =
    "allow;deny;spawn echo %a;spawn echo %n;severity info;setenv A %n;nice 5;keepalive;rfc931";

/// Mostly a list that matches this request's daemon.
fn daemons(rng: &mut Rng) -> String {
    if rng.chance(60) {
        rng.pick(&["ALL", "mysqld", "ALL EXCEPT sshd"]).to_owned()
    } else {
        list(rng, DAEMONS)
    }
}

/// Often a list that matches this client.
fn patterns(rng: &mut Rng, hints: &[String]) -> String {
    if rng.chance(70) {
        return list(rng, PATTERNS);
    }
    let hint = &hints[rng.below(hints.len())];
    match rng.below(4) {
        0 => format!("{} {hint}", rng.word(PATTERNS, ' ')),
        1 => format!("{hint} EXCEPT {}", rng.word(PATTERNS, ' ')),
        _ => hint.clone(),
    }
}

fn list(rng: &mut Rng, words: &'static str) -> String {
    let mut out = String::new();
    for index in 0..=rng.below(3) {
        if index > 0 {
            out += rng.pick(&[" ", ", ", ",", "\t", " ,, ", "\r"]);
        }
        if rng.chance(15) {
            out += rng.pick(&["EXCEPT ", "except ", "EXCEPT", "EXCEPT EXCEPT "]);
        }
        out += rng.word(words, ' ');
        if rng.chance(15) {
            out += " EXCEPT ";
            out += rng.word(words, ' ');
            if rng.chance(30) {
                out += " EXCEPT ";
                out += rng.word(words, ' ');
            }
        }
    }
    out
}

fn line(rng: &mut Rng, hints: &[String]) -> String {
    match rng.below(24) {
        0 => "# a comment: ALL\n".into(),
        1 => "\n".into(),
        2 => " \t\r\n".into(),
        3 => "  # not a comment: ALL\n".into(),
        4 => "no colon here\n".into(),
        _ => {
            let blank = rng.pick(&["", " ", "\t", " \\\n", "\\\n"]);
            let mut out = format!("{}{blank}:{blank}{}", daemons(rng), patterns(rng, hints));
            for _ in 0..[0, 0, 0, 1, 1, 2, 3][rng.below(7)] {
                out += rng.pick(&[":", " : ", ":\\\n", " :"]);
                out += if rng.chance(50) { rng.word(GOOD_OPTIONS, ';') } else { rng.word(OPTIONS, ';') };
            }
            out + rng.pick(&["\n", "\n", "\n", " \n", "\r\n", ":\n", "\\\n", " # note\n"])
        }
    }
}

/// Bytes that mean something somewhere, or nothing anywhere.
const INSERTED: &[u8] = b"\0:\\\n[]@*?# \t\x0b\x0c\r/.,%=&\xff";

fn table(rng: &mut Rng, hints: &[String]) -> TableText {
    if rng.chance(6) {
        return if rng.chance(70) { TableText::Missing } else { TableText::Unreadable };
    }
    let mut text: Vec<u8> = Vec::new();
    for _ in 0..rng.below(7) {
        text.extend(line(rng, hints).into_bytes());
        if rng.chance(2) {
            // Near the buffer's end.
            let pad = 2040 + rng.below(14);
            text.extend(format!("mysqld: {}", "10.9.9.9 ".repeat(230)).bytes().take(pad));
            text.extend(rng.pick(&["\n", " ALL\n", "\\\nALL\n", "\\\n"]).bytes());
        }
    }
    for _ in 0..[0, 0, 0, 0, 1, 2, 5][rng.below(7)] {
        let at = rng.below(text.len() + 1);
        match rng.below(4) {
            0 => text.insert(at, INSERTED[rng.below(INSERTED.len())]),
            1 if at < text.len() => drop(text.remove(at)),
            2 if at < text.len() => text[at] = b"\0:\\\n[]@/"[rng.below(8)],
            _ => {
                let end = (at + rng.below(20)).min(text.len());
                let copy = text[at..end].to_vec();
                let to = rng.below(text.len() + 1);
                text.splice(to..to, copy);
            }
        }
    }
    if rng.chance(3) {
        text.pop();
    }
    TableText::Text(text)
}

fn name(rng: &mut Rng) -> String {
    if rng.chance(3) {
        format!("{}.example.com", "long".repeat(28 + rng.below(8)))
    } else {
        rng.word(NAMES, ' ').to_owned()
    }
}

/// Names for one address: often right, sometimes not.
fn names(rng: &mut Rng, case: &mut Case, end: &End) {
    let address = end.address.to_canonical();
    if rng.chance(25) {
        return;
    }
    let name = name(rng);
    case.names.push((address, name.clone()));
    if rng.chance(20) {
        return;
    }
    // libwrap asks for no more of the name than it kept.
    let asked: String = name.chars().take(127).collect();
    let canonical = match rng.below(10) {
        0 => None,
        1 => Some("other.example.com".to_owned()),
        2 => Some(asked.to_uppercase()),
        _ => Some(asked.clone()),
    };
    let wrong = if address.is_ipv6() { "2001:db8::bad" } else { "10.66.66.66" }.parse().unwrap();
    let addresses = match rng.below(10) {
        0 => vec![wrong],
        1 => vec![wrong, address],
        2 => vec![],
        _ => vec![address],
    };
    case.addresses.push((asked, address.is_ipv6(), Forward { canonical, addresses }));
}

fn generate(rng: &mut Rng) -> Case {
    let address: std::net::IpAddr = rng.word(CLIENTS, ' ').parse().unwrap();
    let link_local = address.to_string() == "fe80::1" || address.to_string() == "ff02::1";
    let scope = u32::from(link_local && rng.chance(50));
    let client = End { address, port: 40_000, scope };
    let own = if address.is_ipv6() { rng.pick(&["2001:db8::33", "::ffff:10.0.9.9"]) } else { "10.0.9.9" };
    let server = End { address: own.parse().unwrap(), port: 3306, scope: 0 };
    let mut case = Case {
        allow: TableText::Missing,
        deny: TableText::Missing,
        daemon: rng.pick(&["mysqld", "mysqld", "mariadbd", ""]).to_owned(),
        client: None,
        server: None,
        names: Vec::new(),
        addresses: Vec::new(),
        user: rng
            .chance(50)
            .then(|| rng.pick(&["bob", "alice", "unknown", "10.0.2.14", "we ird"]).to_owned()),
        netgroups: vec![("admins".into(), "db1.example.com".into()), (String::new(), "unknown".into())],
        files: vec![
            ("/list".into(), b"10.9.9.9\x0b10.0.2.15 .example.org\n\nweb.example.org 10.0.2.*\n".to_vec()),
            ("/nested".into(), b"/list [2001:db8::]/64 db1.exa\0mple.com UNKNOWN".to_vec()),
            ("/self".into(), b"10.0.2.15 /list".to_vec()),
            ("/banners/mysqld".into(), b"hello %d\n%n at %a\n".to_vec()),
        ],
        aclexec: rng.chance(60),
        first: false,
    };
    names(rng, &mut case, &client);
    if server.address.to_canonical() != client.address.to_canonical() {
        names(rng, &mut case, &server);
    }
    let text = client.address.to_canonical().to_string();
    let mut hints = vec![
        "ALL".to_owned(),
        text.clone(),
        format!("[{text}]"),
        format!("[{text}]/64"),
        format!("{text}/32"),
    ];
    hints.extend(case.names.first().map(|(_, name)| name.clone()));
    hints.extend(case.names.first().and_then(|(_, name)| name.find('.').map(|dot| name[dot..].to_owned())));
    case.allow = table(rng, &hints);
    case.deny = table(rng, &hints);
    // Two addresses may not share a name with different answers: the first would speak for both.
    let mut seen = std::collections::HashSet::new();
    case.addresses.retain(|(name, v6, _)| seen.insert((name.clone(), *v6)));
    case.client = (!rng.chance(2)).then_some(client);
    // As in sock_host: without a client there is no server either.
    case.server = case.client.is_some().then_some(server);
    case
}

/// Cases per run; `WRAPWATCH_CASES` for more.
fn cases() -> usize {
    std::env::var("WRAPWATCH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(8_000)
}

#[test]
fn libwrap_agrees_on_generated_tables() {
    let mut oracle = oracle();
    let mut rng = Rng(7_6);
    // libwrap remembers a failed aclexec; so do we.
    let mut aclexec_failed = false;
    let mut seen = [0usize; 8];
    let mut with_lookups = 0;
    let mut pending = std::collections::VecDeque::new();
    for number in 0..cases() {
        if pending.is_empty() {
            let batch: Vec<Case> = (0..16).map(|_| generate(&mut rng)).collect();
            let answers = oracle.ask_all(&batch).expect("libwrap answers");
            pending.extend(batch.into_iter().zip(answers));
        }
        let (case, answer) = pending.pop_front().expect("a batch is not empty");
        let result = compare(oracle.pid(), &case, &answer, aclexec_failed).unwrap_or_else(|difference| {
            panic!("case {number} (aclexec failed: {aclexec_failed})\n{difference}")
        });
        aclexec_failed = result.aclexec_failed;
        with_lookups += usize::from(!result.lookups.is_empty());
        seen[match result.reason {
            Reason::Rule => 0,
            Reason::Option => 1,
            Reason::OptionError(_) => 2,
            Reason::NoRule => 3,
            Reason::Unreadable => 4,
            Reason::Twist | Reason::ServerExits => 5,
        }] += 1;
    }
    // A generator that never reaches a corner proves nothing about it.
    let share = |count: usize| count * 1000 / cases();
    assert!(share(with_lookups) > 200, "{with_lookups} with lookups");
    for (index, least) in [(0, 100), (1, 15), (2, 30), (3, 100), (4, 10)] {
        assert!(share(seen[index]) >= least, "{seen:?}");
    }
}
