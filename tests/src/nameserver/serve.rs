//! Sockets, threads and the log: one thread a nameserver address, one a TCP connection.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};

use super::answer::Asked;
use super::later::Later;
use super::log::Log;
use super::way::Way;
use super::zone::{self, Exceptions, ZoneEntry};
use super::{LogEntry, Reply, Rule, Transport};
use crate::clock::now_ns;

/// Port of DNS.
const PORT: u16 = 53;
/// A TCP connection without a query for so long is closed.
const TCP_IDLE: Duration = Duration::from_mins(2);
/// Nothing here takes longer than this to open or close its sockets.
const ORDER_LIMIT: Duration = Duration::from_secs(10);

/// A change of behaviour; what is `None` stays as it is, what is given replaces all that was set of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// First match wins; no match: the right answer at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
    /// Exceptions to the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Vec<ZoneEntry>>,
    /// Nameservers that do not listen: queries are answered by ICMP, connections by a reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<Vec<IpAddr>>,
}

struct Shared {
    rules: Mutex<Vec<Rule>>,
    exceptions: Mutex<Arc<Exceptions>>,
    log: Mutex<Log>,
    later: Later,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Order {
    open: bool,
    done: mpsc::Sender<io::Result<()>>,
}

struct Server {
    address: IpAddr,
    orders: mpsc::Sender<Order>,
    wake: Arc<EventFd>,
}

/// The nameservers. Their threads run until the process ends.
pub struct Nameservers {
    shared: Arc<Shared>,
    servers: Vec<Server>,
}

impl Nameservers {
    /// Starts one at each address; when this returns, all of them answer. `enter` is called first in each address's thread
    /// (to change its network namespace).
    pub fn start<F>(addresses: &[IpAddr], enter: F) -> anyhow::Result<Self>
    where
        F: Fn(IpAddr) -> anyhow::Result<()> + Clone + Send + 'static,
    {
        let shared = Arc::new(Shared {
            rules: Mutex::default(),
            exceptions: Mutex::default(),
            log: Mutex::default(),
            later: Later::start()?,
        });
        let mut servers = Vec::new();
        for &address in addresses {
            let (orders, incoming) = mpsc::channel();
            let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
            let (theirs, their_wake, enter) = (Arc::clone(&shared), Arc::clone(&wake), enter.clone());
            std::thread::Builder::new().name(format!("dns {address}")).spawn(move || {
                // Without its namespace the thread ends, and the first order says so.
                if let Err(error) = enter(address) {
                    eprintln!("nameserver {address}: {error:#}");
                    return;
                }
                Loop { shared: theirs, address, orders: incoming, wake: their_wake }.run();
            })?;
            let server = Server { address, orders, wake };
            server.order(true)?;
            servers.push(server);
        }
        Ok(Self { shared, servers })
    }

    /// Changes the behaviour; when this returns, the change is in force.
    pub fn set(&self, settings: Settings) -> anyhow::Result<()> {
        if let Some(rules) = settings.rules {
            *lock(&self.shared.rules) = rules;
        }
        if let Some(zone) = settings.zone {
            *lock(&self.shared.exceptions) = Arc::new(zone::exceptions(zone));
        }
        if let Some(closed) = settings.closed {
            for server in &self.servers {
                server.order(!closed.contains(&server.address))?;
            }
        }
        Ok(())
    }

    /// The queries so far, in the order they were read at each nameserver; `clear` forgets them.
    pub fn log(&self, clear: bool) -> Vec<LogEntry> {
        lock(&self.shared.log).entries(clear)
    }
}

impl Server {
    fn order(&self, open: bool) -> anyhow::Result<()> {
        let (done, ready) = mpsc::channel();
        let ended = || format!("the thread of nameserver {} has ended", self.address);
        self.orders.send(Order { open, done }).ok().with_context(ended)?;
        self.wake.write(1)?;
        let result = ready.recv_timeout(ORDER_LIMIT).with_context(ended)?;
        result.with_context(|| format!("nameserver {}: cannot listen on port {PORT}", self.address))
    }
}

/// One nameserver's thread.
struct Loop {
    shared: Arc<Shared>,
    address: IpAddr,
    orders: mpsc::Receiver<Order>,
    wake: Arc<EventFd>,
}

struct Sockets {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

impl Loop {
    fn run(self) {
        let mut sockets: Option<Sockets> = None;
        loop {
            let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
            if let Some(open) = &sockets {
                fds.push(PollFd::new(open.udp.as_fd(), PollFlags::POLLIN));
                fds.push(PollFd::new(open.tcp.as_fd(), PollFlags::POLLIN));
            }
            if poll(&mut fds, PollTimeout::NONE).is_err_and(|errno| errno != nix::errno::Errno::EINTR) {
                return;
            }
            let woken = fds[0].any().unwrap_or(false);
            if let Some(open) = &sockets {
                self.datagrams(&open.udp);
                self.connections(&open.tcp);
            }
            if woken && self.obey(&mut sockets).is_none() {
                return;
            }
        }
    }

    /// None when nobody can give orders any more.
    fn obey(&self, sockets: &mut Option<Sockets>) -> Option<()> {
        let _ = self.wake.read();
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => order,
                Err(mpsc::TryRecvError::Empty) => return Some(()),
                Err(mpsc::TryRecvError::Disconnected) => return None,
            };
            let result = match (order.open, sockets.is_some()) {
                (true, false) => open(self.address).map(|opened| *sockets = Some(opened)),
                (false, true) => {
                    *sockets = None;
                    Ok(())
                }
                _ => Ok(()),
            };
            let _ = order.done.send(result);
        }
    }

    fn datagrams(&self, udp: &Arc<UdpSocket>) {
        let mut buffer = [0; 4096];
        while let Ok((len, client)) = udp.recv_from(&mut buffer) {
            let way = Way::Udp(Arc::downgrade(udp), client);
            handle(&self.shared, self.address, client, &buffer[..len], &way);
        }
    }

    fn connections(&self, tcp: &TcpListener) {
        while let Ok((stream, client)) = tcp.accept() {
            let (shared, address) = (Arc::clone(&self.shared), self.address);
            let spawned = std::thread::Builder::new().name(format!("dns tcp {client}")).spawn(move || {
                let _ = serve_stream(&shared, address, client, stream);
            });
            if let Err(error) = spawned {
                eprintln!("nameserver {address}: no thread for a connection: {error}");
            }
        }
    }
}

fn open(address: IpAddr) -> io::Result<Sockets> {
    let udp = UdpSocket::bind((address, PORT))?;
    udp.set_nonblocking(true)?;
    // A burst of queries must not be lost here: that would be a fault nobody asked for.
    socket2::SockRef::from(&udp).set_recv_buffer_size(4 << 20)?;
    let tcp = socket2::Socket::new(
        socket2::Domain::for_address((address, PORT).into()),
        socket2::Type::STREAM,
        None,
    )?;
    tcp.set_reuse_address(true)?;
    tcp.bind(&SocketAddr::from((address, PORT)).into())?;
    tcp.listen(1024)?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets { udp: Arc::new(udp), tcp: tcp.into() })
}

fn serve_stream(
    shared: &Arc<Shared>,
    address: IpAddr,
    client: SocketAddr,
    stream: TcpStream,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TCP_IDLE))?;
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    let mut reader = stream;
    loop {
        let mut len = [0; 2];
        reader.read_exact(&mut len)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        reader.read_exact(&mut message)?;
        handle(shared, address, client, &message, &Way::Tcp(Arc::clone(&writer)));
    }
}

fn handle(shared: &Arc<Shared>, address: IpAddr, client: SocketAddr, bytes: &[u8], way: &Way) {
    let received_ns = now_ns();
    let Some(asked) = Asked::read(bytes) else { return };
    let transport = way.transport();
    let number = lock(&shared.log).add(LogEntry {
        server: address,
        client,
        transport,
        id: asked.id(),
        qname: asked.qname.clone(),
        qtype: asked.qtype.clone(),
        received_ns,
        replied_ns: None,
        replies: 0,
    });
    let exceptions = Arc::clone(&lock(&shared.exceptions));
    let replies = decide(&mut lock(&shared.rules), address, transport, &asked);
    let encode = |reply: Reply| asked.reply(&reply, &exceptions, transport).map(|bytes| (reply, bytes));
    let (now, later): (Vec<_>, Vec<_>) =
        replies.into_iter().filter_map(encode).partition(|(reply, _)| reply.after_ms == 0);
    // All are noted before any is sent: whoever has an answer can rely on the log.
    for _ in &now {
        lock(&shared.log).note(number, now_ns());
    }
    for (reply, bytes) in now {
        if way.send(address, &reply, &bytes).is_err() {
            lock(&shared.log).retract(number);
        }
    }
    for (reply, bytes) in later {
        let (theirs, way) = (Arc::clone(shared), way.clone());
        let due_ns = received_ns + reply.after_ms * 1_000_000;
        let send = move || {
            lock(&theirs.log).note(number, now_ns());
            if way.send(address, &reply, &bytes).is_err() {
                lock(&theirs.log).retract(number);
            }
        };
        shared.later.at(due_ns, Box::new(send));
    }
}

fn decide(rules: &mut [Rule], address: IpAddr, transport: Transport, asked: &Asked) -> Vec<Reply> {
    let found = rules.iter_mut().find(|rule| rule.matches(address, transport, &asked.qname, &asked.qtype));
    let Some(rule) = found else { return vec![Reply::default()] };
    if let Some(times) = &mut rule.times {
        *times -= 1;
    }
    rule.replies.clone()
}
