//! Nothing of the original is left, and the story is the same.

mod dns;
mod records;
mod rules;
mod story;

use std::net::IpAddr;

use super::*;
use crate::import::strace::{self, Dates, Importer, Log};
use crate::model::{ClockPair, DegradationKind, KtimeNs};
use crate::trace::block::{BlockType, Unpacker};
use crate::trace::columns::gather;
use crate::trace::synth::Synth;
use crate::trace::{Found, Listener, ListenerSample, Scanner, SingleFile, SnapshotRole};

const CAPTURES: [&str; 4] = [
    include_str!("../../../../tests/data/captures/mysqld-5.5.62/a-fast.ttt.log"),
    include_str!("../../../../tests/data/captures/mysqld-5.5.62/c-timeout.ttt.log"),
    include_str!("../../../../tests/data/captures/mysqld-5.5.62/d-denied.ttt.log"),
    include_str!("../../../../tests/data/captures/mysqld-5.5.62/e2-20conc-delay300.ttt.log"),
];

fn key() -> Key {
    Key::new(*b"not a secret key")
}

fn offline(head: &Head) -> Writer<SingleFile<Vec<u8>>> {
    Writer::new(SingleFile::new(Vec::new()), head, WriterOptions::offline()).unwrap()
}

fn end(writer: Writer<SingleFile<Vec<u8>>>, reason: &str) -> Vec<u8> {
    let (out, ended) = writer.finish(End { reason: reason.to_owned(), ..End::default() });
    ended.unwrap();
    out.into_inner()
}

/// A trace of an imported capture.
fn capture(log: &str) -> Vec<u8> {
    let mut writer = None;
    let logs = || vec![Log { tid: None, source: log.as_bytes() }];
    let mut importer = Importer::new(None, strace::survey(logs()).unwrap());
    strace::import(&mut importer, logs(), Dates::default(), &mut |input| match (&mut writer, input) {
        (none @ None, Input::Head(head)) => *none = Some(offline(&head)),
        (Some(writer), input) => writer.write(&input).unwrap(),
        (None, _) => panic!("the head comes first"),
    })
    .unwrap();
    end(writer.unwrap(), "end of the log")
}

/// A trace with something to hide in every place.
fn rich() -> Vec<u8> {
    let mut target = Target {
        pid: 24_516,
        comm: "mysqld".to_owned(),
        cmdline: [
            "/usr/sbin/mysqld",
            "--bind-address=10.77.0.2",
            "--log-error=/var/log/dbhost7.err",
            "--report-host=dbhost7.corp.example",
            "--port=3306",
            "--skip-grant-tables",
            "dbhost7",
        ]
        .map(str::to_owned)
        .to_vec(),
        exe: Some("/srv/dbhost7/sbin/mysqld".to_owned()),
        libwrap: Some("/srv/dbhost7/libwrap.so.0".to_owned()),
        allow_table: Some("/etc/hosts.allow".to_owned()),
        listeners: vec![
            Listener { fd: Some(10), address: "10.77.0.2:3306".to_owned(), queue_limit: Some(80) },
            Listener { fd: Some(11), address: "[2001:db8:77::2]:3306".to_owned(), queue_limit: None },
            Listener { fd: Some(12), address: "/run/dbhost7.sock".to_owned(), queue_limit: None },
        ],
        ..Target::default()
    };
    let degradation = |message: &str| Degradation {
        kind: DegradationKind::NoNetns,
        pid: None,
        message: message.to_owned(),
    };
    let head = Head {
        hostname: "dbhost7.corp.example".to_owned(),
        clock: ClockPair { ktime: KtimeNs(1_000), wall_ns: 1_795_326_189_000_000_000 },
        targets: vec![target.clone()],
        degradations: vec![degradation("10.77.0.2 on dbhost7 is not seen")],
        options: [
            ("when".to_owned(), "queued>1s".to_owned()),
            ("note".to_owned(), "for 10.77.53.2".to_owned()),
        ]
        .into(),
        ..Head::default()
    };
    let mut w = offline(&head);
    let files = [
        (
            SnapshotRole::HostsAllow,
            "/etc/hosts.allow",
            "# dbhost7 team, ask Zebedee\nmysqld: .corp.example 10.77. EXCEPT evil.lan.test\n",
        ),
        (
            SnapshotRole::HostsDeny,
            "/etc/hosts.deny",
            "ALL: ALL: spawn (/usr/bin/mail -s %h zebedee@corp.example)\n",
        ),
        (
            SnapshotRole::ResolvConf,
            "/etc/resolv.conf",
            "nameserver 10.77.53.2\nsearch corp.example lan.test\n",
        ),
        (
            SnapshotRole::Hosts,
            "/etc/hosts",
            "127.0.0.1 localhost\n10.77.0.2 dbhost7.corp.example dbhost7\n2001:db8:77::2 dbhost7\n",
        ),
        (SnapshotRole::NsswitchConf, "/etc/nsswitch.conf", "hosts: files dns # zebedee\n"),
    ];
    for (role, path, text) in files {
        let meta = SnapshotMeta {
            role,
            path: path.to_owned(),
            size: Some(text.len() as u64),
            ..SnapshotMeta::default()
        };
        w.write(&Snapshot { meta, bytes: text.as_bytes().to_vec() }.into()).unwrap();
    }
    let mut synth = Synth::new(5, 2_000, 1_000);
    for _ in 0..20 {
        synth.connection(&mut |record| w.record(record).unwrap());
    }
    let listeners =
        vec![ListenerSample { address: "10.77.0.2:3306".to_owned(), ..ListenerSample::default() }];
    w.write(&Sample { at: KtimeNs(5), listeners, ..Sample::default() }.into()).unwrap();
    target.pid += 1;
    w.write(&Input::from(&target)).unwrap();
    w.write(&degradation("[2001:db8:77::2]:53 and evil.lan.test").into()).unwrap();
    end(w, "dbhost7 went down")
}

/// The copy, and everything in it: headers, payloads decompressed, records gathered.
fn redacted(bytes: &[u8], key: Key) -> (Vec<u8>, Vec<u8>) {
    let (out, _) = redact(|| Ok(bytes), SingleFile::new(Vec::new()), key).unwrap();
    let copy = out.into_inner();
    let all = everything(&copy);
    (copy, all)
}

fn everything(trace: &[u8]) -> Vec<u8> {
    let mut scanner = Scanner::new(trace);
    let mut unpacker = Unpacker::default();
    let mut all = Vec::new();
    while let Some(found) = scanner.next_block().unwrap() {
        let Found::Block(header, payload, _) = found else { panic!("damage") };
        let raw = unpacker.unpack(&header, payload).unwrap();
        all.extend_from_slice(&header.to_bytes());
        all.extend_from_slice(raw);
        if header.kind == BlockType::Records as u16 {
            gather(raw, header.items as usize, &mut all).unwrap();
        }
    }
    all
}

/// Whether `needle` is there, in any case.
fn contains(all: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    all.iter().enumerate().any(|(at, byte)| {
        byte.eq_ignore_ascii_case(first)
            && all.get(at + 1..=at + rest.len()).is_some_and(|next| next.eq_ignore_ascii_case(rest))
    })
}

/// Every form that an address could be left in.
fn forms_of_address(ip: IpAddr) -> Vec<Vec<u8>> {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let mut reversed_labels = Vec::new();
            for octet in [d, c, b, a] {
                let text = octet.to_string();
                reversed_labels.push(u8::try_from(text.len()).unwrap());
                reversed_labels.extend_from_slice(text.as_bytes());
            }
            vec![
                v4.to_string().into_bytes(),
                v4.octets().to_vec(),
                format!("{d}.{c}.{b}.{a}").into_bytes(),
                reversed_labels,
            ]
        }
        IpAddr::V6(v6) => vec![v6.to_string().into_bytes(), v6.octets().to_vec()],
    }
}

/// Every form that a name could be left in, and its labels one by one.
fn forms_of_name(name: &str) -> Vec<Vec<u8>> {
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(u8::try_from(label.len()).unwrap());
        labels.extend_from_slice(label.as_bytes());
    }
    let mut forms = vec![name.as_bytes().to_vec(), labels];
    forms.extend(name.split('.').filter(|label| label.len() > 2).map(|label| label.as_bytes().to_vec()));
    forms
}

#[test]
fn no_original_address_or_name_is_left_in_any_byte() {
    let addresses = [
        "10.77.0.1",
        "10.77.0.2",
        "10.77.53.1",
        "10.77.53.2",
        "10.78.0.1",
        "10.77.0.11",
        "10.77.0.30",
        "2001:db8:77::2",
    ];
    let names = [
        "c1.lan.example",
        "d1.bad.example",
        "dbhost",
        "dbhost7.corp.example",
        "corp.example",
        "lan.test",
        "evil.lan.test",
        "zebedee",
        "private",
    ];
    let mut traces: Vec<Vec<u8>> = CAPTURES.iter().map(|log| capture(log)).collect();
    traces.push(rich());
    let mut seen = 0;
    for trace in &traces {
        let original = everything(trace);
        let (_, all) = redacted(trace, key());
        for ip in addresses {
            for form in forms_of_address(ip.parse().unwrap()) {
                seen += usize::from(contains(&original, &form));
                assert!(!contains(&all, &form), "{ip} as {form:?}");
            }
        }
        for name in names {
            for form in forms_of_name(name) {
                seen += usize::from(contains(&original, &form));
                assert!(!contains(&all, &form), "{name} as {:?}", String::from_utf8_lossy(&form));
            }
        }
        for prefix in ["10.77.", "10.78."] {
            assert!(!contains(&all, prefix.as_bytes()), "{prefix}");
        }
    }
    assert!(seen > 100, "the originals hold what is looked for: {seen}");
}

#[test]
fn clients_and_names_of_every_record_are_gone() {
    let trace = rich();
    let (_, all) = redacted(&trace, key());
    let mut reader = Reader::new(&trace[..]);
    let mut checked = 0;
    while let Some(item) = reader.next_input().unwrap() {
        let Input::Record(record) = item else { continue };
        if let crate::decode::Event::Accept(r) = crate::decode::decode(record).unwrap() {
            let ip: [u8; 4] = *r.peer.ip.last_chunk().unwrap();
            for form in forms_of_address(IpAddr::from(ip)) {
                assert!(!contains(&all, &form), "{ip:?} as {form:?}");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 20);
    assert!(!contains(&all, b"web-") && contains(&everything(&trace), b"web-"));
}

#[test]
fn what_is_no_secret_stays() {
    let trace = rich();
    let (copy, all) = redacted(&trace, key());
    for kept in [
        "127.0.0.1 localhost",
        "hosts: files dns\n",
        "/usr/sbin/mysqld",
        "--port=3306",
        "--skip-grant-tables",
        "queued>1s",
        "ALL: ALL: spawn (x x %h x)\n",
        "/etc/hosts.allow",
        "mysqld: ",
    ] {
        assert!(contains(&all, kept.as_bytes()), "{kept}");
    }
    let mut reader = Reader::new(&copy[..]);
    let Some(Input::Head(head)) = reader.next_input().unwrap() else { panic!("no head") };
    assert!(head.redacted);
    assert_eq!(head.targets[0].cmdline.len(), 7);
    assert!(head.targets[0].listeners[0].address.ends_with(":3306"), "{:?}", head.targets[0].listeners);
}

#[test]
fn a_key_gives_one_copy_and_another_key_another() {
    let trace = rich();
    let (a, _) = redacted(&trace, key());
    let (b, _) = redacted(&trace, key());
    let (c, _) = redacted(&trace, Key::random().unwrap());
    assert_eq!(a, b);
    assert_ne!(a, c);
    assert_eq!(format!("{:?}", key()), "Key(secret)");
}

#[test]
fn a_damaged_trace_is_copied_with_its_loss() {
    let mut trace = rich();
    let at = trace.len() / 2;
    trace[at] ^= 1;
    let (out, done) = redact(|| Ok(&trace[..]), SingleFile::new(Vec::new()), key()).unwrap();
    assert_eq!(done.damages, 1);
    let copy = out.into_inner();
    let mut reader = Reader::new(&copy[..]);
    let mut lost = 0;
    while let Some(item) = reader.next_input().unwrap() {
        match item {
            Input::Loss(l) => lost += l.events,
            Input::Damage(damage) => panic!("{damage}"),
            _ => {}
        }
    }
    assert!(lost > 0);
    for cut in (0..trace.len()).step_by(97) {
        match redact(|| Ok(&trace[..cut]), SingleFile::new(Vec::new()), key()) {
            Ok(_) | Err(RedactError::Read(ReadError::NotATrace(_))) => {}
            Err(err) => panic!("cut at {cut}: {err}"),
        }
    }
}
