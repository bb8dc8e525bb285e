//! The lab with Debian's packages over the server's `/usr`, and the daemon in it.
//!
//! Nothing is installed: what was unpacked beside the lab's other parts is the upper half of an overlay that only the server's mount namespace has; `/var`,
//! `/tmp` and `/run` are empty there, and its `/etc` is the lab's. All of it goes with the lab's last process.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

use super::judge::Asked;
use super::spec::{self, Daemon, Transport};
use crate::lab::{Files, Lab, LabConfig, Namespace, parts};
use crate::nameserver::zone::{ZoneEntry, name_of, reverse_name};
use crate::nameserver::{Rule, Settings};
use crate::wait_for;

/// A nameserver's answer comes so late.
const ANSWER_MS: u64 = 400;
/// The folder of unpacked packages.
const PARTS: &str = "daemons";
/// libwrap keeps the socket of a client that it refused for five seconds; and a second for all else.
const DONE_LIMIT: Duration = Duration::from_secs(12);
/// The accounts that packages would have made.
const ACCOUNTS: [&str; 2] = ["passwd", "group"];

/// A lab with a daemon.
pub struct World {
    lab: Lab,
    /// The daemon's process id.
    pub pid: u32,
    transport: Transport,
    port: u16,
}

/// Address of the n-th client.
pub fn address(n: usize) -> IpAddr {
    let first = Ipv4Addr::new(10, 2, 0, 2).to_bits();
    Ipv4Addr::from_bits(first.saturating_add(u32::try_from(n).unwrap_or_default())).into()
}

impl World {
    /// Starts all of it; the daemon listens when this returns. `evil`: addresses whose names no rule admits.
    pub fn start(daemon: &Daemon, evil: &[IpAddr]) -> Result<Self> {
        let lab = Lab::start(LabConfig { start_server: false, ..LabConfig::default() })?;
        let parts = parts::unpacked(PARTS)?;
        mount(&lab, &format!("overlay overlay -o lowerdir={}/usr:/usr /usr", parts.display()))?;
        for folder in ["/var", "/tmp"] {
            mount(&lab, &format!("tmpfs tmpfs {folder}"))?;
        }
        for name in ACCOUNTS {
            let text = spec::shared(name)?;
            lab.files(Files { other: [(name.to_owned(), text)].into(), ..Files::default() })?;
        }
        prepare(&lab, "ln -s /run /var/run; mkdir /var/lib /var/log /var/spool /var/www")?;
        prepare(&lab, &daemon.prepare)?;
        for program in &daemon.beside {
            let pid = lab.start_daemon(&program.start)?;
            wait_for("the daemon's companion listens", || listens(pid, &program.listens))?;
        }
        let preload = parts::preload_library(None)?.display().to_string();
        let pid = lab.start_daemon(daemon.start.iter().map(|word| word.replace("{preload}", &preload)))?;
        let world = Self { lab, pid, transport: daemon.transport, port: daemon.port };
        world.wait_listening().with_context(|| format!("it does not listen; it said: {}", world.log()))?;
        let zone = evil.iter().flat_map(|address| evil_names(*address)).collect();
        let rules = vec![Rule::delay(ANSWER_MS)];
        world.lab.dns(Settings { rules: Some(rules), zone: Some(zone), closed: None })?;
        world.lab.take_dns_log()?;
        Ok(world)
    }

    /// Changes how late answers come.
    pub fn answer_after(&self, ms: u64) -> Result<()> {
        self.lab.rules([Rule::delay(ms)])
    }

    /// Where clients find it.
    pub fn server(&self) -> SocketAddr {
        (self.lab.info().server4, self.port).into()
    }

    /// Where the packages are.
    pub fn parts() -> Result<PathBuf> {
        parts::unpacked(PARTS)
    }

    /// Moves the calling thread into the clients' network.
    pub fn enter_clients(&self) -> Result<()> {
        let net = fs::File::open(format!("/proc/{}/ns/net", self.lab.info().init_pid))?;
        Ok(setns(net, CloneFlags::CLONE_NEWNET)?)
    }

    /// What the daemon has printed and logged.
    pub fn log(&self) -> String {
        let printed = self.lab.daemon_log().unwrap_or_default();
        format!("{printed}{}", self.lab.take_syslog().unwrap_or_default().join("\n"))
    }

    /// How often the nameservers have been asked.
    pub fn queries(&self) -> Result<usize> {
        Ok(self.lab.dns_log()?.len())
    }

    /// What the nameservers were asked about a client.
    pub fn asked(&self, client: IpAddr) -> Result<Vec<Asked>> {
        let (reverse, forward) = (reverse_name(client), name_of(client));
        let label = forward.split('.').next().unwrap_or_default().to_owned() + ".";
        let log = self.lab.dns_log()?.into_iter();
        let its = log.filter(|entry| entry.qname == reverse || entry.qname.starts_with(&label));
        let asked = its.map(|entry| Asked {
            name: entry.qname,
            from_ns: entry.received_ns,
            to_ns: entry.replied_ns.unwrap_or(u64::MAX),
        });
        Ok(asked.collect())
    }

    /// Waits until the daemon has no client any more.
    pub fn wait_done(&self) -> Result<()> {
        let deadline = Instant::now() + DONE_LIMIT;
        while self.transport == Transport::Tcp && self.sockets()?.iter().any(|state| !DONE.contains(state)) {
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn wait_listening(&self) -> Result<()> {
        let wanted = if self.transport == Transport::Tcp { LISTEN } else { UNCONNECTED };
        wait_for("the daemon listens", || {
            if !PathBuf::from(format!("/proc/{}", self.pid)).exists() {
                bail!("it has ended");
            }
            Ok(self.sockets()?.contains(&wanted))
        })
    }

    fn sockets(&self) -> Result<Vec<u8>> {
        sockets(self.pid, self.transport, self.port)
    }
}

/// States of the sockets on a port of a process' network (tcp(7): `/proc/net/tcp`).
fn sockets(pid: u32, transport: Transport, port: u16) -> Result<Vec<u8>> {
    let tables: [&str; 2] = match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    let mut states = Vec::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        states.extend(text.lines().skip(1).filter_map(|line| state(line, port)));
    }
    Ok(states)
}

/// Whether something listens there: a TCP port, or a unix socket's path (`/proc/net/unix`).
fn listens(pid: u32, place: &str) -> Result<bool> {
    if let Ok(port) = place.parse() {
        return Ok(sockets(pid, Transport::Tcp, port)?.contains(&LISTEN));
    }
    let text = fs::read_to_string(format!("/proc/{pid}/net/unix"))?;
    Ok(text.lines().any(|line| line.ends_with(&format!(" {place}"))))
}

/// States of `/proc/net/tcp`.
const LISTEN: u8 = 10;
/// Of a UDP socket that is bound.
const UNCONNECTED: u8 = 7;
/// Nobody holds such a socket: TIME_WAIT, CLOSE, LAST_ACK, FIN_WAIT1 and 2; or nobody connected to it.
const DONE: [u8; 6] = [LISTEN, 6, 7, 9, 4, 5];

/// The state in a line of the table, where its local port is this one.
fn state(line: &str, port: u16) -> Option<u8> {
    let mut fields = line.split_whitespace();
    let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
    if u16::from_str_radix(local_port, 16).ok()? != port {
        return None;
    }
    u8::from_str_radix(fields.nth(1)?, 16).ok()
}

fn evil_names(address: IpAddr) -> [ZoneEntry; 2] {
    let name = name_of(address).replace(".lab.example", ".evil.example");
    [
        ZoneEntry::new(reverse_name(address), "PTR", [name.clone()]),
        ZoneEntry::new(name, "A", [address.to_string()]),
    ]
}

fn mount(lab: &Lab, what: &str) -> Result<()> {
    let argv = ["mount", "-t"].into_iter().chain(what.split(' '));
    let result = lab.exec(Namespace::Server, argv)?;
    ensure!(result.status == Some(0), "mount {what}: {}", result.stderr.trim());
    Ok(())
}

fn prepare(lab: &Lab, script: &str) -> Result<()> {
    let result = lab.exec(Namespace::Server, ["sh", "-ec", script])?;
    ensure!(result.status == Some(0), "its files cannot be made: {}{}", result.stdout, result.stderr);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockets_state_is_read_by_its_port() {
        let line = "   0: 0100000A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1";
        assert_eq!((state(line, 22), state(line, 23), state("", 22)), (Some(LISTEN), None, None));
    }
}
