//! A trace for Perfetto (<https://ui.perfetto.dev>): one track an accept thread, whose checks never overlap; a pool of tracks for the clients that wait, used again as they are
//! served, so that ten thousand connections are not ten thousand rows; an arrow from whoever holds the accept thread to whoever is queued behind; counters of queues and of
//! how busy the accept threads are.
//!
//! Connections come when their story is told, which is not the order of their times: Perfetto sorts by time. So what ends where the next begins ends a nanosecond before.

mod flows;
mod messages;
mod out;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};

use flows::{Flows, Held};
use out::{Event, Out, Track};

use super::commands::Commands;
use crate::model::{Connection, KtimeNs, Line, Lookup, Nanos, ThreadRole};
use crate::observe::Observer;
use crate::trace::{Input, Sample};

const SECOND_NS: u64 = 1_000_000_000;
/// Seconds remembered of how busy an accept thread was: more than a week.
const SECONDS_MAX: usize = 1 << 20;
/// Longest time that one connection counts as holding its accept thread.
const HELD_MAX_NS: u64 = 3600 * SECOND_NS;
/// Listeners that have a counter.
const LISTENERS_MAX: usize = 64;

/// A client's track, and until when it is used.
#[derive(Debug)]
struct Place {
    track: Track,
    until: KtimeNs,
}

/// A server's tracks.
#[derive(Debug)]
struct Process {
    track: Track,
    threads: BTreeMap<u32, Track>,
    clients: Vec<Place>,
}

/// Writes what Perfetto reads, see the [module](self).
#[derive(Debug)]
pub struct Perfetto<W> {
    out: Out<W>,
    commands: Commands,
    processes: BTreeMap<u32, Process>,
    queues: BTreeMap<String, Track>,
    flows: Flows,
    /// How long an accept thread was held in each second.
    busy: BTreeMap<(u32, u32), BTreeMap<u64, u64>>,
}

impl<W: Write> Perfetto<W> {
    /// To `out`, which had better be buffered.
    pub const fn new(out: W) -> Self {
        Self {
            out: Out::new(out),
            commands: Commands::new(),
            processes: BTreeMap::new(),
            queues: BTreeMap::new(),
            flows: Flows::new(),
            busy: BTreeMap::new(),
        }
    }

    fn process(&mut self, pid: u32) -> io::Result<&mut Process> {
        if !self.processes.contains_key(&pid) {
            let name = self.commands.of(pid).unwrap_or("server");
            let track = self.out.process(pid, name)?;
            let new = Process { track, threads: BTreeMap::new(), clients: Vec::new() };
            self.processes.insert(pid, new);
        }
        self.processes.get_mut(&pid).ok_or_else(|| io::Error::other("no process"))
    }

    fn thread(&mut self, pid: u32, tid: u32) -> io::Result<Track> {
        let process = self.process(pid)?;
        if let Some(track) = process.threads.get(&tid) {
            return Ok(*track);
        }
        let parent = process.track;
        let track = self.out.child(parent, format!("accept thread {tid}"))?;
        self.process(pid)?.threads.insert(tid, track);
        Ok(track)
    }

    /// A track that nobody uses from `from` on: of those, the one that was used last.
    fn place(&mut self, pid: u32, from: KtimeNs, until: KtimeNs) -> io::Result<Track> {
        let process = self.process(pid)?;
        let free = process.clients.iter_mut().filter(|place| place.until <= from);
        if let Some(place) = free.max_by_key(|place| place.until) {
            place.until = until;
            return Ok(place.track);
        }
        let (parent, name) = (process.track, format!("clients {}", process.clients.len() + 1));
        let track = self.out.child(parent, name)?;
        self.process(pid)?.clients.push(Place { track, until });
        Ok(track)
    }

    fn connection(&mut self, connection: &Connection) -> io::Result<()> {
        let thread = self.thread(connection.pid, connection.tid)?;
        self.held(connection, thread)?;
        self.waited(connection, thread)
    }

    /// The accept thread, from this client's accept on.
    fn held(&mut self, connection: &Connection, thread: Track) -> io::Result<()> {
        let from = connection.accepted_ktime;
        // The next accept is where this ends.
        let to = from.plus(connection.service_ns.saturating_sub(1));
        let mut within = Out::new(Vec::new());
        let own = |lookup: &Lookup| lookup.thread == ThreadRole::Accept;
        lookups(&mut within, connection, own, thread, (from, to))?;
        let held = Held { thread, from, to, slice: titled(connection), within: within.into_inner() };
        self.flows.told(connection.conn, held, &mut self.out)?;
        let seconds = self.busy.entry((connection.pid, connection.tid)).or_default();
        let (mut at, to) = (from.0, to.min(from.plus(HELD_MAX_NS)));
        while at < to.0 && seconds.len() < SECONDS_MAX {
            let next = (at / SECOND_NS + 1).saturating_mul(SECOND_NS).min(to.0);
            *seconds.entry(at / SECOND_NS).or_default() += next - at;
            at = next;
        }
        Ok(())
    }

    /// The client: queued, checked, greeted.
    fn waited(&mut self, connection: &Connection, thread: Track) -> io::Result<()> {
        let accepted = connection.accepted_ktime;
        let from = KtimeNs(accepted.0.saturating_sub(connection.queued_ns.unwrap_or(0)));
        let to = from.plus(connection.waited_ns).max(accepted);
        let track = self.place(connection.pid, from, to)?;
        self.out.begin(from, track, titled(connection))?;
        if from < accepted {
            let notes = self.flows.names(&connection.queued_behind).map(|names| ("behind", names));
            let notes = notes.into_iter().collect();
            self.out.begin(from, track, Event { name: "queued".to_owned(), notes, ..Event::default() })?;
            self.out.end(accepted, track)?;
        }
        // An arrow goes from left to right: not to the time in the queue, which may have begun before.
        let arrows = self.flows.blocked(&connection.queued_behind, connection, thread, from);
        let check_at_ns = connection.check_at_ns;
        let check_end_ns = check_at_ns.saturating_add(connection.wrapper_ns);
        let check = [check_at_ns, check_end_ns].map(|ns| accepted.plus(ns).min(to));
        // Before the check and behind it they are the server's own, whoever waits.
        let own = |lookup: &Lookup| lookup.thread != ThreadRole::Accept;
        let begun = |lookup: &Lookup| lookup.at_ns >= check_at_ns;
        let ended = |lookup: &Lookup| lookup.at_ns > check_end_ns || connection.wrapper_ns == 0;
        let before = |lookup: &Lookup| own(lookup) && !begun(lookup);
        lookups(&mut self.out, connection, before, track, (accepted, check[0]))?;
        if connection.wrapper_ns > 0 {
            self.out.begin(
                check[0],
                track,
                Event { name: "check".to_owned(), from: arrows, ..Event::default() },
            )?;
            let within = |lookup: &Lookup| own(lookup) && begun(lookup) && !ended(lookup);
            lookups(&mut self.out, connection, within, track, (check[0], check[1]))?;
            self.out.end(check[1], track)?;
        } else if !arrows.is_empty() {
            let event = Event { name: "accepted".to_owned(), from: arrows, ..Event::default() };
            self.out.instant(accepted, track, event)?;
        }
        let behind = |lookup: &Lookup| own(lookup) && begun(lookup) && ended(lookup);
        lookups(&mut self.out, connection, behind, track, (check[1], to))?;
        self.out.end(to, track)
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        for listener in &sample.listeners {
            let track = match self.queues.get(&listener.address) {
                Some(track) => *track,
                None if self.queues.len() >= LISTENERS_MAX => continue,
                None => {
                    let name = format!("accept queue {}", listener.address);
                    let track = self.out.counter(None, name, "connections")?;
                    self.queues.insert(listener.address.clone(), track);
                    track
                }
            };
            self.out.count(sample.at, track, f64::from(listener.queued))?;
        }
        Ok(())
    }

    /// How busy the accept threads were, second by second; 0 where nobody was accepted.
    fn shares(&mut self) -> io::Result<()> {
        for ((pid, tid), seconds) in std::mem::take(&mut self.busy) {
            let parent = self.process(pid)?.track;
            let track = self.out.counter(Some(parent), format!("accept thread {tid} busy"), "%")?;
            let mut last = None;
            for (second, ns) in seconds {
                if let Some(idle) = last.filter(|last| *last < second) {
                    self.out.count(second_at(idle), track, 0.0)?;
                }
                self.out.count(second_at(second), track, 100.0 * crate::model::quotient(ns, SECOND_NS))?;
                last = Some(second + 1);
            }
            if let Some(idle) = last {
                self.out.count(second_at(idle), track, 0.0)?;
            }
        }
        Ok(())
    }

    /// The rest, when everything is told.
    pub fn finish(mut self) -> io::Result<()> {
        self.flows.finish(&mut self.out)?;
        self.shares()?;
        self.out.flush()
    }
}

/// Those of a connection's lookups that are meant, one after another between `from` and `to`. Queries may overlap: each is where it was sent.
fn lookups(
    out: &mut Out<impl Write>,
    connection: &Connection,
    meant: impl Fn(&Lookup) -> bool,
    track: Track,
    (mut from, to): (KtimeNs, KtimeNs),
) -> io::Result<()> {
    for lookup in connection.lookups.iter().filter(|lookup| meant(lookup)) {
        let begin = connection.accepted_ktime.plus(lookup.at_ns).clamp(from, to);
        let end = begin.plus(lookup.dur_ns).min(to);
        out.begin(begin, track, looked_up(lookup))?;
        for query in &lookup.queries {
            let at = connection.accepted_ktime.plus(query.at_ns).clamp(begin, end);
            let outcome: &str = query.outcome.into();
            let took = query.rtt_ns.map_or_else(String::new, |rtt| format!(" {}", Nanos(rtt)));
            let asked = query.qtype.as_deref().unwrap_or("query");
            let name = query.qname.as_deref().unwrap_or_default();
            let text = format!("{asked} {name} → {}: {outcome}{took}", query.server);
            out.instant(at, track, text.into())?;
        }
        out.end(end, track)?;
        from = end;
    }
    Ok(())
}

const fn second_at(second: u64) -> KtimeNs {
    KtimeNs(second.saturating_mul(SECOND_NS))
}

/// Who, and what became of it.
fn titled(connection: &Connection) -> Event {
    let peer = connection.peer.map_or_else(|| "unknown client".to_owned(), |peer| peer.to_string());
    let outcome: &str = connection.outcome.into();
    let mut notes = vec![("conn", connection.conn.to_string()), ("outcome", outcome.to_owned())];
    let rule = connection.rule.as_ref().and_then(|rule| rule.text.as_deref());
    notes.extend(rule.map(|rule| ("rule", rule.to_owned())));
    if !connection.complete {
        notes.push(("missing", crate::model::missing_line(&connection.missing)));
    }
    Event { name: peer, notes, ..Event::default() }
}

fn looked_up(lookup: &Lookup) -> Event {
    let kind: &str = lookup.kind.into();
    let outcome: &str = lookup.outcome.into();
    let name = lookup.name.as_deref().unwrap_or("?");
    Event { name: format!("{kind} {name}"), notes: vec![("outcome", outcome.to_owned())], ..Event::default() }
}

impl<W: Write> Observer for Perfetto<W> {
    fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        self.commands.input(input);
        match input {
            Input::Head(head) => self.out.clock(head.clock)?,
            Input::Sample(sample) => self.sample(sample)?,
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Connection(connection) | Line::Request(connection) => self.connection(connection),
            _ => Ok(()),
        }
    }
}
