//! A real MariaDB with the preloaded libwrap, and one client of it.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt::Linger,
};

use super::{Server, nameserver::CLIENT};
use crate::{
    processor, site,
    tests::mariadb::{self, PORT},
    work::Work,
};

/// A rule of addresses only, and one that asks for names.
const ADDRESSES: &str = "ALL: 127.\n";
/// LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION; packets of 16 MiB; the character set utf8.
const LOGIN: [u8; 9] = [0x01, 0x82, 0, 0, 0, 0, 0, 1, 33];
const COM_QUERY: u8 = 3;
/// First byte of an answer: all is well; an error.
const OK: u8 = 0;
const ERROR: u8 = 0xff;
/// First byte of the end of columns and of rows; such a packet is short.
const END: (u8, usize) = (0xfe, 9);
const TABLE: [&str; 3] = [
    "create database plain",
    "create table plain.t (id int primary key, text char(60))",
    "insert into plain.t select seq, repeat('t', 60) from plain.seq_1_to_1000",
];
const POINT_SELECT: &str = "select text from plain.t where id = 500";

/// The server, and a client that stays.
pub(super) struct MariaDb {
    server: mariadb::Server,
    client: Client,
}

impl MariaDb {
    /// Starts it and makes a table in it.
    pub(super) fn start() -> Result<Self> {
        // Inherited by all of its threads; the client is one of this program's.
        processor::schedule(libc::SCHED_BATCH)?;
        let server = mariadb::start()?;
        let mut client = Client::greeted()?;
        client.log_in()?;
        for sql in TABLE {
            client.query(sql)?;
        }
        Ok(Self { server, client })
    }

    fn connection(allow: &str, times: u32) -> Result<()> {
        site::tables(allow, site::DENY)?;
        for _ in 0..times {
            Client::greeted()?.reset()?;
        }
        Ok(())
    }
}

impl Server for MariaDb {
    const PREFIX: &'static str = "mariadb-";
    const WITH_OTHERS: bool = false;
    const SLOWER: u32 = 3;

    fn pid(&self) -> u32 {
        self.server.0.id()
    }

    fn work(&mut self, work: Work, times: u32) -> Result<Option<u64>> {
        match work {
            Work::Query => (0..times).try_for_each(|_| self.client.query(POINT_SELECT))?,
            Work::Connection => Self::connection(ADDRESSES, times)?,
            Work::ConnectionLookups => Self::connection(site::ALLOW, times)?,
        }
        Ok(None)
    }
}

/// A client, by the MySQL protocol.
struct Client {
    stream: TcpStream,
    packet: Vec<u8>,
}

impl Client {
    /// Connects and waits for the greeting.
    fn greeted() -> Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(CLIENT, 0)))?;
        connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT)))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        let mut client = Self { stream, packet: Vec::new() };
        client.read()?;
        Ok(client)
    }

    /// Leaves with a reset, so that nothing is left in TIME_WAIT.
    fn reset(self) -> Result<()> {
        Ok(setsockopt(&self.stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?)
    }

    fn log_in(&mut self) -> Result<()> {
        let mut login = LOGIN.to_vec();
        login.extend([0; 23]);
        // Without a password.
        login.extend(b"root\0\0");
        self.write(1, &login)?;
        self.read()?;
        self.is(OK)
    }

    /// Asks, and reads the whole answer: none, or columns and rows.
    fn query(&mut self, sql: &str) -> Result<()> {
        let mut command = vec![COM_QUERY];
        command.extend(sql.as_bytes());
        self.write(0, &command)?;
        self.read()?;
        if self.is(OK).is_ok() {
            return Ok(());
        }
        for _ in ["columns", "rows"] {
            while !(self.packet.first() == Some(&END.0) && self.packet.len() < END.1) {
                ensure!(self.packet.first() != Some(&ERROR), "{sql}: {}", self.text());
                self.read()?;
            }
            self.packet.clear();
            self.packet.push(OK);
        }
        Ok(())
    }

    fn is(&self, wanted: u8) -> Result<()> {
        ensure!(self.packet.first() == Some(&wanted), "MariaDB said {}", self.text());
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.packet).into_owned()
    }

    fn write(&mut self, number: u8, payload: &[u8]) -> Result<()> {
        let [first, second, third, _] = u32::try_from(payload.len())?.to_le_bytes();
        let packet = [&[first, second, third, number], payload].concat();
        Ok(self.stream.write_all(&packet)?)
    }

    fn read(&mut self) -> Result<()> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).context("no answer")?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        self.packet.resize(usize::try_from(length)?, 0);
        Ok(self.stream.read_exact(&mut self.packet)?)
    }
}
