//! Nothing but what the design allows leaves the kernel.

use std::net::IpAddr;

use wrapwatch::{
    decode::{Event, addr::socket_addr},
    host::{libwrap, process::ProcessInfo},
    probe::Options,
};
use wrapwatch_tests::{
    clients::{ClientsSpec, Mode},
    lab::Files,
};

use crate::support::{lab_with, peer, with_probe};

/// A statement that would be found anywhere.
const LITERAL: &str = "ZvKq7Wm2Xs9";

const CLIENTS: usize = 200;

/// What stands in the tables is for libwrap to read.
const COMMENT: &str = "Qy3Rk8Lp5Vt";

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A DNS name as it stands in a message (RFC 1035, 3.1).
fn labels(name: &str) -> Vec<u8> {
    name.split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .collect()
}

#[test]
fn raw_records_have_the_names_and_not_a_byte_of_sql() {
    names_and_no_sql(&Options::default());
}

#[test]
fn nor_have_they_where_logins_are_followed() {
    names_and_no_sql(&Options { logins: true, ..Options::default() });
}

fn names_and_no_sql(options: &Options) {
    let lab = lab_with(Files::tables(format!("# {COMMENT}\nALL: .lab.example\n"), "ALL: ALL\n"));
    let pid = lab.server_pid().unwrap();
    let mut raw = Vec::new();
    let clients = with_probe(options, |probe, records| {
        let info = ProcessInfo::read(pid).unwrap();
        let libwrap = libwrap::find(pid).unwrap();
        probe.add_target(&info, libwrap.as_ref(), &[3306]).unwrap();
        // Descriptors freed by DNS and the tables are used at once for the next clients' sockets.
        let mode = Mode::Query { sql: format!("SELECT '{LITERAL}'") };
        let spec = ClientsSpec { count: CLIENTS, concurrency: 8, mode, ..ClientsSpec::default() };
        let clients = lab.begin_clients(spec).unwrap();
        let mut greeted = 0;
        records.until(|record, event| {
            if let Event::Connect(_, path) = event {
                assert!(!path.contains(&0), "{path:?} goes on behind the path's end");
            }
            raw.extend_from_slice(record);
            greeted += usize::from(matches!(event, Event::FirstPacket(_)));
            greeted == CLIENTS
        });
        let clients = clients.wait().unwrap();
        // What came before the greeting of one more has come.
        let last = peer(&lab.client().unwrap()).parse().unwrap();
        let mut conn = None;
        records.until(|record, event| {
            raw.extend_from_slice(record);
            if let Event::AcceptSocket(accept) = event
                && socket_addr(&accept.peer) == Some(last)
            {
                conn = Some(accept.hdr.conn);
            }
            matches!(event, Event::FirstPacket(packet) if Some(packet.hdr.conn) == conn)
        });
        clients
    });

    assert!(
        clients.iter().all(|client| client.rows == [Some(LITERAL.to_owned())]),
        "the statements were run"
    );
    for client in &clients {
        let IpAddr::V4(ip) = client.source.unwrap().ip() else { panic!("IPv4 clients") };
        let [a, b, c, d] = ip.octets();
        assert!(contains(&raw, &labels(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"))), "the PTR name of {ip}");
    }
    for piece in [LITERAL.as_bytes(), b"SELECT", b"select", COMMENT.as_bytes()] {
        assert!(!contains(&raw, piece), "{} left the kernel", String::from_utf8_lossy(piece));
    }
    assert!(!contains(&raw, &LITERAL.as_bytes()[..4]));
}
