//! What each kind of problem is, why it matters, an example that has it, and what to write instead. `docs/lint-rules.md` is made from this, and so is
//! `lint --explain`.

use std::fmt::Write as _;

use strum::EnumCount as _;

use super::ProblemKind as K;

/// An example's files; what is empty is left as it usually is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// hosts.allow.
    pub allow: &'static str,
    /// hosts.deny.
    pub deny: &'static str,
    /// resolv.conf.
    pub resolv: &'static str,
    /// nsswitch.conf.
    pub nsswitch: &'static str,
    /// /etc/hosts.
    pub hosts: &'static str,
    /// The daemon that is looked at.
    pub daemon: &'static str,
}

/// One kind, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which.
    pub kind: K,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// Files that have it.
    pub example: Example,
    /// What to do.
    pub fix: &'static str,
}

const NONE: Example = Example { allow: "", deny: "", resolv: "", nsswitch: "", hosts: "", daemon: "mysqld" };

const fn allow(text: &'static str) -> Example {
    Example { allow: text, ..NONE }
}

/// A resolver's file, with a rule that needs it.
const fn resolv(text: &'static str) -> Example {
    Example { allow: "mysqld: .example.com\n", resolv: text, ..NONE }
}

const fn explain(
    kind: K,
    what: &'static str,
    why: &'static str,
    example: Example,
    fix: &'static str,
) -> Explanation {
    Explanation { kind, what, why, example, fix }
}

/// All of them, in the order of the documentation. A table that is not readable has no example in text.
pub const EXPLANATIONS: [Explanation; K::COUNT] = [
    explain(
        K::TableUnreadable,
        "A table is there and the server cannot read it.",
        "libwrap takes an unreadable hosts.allow for an empty one, and an unreadable hosts.deny for one that refuses everybody.",
        NONE,
        "Give the server's user the right to read it, or remove the file.",
    ),
    explain(
        K::MissingFinalNewline,
        "The last line of a table has no newline.",
        "libwrap does not read that line. In hosts.deny it then refuses everybody whom no rule before it matched.",
        allow("mysqld: 10.0.2.\nmysqld: 10.0.3."),
        "End the file with a newline.",
    ),
    explain(
        K::LineTooLong,
        "A line with its continuations is longer than libwrap's buffer.",
        "Neither it nor anything behind it is read.",
        allow("mysqld: 10.0.0.1 … (more than 2046 bytes in one rule)"),
        "Split it into several rules.",
    ),
    explain(
        K::NulByte,
        "A NUL byte stands in a table.",
        "libwrap does not see the rest of the line, and joins the next one to it.",
        allow("mysqld: 10.0.2.\0 10.0.3.\nmysqld: 10.0.4.\n"),
        "Remove the NUL bytes: tr -d '\\0'.",
    ),
    explain(
        K::NoSeparator,
        "A line has no colon and is no comment.",
        "libwrap logs it for each connection and skips it.",
        allow("mysqld 10.0.2.\n"),
        "Write mysqld: 10.0.2., or begin the line with #.",
    ),
    explain(
        K::ContinuedComment,
        "A comment ends in a backslash.",
        "libwrap joins it with the next line before it looks for the #: a rule that stands there is part of the comment.",
        allow("# the application servers \\\nmysqld: 10.0.2.\n"),
        "Remove the backslash.",
    ),
    explain(
        K::CommentInsideLine,
        "A # stands within a line.",
        "libwrap knows comments at the start of a line only: what follows is read as part of the rule.",
        allow("mysqld: 10.0.2. # the application servers\n"),
        "Put the comment on a line of its own.",
    ),
    explain(
        K::EmptyList,
        "A rule has no daemon or no client.",
        "It matches nobody.",
        allow("mysqld:\n"),
        "Name somebody, ALL for everybody, or remove the rule.",
    ),
    explain(
        K::UnbracketedIpv6,
        "An IPv6 address stands outside of square brackets.",
        "libwrap cuts the line at its colons: the rest becomes an option that it does not know, and it refuses every client that matches.",
        allow("mysqld: 2001:db8::7\n"),
        "Write mysqld: [2001:db8::7]/128.",
    ),
    explain(
        K::UnknownOption,
        "An option that libwrap does not know.",
        "It refuses every client that the rule matches.",
        allow("mysqld: 10.0.2. : logg\n"),
        "Correct its name, see hosts_options(5).",
    ),
    explain(
        K::OptionError,
        "An option has a value that it does not take, has none where it needs one, or stands in the wrong place.",
        "libwrap refuses every client that the rule matches.",
        allow("mysqld: 10.0.2. : allow :\n"),
        "See hosts_options(5); allow, deny and twist come last, and no colon after them.",
    ),
    explain(
        K::OptionWithoutEffect,
        "user or group, which do nothing in Debian's libwrap.",
        "They only refuse when there is no such user or group.",
        allow("mysqld: 10.0.2. : user nobody\n"),
        "Remove the option.",
    ),
    explain(
        K::BlockingSpawn,
        "spawn without & at its end.",
        "The check waits until the command has ended, and so do all clients behind it.",
        allow("mysqld: 10.0.2. : spawn /usr/bin/logger %h\n"),
        "Let it run by itself: spawn (/usr/bin/logger %h) &",
    ),
    explain(
        K::Aclexec,
        "aclexec: a command decides.",
        "The check waits for it; after a failure libwrap takes every later match of a rule with options for none, until an aclexec succeeds.",
        allow("mysqld: 10.0.2. : aclexec /usr/local/bin/geo.sh %a\n"),
        "Decide by address.",
    ),
    explain(
        K::Twist,
        "twist: the server is replaced by a command.",
        "In the first check after its start the whole server becomes that command; in later ones the client is refused.",
        allow("mysqld: 10.0.2. : twist /bin/echo no\n"),
        "Write deny, and a spawn if somebody should be notified.",
    ),
    explain(
        K::DnsLookup,
        "The first rule that needs the client's name.",
        "Every client that gets this far waits for a reverse and a forward lookup, also those that a later rule matches by address.",
        allow("mysqld: .example.com\n"),
        "Match by address, or put the clients into /etc/hosts.",
    ),
    explain(
        K::AddressWildcard,
        "* or ? in an address.",
        "libwrap looks up the name of every client whose address such a word does not match; it also matches a client whose name begins so: 192.168.example.org.",
        allow("mysqld: 192.168.*\n"),
        "Write 192.168., which looks nobody up and matches no name. --fix leaves the word as it is: it cannot know whether a client has such a name.",
    ),
    explain(
        K::BareIpv6,
        "An IPv6 address in brackets without a number of bits.",
        "libwrap looks up the name of every client that it does not match.",
        allow("mysqld: [2001:db8::7]\n"),
        "Write [2001:db8::7]/128, which looks nobody up.",
    ),
    explain(
        K::NamesBeforeAddresses,
        "A name stands before addresses, in a list or in the table.",
        "The clients with those addresses wait for DNS, too.",
        allow("mysqld: .example.com 10.0.2.\n"),
        "Put addresses and nets first.",
    ),
    explain(
        K::ServerName,
        "A rule names the server's own end by a name.",
        "It is looked up for each client.",
        allow("mysqld@db.example.com: 10.0.2.\n"),
        "Name the server's address behind the @.",
    ),
    explain(
        K::Ident,
        "A rule asks the client's host for the user (ident, TCP port 113).",
        "Where packets are dropped the check waits for 10 s or what the option says, and longer where the server blocks SIGALRM, as MySQL and MariaDB do.",
        allow("mysqld: 10.0.2. : rfc931 20\n"),
        "Match by address; this way nobody can know who uses a client.",
    ),
    explain(
        K::Netgroup,
        "A rule names a netgroup.",
        "Two DNS lookups and one of the netgroup for each client that gets this far.",
        allow("mysqld: @trusted\n"),
        "List the addresses.",
    ),
    explain(
        K::FilePattern,
        "A file that a rule names, or that such a file names, is not there, cannot be read, or leads back to itself.",
        "What is not there matches nobody. A file that leads back to itself is read within itself until the server has no descriptors left, for each client that gets this far.",
        allow("mysqld: /etc/no-such-list\n"),
        "Correct the path or the file.",
    ),
    explain(
        K::NeverMatches,
        "A word that can match no client, or none that was meant.",
        "The rule does not do what it says, and libwrap says nothing.",
        allow("mysqld: 10.0.2.5/24\n"),
        "Write what was meant; lint says what that probably is: 10.0.2.0/24.",
    ),
    explain(
        K::InvisibleCharacter,
        "A character that cannot be seen, a no-break space or a byte order mark for instance, is part of a word.",
        "libwrap compares it like any other: the word matches nothing.",
        allow("mysqld:\u{a0}10.0.2.\n"),
        "Delete it and type the blank again; lint says the column.",
    ),
    explain(
        K::ClientListMissing,
        "An option stands where the clients belong.",
        "libwrap takes the option's words for names of clients: the rule matches nobody, and looks everybody up.",
        allow("mysqld: spawn (/usr/bin/logger %h) &\n"),
        "Write mysqld : ALL : spawn (/usr/bin/logger %h) &",
    ),
    explain(
        K::NamesNotKnown,
        "A rule by name for a daemon that calls hosts_ctl.",
        "Such a daemon (slapd, snmpd) gives libwrap the name \"unknown\" unless it looks names up itself: the rule never matches.",
        Example { allow: "slapd: .example.com\n", daemon: "slapd", ..NONE },
        "Match by address, or have the server look names up.",
    ),
    explain(
        K::UnreachableRule,
        "A rule behind one that takes everybody it could match.",
        "It is never reached.",
        allow("mysqld: ALL\nmysqld: 10.0.2.\n"),
        "Remove it, or move it up.",
    ),
    explain(
        K::FailsClosed,
        "A rule by name admits.",
        "When DNS fails, the clients that it should admit are refused.",
        allow("mysqld: .example.com\n"),
        "Admit by address, or put the clients into /etc/hosts.",
    ),
    explain(
        K::FailsOpen,
        "A rule by name refuses.",
        "When DNS fails, the clients that it should refuse are admitted.",
        allow("mysqld: ALL EXCEPT .bad.example\n"),
        "Refuse by address.",
    ),
    explain(
        K::NothingRefused,
        "No rule refuses anybody.",
        "Each check costs time and keeps nobody out.",
        Example { allow: "mysqld: 10.0.2.\n", deny: "# nobody\n", ..NONE },
        "Refuse the others in hosts.deny (ALL: ALL), or do without the rules.",
    ),
    explain(
        K::NoRuleForDaemon,
        "No rule is about the daemon.",
        "Everybody is admitted. Often the daemon's name is another: libwrap takes the base name of the server's argv[0].",
        Example { allow: "mysql: 10.0.2.\n", deny: "# nobody\n", ..NONE },
        "Write the name that the server has, see wrapwatch doctor.",
    ),
    explain(
        K::SlowTimeout,
        "A nameserver that keeps silent costs seconds.",
        "With glibc's default of timeout:5 attempts:2 one dead nameserver costs 10 s for each lookup, three cost 28 s.",
        resolv("nameserver 10.1.1.53\nnameserver 10.1.1.54\n"),
        "options timeout:1 attempts:1",
    ),
    explain(
        K::SingleNameserver,
        "There is one nameserver.",
        "While it is silent every lookup fails.",
        resolv("nameserver 10.1.1.53\noptions timeout:1 attempts:1\n"),
        "Add a second one, or a cache on this host.",
    ),
    explain(
        K::NameserverIgnored,
        "More than three nameservers.",
        "glibc asks the first three.",
        resolv(
            "nameserver 10.1.1.51\nnameserver 10.1.1.52\nnameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1 attempts:1\n",
        ),
        "Keep the three best.",
    ),
    explain(
        K::ResolvConfIgnored,
        "A line or an option of resolv.conf that glibc ignores.",
        "A blank before the keyword, a carriage return at the end or a scope on an IPv4 address is enough: the nameserver is never asked.",
        resolv("  nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1 attempts:1\n"),
        "Begin the line with the keyword, end it with a newline alone.",
    ),
    explain(
        K::NoNameserver,
        "resolv.conf names no nameserver that glibc can use.",
        "glibc then asks 127.0.0.1.",
        resolv("nameserver 10.1.1.53\r\noptions timeout:1 attempts:1\n"),
        "Name one, or run a cache on this host that listens on 127.0.0.1.",
    ),
    explain(
        K::NoAttempts,
        "attempts of 0 or less.",
        "glibc asks no nameserver at all: every name is unknown.",
        resolv("nameserver 10.1.1.53\noptions attempts:0\n"),
        "options attempts:1",
    ),
    explain(
        K::EndlessSortlist,
        "A sortlist line with a carriage return, a byte that is not ASCII, or the mask of something that is no IPv4 address.",
        "glibc (2.36) never finishes reading it: the first lookup of every process never ends.",
        resolv("nameserver 10.1.1.53\nsortlist fe80::1/64\n"),
        "Remove the line.",
    ),
    explain(
        K::TcpQueries,
        "options use-vc: queries go over TCP.",
        "A nameserver that is gone holds the check as long as the kernel tries to connect, some two minutes.",
        resolv("nameserver 10.1.1.53\noptions use-vc\n"),
        "Remove options use-vc.",
    ),
    explain(
        K::ServiceOrder,
        "nsswitch.conf asks DNS before /etc/hosts, not /etc/hosts at all, or another service.",
        "An entry in /etc/hosts then saves nothing; other services have timeouts of their own.",
        Example {
            allow: "mysqld: .example.com\n",
            nsswitch: "hosts: resolve [!UNAVAIL=return] files dns\n",
            ..NONE
        },
        "hosts: files dns",
    ),
    explain(
        K::HostsMismatch,
        "A name in /etc/hosts leads to another address than that of its line.",
        "The client counts as paranoid, and rules by its name do not match.",
        Example { allow: "mysqld: .example.com\n", hosts: "10.0.0.4 other db1\n10.0.0.5 db1\n", ..NONE },
        "Give each name one line where it stands first.",
    ),
];

/// The explanation of a kind, by its name.
pub fn find(name: &str) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|explanation| explanation.kind.name() == name)
}

impl Explanation {
    /// For a terminal or a page: a section in Markdown.
    pub fn text(&self) -> String {
        let mut out = format!("## {}\n\n{} {}\n\n", self.kind.name(), self.what, self.why);
        let files = [
            ("hosts.allow", self.example.allow),
            ("hosts.deny", self.example.deny),
            ("resolv.conf", self.example.resolv),
            ("nsswitch.conf", self.example.nsswitch),
            ("hosts", self.example.hosts),
        ];
        for (name, text) in files.iter().filter(|(_, text)| !text.is_empty()) {
            // What cannot be seen is shown.
            let shown = text.replace('\u{a0}', "<U+00A0>").replace('\0', "<NUL>").replace('\r', "<CR>");
            let end = if shown.ends_with('\n') { "" } else { "<no newline>\n" };
            // Writing to a String cannot fail.
            let _ = write!(out, "```text\n# {name}\n{shown}{end}```\n\n");
        }
        let _ = writeln!(out, "Instead: {}", self.fix);
        out
    }
}

/// The whole index, for `docs/lint-rules.md`.
pub fn index() -> String {
    let mut out = String::from(
        "# What lint finds\n\nThe names are stable: they are those in `--json`, in SARIF and in an ignore file. `wrapwatch lint --explain NAME` prints one of them.\n",
    );
    for explanation in &EXPLANATIONS {
        out.push('\n');
        out += &explanation.text();
    }
    out
}
