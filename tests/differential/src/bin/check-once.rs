//! Makes one wrapper check with the real libwrap and the real glibc, nothing replaced, in a network, mount and UTS namespace of its own. Reads a
//! [`Check`] from stdin, writes a [`Checked`] to stdout. Needs root; leaves nothing behind.

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wrapwatch_differential::End;
use wrapwatch_differential::check::{Check, Checked, Ident};
use wrapwatch_differential::libwrap::{Asked, Libwrap};
use wrapwatch_differential::nameserver;
use wrapwatch_differential::took::{since, without_cpu_ns};
use wrapwatch_differential::world::move_away;

/// Blocks SIGALRM for this thread and those that it starts, or lets it through.
fn alarm(block: bool) {
    // SAFETY: an all-zero set is valid, and is emptied before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGALRM);
        let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
    }
}

/// One client of the ident service; `asked` is set when it has sent its question.
fn answer(stream: &TcpStream, behaviour: Ident, asked: &AtomicBool) {
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    if reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        asked.store(true, Ordering::SeqCst);
    }
    // The delays are what this service is for.
    match behaviour {
        Ident::Dribbles => {
            let mut writer = stream;
            while writer.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ident::Late { after_ms } => {
            std::thread::sleep(Duration::from_millis(after_ms));
            let _ = write!(&mut &*stream, "{} : USERID : UNIX : somebody\r\n", line.trim_end());
        }
        // Kept open until the other end has gone.
        _ => drop(reader.read_line(&mut line)),
    }
}

/// Starts the client's ident service; its threads end with the process. What it gives back has to be kept.
fn ident(address: IpAddr, behaviour: Ident) -> std::io::Result<(Arc<AtomicBool>, Vec<TcpStream>)> {
    let asked = Arc::new(AtomicBool::new(false));
    let mut fillers = Vec::new();
    if behaviour == Ident::Refuses {
        return Ok((asked, fillers));
    }
    let listener = TcpListener::bind(SocketAddr::new(address, 113))?;
    if behaviour == Ident::Full {
        // SAFETY: listen(2) on an open socket sets its queue anew; a queue of 0 has room for one.
        unsafe { libc::listen(listener.as_raw_fd(), 0) };
        fillers.push(TcpStream::connect(listener.local_addr()?)?);
        // Nobody accepts; the listener stays.
        std::mem::forget(listener);
        return Ok((asked, fillers));
    }
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || answer(&stream, behaviour, &seen));
        }
    });
    Ok((asked, fillers))
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let check: Check = serde_json::from_str(&input)?;
    let libwrap = Libwrap::load()?;
    let world = &check.world;
    let mut files = vec![
        ("resolv.conf", world.resolv_conf.as_str()),
        ("hosts", world.hosts.as_str()),
        ("host.conf", "multi on\n"),
        ("hosts.allow", check.allow.as_str()),
        ("hosts.deny", check.deny.as_str()),
        ("netgroup", check.netgroup.as_str()),
    ];
    files.extend(world.nsswitch.as_deref().map(|text| ("nsswitch.conf", text)));
    move_away(&world.hostname, &files)?;
    // Only the thread that checks may get the signal: libwrap leaves its wait by it.
    alarm(true);
    let client: IpAddr = world.client.parse()?;
    nameserver::start(world)?;
    let (ident_asked, _fillers) = ident(client, check.ident)?;
    alarm(check.blocks_alarm);
    let end = |address, port| End { address, port, scope: 0 };
    let (client, server) = (end(client, 40_000), end(check.server.parse()?, 3306));
    let request = Asked { daemon: "mysqld", client: Some(&client), server: Some(&server), resident: true };
    let tables = [CString::new("/etc/hosts.allow")?, CString::new("/etc/hosts.deny")?];
    let (start, without_cpu) = (Instant::now(), without_cpu_ns());
    let allowed = libwrap.check(&request, -1, &tables);
    let took = since(start, without_cpu);
    let checked = Checked { took, allowed, ident_asked: ident_asked.load(Ordering::SeqCst) };
    println!("{}", serde_json::to_string(&checked)?);
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("check-once: {error}");
        std::process::exit(1);
    }
}
