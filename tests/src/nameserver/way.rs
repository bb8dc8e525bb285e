//! The way back to whoever asked.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Reply, Transport, Wrong};

/// How a reply gets to whoever asked.
#[derive(Clone)]
pub(super) enum Way {
    /// Weak: a late reply must not keep a closed socket open.
    Udp(Weak<UdpSocket>, SocketAddr),
    Tcp(Arc<Mutex<TcpStream>>),
}

impl Way {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Udp(..) => Transport::Udp,
            Self::Tcp(_) => Transport::Tcp,
        }
    }

    pub(super) fn send(&self, address: IpAddr, reply: &Reply, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(_, client) if reply.wrong == Some(Wrong::Source) => {
                UdpSocket::bind((address, 0))?.send_to(bytes, client)?;
            }
            Self::Udp(socket, client) => {
                let socket = socket.upgrade().ok_or(io::ErrorKind::NotConnected)?;
                socket.send_to(bytes, client)?;
            }
            Self::Tcp(stream) => {
                let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
                let framed = [&len.to_be_bytes(), bytes].concat();
                stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(&framed)?;
            }
        }
        Ok(())
    }
}
