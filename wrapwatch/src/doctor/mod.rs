//! `doctor`: the machine and the servers looked at once, what was found handed to `diagnose`. Nothing is changed, nothing stays attached.
//!
//! The hooks are tried in a child process (see [`crate::probe::trial`]) while the servers are looked at. Without privileges everything that
//! takes none is done all the same, and what was left out is among the degradations.

mod clients;
mod configuration;
mod files;
mod forwarders;
mod kernel;
mod limits;
mod nameservers;
mod resolver;
mod target;

use std::path::PathBuf;

use crate::{
    diagnose::doctor as judge,
    host::{HostError, libwrap, libwrap::Libwrap, mysql, reader},
    model::{
        DegradationKind,
        doctor::{Doctor, Missing, ServerCounters},
    },
    probe,
};

/// What to look at and how.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The servers.
    pub pids: Vec<u32>,
    /// Ask each nameserver one harmless query, and for the names of eight recent clients at most.
    pub queries: bool,
    /// Log in to the server as this file says.
    pub mysql_defaults: Option<PathBuf>,
}

/// Everything found, and the trial that still has to end: its hooks are being taken off.
#[derive(Debug)]
pub struct Examination {
    /// What was found.
    pub report: Doctor,
    trial: Option<probe::trial::Trial>,
}

impl Examination {
    /// Waits until every hook has been taken off.
    pub fn finish(self) {
        if let Some(trial) = self.trial {
            log::debug!("hooks were still being taken off for {:?}", trial.finish());
        }
    }
}

/// Looks at everything. The caller must have one thread only, besides those of [`reader`]: the hooks are tried in a copy of it.
pub fn examine(settings: &Settings) -> Result<Examination, HostError> {
    let libwraps: Vec<(u32, Libwrap)> =
        settings.pids.iter().filter_map(|&pid| Some((pid, libwrap::find(pid).ok().flatten()?))).collect();
    // What reads for us has answered, or is within a system call for as long as that takes: nobody holds a lock that a copy of this process would wait for.
    reader::rest(reader::LIMIT);
    let mut trial = probe::trial::begin(&libwraps);
    let mut examined = Vec::new();
    let mut gone = None;
    for &pid in &settings.pids {
        match target::examine(pid, settings.queries) {
            Ok(found) => examined.push(found),
            // Of several, one that ends meanwhile is no reason to say nothing of the others.
            Err(error @ (HostError::Exited(_) | HostError::NoProcess(_))) if settings.pids.len() > 1 => {
                log::warn!("{error}: it was there a moment ago");
                gone = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = gone.filter(|_| examined.is_empty()) {
        return Err(error);
    }
    let mut unasked = Vec::new();
    if let Some(defaults) = &settings.mysql_defaults {
        match mysql::ask(defaults) {
            Ok(answers) => give(&mut examined, counters(&answers), &mut unasked),
            Err(error) => unasked.push(not_asked(&error.to_string())),
        }
    }
    let found = match &mut trial {
        Ok(trial) => trial.found(),
        Err(error) => probe::trial::Found {
            refused: Some(format!("the hooks could not be tried: {error}")),
            hooks: probe::trial::untried(&libwraps),
            ..probe::trial::Found::default()
        },
    };
    let report = report(found, examined, unasked);
    Ok(Examination { report, trial: trial.ok() })
}

fn report(
    found: probe::trial::Found,
    examined: Vec<(crate::model::doctor::Target, judge::Texts)>,
    unasked: Vec<Missing>,
) -> Doctor {
    let kernel = kernel::read(&found);
    let lost = found
        .hooks
        .iter()
        .filter_map(|hook| {
            let (kind, message) = probe::lost_without(&hook.name)?;
            Some((hook.name.clone(), kind, message.to_owned()))
        })
        .collect();
    let trial = judge::Trial {
        refused: found.refused,
        no_layout: found.no_layout,
        tracefs_mounted: found.tracefs_mounted,
        no_tracefs: found.no_tracefs,
        raw_skips_calls: probe::raw_skips_calls(),
        lost,
    };
    let mut problems: Vec<_> =
        examined.iter().flat_map(|(target, texts)| judge::problems(target, texts)).collect();
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    let targets: Vec<_> = examined.into_iter().map(|(target, _)| target).collect();
    let mut degradations = judge::missing(&kernel, &trial, &found.hooks, &targets);
    degradations.extend(unasked);
    let taken = judge::taken(&found.hooks, trial.raw_skips_calls);
    Doctor { kernel, hooks: found.hooks, taken, degradations, targets, problems, measured: None }
}

fn not_asked(why: &str) -> Missing {
    Missing {
        kind: DegradationKind::NoCounters,
        pid: None,
        message: format!("the server's own variables and counters are not shown: {why}"),
        change: Some(
            "a file with [client], socket= or host=, user=, password=, readable for the user who runs wrapwatch"
                .to_owned(),
        ),
    }
}

/// The answers belong to the server that listens on the port they name.
fn give(
    examined: &mut [(crate::model::doctor::Target, judge::Texts)],
    counters: ServerCounters,
    unasked: &mut Vec<Missing>,
) {
    let suffix = counters.port.map(|port| format!(":{port}"));
    let listens = |target: &crate::model::doctor::Target| match (&suffix, &target.listeners) {
        (Some(suffix), Some(listeners)) => {
            listeners.iter().any(|listener| listener.local.ends_with(suffix.as_str()))
        }
        _ => false,
    };
    let alone = examined.len() == 1;
    let mut fitting = examined
        .iter_mut()
        .filter(|(target, _)| listens(target) || (alone && (target.listeners.is_none() || suffix.is_none())));
    match (fitting.next(), fitting.next()) {
        (Some((target, _)), None) => target.counters = Some(counters),
        (None, _) => unasked.push(not_asked(&format!(
            "the server that answered listens on port {}; no local server does",
            counters.port.map_or_else(|| "?".to_owned(), |port| port.to_string())
        ))),
        (Some(_), Some(_)) => unasked.push(not_asked(
            "several servers here listen on the port of the one that answered; name one with -p",
        )),
    }
}

fn counters(answers: &[(String, String)]) -> ServerCounters {
    let text = |wanted: &str| answers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let number = |wanted: &str| text(wanted).and_then(|value| value.parse::<u64>().ok());
    ServerCounters {
        version: text("version"),
        port: number("port").and_then(|port| u16::try_from(port).ok()),
        skip_name_resolve: text("skip_name_resolve").map(|value| value == "ON" || value == "1"),
        back_log: number("back_log"),
        max_connections: number("max_connections"),
        thread_handling: text("thread_handling"),
        threads_connected: number("threads_connected"),
        threads_cached: number("threads_cached"),
        max_used_connections: number("max_used_connections"),
        aborted_connects: number("aborted_connects"),
        aborted_clients: number("aborted_clients"),
        connection_errors_tcpwrap: number("connection_errors_tcpwrap"),
    }
}
