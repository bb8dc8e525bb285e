//! resolv.conf as glibc 2.36 reads it (`res_vinit_1` and `res_setoptions` in res_init.c): nameservers, search list, options. The only reader of that
//! file in wrapwatch; compared with the real `res_ninit` in the differential tests.
//!
//! glibc compares from the first byte of a line on, so a blank there hides the line; a carriage return is part of the last word; a number is read
//! by atoi(3) from the colon to the end of the *line*, so that `attempts: 3` is 3 and `timeout:30s` is 30.

use std::net::IpAddr;

use super::inet;
use super::options::lossy;

/// A second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// glibc asks no more nameservers than this (`MAXNS`).
pub const MAX_NAMESERVERS: usize = 3;
const MAX_TIMEOUT_S: i32 = 30;
const MAX_ATTEMPTS: i32 = 5;
const MAX_NDOTS: i32 = 15;
/// What stands between words; no other white space does.
const BLANKS: &[u8] = b" \t";

/// Why glibc passes a line over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It begins with a blank.
    BlankAtStart,
    /// It ends in a carriage return, which glibc takes for part of the address.
    CarriageReturn,
    /// A `nameserver` line without an address that glibc can read.
    Address,
    /// A keyword that glibc does not know, or one with nothing behind it.
    Keyword,
}

/// A line that glibc passes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredLine {
    /// Number, from 1.
    pub line: u32,
    /// Text, without the line's end.
    pub text: String,
    /// Why it does not count.
    pub why: Ignored,
}

/// The resolver's settings. `RES_OPTIONS` and `LOCALDOMAIN` in the server's environment would come on top; they are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Nameservers in the order they are asked, three at most; without any, 127.0.0.1.
    pub nameservers: Vec<IpAddr>,
    /// Whether no line names a nameserver that glibc can use, so that it asks 127.0.0.1.
    pub default_nameserver: bool,
    /// Usable nameserver lines beyond the third.
    pub ignored_nameservers: usize,
    /// Search list; none where no line sets it, and the domain of the host's own name is used.
    pub search: Option<Vec<String>>,
    /// A name with at least so many dots is tried as it is first.
    pub ndots: u32,
    /// Seconds to wait for the first server in the first round, before glibc's arithmetic (`timeout:`).
    pub timeout_s: i32,
    /// Rounds (`attempts:`); none at all where it is 0 or less.
    pub attempts: i32,
    /// Each query starts with another server.
    pub rotate: bool,
    /// Queries go over TCP.
    pub use_vc: bool,
    /// No AAAA queries: they are taken as answered without data.
    pub no_aaaa: bool,
    /// Lines that glibc passes over.
    pub ignored_lines: Vec<IgnoredLine>,
    /// Options that glibc does not know, with the number of their line from 1.
    pub unknown_options: Vec<(u32, String)>,
    /// Why nothing of it is known: every other field is then as good as any.
    pub unknown: Option<String>,
    /// Why whoever looks names up cannot open it: glibc then goes on as if it were not there.
    pub cannot_open: Option<String>,
    /// A `sortlist` line that glibc reads for ever, with its number from 1: the first lookup never ends.
    pub endless_line: Option<u32>,
}

impl Default for ResolvConf {
    /// What glibc does without the file.
    fn default() -> Self {
        Self {
            nameservers: vec![IpAddr::from([127, 0, 0, 1])],
            default_nameserver: true,
            ignored_nameservers: 0,
            search: None,
            ndots: 1,
            timeout_s: 5,
            attempts: 2,
            rotate: false,
            use_vc: false,
            no_aaaa: false,
            ignored_lines: Vec::new(),
            unknown_options: Vec::new(),
            unknown: None,
            cannot_open: None,
            endless_line: None,
        }
    }
}

impl ResolvConf {
    /// Reads the file's text.
    pub fn parse(text: &[u8]) -> Self {
        let mut conf = Self { nameservers: Vec::new(), ..Self::default() };
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            conf.line(number, line.split(|&byte| byte == 0).next().unwrap_or_default());
        }
        conf.default_nameserver = conf.nameservers.is_empty();
        if conf.default_nameserver {
            conf.nameservers = Self::default().nameservers;
        }
        conf
    }

    /// How long glibc waits over UDP for each nameserver, the same in every round: for server i (from 0) max(1 s, `timeout` << i, divided by the
    /// number of servers for i > 0) (`send_dg` in res_send.c).
    pub fn waits_ns(&self) -> Vec<u64> {
        let servers = i64::try_from(self.nameservers.len()).unwrap_or(1).max(1);
        let wait = |index: i64| {
            let seconds = i64::from(self.timeout_s) << index;
            let seconds = if index > 0 { seconds / servers } else { seconds };
            u64::try_from(seconds.max(1)).unwrap_or(1).saturating_mul(SECOND_NS)
        };
        (0..servers).map(wait).collect()
    }

    /// The longest that glibc waits for one answer over UDP. Over TCP (`use-vc`, an answer that was cut) the settings bound nothing.
    pub fn longest_wait_ns(&self) -> u64 {
        self.waits_ns().into_iter().max().unwrap_or(SECOND_NS)
    }

    fn line(&mut self, line: u32, text: &[u8]) {
        if matches!(text.first(), None | Some(b'#' | b';')) || text.iter().all(|&byte| inet::is_space(byte)) {
            return;
        }
        let end = text.iter().position(|byte| BLANKS.contains(byte));
        let (keyword, rest) = text.split_at(end.unwrap_or(text.len()));
        let mut words = rest.split(|byte| BLANKS.contains(byte)).filter(|word| !word.is_empty()).peekable();
        let ignored = match keyword {
            b"nameserver" => match words.next().and_then(nameserver) {
                Some(_) if self.nameservers.len() == MAX_NAMESERVERS => {
                    self.ignored_nameservers += 1;
                    None
                }
                Some(address) => {
                    self.nameservers.push(address);
                    None
                }
                None => Some(Ignored::Address),
            },
            b"search" | b"domain" if words.peek().is_some() => {
                let count = if keyword == b"domain" { 1 } else { usize::MAX };
                self.search = Some(words.take(count).map(lossy).collect());
                None
            }
            b"options" => {
                self.options(line, rest);
                None
            }
            b"sortlist" => {
                if self.endless_line.is_none() && is_endless_sortlist(rest) {
                    self.endless_line = Some(line);
                }
                None
            }
            b"search" | b"domain" => None,
            b"" => Some(Ignored::BlankAtStart),
            _ => Some(Ignored::Keyword),
        };
        if let Some(why) = ignored {
            let why = match (why, text) {
                (Ignored::Address, [.., b'\r']) => Ignored::CarriageReturn,
                _ => why,
            };
            self.ignored_lines.push(IgnoredLine { line, text: lossy(text.trim_ascii_end()), why });
        }
    }

    /// The options of a line. glibc compares beginnings only and takes unknown ones in silence.
    fn options(&mut self, line: u32, text: &[u8]) {
        let mut rest = text;
        let (mut value_of_last, mut comment) = (false, false);
        while let Some(start) = rest.iter().position(|byte| !BLANKS.contains(byte)) {
            rest = rest.get(start..).unwrap_or_default();
            let end = rest.iter().position(|byte| BLANKS.contains(byte)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            // glibc knows no comments here and takes their words for options as well; nobody needs to be told of each.
            comment |= matches!(word, [b'#' | b';', ..]);
            let text = word.trim_ascii_end();
            let known =
                self.option(word, rest) || (value_of_last && word.first().is_some_and(u8::is_ascii_digit));
            if !known && !comment && !text.is_empty() {
                self.unknown_options.push((line, lossy(text)));
            }
            value_of_last = word.ends_with(b":");
            rest = after;
        }
    }

    /// One option, `word`; its number is read from `rest`, the line from the word on. Says whether glibc knows it.
    fn option(&mut self, word: &[u8], rest: &[u8]) -> bool {
        let number = |prefix: &[u8]| rest.strip_prefix(prefix).map(inet::strtol_int);
        if let Some(ndots) = number(b"ndots:") {
            // Four bits in glibc's structure: a negative number is a large one.
            self.ndots = ndots.min(MAX_NDOTS).cast_unsigned() & 0xf;
        } else if let Some(timeout) = number(b"timeout:") {
            self.timeout_s = timeout.min(MAX_TIMEOUT_S);
        } else if let Some(attempts) = number(b"attempts:") {
            self.attempts = attempts.min(MAX_ATTEMPTS);
        } else if word.starts_with(b"rotate") {
            self.rotate = true;
        } else if word.starts_with(b"use-vc") {
            self.use_vc = true;
        } else if word.starts_with(b"no-aaaa") {
            self.no_aaaa = true;
        } else {
            return OTHER_OPTIONS.iter().any(|known| word.starts_with(known));
        }
        true
    }
}

/// Options that change nothing here: libwrap asks for one family at a time, and how an answer is checked costs no wait.
const OTHER_OPTIONS: [&[u8]; 10] = [
    b"edns0",
    b"single-request",
    b"no_tld_query",
    b"no-tld-query",
    b"no-reload",
    b"trust-ad",
    b"debug",
    b"inet6",
    b"ip6-bytestring",
    b"ip6-dotint",
];

/// Whether glibc's loop over the addresses of a `sortlist` line comes to a byte that it neither takes nor skips, and stays there for ever: white
/// space other than blanks (a carriage return), a byte that is not ASCII, or the mask of something that is no IPv4 address.
fn is_endless_sortlist(mut rest: &[u8]) -> bool {
    let ends_word = |&byte: &u8| byte == b';' || !byte.is_ascii() || inet::is_space(byte);
    loop {
        let blanks = rest.iter().take_while(|byte| BLANKS.contains(byte)).count();
        rest = rest.get(blanks..).unwrap_or_default();
        if matches!(rest.first(), None | Some(b';')) {
            return false;
        }
        let end = rest.iter().position(|byte| b"/&".contains(byte) || ends_word(byte)).unwrap_or(rest.len());
        let (address, after) = rest.split_at(end);
        rest = after;
        if let Some((b'/' | b'&', mask)) = after.split_first()
            && inet::inet_aton(address, true).is_some()
        {
            let end = mask.iter().position(ends_word).unwrap_or(mask.len());
            rest = mask.get(end..).unwrap_or_default();
        } else if address.is_empty() || matches!(after.first(), Some(b'/' | b'&')) {
            return true;
        }
    }
}

/// A nameserver's address: IPv4 in any form inet_aton(3) takes, or IPv6 with or without a scope.
fn nameserver(word: &[u8]) -> Option<IpAddr> {
    if let Some(v4) = inet::inet_aton(word, true) {
        return Some(IpAddr::V4(v4));
    }
    let address = word.split(|&byte| byte == b'%').next().unwrap_or_default();
    inet::numeric_v6(address, &|_| false).map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_glibc_reads_them() {
        let conf = ResolvConf::parse(
            b"nameserver 127.0.1.1x\nnameserver foo\n nameserver 127.0.1.2\nnameserver\t127.257 # c\n;nameserver 127.0.1.4\n\
              nameserver ::1%lo\noptions timeout:1x attempts:9 rotatefoo\noptions ndots:20\nsearch a.test\ndomain b.test c.test\nsearch \n",
        );
        assert_eq!(conf.nameservers, ["127.0.1.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!((conf.timeout_s, conf.attempts, conf.ndots, conf.rotate), (1, 5, 15, true));
        assert_eq!(conf.search.as_deref(), Some(&["b.test".to_owned()][..]));
        assert_eq!(
            conf.ignored_lines.iter().map(|ignored| (ignored.line, ignored.why)).collect::<Vec<_>>(),
            [(1, Ignored::Address), (2, Ignored::Address), (3, Ignored::BlankAtStart)]
        );
    }

    /// Files from the field, with what `res_ninit` made of them.
    #[test]
    fn files_from_the_field_are_read_as_glibc_reads_them() {
        let file = |name: &str| {
            let path = format!("{}/../tests/data/field-cases/lint/{name}", env!("CARGO_MANIFEST_DIR"));
            ResolvConf::parse(&std::fs::read(path).unwrap())
        };
        let indented = file("L9-indent.res");
        assert_eq!(indented.nameservers, [IpAddr::from([10, 9, 0, 54])]);
        assert_eq!((indented.timeout_s, indented.attempts), (1, 2));
        assert_eq!(
            (indented.ignored_lines[0].line, indented.ignored_lines[0].why),
            (1, Ignored::BlankAtStart)
        );
        let blank = file("L8c.res");
        assert_eq!((blank.timeout_s, blank.attempts), (1, 3));
        assert_eq!(blank.unknown_options, []);
        let windows = file("C13-crlf.res");
        assert!(windows.default_nameserver && windows.nameservers == [IpAddr::from([127, 0, 0, 1])]);
        assert!(windows.ignored_lines.iter().all(|ignored| ignored.why == Ignored::CarriageReturn));
        assert_eq!((windows.timeout_s, windows.attempts), (1, 1));
    }

    #[test]
    fn options_that_glibc_does_not_know_are_named() {
        let conf = ResolvConf::parse(b"options attempts=3 timeout:2 # rotate then\noptions ndots:-1\n");
        assert_eq!(conf.unknown_options, [(1, "attempts=3".to_owned())]);
        assert!(conf.rotate, "a word of the comment");
        assert_eq!((conf.timeout_s, conf.attempts, conf.ndots), (2, 2, 15));
    }

    #[test]
    fn a_sortlist_that_glibc_reads_for_ever_is_found() {
        let endless = |text: &str| ResolvConf::parse(text.as_bytes()).endless_line;
        assert_eq!(endless("options rotate\nsortlist 10.0.0.1\r\n"), Some(2));
        assert_eq!(endless("sortlist 10.0.0.1 ;\r\nsortlist 10.0.0.1/24 foo\nsortlist\r\n"), None);
        assert_eq!(endless("sortlist fe80::1/64\n"), Some(1));
    }

    #[test]
    fn the_longest_wait_is_glibcs() {
        let longest = |text: &str| ResolvConf::parse(text.as_bytes()).longest_wait_ns() / SECOND_NS;
        let servers = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!([longest(""), longest(servers), longest("options timeout:0\n")], [5, 6, 1]);
        assert_eq!(longest(&format!("{servers}options timeout:99\n")), 40);
    }

    #[test]
    fn without_servers_there_is_the_host_itself() {
        assert_eq!(ResolvConf::parse(b"").nameservers, ResolvConf::default().nameservers);
    }

    #[test]
    fn the_fourth_server_is_not_asked() {
        let conf = ResolvConf::parse(
            b"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
        );
        assert_eq!((conf.nameservers.len(), conf.ignored_nameservers), (3, 1));
    }
}
