//! Looks a client's name up the way libwrap does (getnameinfo, then getaddrinfo), with the real glibc, in a network, mount and UTS
//! namespace of its own. Reads a [`Question`] from stdin, writes a [`Timing`] to stdout. Needs root; leaves nothing behind.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wrapwatch_differential::resolver::{Nameserver, Question, Timing, Took};
use wrapwatch_differential::world::move_away;

type Seen = Arc<Mutex<Vec<(String, String, u16)>>>;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

/// The question section's name and type.
fn question_of(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*message.get(at)?);
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?).into_owned());
        at += 1 + len;
    }
    let qtype = u16::from_be_bytes([*message.get(at + 1)?, *message.get(at + 2)?]);
    Some((labels.join("."), qtype, at + 5))
}

/// An answer with one record, or with a code.
fn reply(message: &[u8], end: usize, record: Option<(u16, Vec<u8>)>, rcode: u8) -> Vec<u8> {
    let mut out = message.get(..end).unwrap_or_default().to_vec();
    out[2] = 0x81;
    out[3] = 0x80 | rcode;
    out[6..12].copy_from_slice(&[0, u8::from(record.is_some()), 0, 0, 0, 0]);
    if let Some((rtype, data)) = record {
        out.extend([0xc0, 12]);
        out.extend(rtype.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend(data);
    }
    out
}

fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend(label.bytes());
    }
    out.push(0);
    out
}

fn serve(socket: &UdpSocket, address: &str, behaviour: Nameserver, question: &Question, seen: &Seen) {
    let client: Option<IpAddr> = question.client.parse().ok();
    let mut buffer = [0; 1500];
    let mut asked: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let message = &buffer[..len];
        let Some((name, qtype, end)) = question_of(message) else { continue };
        if let Ok(mut seen) = seen.lock() {
            seen.push((address.to_owned(), name.clone(), qtype));
        }
        let record = match (qtype, client) {
            (PTR, _) => Some((PTR, encode(&question.name))),
            (A, Some(IpAddr::V4(v4))) => Some((A, v4.octets().to_vec())),
            (AAAA, Some(IpAddr::V6(v6))) => Some((AAAA, v6.octets().to_vec())),
            _ => None,
        };
        let answer = match behaviour {
            Nameserver::Answers => reply(message, end, record, 0),
            Nameserver::PtrOnly if qtype == PTR => reply(message, end, record, 0),
            Nameserver::NoSuchName => reply(message, end, None, 3),
            Nameserver::LastMoment { query, after_ms } => {
                let count = asked.entry(name.clone()).or_default();
                *count += 1;
                if *count < query {
                    continue;
                }
                *count = 0;
                // The delay is what this nameserver is for; nobody asks it anything meanwhile.
                std::thread::sleep(std::time::Duration::from_millis(after_ms));
                if qtype == PTR { reply(message, end, record, 0) } else { reply(message, end, None, 3) }
            }
            _ => continue,
        };
        let _ = socket.send_to(&answer, from);
    }
}

/// How long threads of this process, which asks and answers, could have run and had no CPU, in nanoseconds (proc_pid_schedstat: the second number). It is the
/// machine's time, not glibc's, unless the kernel counts a sleep.
fn without_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// A time from a beginning on, with and without what the machine took.
fn since(start: Instant, without_cpu: u64) -> Took {
    let elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let with_cpu_ns = elapsed_ns.saturating_sub(without_cpu_ns().saturating_sub(without_cpu));
    Took { elapsed_ns, with_cpu_ns }
}

fn look_up(client: IpAddr) -> Timing {
    let (start, without_cpu) = (Instant::now(), without_cpu_ns());
    let mut host = [0u8; 1025];
    // SAFETY: all-zero socket addresses are valid; sizes are those of the types.
    let failed = unsafe {
        match client {
            IpAddr::V4(v4) => {
                let mut address: libc::sockaddr_in = std::mem::zeroed();
                address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0);
                address.sin_addr.s_addr = v4.to_bits().to_be();
                name_of((&raw const address).cast(), size_of_val(&address), &mut host)
            }
            IpAddr::V6(v6) => {
                let mut address: libc::sockaddr_in6 = std::mem::zeroed();
                address.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or(0);
                address.sin6_addr.s6_addr = v6.octets();
                name_of((&raw const address).cast(), size_of_val(&address), &mut host)
            }
        }
    };
    let mut timing = Timing {
        reverse: since(start, without_cpu),
        name: None,
        forward: None,
        found: false,
        queries: Vec::new(),
    };
    if failed {
        return timing;
    }
    let end = host.iter().position(|&byte| byte == 0).unwrap_or(0);
    timing.name = Some(String::from_utf8_lossy(&host[..end]).into_owned());
    let (start, without_cpu) = (Instant::now(), without_cpu_ns());
    // SAFETY: an all-zero addrinfo is a valid hint; the name is NUL-terminated.
    unsafe {
        let mut hints: libc::addrinfo = std::mem::zeroed();
        hints.ai_flags = libc::AI_PASSIVE | libc::AI_CANONNAME;
        hints.ai_family = if client.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        hints.ai_socktype = libc::SOCK_STREAM;
        let mut result = std::ptr::null_mut();
        timing.found =
            libc::getaddrinfo(host.as_ptr().cast(), std::ptr::null(), &raw const hints, &raw mut result) == 0;
        if !result.is_null() {
            libc::freeaddrinfo(result);
        }
    }
    timing.forward = Some(since(start, without_cpu));
    timing
}

/// # Safety
/// `address` points at a socket address of `len` bytes.
unsafe fn name_of(address: *const libc::sockaddr, len: usize, host: &mut [u8; 1025]) -> bool {
    let len = libc::socklen_t::try_from(len).unwrap_or(0);
    // SAFETY: the caller's promise, and a buffer of the size given.
    unsafe {
        libc::getnameinfo(
            address,
            len,
            host.as_mut_ptr().cast(),
            1025,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        ) != 0
    }
}

fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let question: Question = serde_json::from_str(&input)?;
    let mut files = vec![
        ("resolv.conf", question.resolv_conf.as_str()),
        ("hosts", question.hosts.as_str()),
        ("host.conf", "multi on\n"),
    ];
    files.extend(question.nsswitch.as_deref().map(|text| ("nsswitch.conf", text)));
    move_away(&question.hostname, &files)?;
    let seen = Seen::default();
    for (address, behaviour) in &question.nameservers {
        if *behaviour == Nameserver::Refuses {
            continue;
        }
        let socket = UdpSocket::bind(SocketAddr::new(address.parse()?, 53))?;
        let (address, behaviour, question, seen) =
            (address.clone(), *behaviour, question.clone(), Arc::clone(&seen));
        // The thread ends with the process.
        std::thread::spawn(move || serve(&socket, &address, behaviour, &question, &seen));
    }
    let mut timing = look_up(question.client.parse()?);
    if let Ok(seen) = seen.lock() {
        timing.queries.clone_from(&seen);
    }
    println!("{}", serde_json::to_string(&timing)?);
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("resolve-once: {error}");
        std::process::exit(1);
    }
}
