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
