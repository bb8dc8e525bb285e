//! A story that is over → the connection that is told.

use std::cmp::Reverse;

use smallvec::SmallVec;
use wrapwatch_common::mysql::{self, LoginEnd};
use wrapwatch_common::records as abi;

use crate::model::{
    Blame, COMPUTING_MAX_NS, CheckCall, Client, ClientLeft, ClockPair, Connection, FileUse, How, KtimeNs,
    Login, Lookup, LookupKind, Missing, OtherUse, Outcome, RuleRef, StallCause, errno_name,
};

use super::asked::Asked;
use super::blind::Blind;
use super::check::RuleAt;
use super::lookups::{Looking, Telling};
use super::open_connection::{Birth, OpenConnection};
use super::parts;
use super::servers::{ServerId, Servers};
use super::sight::Wait;
use super::workers::Queued;
use super::{Config, LINGER_NS};

pub(super) fn rule_ref(rule: &RuleAt) -> RuleRef {
    RuleRef { file: rule.file.clone(), line: rule.line, text: rule.text.clone(), how: How::Observed }
}

/// What a connection is told with.
pub(super) struct Around<'a> {
    pub config: &'a Config,
    pub servers: &'a Servers,
    /// What the trace does not show.
    pub blind: Blind,
    /// Now, where it is told because the trace or its process ends; else 0.
    pub now: KtimeNs,
    /// What it waited behind until a thread took it over.
    pub workers: Queued,
    /// Others that came to the same port were served by processes or threads made for them.
    pub gives: bool,
}

/// Tells a story whose check is closed. The texts of its lookups are the connection's then.
pub(super) fn to_connection(ongoing: &mut OpenConnection, around: &Around<'_>) -> Connection {
    let Around { config, servers, blind, now, workers, gives } = *around;
    let clock = &config.clock;
    let over = ongoing.over.as_ref().map_or(ongoing.accepted, |(end, _)| *end);
    let until = until(ongoing, over, blind, now);
    let begin = ongoing.check_begin();
    let (own_before, own_after) =
        (own_lookups(ongoing, (ongoing.accepted, begin)), own_lookups(ongoing, (over, until)));
    if check_unseen(ongoing, blind) {
        ongoing.miss(Missing::ChecksUnseen);
    }
    let lookups = lookups(ongoing, servers, blind);
    let (check_end, divided) =
        ongoing.over.as_ref().map_or((ongoing.accepted, [].as_slice()), |(end, divided)| (*end, &**divided));
    let (outcome, error_code) = outcome(ongoing, gives);
    let ended = ongoing.ended();
    let wrapper_ns = check_end.since(begin);
    let missing = missing(ongoing, outcome, blind);
    let unknown = Wait {
        ongoing,
        check: divided,
        check_end,
        until,
        own_before_ns: own_before,
        own_after_ns: own_after,
        workers,
        missing: &missing,
        blind,
    }
    .unknown();
    let whole = ongoing.seqs.missing() == 0;
    let forced = ongoing.check.forced.as_ref().filter(|_| whole);
    let refused = ongoing.check.returned.map_or(outcome == Outcome::Refused, |(_, ret)| ret == 0);
    let verdict = ongoing.check.verdict_rule(refused).filter(|_| whole && decided(ongoing));
    Connection {
        conn: ongoing.conn,
        within: ongoing.within,
        pid: ongoing.tgid,
        tid: ongoing.tid,
        peer: ongoing.client,
        local: ongoing.local,
        established: ongoing.established.map(|at| clock.wall(at)),
        accepted: clock.wall(ongoing.accepted),
        accepted_ktime: ongoing.accepted,
        outcome,
        error_code,
        client_left: client_left(ongoing, clock),
        queued_ns: ongoing.established.map(|at| ongoing.accepted.since(at)),
        check_at_ns: if wrapper_ns > 0 { begin.since(ongoing.accepted) } else { 0 },
        wrapper_ns,
        parts: parts::parts(divided),
        handover_ns: ongoing.handover.map(|at| at.since(check_end)),
        handover_resolve_ns: workers
            .behind_ns
            .max(ongoing.behind_after.own.sum(None))
            .saturating_add(ongoing.behind_before.own.sum(None)),
        resolve_ns: own_before.saturating_add(own_after),
        queued_resolve_ns: ongoing.behind.own.sum(None),
        waited_ns: until
            .since(ongoing.established.unwrap_or(ongoing.accepted))
            .saturating_sub(ongoing.client_ns()),
        served_behind_ns: ongoing.behind_before.named_ns().saturating_add(ongoing.behind_after.named_ns()),
        greeted_by: ongoing.first_packet.map(|(_, packet)| packet.hdr.tid),
        greeting_ns: ongoing.first_packet.map(|(at, _)| at.since(ongoing.accepted)),
        total_ns: ended.map(|at| {
            at.since(ongoing.established.unwrap_or(ongoing.accepted)).saturating_sub(ongoing.client_ns())
        }),
        held_ns: held_ns(ongoing, outcome),
        service_ns: service_ns(ongoing, check_end),
        queued_behind: ongoing.behind.conns.clone(),
        queued_behind_count: ongoing.behind.count,
        login: login(ongoing),
        checks: checks(ongoing),
        blame: blame(divided, ongoing, servers),
        rule: forced.map(rule_ref),
        verdict_rule: verdict.map(rule_ref),
        lookups,
        files: files(ongoing, check_end),
        other: others(ongoing, check_end),
        complete: missing.is_empty(),
        missing,
        unknown_ns: unknown.iter().fold(0, |sum, part| sum.saturating_add(part.ns)),
        unknown,
    }
}

/// Whether it is known what the check decided.
fn decided(ongoing: &OpenConnection) -> bool {
    ongoing.check.returned.is_some() || ongoing.handover.is_some() || ongoing.ended().is_some()
}

/// What became of a login.
fn login_outcome(login: Option<&abi::Login>) -> (Outcome, Option<u16>) {
    let Some(login) = login else { return (Outcome::Unfinished, None) };
    match LoginEnd::from_raw(login.end) {
        Some(LoginEnd::Ok) => (Outcome::LoggedIn, None),
        Some(LoginEnd::Error) => {
            let [.., low, high] = login.bytes;
            (Outcome::ServerError, Some(u16::from_le_bytes([low, high])))
        }
        Some(LoginEnd::Tls) => (Outcome::Encrypted, None),
        Some(LoginEnd::Closed) => (Outcome::Aborted, None),
        Some(LoginEnd::Asks) | None => (Outcome::Unfinished, None),
    }
}

/// How long a login took.
fn login(ongoing: &OpenConnection) -> Option<Login> {
    let seen = ongoing.login?;
    let (login_ns, client_ns) = (ongoing.answered?.since(ongoing.accepted), ongoing.client_ns());
    Some(Login { login_ns, client_ns, packets: seen.packets })
}

/// What became of a request.
fn answer(ongoing: &OpenConnection) -> Outcome {
    match (ongoing.check.returned, ongoing.answered) {
        (Some((_, 0)), _) => Outcome::Refused,
        (Some(_), _) => Outcome::Admitted,
        (None, Some(_)) => Outcome::LookedUp,
        (None, None) => Outcome::Unfinished,
    }
}

fn outcome(ongoing: &OpenConnection, gives: bool) -> (Outcome, Option<u16>) {
    if ongoing.logs_in {
        return login_outcome(ongoing.login.as_ref());
    }
    if ongoing.birth == Birth::Request {
        return (answer(ongoing), None);
    }
    if ongoing.is_refused() && ongoing.ended().is_some() {
        // Whoever closes it, and whatever it was told before: the one that was asked has said so.
        return (Outcome::Refused, None);
    }
    if gives && is_dropped(ongoing) {
        return (Outcome::Dropped, None);
    }
    if let Some((_, packet)) = &ongoing.first_packet {
        return first_packet(packet);
    }
    let by_accept_thread = [ongoing.shutdown, ongoing.closed]
        .into_iter()
        .flatten()
        .min_by_key(|(_, at)| *at)
        .is_some_and(|(tid, _)| tid == ongoing.checker);
    let denied = ongoing.check.returned.is_none_or(|(_, ret)| ret == 0);
    if by_accept_thread && !ongoing.twisted && ongoing.handover.is_none() && ongoing.is_checked() && denied {
        (Outcome::Refused, None)
    } else if was_handed_over(ongoing) {
        (Outcome::HandedOver, None)
    } else {
        (Outcome::Unfinished, None)
    }
}

/// The accept thread itself answered, without a check, while others get a process or a thread. One that it closed without a word may have been passed to another process.
fn is_dropped(ongoing: &OpenConnection) -> bool {
    let itself = ongoing.first_packet.is_some_and(|(_, packet)| packet.hdr.tid == ongoing.tid);
    itself && ongoing.sure() && ongoing.given.is_none() && ongoing.handover.is_none() && !ongoing.is_checked()
}

/// The accepting process closed the socket as it was, without a check and without a byte: it kept nothing of it because another process has it.
fn was_handed_over(ongoing: &OpenConnection) -> bool {
    let closed = ongoing.closed.is_some_and(|(tid, _)| tid == ongoing.tid) && ongoing.shutdown.is_none();
    // Of a socket that is not known, what the process does that was made for it is not told as its end.
    let given = ongoing.given.is_some() && !ongoing.by_socket;
    let passed =
        ongoing.given.is_none() && ongoing.handover.is_none() && ongoing.client != Some(Client::Unix);
    ongoing.sure() && closed && (given || passed) && !ongoing.twisted && !ongoing.is_checked()
}

/// What libwrap was asked.
fn checks(ongoing: &OpenConnection) -> Vec<CheckCall> {
    let asked = ongoing.check.asked.iter().map(|asked| CheckCall {
        call: if asked.what == abi::WHAT_HOSTS_CTL { "hosts_ctl".into() } else { "hosts_access".into() },
        daemon: asked.daemon.clone(),
        tid: asked.tid,
        at_ns: asked.at.since(ongoing.accepted),
        dur_ns: asked.end.map(|(at, _)| at.since(asked.at)),
        allowed: asked.end.map(|(_, ret)| ret != 0),
    });
    asked.collect()
}

/// How long the socket was kept after libwrap had said no.
fn held_ns(ongoing: &OpenConnection, outcome: Outcome) -> Option<u64> {
    let (said, _) = ongoing.check.returned.filter(|_| outcome == Outcome::Refused && ongoing.is_refused())?;
    ongoing.closed_at().map(|closed| closed.since(said))
}

/// How far the client's wait was seen.
fn until(ongoing: &OpenConnection, check_end: KtimeNs, blind: Blind, now: KtimeNs) -> KtimeNs {
    if ongoing.is_refused() {
        return check_end;
    }
    if let Some(ended) = ongoing.ended().filter(|_| !blind.clients || ongoing.first_packet.is_some()) {
        return ended.max(check_end);
    }
    let seen =
        check_end.max(ongoing.handover.unwrap_or_default()).max(ongoing.lookups_end().unwrap_or_default());
    // Where first packets do not show, it may have been greeted long ago; and a login may wait for its client.
    if blind.clients || ongoing.end_lost || ongoing.logs_in { seen } else { seen.max(now) }
}

fn first_packet(packet: &abi::FirstPacket) -> (Outcome, Option<u16>) {
    let bytes = packet.bytes.get(..usize::from(packet.n)).unwrap_or(&packet.bytes);
    match bytes {
        [_, _, _, _, mysql::ERROR, low, high] => {
            (Outcome::ServerError, Some(u16::from_le_bytes([*low, *high])))
        }
        [_, _, _, _, mysql::ERROR, ..] => (Outcome::ServerError, None),
        _ => (Outcome::Greeted, None),
    }
}

fn client_left(ongoing: &OpenConnection, clock: &ClockPair) -> Option<ClientLeft> {
    let (how, at) = ongoing.left?;
    let before_the_end = ongoing.ended().is_none_or(|ended| at < ended);
    before_the_end.then(|| ClientLeft {
        how,
        at: clock.wall(at),
        after_ns: ongoing.established.map(|established| at.since(established)),
    })
}

/// The server's own lookups before or behind the check. What is still waited for
/// lasts until the wait's end; where they overlap, time counts once.
fn own_lookups(ongoing: &OpenConnection, (start, until): (KtimeNs, KtimeNs)) -> u64 {
    let asks = !ongoing.resolver.lookups.is_empty() || !ongoing.resolver.queries.is_empty();
    if start >= until || !asks {
        return 0;
    }
    // As long as its table is open, the one in the check asks for the check's sake.
    let in_check = |looking: &Looking| {
        let open = ongoing.check.open_table().filter(|_| looking.tid == ongoing.checker);
        open.is_some_and(|table| looking.first >= table.from)
    };
    let mine = |looking: &Looking| {
        !looking.is_anothers(ongoing.client, [ongoing.tid, ongoing.checker]) && !in_check(looking)
    };
    let lookups = ongoing.resolver.lookups.iter().filter(|looking| mine(looking));
    let lookups = lookups.map(|looking| (looking.first, looking.last));
    let counts = |asked: &&Asked| {
        let lookup = ongoing.resolver.lookups.get(asked.lookup);
        lookup.is_none_or(|looking| looking.kind != LookupKind::Ident && mine(looking))
    };
    let waits = ongoing.resolver.queries.iter().filter(counts);
    let waits = waits.map(|asked| (asked.began(), asked.end.at().unwrap_or(until)));
    // Most are the check's, and over when it is.
    let inside = |&(from, to): &(KtimeNs, KtimeNs)| from < until && start < to;
    let mut spans: Vec<(KtimeNs, KtimeNs)> = lookups.chain(waits).filter(inside).collect();
    spans.sort_unstable();
    let mut sum = 0_u64;
    let mut at = start;
    for (from, to) in spans {
        let to = to.min(until);
        sum = sum.saturating_add(to.since(from.max(at)));
        at = at.max(to);
    }
    sum
}

fn service_ns(ongoing: &OpenConnection, check_end: KtimeNs) -> u64 {
    let until = ongoing.ended().map_or(KtimeNs(u64::MAX), |ended| ended.max(check_end).plus(LINGER_NS));
    if let Some((given, _)) = ongoing.given {
        return given.since(ongoing.accepted);
    }
    if !ongoing.holds_accept_thread() {
        return 0;
    }
    match ongoing.next_accept {
        Some((at, true)) if at <= until && !ongoing.late => at.since(ongoing.accepted),
        _ => check_end.since(ongoing.turned_to()),
    }
}

/// Time in its own check, and in others'.
type OwnAndQueued = (u64, u64);

fn blame(divided: &[parts::Span], ongoing: &OpenConnection, servers: &Servers) -> Vec<Blame> {
    let mut all: SmallVec<[(StallCause, Option<ServerId>, OwnAndQueued); 8]> = SmallVec::new();
    let mut add = |cause, server, (own_ns, queued_ns): OwnAndQueued| {
        if own_ns == 0 && queued_ns == 0 {
            return;
        }
        match all.iter_mut().find(|(c, s, _)| *c == cause && *s == server) {
            Some((_, _, (own, queued))) => {
                (*own, *queued) = (own.saturating_add(own_ns), queued.saturating_add(queued_ns));
            }
            None => all.push((cause, server, (own_ns, queued_ns))),
        }
    };
    for span in divided {
        add(span.cause, span.server, (span.ns(), 0));
    }
    let served = ongoing.behind_before.checks.iter().chain(ongoing.behind_after.checks.iter());
    let named = served.filter(|(cause, ..)| *cause != StallCause::Other);
    for (cause, server, ns) in ongoing.behind.checks.iter().chain(named) {
        add(cause, server, (0, ns));
    }
    all.sort_unstable_by_key(|&(cause, server, (own, queued))| {
        (Reverse(own.saturating_add(queued)), cause, server)
    });
    let told = all.into_iter().map(|(cause, server, (own_ns, queued_ns))| Blame {
        cause,
        server: server.filter(|_| cause == StallCause::Dns).map(|server| servers.text(server).clone()),
        own_ns,
        queued_ns,
    });
    told.collect()
}

fn lookups(ongoing: &mut OpenConnection, servers: &Servers, blind: Blind) -> Vec<Lookup> {
    let mut telling = Telling {
        queries: &mut ongoing.resolver.queries,
        seqs: &ongoing.seqs,
        servers,
        accepted: ongoing.accepted,
        accept_tid: ongoing.tid,
        checker: ongoing.checker,
        tcp_answers_unseen: blind.tcp_answers,
    };
    let mut lookups: Vec<Lookup> = ongoing
        .resolver
        .lookups
        .iter_mut()
        .enumerate()
        .map(|(index, looking)| telling.lookup(index, looking))
        .collect();
    lookups.sort_by_key(|lookup| (lookup.at_ns, lookup.thread as u8));
    lookups
}

fn files(ongoing: &OpenConnection, check_end: KtimeNs) -> Vec<FileUse> {
    let files = ongoing.check.files.iter().filter(|file| file.first <= check_end);
    files
        .map(|file| FileUse {
            path: file.path.clone(),
            dur_ns: file.ns,
            reads: file.reads,
            bytes: file.bytes,
            error: file.errno.map(errno_name),
        })
        .collect()
}

fn others(ongoing: &OpenConnection, check_end: KtimeNs) -> Vec<OtherUse> {
    let others = ongoing.check.others.iter().filter(|other| other.matters && other.first <= check_end);
    others.map(|other| OtherUse { what: other.what.to_string(), dur_ns: other.ns }).collect()
}

/// Where libwrap's functions are not seen: no table was, or nothing that shows what was decided, or it was for another client's sake.
fn check_unseen(ongoing: &OpenConnection, blind: Blind) -> bool {
    let anothers = |looking: &Looking| looking.is_anothers(ongoing.client, []);
    let unsure = || !ongoing.check.seen() || ongoing.resolver.lookups.iter().any(anothers);
    // One that is closed at once was refused; of one that is kept nobody knows what for.
    let at_once = |closed: KtimeNs| closed.since(ongoing.check_end()) <= COMPUTING_MAX_NS;
    let decided = ongoing.first_packet.is_some() || ongoing.closed_at().is_some_and(at_once);
    blind.checks && !ongoing.logs_in && (!decided || unsure())
}

fn missing(ongoing: &OpenConnection, outcome: Outcome, blind: Blind) -> Vec<Missing> {
    let mut missing = ongoing.missing.clone();
    missing.extend((outcome == Outcome::HandedOver).then_some(Missing::HandedOver));
    missing.extend(blind.missing());
    match ongoing.seqs.missing() {
        0 => {}
        count => missing.push(Missing::EventsLost { count }),
    }
    missing.extend(ongoing.asker_unseen().then_some(Missing::AskerUnseen));
    missing.extend(ongoing.resolver.asked_unseen().then_some(Missing::QueryUnseen));
    if ongoing.resolver.overflow || ongoing.check.overflow {
        missing.push(Missing::TooManyUses);
    }
    if ongoing.behind.cut || ongoing.behind_before.cut || ongoing.behind_after.cut {
        missing.push(Missing::PastForgotten);
    }
    missing
}
