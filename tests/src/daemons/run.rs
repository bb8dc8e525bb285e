//! One daemon from beginning to end.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{self, Clock, Way};
use super::judge::{Client, judge};
use super::noise::Canary;
use super::spec::{Daemon, Group};
use super::told::{self, Told};
use super::world::{World, address};
use crate::wait_for;

/// What came of a daemon.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub daemon: String,
    /// What is told is right.
    pub ok: bool,
    /// It is not, but says so.
    pub honest: bool,
    /// What should be told.
    pub wanted: Value,
    /// What is told.
    pub told: Value,
    /// What is not right.
    pub why: Vec<String>,
}

/// Runs the daemon, its clients and wrapwatch, and judges.
pub fn run(daemon: &Daemon) -> Result<Row> {
    let addressed = addressed(daemon);
    let evil: Vec<IpAddr> =
        addressed.iter().filter(|(group, _)| group.evil).map(|(_, address)| *address).collect();
    let world = World::start(daemon, &evil)?;
    let folder = tempfile::tempdir()?;
    let canary = Canary::start()?;
    let (told, clocks) = told::beside(world.pid, folder.path(), || {
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
            noise_ns: noise.within(clock.called_ns, until),
            asked: world.asked(address)?,
            clock,
            wanted: group.wanted.clone(),
        });
    }
    Ok(row(daemon, &clients, &told, &world))
}

fn row(daemon: &Daemon, clients: &[Client], told: &Told, world: &World) -> Row {
    let judgement = judge(&daemon.wanted, clients, told);
    let mut why = judgement.why;
    if clients.iter().any(|client| client.clock.failed.is_some()) {
        why.push(format!("the daemon said: {}", world.log()));
    }
    Row {
        daemon: daemon.name.clone(),
        ok: judgement.ok,
        honest: judgement.honest,
        wanted: json!({ "all": daemon.wanted, "clients": clients.iter().map(wanted).collect::<Vec<_>>() }),
        told: told.short(),
        why,
    }
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
