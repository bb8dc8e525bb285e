//! A real MariaDB with the preloaded libwrap, on the kernels whose guests have one.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::{Connection, LookupKind, Outcome};
use wrapwatch_tests::{
    clients::{self, ClientsSpec, Mode},
    nameserver::Rule,
    watch::{Seen, Watch},
};

use super::skipped;
use crate::{
    report::Report,
    site::{PRELOAD, Site},
};

const SERVER: &str = "/usr/sbin/mariadbd";
const NOTIFY: &str = "/run/notify";
pub(crate) const PORT: u16 = 3307;
/// Starting it takes an emulated machine some seconds.
const LIMIT: Duration = Duration::from_mins(3);
/// How much later the nameserver answers.
const SLOW_MS: u64 = 100;

/// The server, ended with this.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The test, where there is a server.
pub(super) fn run(report: &mut Report, site: &Site) {
    if !Path::new(SERVER).exists() {
        return;
    }
    report.test("mariadb", || {
        let server = start()?;
        site.rules([Rule::delay(SLOW_MS)])?;
        let mode = Mode::LogIn { after_ms: SLOW_MS, database: None };
        let spec = ClientsSpec { port: PORT, mode, ..ClientsSpec::at_once(3) };
        let pid = server.0.id().to_string();
        let watch = || Watch::live(["-p", &pid, "--logins"]);
        let (seen, clients) = skipped::watched(watch, || site.clients(&spec))?;
        site.rules([])?;
        for client in &clients {
            ensure!(client.outcome == clients::Outcome::Greeting, "a client saw {:?}", client.outcome);
        }
        for client in skipped::undoubted(&seen, &clients)? {
            let connection = seen.of(&client.source.context("a client has no address")?.to_string())?;
            ensure!(connection.complete, "not all was seen: {:?}", connection.missing);
            ensure!(connection.outcome == Outcome::Greeted, "told as {:?}", connection.outcome);
            ensure!(connection.parts.total() == connection.wrapper_ns, "the check's parts do not add up");
            let kinds: Vec<LookupKind> = connection.lookups.iter().map(|lookup| lookup.kind).collect();
            ensure!(kinds == [LookupKind::Reverse, LookupKind::Forward], "looked up: {kinds:?}");
            ensure!(
                connection.wrapper_ns >= 2 * SLOW_MS * 1_000_000,
                "a check of {} ns",
                connection.wrapper_ns
            );
            let rule = connection.rule.as_ref().context("no rule")?;
            ensure!((&*rule.file, rule.line) == ("/etc/hosts.allow", 1), "the wrong rule: {rule:?}");
            logged_in(&seen, connection)?;
        }
        Ok(())
    });
}

/// Its client took its time to log in, and was let in.
fn logged_in(seen: &Seen, connection: &Connection) -> Result<()> {
    let mut requests = seen.requests().into_iter();
    let told = requests.find(|login| login.within == Some(connection.conn)).context("no login")?;
    ensure!(told.outcome == Outcome::LoggedIn, "a login told as {:?}", told.outcome);
    let login = told.login.context("the login has no times")?;
    ensure!(login.client_ns >= SLOW_MS * 1_000_000, "the client was not waited for: {login:?}");
    Ok(())
}

/// Starts it; when this returns, it listens.
pub(crate) fn start() -> Result<Server> {
    let ready = UnixDatagram::bind(NOTIFY)?;
    ready.set_read_timeout(Some(LIMIT))?;
    fs::create_dir_all("/run/db")?;
    let log = fs::File::create("/run/db.log")?;
    let child = Command::new(SERVER)
        .args(["--no-defaults", "--user=root", "--datadir=/run/db", "--socket=/run/db.sock", "--port=3307"])
        .args(["--bind-address=*", "--skip-name-resolve", "--skip-grant-tables", "--innodb=OFF"])
        .args(["--default-storage-engine=Aria", "--performance-schema=OFF", "--aria-log-file-size=8M"])
        .args(["--aria-pagecache-buffer-size=8M", "--key-buffer-size=1M", "--pid-file=/run/db.pid"])
        .env("LD_PRELOAD", PRELOAD)
        .env("WRAP_DAEMON", "mysqld")
        .env("NOTIFY_SOCKET", NOTIFY)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run mariadbd")?;
    let server = Server(child);
    let mut message = [0; 4096];
    loop {
        let len =
            ready.recv(&mut message).with_context(|| format!("mariadbd is not ready: {}", log_tail()))?;
        let text = String::from_utf8_lossy(message.get(..len).unwrap_or_default());
        if text.lines().any(|line| line == "READY=1") {
            return Ok(server);
        }
    }
}

fn log_tail() -> String {
    let log = fs::read_to_string("/run/db.log").unwrap_or_default();
    log.lines().rev().take(10).collect::<Vec<_>>().join(" / ")
}
