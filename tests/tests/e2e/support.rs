//! What several tests need.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::runtime::Runtime;
use wrapwatch::{
    decode::{Event, decode},
    host::clock,
    model::{ClockPair, Connection, KtimeNs, WallTime},
    probe::{Options, Probe, Ring, Then},
};
use wrapwatch_tests::{
    clients::ClientResult,
    lab::{Files, Lab, LabConfig},
};

/// The lab's first nameserver.
pub const NS1: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 53));
/// Its second.
pub const NS2: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 54));

/// What turning a wall-clock time back into the monotonic clock may be off by: two clock readings, microseconds apart at worst.
pub const CLOCK_SLACK_NS: u64 = 100_000;

pub const MS: u64 = 1_000_000;

/// How often the ring is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A lab with these files instead of its usual ones.
pub fn lab_with(files: Files) -> Lab {
    Lab::start(LabConfig { files, ..LabConfig::default() }).unwrap()
}

/// Both nameservers, with one second for each.
pub fn two_servers() -> Files {
    Files::resolv(format!("nameserver {NS1}\nnameserver {NS2}\noptions timeout:1 attempts:2\n"))
}

/// The address a client came from, as wrapwatch prints it.
pub fn peer(client: &ClientResult) -> String {
    client.source.unwrap().to_string()
}

/// A wall-clock time of the output on the monotonic clock.
pub fn ktime(at: WallTime) -> u64 {
    let ClockPair { ktime: KtimeNs(now), wall_ns } = clock::pair();
    let ago = i128::from(wall_ns) - at.0.as_nanosecond();
    u64::try_from(i128::from(now) - ago).unwrap()
}

/// A connection's queries, those of the wrapper check and those after it.
pub fn queries(connection: &Connection) -> impl Iterator<Item = &wrapwatch::model::Query> {
    connection.lookups.iter().flat_map(|lookup| &lookup.queries)
}

/// The name that the lab's zone has for an IPv4 client's PTR query.
pub fn ptr_name(client: &ClientResult) -> String {
    match client.source.unwrap().ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => panic!("{ip} has a longer one"),
    }
}

/// Held by a test that is its own server: tests run side by side in one process, and one would see the other's connections.
pub fn own_process() -> MutexGuard<'static, ()> {
    static OWN_PROCESS: Mutex<()> = Mutex::new(());
    OWN_PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel side's records as they come.
pub struct Records<'a> {
    runtime: &'a Runtime,
    ring: Ring,
}

impl Records<'_> {
    /// Hands over each record and what it says until that is enough; a minute at most.
    pub fn until(&mut self, mut enough: impl FnMut(&[u8], &Event<'_>) -> bool) {
        let ring = &mut self.ring;
        let all = async {
            let mut done = false;
            let mut looks = tokio::time::interval(LOOK);
            while !done {
                // As a session does: the kernel side wakes nobody for few records.
                tokio::select! {
                    woken = ring.wait() => woken.unwrap(),
                    _ = looks.tick() => {}
                }
                while ring.drain(|record| {
                    done |= enough(record, &decode(record).unwrap());
                    Then::Next
                }) {}
            }
        };
        self.runtime.block_on(tokio::time::timeout(Duration::from_mins(1), all)).unwrap();
    }
}

/// With the kernel side, and no session around it.
pub fn with_probe<T>(options: &Options, work: impl FnOnce(&mut Probe, &mut Records<'_>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let mut probe = Probe::attach(options).unwrap();
    let ring = probe.take_ring().unwrap();
    work(&mut probe, &mut Records { runtime: &runtime, ring })
}
