//! As much of the MySQL client/server protocol as the clients need (MariaDB documentation, "Clients & Utilities → Client/Server
//! Protocol"): packets, the greeting, errors, a login without a password, a text query's first column.

use std::io::{self, Read, Write};

/// First payload byte of an error packet, and of a greeting (protocol version 10).
const ERROR: u8 = 0xff;
const GREETING: u8 = 10;
/// First payload byte of an end-of-rows packet, which is shorter than 9 bytes.
const EOF: u8 = 0xfe;
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
/// LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION.
const CAPABILITIES: u32 = 1 | 0x200 | 0x8000;
/// CONNECT_WITH_DB
const WITH_DATABASE: u32 = 8;
const UTF8: u8 = 33;

/// Payload of one packet.
pub(super) struct Packet(pub(super) Vec<u8>);

/// What the first packet was.
pub(super) enum First {
    Greeting { version: String, connection_id: u32 },
    Error { code: u16, text: String },
    Unknown,
}

impl Packet {
    /// Reads the rest of a packet whose first header byte is there already.
    pub(super) fn read_after(first: u8, stream: &mut impl Read) -> io::Result<Self> {
        let mut rest = [0; 3];
        stream.read_exact(&mut rest)?;
        let len = u32::from_le_bytes([first, rest[0], rest[1], 0]);
        let mut payload = vec![0; len as usize];
        stream.read_exact(&mut payload)?;
        Ok(Self(payload))
    }

    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut first = [0];
        stream.read_exact(&mut first)?;
        Self::read_after(first[0], stream)
    }

    pub(super) fn first(&self) -> First {
        match self.0.first() {
            Some(&ERROR) => self.error(),
            Some(&GREETING) => self.greeting().unwrap_or(First::Unknown),
            _ => First::Unknown,
        }
    }

    fn greeting(&self) -> Option<First> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let version = String::from_utf8_lossy(self.0.get(1..end)?).into_owned();
        let id = self.0.get(end + 1..end + 5)?;
        Some(First::Greeting { version, connection_id: u32::from_le_bytes(id.try_into().ok()?) })
    }

    fn error(&self) -> First {
        let Some(&[low, high]) = self.0.get(1..3) else { return First::Unknown };
        let text = self.0.get(3..).unwrap_or_default();
        // After the greeting the text begins with '#' and five characters of SQL state.
        let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
        First::Error {
            code: u16::from_le_bytes([low, high]),
            text: String::from_utf8_lossy(text).into_owned(),
        }
    }

    fn is_eof(&self) -> bool {
        self.0.first() == Some(&EOF) && self.0.len() < 9
    }
}

/// What a query came to: its rows' first column, or an error.
pub(super) type Answer = Result<Vec<Option<String>>, (u16, String)>;

fn write(stream: &mut impl Write, sequence: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
    let mut packet = vec![len[0], len[1], len[2], sequence];
    packet.extend_from_slice(payload);
    stream.write_all(&packet)
}

/// Logs in as root without a password, to a database where one is named.
pub(super) fn log_in(
    stream: &mut (impl Read + Write),
    database: Option<&str>,
) -> io::Result<Result<(), (u16, String)>> {
    let with_database = if database.is_some() { WITH_DATABASE } else { 0 };
    let mut payload = (CAPABILITIES | with_database).to_le_bytes().to_vec();
    payload.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    payload.push(UTF8);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"root\0");
    // No password: an empty response to the greeting's challenge.
    payload.push(0);
    if let Some(database) = database {
        payload.extend_from_slice(database.as_bytes());
        payload.push(0);
    }
    write(stream, 1, &payload)?;
    Ok(match Packet::read(stream)?.first() {
        First::Error { code, text } => Err((code, text)),
        _ => Ok(()),
    })
}

/// Sends a statement and reads its whole result.
pub(super) fn query(stream: &mut (impl Read + Write), sql: &str) -> io::Result<Answer> {
    write(stream, 0, &[&[COM_QUERY], sql.as_bytes()].concat())?;
    let head = Packet::read(stream)?;
    if let First::Error { code, text } = head.first() {
        return Ok(Err((code, text)));
    }
    // 0: an OK packet, there are no rows.
    if head.0.first() == Some(&0) {
        return Ok(Ok(Vec::new()));
    }
    while !Packet::read(stream)?.is_eof() {}
    let mut rows = Vec::new();
    loop {
        let row = Packet::read(stream)?;
        if let First::Error { code, text } = row.first() {
            return Ok(Err((code, text)));
        }
        if row.is_eof() {
            return Ok(Ok(rows));
        }
        rows.push(first_column(&row.0));
    }
}

/// Says good-bye.
pub(super) fn quit(stream: &mut impl Write) -> io::Result<()> {
    write(stream, 0, &[COM_QUIT])
}

/// The first length-encoded string of a row.
fn first_column(row: &[u8]) -> Option<String> {
    let (len, start): (usize, usize) = match *row {
        // 0xfb: NULL.
        [] | [0xfb, ..] => return None,
        [0xfc, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 3),
        [0xfd, a, b, c, ..] => (u32::from_le_bytes([a, b, c, 0]) as usize, 4),
        [len, ..] => (usize::from(len), 1),
    };
    row.get(start..start.checked_add(len)?).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_packets_are_told_apart() {
        let greeting = Packet(b"\x0a10.11.19-MariaDB\0\x07\0\0\0rest".to_vec());
        assert!(
            matches!(greeting.first(), First::Greeting { version, connection_id: 7 } if version == "10.11.19-MariaDB")
        );
        let error = Packet(b"\xff\x10\x04Too many connections".to_vec());
        assert!(matches!(error.first(), First::Error { code: 1040, text } if text == "Too many connections"));
        let stated = Packet(b"\xff\x15\x04#28000Access denied".to_vec());
        assert!(matches!(stated.first(), First::Error { code: 1045, text } if text == "Access denied"));
        for bytes in [&b""[..], b"\x0a", b"\x0a10.11\0\x07\0", b"\xff", b"\xff\x10", b"\x09old"] {
            assert!(matches!(Packet(bytes.to_vec()).first(), First::Unknown), "{bytes:?}");
        }
    }

    #[test]
    fn the_first_column_is_read() {
        assert_eq!(first_column(b"\x03abc\x01x"), Some("abc".into()));
        assert_eq!(first_column(b"\xfb"), None);
        assert_eq!(first_column(b"\xfc\x02\0ab"), Some("ab".into()));
        assert_eq!(first_column(b"\x05ab"), None);
    }
}
