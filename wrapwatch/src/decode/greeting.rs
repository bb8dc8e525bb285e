//! What servers say first, beside MySQL's (see [`super::first_packet`]): ssh (RFC 4253, 4.2), smtp (RFC 5321, 4.2), ftp (RFC 959, 4.2), imap (RFC 9051,
//! 7.1), pop3 (RFC 1939, 4); and an LDAP server's answer to an anonymous bind (RFC 4511, 4.2), for that one waits to be asked.

use crate::model::Protocol;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It greets.
    Greeting {
        /// In this protocol.
        protocol: Protocol,
        /// Its first line.
        text: String,
    },
    /// It speaks a protocol and refuses.
    Refusal {
        /// Number of the reply, for the protocols that have one.
        code: Option<u16>,
        /// Its first line.
        text: String,
    },
    /// Something else: a text of libwrap's `banners` or `twist`, or another service.
    Other(String),
}

/// How far a greeting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All that is looked at is there.
    Whole,
    /// It began as the protocol's greetings do, and goes on.
    Half,
    /// It is none of the protocol's.
    Other,
}

/// How far the bytes are a greeting, or a refusal, in this protocol: up to its first newline, a reply of several lines and LDAP's message to their end.
pub fn progress(bytes: &[u8], protocol: Protocol) -> Progress {
    if protocol == Protocol::Ldap {
        return ldap_progress(bytes);
    }
    if bytes.contains(&b'\n') {
        let goes_on = matches!(protocol, Protocol::Smtp | Protocol::Ftp) && !reply_ended(bytes);
        return if goes_on { Progress::Half } else { Progress::Whole };
    }
    let begins = |start: &str| {
        let len = start.len().min(bytes.len());
        bytes.get(..len) == start.as_bytes().get(..len)
    };
    // Replies of three digits; of ssh's lines only the last begins so, and those before it are seldom (RFC 4253, 4.2).
    let digits = || {
        bytes.iter().take(3).all(u8::is_ascii_digit) && bytes.get(3).is_none_or(|byte| b" -\r".contains(byte))
    };
    let half = match protocol {
        Protocol::Ssh => begins("SSH-"),
        Protocol::Smtp | Protocol::Ftp => digits(),
        Protocol::Imap => begins("* OK") || begins("* PREAUTH") || begins("* BYE"),
        Protocol::Pop3 => begins("+OK") || begins("-ERR"),
        Protocol::Mysql | Protocol::Ldap => false,
    };
    if half { Progress::Half } else { Progress::Other }
}

/// Whether a reply of several lines (`220-`) has its last one, `220 ` (RFC 5321, 4.2.1; RFC 959, 4.2). Any other has ended.
fn reply_ended(bytes: &[u8]) -> bool {
    let [a, b, c, b'-', ..] = bytes else { return true };
    let code = [*a, *b, *c];
    if !code.iter().all(u8::is_ascii_digit) {
        return true;
    }
    let whole = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole.filter_map(|line| line.strip_prefix(&code)).any(|rest| rest.first() != Some(&b'-'))
}

/// By the length of the outer SEQUENCE (X.690, 8.1.3).
fn ldap_progress(bytes: &[u8]) -> Progress {
    let (length, head) = match bytes {
        [] | [0x30] => return Progress::Half,
        [0x30, length @ 0..=0x7f, ..] => (usize::from(*length), 2),
        [0x30, octets @ 0x81..=0x84, rest @ ..] => {
            let octets = usize::from(octets & 0x7f);
            let Some(length) = rest.get(..octets) else { return Progress::Half };
            (length.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte)), 2 + octets)
        }
        _ => return Progress::Other,
    };
    // Longer than any answer to an anonymous bind needs to be.
    if length > 4096 {
        return Progress::Other;
    }
    if bytes.len() >= head + length { Progress::Whole } else { Progress::Half }
}

/// Takes the first bytes apart. Where two protocols begin alike (`220`), `expected` decides.
pub fn parse(bytes: &[u8], expected: Protocol) -> Said {
    if let Some(said) = ldap(bytes) {
        return said;
    }
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line).trim_end().to_owned();
    let greeting = |protocol| Said::Greeting { protocol, text: text.clone() };
    if text.starts_with("SSH-") {
        return greeting(Protocol::Ssh);
    }
    if text.starts_with("* OK") || text.starts_with("* PREAUTH") {
        return greeting(Protocol::Imap);
    }
    if text.starts_with("+OK") {
        return greeting(Protocol::Pop3);
    }
    if text.starts_with("* BYE") || text.starts_with("-ERR") {
        return Said::Refusal { code: None, text };
    }
    match reply_code(&text) {
        Some(220) => greeting(mail_or_files(&text, expected)),
        Some(code @ 400..=599) => Said::Refusal { code: Some(code), text },
        _ => Said::Other(String::from_utf8_lossy(bytes).trim_end().to_owned()),
    }
}

/// Three digits, then a blank, a hyphen or nothing.
fn reply_code(text: &str) -> Option<u16> {
    let (code, rest) = text.split_at_checked(3)?;
    let code = code.bytes().all(|byte| byte.is_ascii_digit()).then(|| code.parse().ok())??;
    rest.is_empty().then_some(code).or_else(|| rest.starts_with([' ', '-']).then_some(code))
}

/// Both say 220.
fn mail_or_files(text: &str, expected: Protocol) -> Protocol {
    let upper = text.to_ascii_uppercase();
    let says = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    match expected {
        Protocol::Smtp | Protocol::Ftp => expected,
        _ if says(&["FTP"]) => Protocol::Ftp,
        _ if says(&["SMTP", "POSTFIX", "EXIM", "MAIL"]) => Protocol::Smtp,
        _ => Protocol::Smtp,
    }
}

/// An LDAP message: SEQUENCE, message id, then BindResponse (0x61) or a notice of disconnection (ExtendedResponse, 0x78).
fn ldap(bytes: &[u8]) -> Option<Said> {
    let rest = match bytes {
        [0x30, 0x81, _, rest @ ..] | [0x30, 0x82, _, _, rest @ ..] | [0x30, 0x84, _, _, _, _, rest @ ..] => {
            rest
        }
        [0x30, 0..=0x7f, rest @ ..] => rest,
        _ => return None,
    };
    match rest {
        [0x02, 0x01, _, 0x61, ..] => {
            Some(Said::Greeting { protocol: Protocol::Ldap, text: "answer to an anonymous bind".to_owned() })
        }
        [0x02, 0x01, _, 0x78, ..] => {
            Some(Said::Refusal { code: None, text: "notice of disconnection".to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_are_told_apart() {
        let protocol = |text: &str| match parse(text.as_bytes(), Protocol::Mysql) {
            Said::Greeting { protocol, .. } => Some(protocol),
            _ => None,
        };
        for (text, expected) in [
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Some(Protocol::Ssh)),
            ("220 mail.example.com ESMTP Postfix (Debian)\r\n", Some(Protocol::Smtp)),
            ("220-welcome\r\n220 (vsFTPd 3.0.3)\r\n", Some(Protocol::Smtp)),
            ("220 (vsFTPd 3.0.3)\r\n", Some(Protocol::Ftp)),
            ("* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", Some(Protocol::Imap)),
            ("+OK Dovecot ready.\r\n", Some(Protocol::Pop3)),
            ("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00", Some(Protocol::Ldap)),
            ("HTTP/1.1 400 Bad Request\r\n", None),
            ("2200 things\n", None),
            ("", None),
        ] {
            assert_eq!(protocol(text), expected, "{text:?}");
        }
        assert!(matches!(parse(b"220 x\r\n", Protocol::Ftp), Said::Greeting { protocol: Protocol::Ftp, .. }));
    }

    #[test]
    fn half_a_greeting_is_told_from_another_text() {
        use Progress::{Half, Other, Whole};
        for (bytes, protocol, expected) in [
            (&b"SSH-2.0-Op"[..], Protocol::Ssh, Half),
            (b"SSH-2.0-x\r\n", Protocol::Ssh, Whole),
            (b"S", Protocol::Ssh, Half),
            (b"You may", Protocol::Ssh, Other),
            (b"22", Protocol::Smtp, Half),
            (b"220 mail", Protocol::Smtp, Half),
            (b"2200", Protocol::Smtp, Other),
            (b"421-too ", Protocol::Ftp, Half),
            (b"220-first\r\n220-se", Protocol::Smtp, Half),
            (b"220-first\r\n220 las", Protocol::Ftp, Half),
            (b"220-first\r\n  text\r\n220 last\r\n", Protocol::Ftp, Whole),
            (b"220-first\r\n220\r\n", Protocol::Smtp, Whole),
            (b"220 one\r\n", Protocol::Smtp, Whole),
            (b"* O", Protocol::Imap, Half),
            (b"* NO", Protocol::Imap, Other),
            (b"-ER", Protocol::Pop3, Half),
            (b"J\0\0\0\xff5.5", Protocol::Smtp, Other),
            (b"\x30\x0c\x02\x01\x01\x61", Protocol::Ldap, Half),
            (b"\x30\x84\0\0", Protocol::Ldap, Half),
            (b"\x30\x84\0\0\0\x02\x02\x01", Protocol::Ldap, Whole),
            (b"\x30\x84\xff\xff\xff\xff\x02\x01", Protocol::Ldap, Other),
            (b"220 x", Protocol::Ldap, Other),
        ] {
            assert_eq!(progress(bytes, protocol), expected, "{bytes:?}");
        }
    }

    #[test]
    fn refusals_are_no_greetings() {
        for (text, code) in [
            ("421 Service not available\r\n", Some(421)),
            ("554 no\r\n", Some(554)),
            ("* BYE too many connections\r\n", None),
            ("-ERR no\r\n", None),
        ] {
            assert!(
                matches!(parse(text.as_bytes(), Protocol::Smtp), Said::Refusal { code: c, .. } if c == code),
                "{text}"
            );
        }
        assert_eq!(
            parse(b"You are not welcome\nhere\n", Protocol::Mysql),
            Said::Other("You are not welcome\nhere".to_owned())
        );
    }
}
