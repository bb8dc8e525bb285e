//! What a target has open right now that belongs to a check in progress: used at attach, when one may have begun before. And whether a thread waits for
//! the next client: asked where events were lost.

use std::{fs::File, net::SocketAddr, os::unix::fs::FileExt as _};

use netlink_packet_sock_diag::{
    constants::{IPPROTO_TCP, IPPROTO_UDP},
    inet::StateFlags,
};

use super::{HostError, descriptors::Descriptors, sockdiag::SockDiag};

/// Port of nameservers.
const DOMAIN: u16 = 53;

/// A check in progress, as far as its descriptors show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InProgress {
    /// Open tables: descriptor and path.
    pub tables: Vec<(i32, String)>,
    /// UDP sockets connected to nameservers: descriptor and nameserver.
    pub dns: Vec<(i32, SocketAddr)>,
    /// Accepted connections to which nothing was sent yet: descriptor, this side, the other side.
    pub ungreeted: Vec<(i32, SocketAddr, SocketAddr)>,
}

/// What is open; None where no table is, for then no check is in progress.
pub fn in_progress(
    pid: u32,
    diag: &mut SockDiag,
    tables: &[String],
    ports: &[u16],
) -> Result<Option<InProgress>, HostError> {
    let Descriptors { files: tables, sockets: fds } = Descriptors::read(pid, tables)?;
    if tables.is_empty() {
        return Ok(None);
    }
    let dns = diag
        .dump(IPPROTO_UDP, &StateFlags::all(), 0)?
        .into_iter()
        .filter(|socket| socket.peer.port() == DOMAIN)
        .filter_map(|socket| Some((*fds.get(&socket.inode)?, socket.peer)))
        .collect();
    let mut ungreeted = Vec::new();
    for &port in ports {
        let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT;
        for socket in diag.dump(IPPROTO_TCP, &states, port)? {
            if let Some(&fd) = fds.get(&socket.inode)
                && socket.data_segments_out == Some(0)
            {
                ungreeted.push((fd, socket.local, socket.peer));
            }
        }
    }
    Ok(Some(InProgress { tables, dns, ungreeted }))
}

/// Whether a thread waits at one of these listeners for a client, by the call that it is in; None where that cannot be seen, or it is in none.
/// (ptrace(2): takes the access mode `PTRACE_MODE_ATTACH_FSCREDS`, which root and CAP_SYS_PTRACE have.)
pub fn at_listener(pid: u32, tid: u32, listeners: &[i32]) -> Option<bool> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let call = Blocked::parse(&text)?;
    match call.number {
        libc::SYS_accept | libc::SYS_accept4 => Some(true),
        libc::SYS_epoll_pwait | libc::SYS_pselect6 => Some(true),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait | libc::SYS_select => Some(true),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => polls(pid, &call, listeners),
        libc::SYS_ppoll => polls(pid, &call, listeners),
        _ => Some(false),
    }
}

/// Whether a thread may be in the middle of `accept`: it is, or what it does cannot be seen, or it is running.
pub fn may_be_accepting(pid: u32, tid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap_or_default();
    Blocked::parse(&text).is_none_or(|call| matches!(call.number, libc::SYS_accept | libc::SYS_accept4))
}

/// A call that a thread is in (proc(5), `/proc/PID/syscall`).
#[derive(Debug, PartialEq, Eq)]
struct Blocked {
    number: libc::c_long,
    /// The first two arguments.
    arguments: [u64; 2],
}

impl Blocked {
    /// None for `running`, and for `-1`: not in a call.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
        let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        Some(Self { number, arguments: [argument()?, argument()?] })
    }
}

/// Whether one of the descriptors that are polled is a listener: the resolver polls its own sockets.
fn polls(pid: u32, call: &Blocked, listeners: &[i32]) -> Option<bool> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let [at, count] = call.arguments;
    let mut polled = vec![0; usize::try_from(count.min(POLLED_MAX)).ok()?.saturating_mul(POLLFD_BYTES)];
    memory.read_exact_at(&mut polled, at).ok()?;
    let fds = polled.chunks_exact(POLLFD_BYTES).filter_map(|entry| entry.first_chunk().copied());
    Some(fds.map(i32::from_ne_bytes).any(|fd| listeners.contains(&fd)))
}

/// Size of `struct pollfd` (poll(2)), which begins with the descriptor.
const POLLFD_BYTES: usize = size_of::<libc::pollfd>();
/// Descriptors looked at: a server polls its few listeners.
const POLLED_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _, sync::mpsc};

    use super::*;

    #[test]
    fn calls_are_read_as_proc_writes_them() {
        let call = Blocked::parse("7 0x7ffd1 0x2 0xffffffff 0x0 0x0 0x0 0x7ffc 0x7f1a\n");
        assert_eq!(call, Some(Blocked { number: 7, arguments: [0x7ffd1, 2] }));
        for none in ["running\n", "-1 0x7ffc 0x7f1a\n", "", "7 0x1", "x 0x1 0x2"] {
            assert_eq!(Blocked::parse(none), None, "{none}");
        }
    }

    /// A thread of this very process that waits for a descriptor stands in for an accept thread.
    #[test]
    fn whoever_polls_a_listener_waits_for_a_client() {
        let waits = |listener: &TcpListener, listeners: &[i32]| {
            let fd = listener.as_raw_fd();
            let (sender, tid) = mpsc::channel();
            let thread = std::thread::spawn(move || {
                sender.send(nix::unistd::gettid()).unwrap();
                let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                // SAFETY: the pointer is to one pollfd, which lives until the call returns.
                unsafe { libc::poll(&raw mut poll, 1, -1) };
            });
            let tid = u32::try_from(tid.recv().unwrap().as_raw()).unwrap();
            let began = std::time::Instant::now();
            let seen = loop {
                // On its way there it may be in other calls, or in none.
                let seen = at_listener(std::process::id(), tid, listeners);
                if seen == Some(listeners.contains(&fd)) || began.elapsed().as_secs() > 10 {
                    break seen;
                }
                std::thread::yield_now();
            };
            drop(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            thread.join().unwrap();
            seen
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        assert_eq!(waits(&listener, &[fd]), Some(true));
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(waits(&other, &[fd]), Some(false));
    }
}
