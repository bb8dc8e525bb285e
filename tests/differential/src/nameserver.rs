//! Nameservers that answer, keep silent or answer late, in threads of the process that asks them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use crate::resolver::{Nameserver, Question};

/// What nameservers were asked: their address, name, type.
pub type Seen = Arc<Mutex<Vec<(String, String, u16)>>>;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

/// The question section's name and type.
fn question_of(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*message.get(at)?);
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?).into_owned());
        at += 1 + len;
    }
    let qtype = u16::from_be_bytes([*message.get(at + 1)?, *message.get(at + 2)?]);
    Some((labels.join("."), qtype, at + 5))
}

/// An answer with one record, or with a code.
fn reply(message: &[u8], end: usize, record: Option<(u16, Vec<u8>)>, rcode: u8) -> Vec<u8> {
    let mut out = message.get(..end).unwrap_or_default().to_vec();
    out[2] = 0x81;
    out[3] = 0x80 | rcode;
    out[6..12].copy_from_slice(&[0, u8::from(record.is_some()), 0, 0, 0, 0]);
    if let Some((rtype, data)) = record {
        out.extend([0xc0, 12]);
        out.extend(rtype.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend(data);
    }
    out
}

fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend(label.bytes());
    }
    out.push(0);
    out
}

/// Answers until the process ends.
fn serve(socket: &UdpSocket, address: &str, behaviour: Nameserver, question: &Question, seen: &Seen) {
    let client: Option<IpAddr> = question.client.parse().ok();
    let mut buffer = [0; 1500];
    let mut asked: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let message = &buffer[..len];
        let Some((name, qtype, end)) = question_of(message) else { continue };
        if let Ok(mut seen) = seen.lock() {
            seen.push((address.to_owned(), name.clone(), qtype));
        }
        let record = match (qtype, client) {
            (PTR, _) => Some((PTR, encode(&question.name))),
            (A, Some(IpAddr::V4(v4))) => Some((A, v4.octets().to_vec())),
            (AAAA, Some(IpAddr::V6(v6))) => Some((AAAA, v6.octets().to_vec())),
            _ => None,
        };
        let answer = match behaviour {
            Nameserver::Answers => reply(message, end, record, 0),
            Nameserver::PtrOnly if qtype == PTR => reply(message, end, record, 0),
            Nameserver::NoSuchName => reply(message, end, None, 3),
            Nameserver::LastMoment { query, after_ms } => {
                let count = asked.entry(name.clone()).or_default();
                *count += 1;
                if *count < query {
                    continue;
                }
                *count = 0;
                // The delay is what this nameserver is for; nobody asks it anything meanwhile.
                std::thread::sleep(std::time::Duration::from_millis(after_ms));
                if qtype == PTR { reply(message, end, record, 0) } else { reply(message, end, None, 3) }
            }
            _ => continue,
        };
        let _ = socket.send_to(&answer, from);
    }
}

/// Starts all of a question's; their threads end with the process.
pub fn start(question: &Question) -> Result<Seen, Box<dyn std::error::Error>> {
    let seen = Seen::default();
    for (address, behaviour) in &question.nameservers {
        if *behaviour == Nameserver::Refuses {
            continue;
        }
        let socket = UdpSocket::bind(SocketAddr::new(address.parse()?, 53))?;
        let (address, behaviour, question, seen) =
            (address.clone(), *behaviour, question.clone(), Arc::clone(&seen));
        std::thread::spawn(move || serve(&socket, &address, behaviour, &question, &seen));
    }
    Ok(seen)
}
