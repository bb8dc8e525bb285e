//! Clients that are looked up, or about whom libwrap is asked, otherwise than when they connect: senders of datagrams, of requests within a connection, logins.

use std::collections::{HashMap, VecDeque};

use wrapwatch_common::maps::thread_key;
use wrapwatch_common::records as abi;

use crate::decode::addr::socket_addr;
use crate::model::{Client, KtimeNs, Missing};

use super::Correlator;
use super::open_connection::{Birth, OpenConnection};

/// Clients of the connections told last that a process or a thread of its own serves: a login may take minutes.
#[derive(Debug, Default)]
pub(super) struct Past {
    clients: HashMap<u64, Client>,
    oldest_first: VecDeque<u64>,
}

impl Past {
    /// A connection's story is over.
    pub(super) fn remember(&mut self, ongoing: &OpenConnection, limit: usize) {
        let Some(client) = ongoing.client.filter(|_| ongoing.may_ask_later()) else { return };
        if self.oldest_first.len() >= limit.max(1)
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.clients.remove(&oldest);
        }
        if self.clients.insert(ongoing.conn, client).is_none() {
            self.oldest_first.push_back(ongoing.conn);
        }
    }

    fn client(&self, conn: u64) -> Option<Client> {
        self.clients.get(&conn).copied()
    }
}

impl OpenConnection {
    /// Whether a process that was made for it goes on, whose later lookups the kernel side tells.
    fn may_ask_later(&self) -> bool {
        self.given.is_some() || self.process != self.tgid
    }
}

impl Correlator {
    /// A request begins, as far as is seen.
    pub(super) fn request(&mut self, rec: &abi::Subject) {
        if rec.hdr.conn == 0 {
            self.stats.strays += 1;
            return;
        }
        let at = KtimeNs(rec.hdr.ts_ns);
        self.end_unseen(rec.hdr.conn, Missing::NumberReused);
        self.make_room();
        let hdr = &rec.hdr;
        let mut ongoing = Box::new(OpenConnection::new(hdr.conn, hdr.tgid, hdr.tid, -1, Birth::Request, at));
        ongoing.seqs.insert(hdr.seq);
        ongoing.logs_in = rec.why == abi::SUBJECT_LOGS_IN;
        self.whose(&mut ongoing, rec);
        if !ongoing.logs_in {
            self.turn_to_request(&ongoing);
        }
        self.open.insert(hdr.conn, ongoing);
    }

    /// Who made it, and on which connection: the one that its process was made for, unless libwrap is told another address.
    fn whose(&self, ongoing: &mut OpenConnection, rec: &abi::Subject) {
        let open = self.open.get(&rec.within);
        let known = open.map_or_else(|| self.past.client(rec.within), |open| open.client);
        let named = socket_addr(&rec.peer).map(Client::Ip);
        ongoing.client = named.or(known);
        if rec.within != 0 && (known.is_none() || known == ongoing.client) {
            ongoing.within = Some(rec.within);
        } else {
            ongoing.miss(Missing::ArrivalUnseen);
        }
        if ongoing.client.is_none() {
            ongoing.miss(Missing::PeerUnseen);
        }
    }

    /// A thread that serves all turns to it: whom it accepts afterwards waits behind it.
    fn turn_to_request(&mut self, ongoing: &OpenConnection) {
        let key = thread_key(ongoing.tgid, ongoing.tid);
        if ongoing.within.is_none() {
            // It may not have accepted anybody yet.
            self.thread(key);
            self.threads.entry(key).or_default();
        }
        let Some(thread) = self.threads.get_mut(&key) else { return };
        thread.turned = ongoing.accepted;
        if let Some(last) = thread.current.replace(ongoing.conn) {
            self.leave(key, last);
        }
    }
}
