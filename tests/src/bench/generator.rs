//! A server that is all events: it accepts from itself, opens and reads a file as often as asked, greets and closes, at a given rate. In a
//! process and a network namespace of its own, so that nothing but the ring and the reader limits how fast it is seen.
//!
//! One JSON object a line: [`Order`] on stdin, [`Made`] on stdout, until stdin ends. The first line on stdout says that it listens.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::clock::{now_ns, wait_until};

/// Its argument to the bench's own binary.
pub const ARGUMENT: &str = "--generate";

/// The file that is read: small, and on every machine.
const FILE: &str = "/proc/self/comm";

/// What to make.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Connections.
    pub connections: u64,
    /// Files opened, read and closed in each.
    pub files: u64,
    /// Connections a second; 0: as fast as it goes.
    pub per_s: u64,
}

/// What was made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Time it took.
    pub ns: u64,
}

/// The generator's process.
pub struct Generator {
    child: Child,
    orders: ChildStdin,
    made: BufReader<ChildStdout>,
}

impl Generator {
    /// Starts one; it listens when this returns.
    pub fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run the generator")?;
        let orders = child.stdin.take().context("no stdin")?;
        let mut made = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut ready = String::new();
        made.read_line(&mut ready)?;
        ensure!(ready.trim() == "ready", "the generator did not start");
        Ok(Self { child, orders, made })
    }

    /// Its process id, for wrapwatch.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it make that, and waits.
    pub fn make(&mut self, order: Order) -> Result<Made> {
        writeln!(self.orders, "{}", serde_json::to_string(&order)?)?;
        let mut line = String::new();
        self.made.read_line(&mut line)?;
        serde_json::from_str(&line).context("the generator has ended")
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process.
pub fn main() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    ensure!(up.success(), "no loopback");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    writeln!(stdout(), "ready")?;
    for line in stdin().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let begun = now_ns();
        for number in 0..order.connections {
            if let Some(gap) = 1_000_000_000_u64.checked_div(order.per_s) {
                // Asleep between two of them only where that is worth it.
                let at = begun + number * gap;
                if at > now_ns() + 60_000 {
                    wait_until(at);
                }
            }
            connection(&listener, address, order.files)?;
        }
        let made = Made { ns: now_ns() - begun };
        writeln!(stdout(), "{}", serde_json::to_string(&made)?)?;
    }
    Ok(())
}

/// One connection, both ends of it.
fn connection(listener: &TcpListener, address: SocketAddr, files: u64) -> Result<()> {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Gone at once, with a reset: no ports wait.
    client.set_linger(Some(Duration::ZERO))?;
    client.connect(&address.into())?;
    let (mut accepted, _) = listener.accept()?;
    let mut buffer = [0; 64];
    for _ in 0..files {
        let _ = File::open(FILE)?.read(&mut buffer)?;
    }
    accepted.write_all(b"\x4a\0\0\0\x0a10.11")?;
    Ok(())
}
