//! One query to a nameserver: the PTR record of an address, over UDP, once.
//!
//! That is the question a wrapper check asks first. Of the nameserver's own address it reveals nothing, and every nameserver can say something to it; of a
//! client it is the server's own. Runs in the network namespace of the calling thread: see [`super::netns::within`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use domain::base::{MessageBuilder, ToName, iana::Rtype};

use crate::{decode::dns, model::QueryOutcome};

/// How long an answer may take. Shorter than any resolver waits, so a nameserver called silent here may still answer later.
pub const PATIENCE: Duration = Duration::from_secs(1);
const PORT: u16 = 53;

/// What became of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name asked for.
    pub name: String,
    /// What came of it.
    pub outcome: QueryOutcome,
    /// Time to the answer.
    pub rtt: Option<Duration>,
    /// Response code of the answer.
    pub rcode: Option<String>,
    /// Whether the answer has a name; none where it does not say: it was cut short, or the nameserver failed.
    pub found: Option<bool>,
    /// The network's word.
    pub error: Option<String>,
}

/// Asks each server for the name of an address, side by side: a thread each. Answers in the same order.
pub fn ask_all(questions: &[(IpAddr, IpAddr)]) -> Vec<Asked> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = questions
            .iter()
            // A new thread is in its maker's network namespace. Where none can be had, that question was not asked.
            .map(|&(server, of)| {
                let server = SocketAddr::new(server, PORT);
                std::thread::Builder::new().spawn_scoped(scope, move || ask(server, of, PATIENCE))
            })
            .collect();
        asking
            .into_iter()
            .zip(questions)
            .map(|(thread, &(_, of))| match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(asked)) => asked,
                Ok(Err(_)) | Err(_) => failed(of, "the query failed"),
            })
            .collect()
    })
}

fn failed(of: IpAddr, why: &str) -> Asked {
    let error = Some(why.to_owned());
    Asked {
        name: dns::name_text(&dns::reverse_name(of)),
        outcome: QueryOutcome::Unseen,
        rtt: None,
        rcode: None,
        found: None,
        error,
    }
}

fn ask(server: SocketAddr, of: IpAddr, patience: Duration) -> Asked {
    let name = dns::reverse_name(of);
    let mut asked = Asked {
        name: dns::name_text(&name),
        outcome: QueryOutcome::Timeout,
        rtt: None,
        rcode: None,
        found: None,
        error: None,
    };
    let id = u16::try_from(u64::from(std::process::id()) & 0xffff).unwrap_or(1) | 1;
    let Some(bytes) = query(id, &name) else { return failed(of, "the address makes no name") };
    match exchange(server, &bytes, id, patience) {
        Ok(Some((rtt, rcode, found))) => {
            asked.outcome = QueryOutcome::Answered;
            asked.rtt = Some(rtt);
            asked.found = found;
            asked.rcode = Some(dns::rcode_text(rcode).into_owned());
        }
        Ok(None) => {}
        Err(error) => {
            asked.outcome = QueryOutcome::Unreachable;
            asked.error = Some(in_words(&error));
        }
    }
    asked
}

fn query(id: u16, name: &impl ToName) -> Option<Vec<u8>> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut questions = message.question();
    questions.push((name, Rtype::PTR)).ok()?;
    Some(questions.finish())
}

/// Sends and waits; time and response code of the answer and whether it has a name, None where none came in time.
fn exchange(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    patience: Duration,
) -> io::Result<Option<(Duration, u8, Option<bool>)>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Connected, so that ICMP errors come back and answers from elsewhere do not.
    socket.connect(server)?;
    let began = Instant::now();
    socket.send(query)?;
    let mut buffer = [0; 4096];
    loop {
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let rtt = began.elapsed();
                let message = buffer.get(..len).and_then(dns::parse);
                if let Some(message) = message.filter(|message| message.response && message.id == id) {
                    return Ok(Some((rtt, message.rcode, has_name(&message))));
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether an answer has a name, where it says that.
fn has_name(message: &dns::Message) -> Option<bool> {
    let says = matches!(dns::rcode_text(message.rcode).as_ref(), "NOERROR" | "NXDOMAIN");
    (says && (message.has_answer || !message.truncated)).then_some(message.has_answer)
}

/// The errors that mean something to whoever runs a network.
fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "nothing listens on port 53 there (ICMP port unreachable)".to_owned(),
        Some(libc::EHOSTUNREACH) => "host unreachable".to_owned(),
        Some(libc::ENETUNREACH) => "no route to it".to_owned(),
        Some(libc::EACCES | libc::EPERM) => "forbidden by a firewall here, or a rule".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    /// Who answers may have to wait for a CPU.
    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn an_answer_is_told_from_strays_before_it() {
        let server = UdpSocket::bind((HERE, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (len, client) = server.recv_from(&mut buffer).unwrap();
            let query = dns::parse(&buffer[..len]).unwrap();
            assert_eq!(
                query.question.unwrap(),
                dns::Question { name: "1.0.0.127.in-addr.arpa".into(), qtype: dns::PTR }
            );
            server.send_to(b"garbage", client).unwrap();
            // Its own query back is no answer.
            server.send_to(&buffer[..len], client).unwrap();
            let mut answer = buffer[..len].to_vec();
            answer[2] |= 0x80;
            answer[3] = 5;
            server.send_to(&answer, client).unwrap();
        });
        let asked = ask(address, HERE, LONG);
        serving.join().unwrap();
        assert_eq!((asked.outcome, asked.rcode.as_deref()), (QueryOutcome::Answered, Some("REFUSED")));
        assert!(asked.rtt.unwrap() < LONG);
    }

    #[test]
    fn what_an_answer_does_not_say_is_not_known() {
        const TRUNCATED: u8 = 2;
        for (flags, rcode, found) in
            [(0, 0, Some(false)), (0, 3, Some(false)), (TRUNCATED, 0, None), (0, 2, None), (0, 5, None)]
        {
            let server = UdpSocket::bind((HERE, 0)).unwrap();
            let address = server.local_addr().unwrap();
            let serving = std::thread::spawn(move || {
                let mut buffer = [0; 512];
                let (len, client) = server.recv_from(&mut buffer).unwrap();
                buffer[2] |= 0x80 | flags;
                buffer[3] = rcode;
                server.send_to(&buffer[..len], client).unwrap();
            });
            let asked = ask(address, HERE, LONG);
            serving.join().unwrap();
            assert_eq!((asked.outcome, asked.found), (QueryOutcome::Answered, found), "{flags} {rcode}");
        }
    }

    #[test]
    fn nobody_there_is_told_from_silence() {
        let silent = UdpSocket::bind((HERE, 0)).unwrap();
        let address = silent.local_addr().unwrap();
        let asked = ask(address, HERE, PATIENCE);
        assert_eq!((asked.outcome, asked.error), (QueryOutcome::Timeout, None));
        drop(silent);
        let asked = ask(address, HERE, LONG);
        assert_eq!(asked.outcome, QueryOutcome::Unreachable);
        assert!(asked.error.unwrap().contains("nothing listens"));
    }
}
