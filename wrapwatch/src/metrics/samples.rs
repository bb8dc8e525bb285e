//! What the samples of each second add: queues, the kernel's counters, what it costs. Most of what they hold counts from some beginning, so that only differences
//! count here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Metrics;
use super::connection::seconds;
use super::names::Names;
use super::series::Count;
use crate::model::ClockPair;
use crate::trace::{Head, NetnsSample, ProcessSample, Sample, Target};

/// Servers told apart.
const SERVERS_MAX: usize = 16;
/// Processes and network namespaces remembered.
const KEPT_MAX: usize = 256;

/// Which server a process is.
#[derive(Debug)]
pub(super) struct Servers {
    of: BTreeMap<u32, Cow<'static, str>>,
    names: Names,
}

impl Default for Servers {
    fn default() -> Self {
        Self { of: BTreeMap::new(), names: Names::new(SERVERS_MAX) }
    }
}

impl Servers {
    /// A process by its name and first port: they stay when it is started anew.
    fn add(&mut self, target: &Target) {
        let port = target.listeners.iter().find_map(|listener| listener.address.rsplit_once(':'));
        let name = port.map_or_else(|| target.comm.clone(), |(_, port)| format!("{}:{port}", target.comm));
        if self.of.len() >= KEPT_MAX && !self.of.contains_key(&target.pid) {
            self.of.pop_first();
        }
        self.of.insert(target.pid, self.names.label(&name));
    }

    pub(super) fn of(&self, pid: u32) -> Cow<'static, str> {
        self.of.get(&pid).cloned().unwrap_or(Cow::Borrowed("unknown"))
    }
}

/// What counters showed last.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// When the recording began: tells one from another.
    clock: Option<ClockPair>,
    accepts: Option<u64>,
    own_cpu_ns: Option<u64>,
    netns: BTreeMap<u64, [Option<u64>; 3]>,
}

/// By how much a counter went up since it was looked at last, and keeps it. Nothing is known of what was before the first look.
fn went_up(last: &mut Option<u64>, now: Option<u64>) -> Option<u64> {
    let now = now?;
    let before = last.replace(now)?;
    // One that went back has begun anew.
    Some(now.checked_sub(before).unwrap_or(now))
}

fn add(series: &Count<0>, by: Option<u64>) {
    if let Some(by) = by {
        series.get_or_create(&[]).inc_by(by);
    }
}

impl Metrics {
    /// A head; each file of a recording in several files repeats it.
    pub(super) fn head(&mut self, head: &Head) {
        self.clock = head.clock;
        self.stalls.head(head);
        for target in &head.targets {
            self.target(target);
        }
        if self.last.clock == Some(head.clock) {
            return;
        }
        self.series.recordings.get_or_create(&[]).inc();
        // From its first file on, what counts from attach counts from 0.
        let begun = (head.file == 0).then_some(0);
        let netns = std::mem::take(&mut self.last.netns);
        self.last = Last { clock: Some(head.clock), accepts: begun, own_cpu_ns: begun, netns };
    }

    pub(super) fn target(&mut self, target: &Target) {
        self.servers.add(target);
    }

    pub(super) fn sample(&mut self, sample: &Sample) {
        if !sample.is_whole() {
            return;
        }
        self.queues(sample);
        sample.netns.iter().for_each(|netns| self.netns(netns));
        self.cost(&sample.own);
        let series = &self.series;
        add(&series.accepts, went_up(&mut self.last.accepts, sample.counters.get("accepts").copied()));
        // By now losses would have been told.
        series.lost.get_or_create(&[]).inc_by(0);
        series.skipped.get_or_create(&[]).inc_by(0);
        if let Some(programs) = &sample.programs {
            series.programs_run.get_or_create(&[]).inc_by(seconds(programs.run_ns));
            series.programs_measured.get_or_create(&[]).inc_by(seconds(programs.window_ns));
        }
        // Those that go on are told next.
        series.stall_age.get_or_create(&[]).set(0.0);
        series.up.get_or_create(&[]).set(1.0);
        let at = self.clock.wall(sample.at);
        series.last.get_or_create(&[]).set(at.0.as_duration().as_secs_f64());
        self.last_sample = Some(at);
    }

    fn queues(&mut self, sample: &Sample) {
        let series = &self.series;
        series.queued.clear();
        series.queue_limit.clear();
        let mut fullest = BTreeMap::new();
        for listener in &sample.listeners {
            let known = fullest.entry(listener.address.as_str()).or_insert(listener);
            // The same address in several network namespaces.
            if known.queued < listener.queued {
                *known = listener;
            }
        }
        for (address, listener) in fullest {
            let label = [("listener", self.listeners.label(address))];
            series.queued.get_or_create(&label).set(f64::from(listener.queued));
            series.queue_limit.get_or_create(&label).set(f64::from(listener.queue_limit));
        }
    }

    /// Counters since boot.
    fn netns(&mut self, netns: &NetnsSample) {
        if self.last.netns.len() >= KEPT_MAX && !self.last.netns.contains_key(&netns.netns) {
            return;
        }
        let [overflows, drops, cookies] = self.last.netns.entry(netns.netns).or_default();
        add(&self.series.overflows, went_up(overflows, netns.listen_overflows));
        add(&self.series.drops, went_up(drops, netns.listen_drops));
        add(&self.series.syn_cookies, went_up(cookies, netns.syncookies_sent));
    }

    fn cost(&mut self, own: &ProcessSample) {
        if let Some(ns) = went_up(&mut self.last.own_cpu_ns, own.cpu_ns) {
            self.series.own_cpu.get_or_create(&[]).inc_by(seconds(ns));
        }
        if let Some(bytes) = own.rss_bytes {
            #[expect(clippy::cast_precision_loss, reason = "no memory has 2^53 bytes")]
            self.series.own_memory.get_or_create(&[]).set(bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let mut last = None;
        let seen = [Some(5), Some(7), None, Some(8), Some(2)].map(|now| went_up(&mut last, now));
        assert_eq!(seen, [None, Some(2), None, Some(1), Some(2)]);
    }
}
