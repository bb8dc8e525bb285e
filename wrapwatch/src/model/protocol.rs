//! The protocols whose greetings `ping` waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose greeting is waited for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// MySQL and MariaDB.
    #[default]
    Mysql,
    /// ssh.
    Ssh,
    /// Mail.
    Smtp,
    /// ftp.
    Ftp,
    /// Mailboxes.
    Imap,
    /// Mailboxes.
    Pop3,
    /// Directories.
    Ldap,
}

impl Protocol {
    /// The one whose port this is; MySQL's for any other.
    pub const fn of_port(port: u16) -> Self {
        match port {
            22 => Self::Ssh,
            25 | 587 => Self::Smtp,
            21 => Self::Ftp,
            143 => Self::Imap,
            110 => Self::Pop3,
            389 => Self::Ldap,
            _ => Self::Mysql,
        }
    }

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Ssh => "ssh",
            Self::Smtp => "smtp",
            Self::Ftp => "ftp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Ldap => "ldap",
        }
    }

    /// What a client has to say before the server does: an anonymous bind of LDAP.
    pub const fn opening(self) -> &'static [u8] {
        match self {
            Self::Ldap => {
                &[0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00]
            }
            _ => &[],
        }
    }
}
