//! Logins: from the greeting until the client is in.

use std::process::Command;

use wrapwatch::model::{Connection, Outcome};
use wrapwatch_tests::{
    clients::{ClientsSpec, Mode, Source},
    lab::{Files, Lab, LabConfig, Namespace, ServerConfig},
    watch::{Seen, Watch},
};

use crate::support::{MS, lab_with, peer};

/// What a client takes for its answer to the greeting. The server answers in a small part of that.
const SLOW_MS: u64 = 500;

fn watch(lab: &Lab) -> Watch {
    let pid = lab.server_pid().unwrap().to_string();
    Watch::live(["-p", &pid, "--logins"]).unwrap()
}

fn slow(database: Option<&str>) -> ClientsSpec {
    let mode = Mode::LogIn { after_ms: SLOW_MS, database: database.map(str::to_owned) };
    ClientsSpec { mode, ..ClientsSpec::at_once(5) }
}

/// The login of a connection.
fn login_of<'a>(seen: &'a Seen, connection: &Connection) -> &'a Connection {
    let mut logins = seen.requests().into_iter().filter(|login| login.within == Some(connection.conn));
    let login = logins.next().unwrap_or_else(|| panic!("no login of {connection:#?}"));
    assert!(logins.next().is_none(), "two logins of {}", connection.conn);
    assert_eq!(login.peer, connection.peer);
    login
}

#[test]
fn a_slow_client_is_told_from_a_slow_server() {
    let lab = lab_with(Files::tables("ALL: ALL\n", ""));
    let watch = watch(&lab);
    let clients = lab.clients(slow(None)).unwrap();
    let denied = lab.clients(slow(Some("nowhere"))).unwrap();
    let seen = watch.stop().unwrap();
    assert!(denied.iter().all(|client| client.error_code == Some(1049)), "{denied:#?}");
    for client in clients.iter().chain(&denied) {
        let connection = seen.of(&peer(client)).unwrap();
        assert_eq!((connection.outcome, connection.complete), (Outcome::Greeted, true));
        let told = login_of(&seen, connection);
        let outcome = if client.error_code.is_some() { Outcome::ServerError } else { Outcome::LoggedIn };
        assert_eq!(
            (told.outcome, told.error_code, told.complete),
            (outcome, client.error_code, true),
            "{told:#?}"
        );
        let login = told.login.unwrap();
        assert!(login.client_ns >= SLOW_MS * MS, "{login:?}");
        assert_eq!(told.waited_ns, login.login_ns - login.client_ns);
        // From its beginning on: it may have had no CPU when the greeting came.
        let clients_own = client.t_closed_ns - client.t_connect_called_ns;
        assert!(login.login_ns <= clients_own, "the client's clock has {clients_own}, told is {login:?}");
        assert!(told.waited_ns < SLOW_MS * MS / 2, "{login:?}");
        assert_eq!(login.packets, 1);
    }
}

#[test]
fn a_client_that_says_nothing_is_waited_for_until_the_server_has_had_enough() {
    let server = ServerConfig::options(["--connect-timeout=2"]);
    let lab =
        Lab::start(LabConfig { server, files: Files::tables("ALL: ALL\n", ""), ..LabConfig::default() });
    let lab = lab.unwrap();
    let watch = watch(&lab);
    let spec = ClientsSpec { mode: Mode::Hold { ms: 3_000 }, ..ClientsSpec::at_once(2) };
    let clients = lab.clients(spec).unwrap();
    let seen = watch.stop().unwrap();
    for client in &clients {
        let told = login_of(&seen, seen.of(&peer(client)).unwrap());
        let login = told.login.unwrap();
        assert!(login.client_ns > 1_500 * MS, "{login:?}");
        assert!(told.waited_ns < 500 * MS, "{told:#?}");
    }
}

#[test]
fn clients_of_a_pool_and_of_the_socket_log_in_as_well() {
    let server = ServerConfig::options(["--thread-handling=pool-of-threads", "--thread-pool-size=2"]);
    let lab =
        Lab::start(LabConfig { server, files: Files::tables("ALL: ALL\n", ""), ..LabConfig::default() });
    let lab = lab.unwrap();
    let watch = watch(&lab);
    lab.clients(slow(None)).unwrap();
    lab.clients(ClientsSpec { source: Source::Unix, ..slow(None) }).unwrap();
    let seen = watch.stop().unwrap();
    let logins = seen.requests();
    assert_eq!(logins.len(), 10, "{logins:#?}");
    for told in logins {
        assert_eq!(told.outcome, Outcome::LoggedIn, "{told:#?}");
        assert!(told.login.unwrap().client_ns >= SLOW_MS * MS, "{told:#?}");
    }
}

#[test]
fn under_tls_no_more_is_told_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("certificate.pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lab", "-keyout"]);
    let made = openssl.arg(&key).arg("-out").arg(&certificate).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let path = |name: &str, path: &std::path::Path| format!("--ssl-{name}={}", path.display());
    let server = ServerConfig::options([path("key", &key), path("cert", &certificate)]);
    let lab =
        Lab::start(LabConfig { server, files: Files::tables("ALL: ALL\n", ""), ..LabConfig::default() });
    let lab = lab.unwrap();
    let watch = watch(&lab);
    let client = [
        "mariadb",
        "--no-defaults",
        "--ssl",
        "-h",
        "10.0.0.1",
        "-u",
        "root",
        "-Nse",
        "SHOW STATUS LIKE 'Ssl_cipher'",
    ];
    let ran = lab.exec(Namespace::Clients, client).unwrap();
    assert!(ran.stdout.contains("TLS_"), "the client does speak TLS: {ran:?}");
    let seen = watch.stop().unwrap();
    let [told] = seen.requests()[..] else { panic!("{:#?}", seen.requests()) };
    assert_eq!(told.outcome, Outcome::Encrypted, "{told:#?}");
    assert!(told.login.is_some());
}

#[test]
fn logins_are_followed_only_where_that_is_asked_for() {
    let lab = lab_with(Files::tables("ALL: ALL\n", ""));
    let watch = Watch::pid(lab.server_pid().unwrap()).unwrap();
    lab.clients(slow(None)).unwrap();
    let seen = watch.stop().unwrap();
    assert_eq!((seen.connections().len(), seen.requests().len()), (5, 0));
}
