//! Many clients: who comes from where, when, and how many at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::one::{self, Way};
use super::{ClientResult, ClientsSpec, Source};
use crate::clock::{now_ns, wait_until};

/// Most clients at once: each is a thread.
const MOST_AT_ONCE: usize = 1024;

/// The clients' and the server's addresses.
pub struct Addresses {
    /// Server's IPv4 address.
    pub server4: Ipv4Addr,
    /// Server's IPv6 address.
    pub server6: Ipv6Addr,
    /// Server's unix socket.
    pub socket: PathBuf,
    /// Clients' IPv4 addresses: the block's first, and how many.
    pub clients4: (Ipv4Addr, u32),
    /// Clients' IPv6 addresses: the block's first.
    pub clients6: Ipv6Addr,
    next4: AtomicU32,
    next6: AtomicU32,
}

impl Addresses {
    /// With blocks of unused addresses.
    pub fn new(
        (server4, server6): (Ipv4Addr, Ipv6Addr),
        socket: PathBuf,
        clients4: (Ipv4Addr, u32),
        clients6: Ipv6Addr,
    ) -> Self {
        // From 1: address 0 of a block looks like a network's.
        let next = || AtomicU32::new(1);
        Self { server4, server6, socket, clients4, clients6, next4: next(), next6: next() }
    }

    fn nth4(&self, n: u32) -> IpAddr {
        let (first, count) = self.clients4;
        Ipv4Addr::from_bits(first.to_bits() + n % count).into()
    }

    /// The addresses of all clients, in order.
    fn sources(&self, source: &Source, count: usize) -> anyhow::Result<Vec<IpAddr>> {
        let count32 = u32::try_from(count).context("too many clients")?;
        Ok(match source {
            Source::Own => {
                let from = self.next4.fetch_add(count32, Ordering::Relaxed);
                let end = from.checked_add(count32).filter(|end| *end <= self.clients4.1);
                let end = end.context("this lab has no unused IPv4 addresses left")?;
                (from..end).map(|n| self.nth4(n)).collect()
            }
            Source::Own6 => {
                let from = self.next6.fetch_add(count32, Ordering::Relaxed);
                let first = self.clients6.to_bits();
                (0..count32).map(|n| Ipv6Addr::from_bits(first + u128::from(from + n)).into()).collect()
            }
            Source::List(list) => {
                ensure!(!list.is_empty(), "the list of sources is empty");
                list.iter().copied().cycle().take(count).collect()
            }
            Source::Distinct(distinct) => {
                ensure!(*distinct > 0, "from no addresses nobody can come");
                (0..count32).map(|n| self.nth4(1 + n % distinct)).collect()
            }
            Source::Unix => Vec::new(),
        })
    }
}

/// Runs the clients and waits for all of them; results in the order of their numbers.
pub fn drive(spec: &ClientsSpec, addresses: &Addresses) -> anyhow::Result<Vec<ClientResult>> {
    let workers = spec.concurrency.min(spec.count);
    ensure!(workers <= MOST_AT_ONCE, "at most {MOST_AT_ONCE} clients at once");
    let sources = addresses.sources(&spec.source, spec.count)?;
    let way = |index: usize| match sources.get(index) {
        Some(&from) => {
            let server = if from.is_ipv4() { addresses.server4.into() } else { addresses.server6.into() };
            Way::Tcp {
                from: (from, spec.from_port.unwrap_or(0)).into(),
                to: SocketAddr::new(server, spec.port),
            }
        }
        None => Way::Unix(&addresses.socket),
    };
    let timeout = Duration::from_millis(spec.timeout_ms.max(1));
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(spec.count)));
    let begin = Barrier::new(workers);
    let start = Mutex::new(None);
    let work = || {
        begin.wait();
        let start_ns = *start.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(now_ns);
        let mut mine = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= spec.count {
                break;
            }
            if spec.stagger_us > 0 {
                wait_until(start_ns + index as u64 * spec.stagger_us * 1_000);
            }
            mine.push(one::run(index, &way(index), &spec.mode, timeout));
        }
        results.lock().unwrap_or_else(PoisonError::into_inner).extend(mine);
    };
    std::thread::scope(|scope| {
        let spawn = || std::thread::Builder::new().name("client".into()).stack_size(256 << 10);
        // A thread that could not start would keep the others at the barrier: then it is better to end here.
        (0..workers)
            .map(|_| spawn().spawn_scoped(scope, work))
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_else(|error| {
                eprintln!("cannot start {workers} clients: {error}");
                std::process::exit(1);
            });
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|result: &ClientResult| result.index);
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_never_used_twice() {
        let addresses = Addresses::new(
            (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            PathBuf::new(),
            (Ipv4Addr::new(10, 2, 0, 0), 8),
            "fd00:2::".parse().unwrap(),
        );
        let mut seen = addresses.sources(&Source::Own, 3).unwrap();
        seen.extend(addresses.sources(&Source::Own, 4).unwrap());
        assert_eq!(seen.first(), Some(&IpAddr::from([10, 2, 0, 1])));
        seen.dedup();
        assert_eq!(seen.len(), 7);
        assert!(addresses.sources(&Source::Own, 1).is_err(), "there are no more");
        let two = addresses.sources(&Source::Distinct(2), 3).unwrap();
        assert_eq!((two[0] == two[2], two[0] == two[1]), (true, false));
    }
}
