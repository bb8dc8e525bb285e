//! A kernel that leaves out the programs of perf's tracepoints while somebody asks for a map's value, and lets whoever asks be preempted (Linux 7.0 and
//! later): here everybody asks all the time. What is told then may lack much, but nothing of it may be said to be whole and be wrong.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData, MapInfo, loaded_maps};
use wrapwatch::model::Outcome;
use wrapwatch_tests::{
    clients::{self, ClientsSpec},
    watch::{Seen, Watch},
};

use crate::{report::Report, site::Site};

/// A map of wrapwatch's, of one value.
const MAP: &str = "ONLY_TARGET";
const CLIENTS: usize = 20;

/// The test.
pub(super) fn run(report: &mut Report, site: &Site) {
    if !wrapwatch::probe::raw_skips_calls() {
        return;
    }
    report.test("calls left out", || {
        let watch = Watch::pid(site.pid())?;
        let asked = AtomicBool::new(true);
        let clients = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| ask(&asked));
            }
            let clients = site.clients(&ClientsSpec { concurrency: 4, ..ClientsSpec::one_by_one(CLIENTS) });
            asked.store(false, Ordering::Relaxed);
            clients
        })?;
        let seen = watch.stop()?;
        ensure!(seen.lost("skipped_calls") > 0, "no call was told to be left out: {:?}", seen.summary());
        for client in &clients {
            ensure!(client.outcome == clients::Outcome::Greeting, "a client saw {:?}", client.outcome);
            judge(&seen, &client.source.context("a client has no address")?.to_string())?;
        }
        Ok(())
    });
}

/// Asks for a value until there is nothing more to be asked.
fn ask(go_on: &AtomicBool) -> Result<()> {
    let named = |info: &MapInfo| info.name_as_str() == Some(MAP);
    let id = loaded_maps().flatten().find(named).context("no such map")?.id();
    let map = Array::<_, u32>::try_from(Map::Array(MapData::from_id(id)?))?;
    while go_on.load(Ordering::Relaxed) {
        map.get(&0, 0)?;
    }
    Ok(())
}

/// Told rightly, or said to be incomplete, or, where the accept itself was left out, not told.
fn judge(seen: &Seen, peer: &str) -> Result<()> {
    let Ok(connection) = seen.of(peer) else { return Ok(()) };
    let right = connection.outcome == Outcome::Greeted && connection.lookups.len() == 2;
    ensure!(
        right || !connection.complete,
        "{peer} is told to be complete, as {:?} with {:?}",
        connection.outcome,
        connection.lookups
    );
    Ok(())
}
