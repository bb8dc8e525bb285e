//! One daemon from beginning to end.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{self, Clock, Way};
use super::judge::{Asked, Client, Judgement, judge};
use super::noise::Canary;
use super::spec::{Daemon, Group, Standing, Transport};
use super::told;
use super::world::{World, address};
use crate::wait_for;

/// What came of a daemon.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub daemon: String,
    /// What came of it.
    pub standing: Standing,
    /// What is told is right.
    pub ok: bool,
    /// It is not, but says so.
    pub honest: bool,
    /// Why that fails the run, if it does.
    pub unexpected: Option<String>,
    /// What is known to be wrong of it.
    pub known_wrong: Vec<String>,
    /// What should be told.
    pub wanted: Value,
    /// What is told.
    pub told: Value,
    /// What is not right.
    pub why: Vec<String>,
}

/// Runs the daemon, its clients and wrapwatch, and judges.
pub fn run(daemon: &Daemon, uprobes: bool) -> Row {
    let (judgement, wanted, told) = attempt(daemon, uprobes).unwrap_or_else(|error| {
        let why = vec![format!("it could not be run: {error:#}")];
        (Judgement { standing: Standing::Failed, wrong: why.len(), why }, Value::Null, Value::Null)
    });
    let unexpected = if uprobes {
        daemon.unexpected(judgement.standing, judgement.wrong())
    } else {
        daemon.unexpected_without_uprobes(judgement.standing, judgement.wrong())
    };
    let known = if uprobes { &daemon.known_wrong } else { &daemon.wrong_without_uprobes };
    let Judgement { standing, why, .. } = judgement;
    Row {
        daemon: daemon.name.clone(),
        standing,
        ok: standing == Standing::Right,
        honest: standing == Standing::Honest,
        unexpected,
        known_wrong: known.clone(),
        wanted,
        told,
        why,
    }
}

/// The judgement, what should be told, and what is.
fn attempt(daemon: &Daemon, uprobes: bool) -> Result<(Judgement, Value, Value)> {
    let addressed = addressed(daemon);
    let evil: Vec<IpAddr> =
        addressed.iter().filter(|(group, _)| group.evil).map(|(_, address)| *address).collect();
    let world = World::start(daemon, &evil)?;
    let folder = tempfile::tempdir()?;
    let canary = Canary::start()?;
    let options: &[&str] = if uprobes { &[] } else { &["--no-uprobes"] };
    let (told, clocks) = told::beside(world.pid, folder.path(), options, || {
        let clocks = drive(daemon, &world, &addressed)?;
        world.wait_done()?;
        Ok(clocks)
    })?;
    let noise = canary.stop()?;
    let mut clients = Vec::new();
    for ((group, address), clock) in addressed.into_iter().zip(clocks) {
        let until = clock.first_ns.or(clock.ended_ns).unwrap_or(u64::MAX);
        clients.push(Client {
            address,
            datagrams: group.transport.unwrap_or(daemon.transport) == Transport::Udp,
            noise_ns: noise.within(clock.called_ns, until),
            asked: world.asked(address)?,
            clock,
            wanted: group.wanted.clone(),
        });
    }
    let left = deal(world.asked(world.server().ip())?, &mut clients);
    let mut judgement = judge(&daemon.wanted, &clients, &told);
    for asked in left {
        judgement.complain(format!("{} was asked for the sake of nobody", asked.name));
    }
    if judgement.standing == Standing::Failed {
        judgement.why.push(format!("the daemon said: {}", world.log()));
    }
    let wanted = json!({ "all": daemon.wanted, "clients": clients.iter().map(wanted).collect::<Vec<_>>() });
    Ok((judgement, wanted, told.short()))
}

/// Gives lookups of the server's own address to the clients for whose log line they were made. The nameserver does not know whose they are: whoever was
/// served first has the first. What is left over was made for nobody that is known.
fn deal(mut of_server: Vec<Asked>, clients: &mut [Client]) -> Vec<Asked> {
    of_server.sort_by_key(|asked| asked.from_ns);
    let mut left = of_server.into_iter();
    clients.sort_by_key(|client| client.clock.first_ns);
    for client in clients {
        client.asked.extend(left.by_ref().take(client.wanted.for_the_log));
    }
    left.collect()
}

/// What should be told of a client, with its clock.
fn wanted(client: &Client) -> Value {
    let since = |at: Option<u64>| at.map(|at| at.saturating_sub(client.clock.connected_ns));
    json!({
        "address": client.address,
        "told": client.wanted,
        "first_byte_ns": since(client.clock.first_ns),
        "end_ns": since(client.clock.ended_ns),
        "noise_ns": client.noise_ns,
        "asked": client.asked.iter().map(|asked| &asked.name).collect::<Vec<_>>(),
    })
}

/// Each client's group and address, in the order of the groups.
fn addressed(daemon: &Daemon) -> Vec<(&Group, IpAddr)> {
    let groups = daemon.clients.iter().flat_map(|group| std::iter::repeat_n(group, group.count));
    groups.enumerate().map(|(n, group)| (group, address(n))).collect()
}

/// Lets all clients do what they do; their clocks in the same order.
fn drive(daemon: &Daemon, world: &World, clients: &[(&Group, IpAddr)]) -> Result<Vec<Clock>> {
    let parts = World::parts()?;
    let one = |group: &Group, from: IpAddr| -> Result<Clock> {
        world.enter_clients()?;
        if group.after_queries > 0 {
            wait_for("the nameservers are asked", || Ok(world.queries()? >= group.after_queries))?;
        }
        if group.program.is_empty() {
            let way =
                Way { from, to: world.server(), transport: group.transport.unwrap_or(daemon.transport) };
            return Ok(client::follow(way, &group.steps));
        }
        let fill = |word: &String| {
            word.replace("{address}", &from.to_string())
                .replace("{server}", &world.server().ip().to_string())
                .replace("{parts}", &parts.display().to_string())
        };
        Ok(client::run_program(&group.program.iter().map(fill).collect::<Vec<_>>()))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            clients.iter().map(|(group, from)| scope.spawn(move || one(group, *from))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client failed")));
        ended.map(|clock| clock?.context("a client could not begin")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::spec::named;
    use super::*;

    #[test]
    fn lookups_for_a_log_are_dealt_out_to_whom_they_were_made_for() {
        let greeted = |host, at| Client {
            datagrams: false,
            address: address(host),
            clock: Clock { first_ns: at, ..Clock::default() },
            noise_ns: 0,
            asked: Vec::new(),
            wanted: named("sslh").unwrap().clients[usize::from(at.is_none())].wanted.clone(),
        };
        let mut clients = [greeted(0, Some(9)), greeted(1, None), greeted(2, Some(5))];
        let asked = |from_ns| Asked { name: "1.0.0.10.in-addr.arpa".into(), from_ns, to_ns: from_ns + 1 };
        let left = deal(vec![asked(9), asked(7), asked(3)], &mut clients);
        assert_eq!(left, [asked(9)]);
        let dealt = clients.map(|client| (client.address, client.asked.first().map(|asked| asked.from_ns)));
        assert_eq!(dealt, [(address(1), None), (address(2), Some(3)), (address(0), Some(7))]);
    }
}
