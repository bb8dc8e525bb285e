//! What the lab has in namespaces, on the loopback interface of the guest: nameservers, a server with its tables, clients.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use wrapwatch_tests::{
    clients::{Addresses, ClientResult, ClientsSpec, Outcome, drive},
    nameserver::{Nameservers, Rule, Settings},
    wait::wait_for,
};

/// The first nameserver.
pub(crate) const NS1: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// The second.
pub(crate) const NS2: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54));
/// Clients come from here: all of 127/8 is this machine.
const CLIENTS: (Ipv4Addr, u32) = (Ipv4Addr::new(127, 2, 0, 0), 1 << 16);
/// The tables as tests find them: a rule that asks for every client's name.
pub(crate) const ALLOW: &str = "ALL: .lab.example\n";
/// And nobody else.
pub(crate) const DENY: &str = "ALL: ALL\n";
/// Preloaded into the server.
pub(crate) const PRELOAD: &str = "/lib/libwrapwatch_preload.so";

/// Everything but wrapwatch.
pub(crate) struct Site {
    nameservers: Nameservers,
    addresses: Addresses,
    server: StandIn,
}

impl Site {
    /// Starts it; when this returns, everything listens.
    pub(crate) fn start() -> Result<Self> {
        let nameservers = Nameservers::start(&[NS1, NS2], |_| Ok(()))?;
        fs::write("/etc/nsswitch.conf", "hosts: files dns\npasswd: files\ngroup: files\n")?;
        fs::write("/etc/hosts", "127.0.0.1 localhost\n")?;
        fs::write("/etc/resolv.conf", resolv(&[NS1, NS2]))?;
        tables(ALLOW, DENY)?;
        let addresses = Addresses::new(
            (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            PathBuf::new(),
            CLIENTS,
            Ipv6Addr::LOCALHOST,
        );
        Ok(Self { nameservers, addresses, server: StandIn::start(3306, 0)? })
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Whether a client is greeted, and refused where the tables say so: the site without wrapwatch.
    pub(crate) fn works(&self) -> Result<()> {
        let one = |wanted: Outcome| {
            let clients = self.clients(&ClientsSpec::one_by_one(1))?;
            let outcome = clients.first().map(|client| client.outcome);
            ensure!(outcome == Some(wanted), "a client saw {outcome:?}, not {wanted:?}: {clients:?}");
            anyhow::Ok(())
        };
        one(Outcome::Greeting)?;
        let asked: Vec<String> = self.nameservers.log(true).into_iter().map(|query| query.qtype).collect();
        ensure!(asked == ["PTR", "A"], "the nameservers were asked {asked:?}");
        tables("", "ALL: ALL\n")?;
        one(Outcome::Closed)?;
        tables(ALLOW, DENY)
    }

    /// What the nameservers do from here on.
    pub(crate) fn rules(&self, rules: impl IntoIterator<Item = Rule>) -> Result<()> {
        self.nameservers.set(Settings { rules: Some(rules.into_iter().collect()), ..Settings::default() })
    }

    /// What was asked until now counts no more.
    pub(crate) fn forget_asked(&self) {
        self.nameservers.log(true);
    }

    /// Waits for a query.
    pub(crate) fn wait_asked(&self) -> Result<()> {
        wait_for("a query", || Ok(!self.nameservers.log(true).is_empty()))
    }

    /// Drives clients, each from an address of its own, and waits for them.
    pub(crate) fn clients(&self, spec: &ClientsSpec) -> Result<Vec<ClientResult>> {
        drive(spec, &self.addresses)
    }
}

/// Writes both tables.
pub(crate) fn tables(allow: &str, deny: &str) -> Result<()> {
    fs::write("/etc/hosts.allow", allow)?;
    fs::write("/etc/hosts.deny", deny)?;
    Ok(())
}

/// A resolv.conf that waits three seconds for each: an emulated machine beside others may take one for an answer.
fn resolv(servers: &[IpAddr]) -> String {
    let lines: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    lines + "options timeout:3 attempts:2\n"
}

/// The stand-in server, ended with this.
pub(crate) struct StandIn(Child);

impl StandIn {
    /// Starts one that holds descriptors with all numbers below `held`; when this returns, it listens on the port.
    pub(crate) fn start(port: u16, held: u32) -> Result<Self> {
        Self::run([port.to_string(), held.to_string()])
    }

    /// One whose main thread accepts on this unix socket, too.
    pub(crate) fn with_local(port: u16, socket: &str) -> Result<Self> {
        Self::run([&port.to_string(), "0", "0", socket].map(ToOwned::to_owned))
    }

    /// One with a second accept thread, whose number is so much higher than the first one's, at the next port.
    pub(crate) fn with_neighbour(port: u16, distance: u32) -> Result<Self> {
        Self::run([port.to_string(), 0.to_string(), distance.to_string()])
    }

    fn run(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut child = Command::new("/bin/wrapwatch-stand-in")
            .args(arguments)
            .env("LD_PRELOAD", PRELOAD)
            .env("WRAP_DAEMON", "mysqld")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run the stand-in server")?;
        let stdout = child.stdout.take();
        let server = Self(child);
        let mut said = String::new();
        BufReader::new(stdout.context("no stdout")?).read_line(&mut said)?;
        ensure!(said == "listening\n", "the stand-in server does not listen: {said:?}");
        Ok(server)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
