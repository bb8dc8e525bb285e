//! Taking events: who they belong to.

use wrapwatch_common::maps::{thread_key, watch_key};
use wrapwatch_common::records as abi;

use crate::decode::Event;
use crate::decode::addr::{client, is_unix, socket_addr};
use crate::model::{Client, KtimeNs, Missing};

use super::check::PathKind;
use super::handshakes::{Found, Handshake, Step, Wanted, step};
use super::open_connection::{Birth, OpenConnection};
use super::{Correlator, Listener, TWIST_NS};

impl Correlator {
    /// Takes an event.
    pub fn push(&mut self, event: &Event<'_>) {
        self.stats.events += 1;
        let at = KtimeNs(event.header().ts_ns);
        self.run_delay(event);
        match event {
            Event::SockState(rec) => self.sock_state(rec),
            Event::SockError(rec) => self.sock_error(rec),
            Event::Accept(rec) => {
                self.accept(&rec.hdr, rec.fd, |this, ongoing| this.identify(ongoing, rec));
            }
            Event::AcceptSocket(rec) => {
                self.accept(&rec.hdr, rec.fd, |this, ongoing| this.identify_socket(ongoing, rec));
            }
            Event::Exec(rec) => {
                self.twisted(rec);
                self.process_gone(rec.hdr.tgid, Missing::ServerReplaced);
            }
            Event::Subject(rec) => self.request(rec),
            // There was no room for it.
            Event::Request(rec, _) if rec.hdr.conn == 0 => {
                self.stats.unowned_checks += 1;
                self.unowned_check_begins(&rec.hdr);
            }
            Event::Check(rec)
                if rec.hdr.conn == 0 && rec.returned != 0 && rec.what == abi::WHAT_HOSTS_ACCESS =>
            {
                self.unowned_check_ends(&rec.hdr);
            }
            // Of no connection.
            Event::AcceptFailed(_) => {}
            Event::Exit(rec) if rec.leader != 0 => self.leader_gone(rec),
            Event::Exit(rec) => self.thread_gone(rec),
            _ => self.connection_event(event),
        }
        self.advance(at);
    }

    /// Records at the ends of waits carry the scheduler's count.
    fn run_delay(&mut self, event: &Event<'_>) {
        let total_ns = match event {
            Event::Connect(rec, _) => rec.run_delay_ns,
            Event::Send(rec, _) | Event::Recv(rec, _) => rec.run_delay_ns,
            Event::Close(rec) => rec.run_delay_ns,
            _ => 0,
        };
        if total_ns > 0 {
            let hdr = event.header();
            self.note_run_delay(hdr.tgid, hdr.tid, KtimeNs(hdr.ts_ns), total_ns);
        }
    }

    /// An ICMP error is of a server, not of a query: it may be for any that waits for this server. Which one it ended the wait of, what its thread does next
    /// tells ([`super::asked::Asked::outcome`]).
    fn sock_error(&mut self, rec: &abi::SockError) {
        let Some(server) = socket_addr(&rec.peer) else { return };
        let (server, at) = (self.shared.servers.ip(server), KtimeNs(rec.hdr.ts_ns));
        let waiting = self.open.values().filter_map(|ongoing| ongoing.resolver.latest_to(server, at));
        // Most come at once.
        let Some(last) = waiting.max() else { return };
        for ongoing in self.open.values_mut() {
            ongoing.resolver.refused(server, last, at);
        }
    }

    fn sock_state(&mut self, rec: &abi::SockState) {
        let at = KtimeNs(rec.hdr.ts_ns);
        match step(rec.old, rec.new) {
            Step::Established => {
                self.socks.remove(&rec.sk);
                if self.may_be_ours(rec.netns) {
                    self.handshakes.establish(rec);
                }
            }
            Step::Left(how) => match self.socks.get(&rec.sk).and_then(|conn| self.open.get_mut(conn)) {
                Some(ongoing) => ongoing.note_left(how, at),
                None => self.handshakes.left(rec.sk, how, at),
            },
            Step::ServerClosed => self.handshakes.remove(rec.sk),
            Step::Nothing => {}
        }
    }

    /// Whether a socket of this namespace can be one of a target's.
    fn may_be_ours(&self, netns: u32) -> bool {
        let mut ours = self.shared.targets.values().map(|target| target.info.netns);
        netns == 0 || self.shared.targets.is_empty() || ours.any(|ours| ours == 0 || ours == netns)
    }

    fn accept(&mut self, hdr: &abi::Header, fd: i32, identify: impl FnOnce(&mut Self, &mut OpenConnection)) {
        if hdr.conn == 0 {
            self.stats.strays += 1;
            return;
        }
        self.stats.accepts += 1;
        let at = KtimeNs(hdr.ts_ns);
        self.end_unseen(hdr.conn, Missing::NumberReused);
        self.make_room();
        let new = || OpenConnection::new(hdr.conn, hdr.tgid, hdr.tid, fd, Birth::Accept, at);
        let mut ongoing = match self.spare.pop() {
            Some(mut place) => {
                place.becomes(new);
                place
            }
            None => Box::new(new()),
        };
        if self.skipped_until.is_some_and(|until| at <= until) {
            ongoing.miss(Missing::CallsSkipped);
        }
        ongoing.seqs.insert(hdr.seq);
        identify(self, &mut ongoing);
        self.hold(&mut ongoing);
        if ongoing.sk != 0 {
            self.socks.insert(ongoing.sk, ongoing.conn);
        }
        let same_fd = self.fds.insert(watch_key(ongoing.process, fd), hdr.conn);
        self.open.insert(hdr.conn, ongoing);
        // One that has ended waits only to be told; its number is free for others, as is that of one which another process has now.
        let has_it = |ongoing: &OpenConnection| !ongoing.is_told() && ongoing.given.is_none();
        if let Some(old) = same_fd.filter(|old| self.open.get(old).is_some_and(|ongoing| has_it(ongoing))) {
            self.end_unseen(old, Missing::EndUnseen);
        }
    }

    /// Tells a connection that cannot go on any more.
    pub(super) fn end_unseen(&mut self, conn: u64, why: Missing) {
        if let Some(ongoing) = self.open.get_mut(&conn) {
            if !ongoing.is_told() {
                ongoing.miss(why);
            }
            self.conclude(conn, false);
        }
    }

    pub(super) fn make_room(&mut self) {
        if self.open.len() < self.shared.limits.open.max(1) {
            return;
        }
        let oldest = self.open.values().map(|ongoing| (ongoing.accepted, ongoing.conn)).min();
        if let Some((_, oldest)) = oldest {
            self.stats.evicted += 1;
            self.end_unseen(oldest, Missing::TooManyOpen);
        }
    }

    /// The socket says who the client is, and its handshake is its own.
    fn identify_socket(&mut self, ongoing: &mut OpenConnection, rec: &abi::AcceptSocket) {
        // 0: an import, in which no socket is known by its place.
        // Of a unix socket no end is told but the acceptor's own close.
        (ongoing.sk, ongoing.by_socket) = (rec.sk, rec.sk != 0 && !is_unix(&rec.peer));
        (ongoing.local, ongoing.process) = (socket_addr(&rec.local), rec.process);
        ongoing.client = client(&rec.peer);
        if ongoing.client.is_none() {
            ongoing.miss(Missing::PeerUnseen);
        }
        match self.handshakes.take_socket(rec.sk) {
            Some(handshake) if ongoing.client == Some(handshake.peer) => self.completed(ongoing, &handshake),
            // Of a socket that was at the same place before.
            _ if self.sees_queue_of(ongoing) => ongoing.miss(Missing::HandshakeUnseen),
            _ => {}
        }
    }

    /// Whether it shows when a client like this one comes into the accept queue.
    pub(super) fn sees_queue_of(&self, ongoing: &OpenConnection) -> bool {
        if ongoing.client != Some(Client::Unix) {
            return self.config.sees_handshakes;
        }
        let target = self.shared.targets.get(&ongoing.tgid).map(|target| target.blind);
        // An import knows no socket by its place, nor do traces of earlier versions know a unix one's.
        ongoing.sk != 0 && !self.shared.blind.and(target.unwrap_or_default()).local_queues
    }

    /// When the handshake was completed, and whether the client left before it was accepted.
    fn completed(&self, ongoing: &mut OpenConnection, handshake: &Handshake) {
        ongoing.established = Some(handshake.at.min(ongoing.accepted));
        if self.states_lost_at.is_some_and(|lost_at| lost_at >= handshake.at) {
            ongoing.miss(Missing::StatesLost);
        }
        if let Some((how, at)) = handshake.left {
            ongoing.note_left(how, at);
        }
    }

    /// Finds out who the client is and when its handshake was completed, by its ends.
    fn identify(&mut self, ongoing: &mut OpenConnection, rec: &abi::Accept) {
        let target = self.shared.targets.get(&ongoing.tgid);
        let listener = target.and_then(|target| target.info.listeners.get(&rec.listener)).copied();
        if let Some(Listener::Tcp(addr)) = listener
            && !addr.ip().is_unspecified()
        {
            ongoing.local = Some(addr);
        }
        let Some(peer) = socket_addr(&rec.peer) else {
            if is_unix(&rec.peer) || listener == Some(Listener::Unix) {
                ongoing.client = Some(Client::Unix);
            } else {
                ongoing.miss(Missing::PeerUnseen);
            }
            return;
        };
        ongoing.client = Some(Client::Ip(peer));
        let port = match listener {
            Some(Listener::Tcp(addr)) => Some(addr.port()),
            _ => None,
        };
        let netns = target.map_or(0, |target| target.info.netns);
        match self.handshakes.take(&Wanted { peer, port, netns }) {
            Found::One(handshake) => {
                ongoing.local = handshake.local;
                ongoing.sk = handshake.sk;
                self.completed(ongoing, &handshake);
            }
            Found::Ambiguous => {
                ongoing.miss(Missing::HandshakeAmbiguous);
            }
            Found::None if self.config.sees_handshakes => ongoing.miss(Missing::HandshakeUnseen),
            Found::None => {}
        }
    }

    fn connection_event(&mut self, event: &Event<'_>) {
        let hdr = event.header();
        // Nearly all are of a connection that is open and goes on: found once, and nothing to schedule.
        if let Some(ongoing) = self.open.get_mut(&hdr.conn) {
            ongoing.take(event, &mut self.shared);
            let begins = ongoing.begins.take();
            if ongoing.is_told() {
                self.schedule(hdr.conn);
            } else if ongoing.birth == Birth::Request
                && let Some(due) = ongoing.due.take()
            {
                // Another name is looked up.
                self.due.remove(due, hdr.conn);
            }
            if let Some(at) = begins {
                self.check_begins(hdr.conn, at);
            }
        } else if self.adopt_orphan(event) {
            self.connection_event(event);
        } else {
            self.stats.strays += 1;
        }
    }

    /// A numbered record of a connection nobody knows: its accept was lost. It is followed where it holds an accept thread.
    fn adopt_orphan(&mut self, event: &Event<'_>) -> bool {
        let hdr = *event.header();
        if hdr.conn == 0 || hdr.seq == 0 {
            return false;
        }
        let key = thread_key(hdr.tgid, hdr.tid);
        let in_check = match event {
            Event::Open(_, path) => self.shared.path(hdr.tgid, path).1.is_table(),
            Event::Check(_) => true,
            _ => false,
        };
        let accepts = self.threads.contains_key(&key) || in_check;
        if !accepts || matches!(event, Event::FirstPacket(_) | Event::Close(_) | Event::Shutdown(_)) {
            return false;
        }
        self.make_room();
        self.thread(key);
        let mut ongoing =
            OpenConnection::new(hdr.conn, hdr.tgid, hdr.tid, -1, Birth::Orphan, KtimeNs(hdr.ts_ns));
        let last = self.threads.get(&key).and_then(|thread| thread.current);
        self.hold(&mut ongoing);
        if let Some(last) = last.and_then(|last| self.open.get_mut(&last)) {
            last.next_accept = None;
            last.miss(Missing::NextAcceptLost);
        }
        if let Some(thread) = self.threads.get_mut(&key) {
            thread.lost_accept = true;
        }
        self.open.insert(hdr.conn, Box::new(ongoing));
        true
    }

    /// The process ends, or another thread has called `execve`, which ends all but that one first. What may be a `twist` of another thread waits for
    /// the `execve`.
    fn leader_gone(&mut self, rec: &abi::Exit) {
        let hdr = &rec.hdr;
        let waits = |ongoing: &OpenConnection| {
            ongoing.tid != hdr.tid && ongoing.first_packet.is_none() && ongoing.handover.is_none()
        };
        self.process_gone_but(hdr.tgid, Missing::ServerEnded, waits);
        let due = KtimeNs(hdr.ts_ns).plus(TWIST_NS);
        for ongoing in self.open.values_mut().filter(|ongoing| ongoing.tgid == hdr.tgid && !ongoing.is_told())
        {
            ongoing.leader_gone = true;
            if let Some(old) = ongoing.due.replace(due) {
                self.due.remove(old, ongoing.conn);
            }
            self.due.insert(due, ongoing.conn);
        }
    }

    fn thread_gone(&mut self, rec: &abi::Exit) {
        let Some(ongoing) = self.open.get_mut(&rec.hdr.conn).filter(|ongoing| ongoing.tid != rec.hdr.tid)
        else {
            return;
        };
        ongoing.seqs.insert(rec.hdr.seq);
        if !ongoing.is_told() {
            ongoing.miss(Missing::ThreadEnded);
            ongoing.closed = Some((rec.hdr.tid, KtimeNs(rec.hdr.ts_ns)));
        }
        self.schedule(rec.hdr.conn);
    }

    /// The thread that calls `execve` in a check is libwrap's `twist`: it has moved the client's socket to descriptors 0 to 2 and closed it, which
    /// looks like a refusal, but it is the other program that serves the client.
    fn twisted(&mut self, rec: &abi::Exec) {
        let thread = self.threads.get(&thread_key(rec.hdr.tgid, rec.hdr.tid));
        let Some(ongoing) = thread.and_then(|thread| self.open.get_mut(&thread.current?)) else { return };
        if ongoing.first_packet.is_none() && ongoing.handover.is_none() {
            ongoing.twisted = true;
            ongoing.miss(Missing::ServerReplaced);
        }
    }

    /// Records were lost of the kind that an `execve` is: what looks like a refusal may have been a `twist`.
    pub(super) fn execs_lost(&mut self) {
        for ongoing in self.open.values_mut().filter(|ongoing| ongoing.may_be_twisted()) {
            ongoing.miss(Missing::TwistUnseen);
        }
    }

    pub(super) fn process_gone(&mut self, tgid: u32, why: Missing) {
        self.process_gone_but(tgid, why, |_| false);
    }

    /// The same, but for the stories that are `kept` and their accept threads.
    fn process_gone_but(&mut self, tgid: u32, why: Missing, kept: impl Fn(&OpenConnection) -> bool) {
        let mut gone: Vec<(KtimeNs, u64)> = self
            .open
            .values()
            .filter(|ongoing| ongoing.tgid == tgid && !kept(ongoing))
            .map(|ongoing| (ongoing.accepted, ongoing.conn))
            .collect();
        gone.sort_unstable();
        for (_, conn) in gone {
            if let Some(ongoing) = self.open.get_mut(&conn)
                && !ongoing.is_told()
            {
                ongoing.leader_gone = false;
                ongoing.miss(why);
            }
            self.conclude(conn, true);
        }
        // Of this process, only what was kept is open still.
        let open = &self.open;
        self.threads.retain(|key, thread| {
            key >> 32 != u64::from(tgid) || thread.current.is_some_and(|conn| open.contains_key(&conn))
        });
        self.shared.unix.forget(tgid);
    }

    /// What a path is to a target.
    pub(super) fn path_kind(&mut self, tgid: u32, path: &str) -> (std::sync::Arc<str>, PathKind) {
        self.shared.path(tgid, path.as_bytes())
    }
}
