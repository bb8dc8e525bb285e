//! The command `wrapwatch ping`, and `doctor` as a plugin: how their options are read, what they print, and how they end.

#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};

const GREETING: &[u8] = b"\x14\0\0\0\x0a8.0.36\0\x07\0\0\0saltsalt";

/// Status, stdout, stderr.
fn wrapwatch(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_wrapwatch")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A server that greets whoever comes, until the test process ends.
fn server() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.unwrap().write_all(GREETING);
        }
    });
    address
}

/// A port where nobody listens.
fn nobody() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string()
}

#[test]
fn the_short_c_is_what_its_value_says() {
    let server = server();
    let (status, out, _) = wrapwatch(&["ping", &server, "-n", "5", "-c", "1", "--interval", "1ms"]);
    assert!(status == 0 && out.contains("5 greeted"), "{out}");
    let (status, out, _) = wrapwatch(&["ping", &server, "-n", "2", "--check", "-w", "10m", "-c", "20m"]);
    assert!(status == 0 && out.starts_with("PING OK - 2 of 2 greeted"), "{out}");
    assert!(out.contains(";600;1200;0 "), "{out}");
    let (status, out, said) = wrapwatch(&["ping", &server, "-c", "5s"]);
    assert!(status == 2 && out.is_empty() && said.contains("--check") && said.contains("-c 5"), "{said}");
    let (status, out, _) = wrapwatch(&["ping", &server, "--check", "-c", "5"]);
    assert!(status == 3 && out.starts_with("PING UNKNOWN - ") && out.contains("-c 5s"), "{out}");
    for (wrong, status) in [
        (&["-c", "0"][..], 2),
        (&["-c", "soon"], 2),
        (&["-c", "2", "--concurrency", "2"], 2),
        (&["--check", "-c", "5s", "--critical", "5s"], 3),
        (&["-w", "1s"], 2),
    ] {
        let (ended, out, said) = wrapwatch(&[&["ping", &server][..], wrong].concat());
        assert!(ended == status && !said.is_empty(), "{wrong:?}: {ended} {out} {said}");
        // A monitoring system shows the first line of stdout.
        let plugin = wrong.contains(&"--check");
        assert!(if plugin { out.starts_with("PING UNKNOWN - ") } else { out.is_empty() }, "{wrong:?}: {out}");
    }
}

#[test]
fn a_target_that_is_none_is_wrong_use() {
    assert_eq!(wrapwatch(&["ping", "db1:port"]).0, 2);
    let (status, out, _) = wrapwatch(&["ping", "db1:port", "--check"]);
    assert!(status == 3 && out.starts_with("PING UNKNOWN - ") && out.contains("HOST:PORT"), "{out}");
}

#[test]
fn a_plugin_says_how_bad_it_is_by_its_status() {
    let (server, nobody) = (server(), nobody());
    // Nothing is quicker than a nanosecond.
    assert_eq!(wrapwatch(&["ping", &server, "-n", "1", "--check", "-w", "1ns"]).0, 1);
    assert_eq!(wrapwatch(&["ping", &server, "-n", "1", "--check", "-c", "1ns"]).0, 2);
    let (status, out, _) = wrapwatch(&["ping", &nobody, "-n", "1", "--check"]);
    assert!(status == 2 && out.starts_with("PING CRITICAL - ") && out.lines().count() == 1, "{out}");
}

#[test]
fn a_plugin_does_not_wait_for_a_server() {
    let (status, out, said) = wrapwatch(&["doctor", "--check", "--wait"]);
    assert!(
        status == 3 && out.starts_with("DOCTOR UNKNOWN - ") && said.contains("cannot be used with"),
        "{out} {said}"
    );
    let (status, out, _) = wrapwatch(&["doctor", "--check", "--comm", "no-such-server"]);
    assert!(status == 3 && out.starts_with("DOCTOR UNKNOWN - "), "{out}");
}

#[test]
fn help_says_what_holds_for_the_command() {
    let (_, doctor, _) = wrapwatch(&["doctor", "--help"]);
    assert!(doctor.contains("Wait for the server to start\n"), "{doctor}");
    let (_, ping, _) = wrapwatch(&["ping", "--help"]);
    let ping = ping.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        ping.contains("LDAP: it makes an anonymous bind") && ping.contains("A MySQL server counts"),
        "{ping}"
    );
}
