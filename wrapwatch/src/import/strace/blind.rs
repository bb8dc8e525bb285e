//! What a log does not show, as degradations in the trace's head.

use super::call::CallKind;
use super::survey::{Survey, Times};
use crate::model::{Degradation, DegradationKind};

/// What strace never shows, and what this log does not.
pub(super) fn degradations(survey: &Survey) -> Vec<Degradation> {
    let mut all: Vec<Degradation> = NEVER.iter().map(|(kind, message)| degradation(*kind, message)).collect();
    all.extend(not_traced(survey));
    match survey.times() {
        Times::Lines => {}
        Times::Durations => all.push(degradation(
            DegradationKind::NoLineTimes,
            "this log says how long calls took (-T), but not when they were made: what passed between them is not known; record with: strace -ttt -T",
        )),
        Times::Nothing => all.push(degradation(
            DegradationKind::NoTimes,
            "this log has no times: how long anything took is not known; record with: strace -ttt -T",
        )),
    }
    if survey.is_strange() {
        all.push(degradation(
            DegradationKind::NoLookupCalls,
            &format!(
                "{} of {} lines were understood: what the others say is not known",
                survey.understood(),
                survey.lines
            ),
        ));
    }
    if survey.owners().unsure {
        all.push(degradation(
            DegradationKind::NotFollowed,
            "whether the threads that were there before the log share descriptors, or are workers that have their own, is not known: whose a close is may be wrong; record the server from its start with: strace -f",
        ));
    }
    let unfollowed = survey.unfollowed();
    if unfollowed > 0 {
        all.push(degradation(
            DegradationKind::NotFollowed,
            &format!(
                "{unfollowed} threads or processes were made of which this log has nothing: record with: strace -f"
            ),
        ));
    }
    all
}

/// A message or a file of which strace shows only the beginning.
pub(super) fn cut() -> Degradation {
    degradation(
        DegradationKind::LogCut,
        "strace cut messages or files: names, answers and settings may be missing; record with: strace -s 600",
    )
}

/// Kinds of calls of which the log has none.
fn not_traced(survey: &Survey) -> Vec<Degradation> {
    let has = |kind| survey.has(kind);
    let mut all = Vec::new();
    let lookups = [(CallKind::Connect, "connect"), (CallKind::Send, "sendto"), (CallKind::Recv, "recvfrom")];
    let lacks: Vec<&str> = lookups.iter().filter(|(kind, _)| !has(*kind)).map(|(_, name)| *name).collect();
    if !lacks.is_empty() {
        all.push(degradation(
            DegradationKind::NoLookupCalls,
            &format!(
                "this log has no {}: what the server asked nameservers cannot be seen as a whole; record without -e, or with: strace -e trace=network,desc,file,process",
                lacks.join(", no ")
            ),
        ));
    }
    if !has(CallKind::Open) {
        all.push(degradation(
            DegradationKind::NoFileCalls,
            "this log has no open, openat: whether hosts.allow and hosts.deny are read cannot be seen; record without -e",
        ));
    } else if survey.tables == 0 {
        // Lines may have been left out of it: only the program itself says that it has no libwrap.
        all.push(degradation(
            DegradationKind::NoTableOpens,
            "this log has no open of hosts.allow or hosts.deny: whether the server checks its clients is not known; ask: wrapwatch doctor",
        ));
    }
    if !has(CallKind::Accept) {
        all.push(degradation(
            DegradationKind::NoClientCalls,
            "this log has no accept: clients cannot be seen; record without -e, and with the server's threads (strace -f -p PID)",
        ));
    } else if !has(CallKind::Send) && !has(CallKind::Write) {
        all.push(degradation(
            DegradationKind::NoClientCalls,
            "this log has no sendto, no write: when clients were greeted cannot be seen; record without -e",
        ));
    }
    all
}

fn degradation(kind: DegradationKind, message: &str) -> Degradation {
    Degradation { kind, pid: None, message: message.to_owned() }
}

/// Of every log of strace.
const NEVER: [(DegradationKind, &str); 4] = [
    (
        DegradationKind::NoQueueTime,
        "strace does not show when a client's handshake was completed: the time in the accept queue is not known; \
         record with wrapwatch to see it",
    ),
    (DegradationKind::NoQueueLength, "strace does not show the accept queue's length"),
    (
        DegradationKind::NoRuleContext,
        "strace does not show libwrap's tcpd_context: rules are inferred from the tables as the log shows them",
    ),
    (
        DegradationKind::NoUprobes,
        "strace does not show libwrap's functions: wrapwatch takes the last table's close as the check's end",
    ),
];
