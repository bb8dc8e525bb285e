//! What a log that is not strace's looks like, line by line: other tracers print calls too, in other forms.

use super::line::Body;

/// What a text looks like that is no log of strace, or only with something around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looks {
    /// `perf trace`.
    PerfTrace,
    /// `ltrace`: calls of libraries.
    Ltrace,
    /// `truss` of BSD or Solaris, `dtruss`, `ktrace`.
    Truss,
    /// `sysdig`, Falco.
    Sysdig,
    /// `tcpdump`.
    Tcpdump,
    /// The table that `strace -c` prints.
    Counts,
    /// Bytes that are no text.
    Binary,
}

impl Looks {
    /// For a person: what it is and what to do.
    pub const fn message(self) -> &'static str {
        match self {
            Self::PerfTrace => {
                "it looks like `perf trace`, which shows neither what is read nor what is sent"
            }
            Self::Ltrace => "it looks like `ltrace`, which shows calls of libraries, not of the system",
            Self::Truss => "it looks like `truss` or `dtruss`, whose form is another one",
            Self::Sysdig => "it looks like `sysdig`, whose form is another one",
            Self::Tcpdump => "it looks like `tcpdump`, which shows packets, not calls",
            Self::Counts => "it looks like the table of `strace -c`, which has counts and no calls",
            Self::Binary => "it has bytes that are no text",
        }
    }

    /// What a line looks like; `None` where it may be strace's, or says nothing.
    pub(super) fn of(text: &str, body: &Body<'_>) -> Option<Self> {
        if text.contains(['\0', '\u{fffd}']) {
            return Some(Self::Binary);
        }
        if text.contains(" ms): ") || text.contains("(         ): ") {
            return Some(Self::PerfTrace);
        }
        if let Body::Whole { name, .. } = body {
            let library = name.starts_with("SYS_") || name.starts_with("__libc_");
            return (library.then_some(Self::Ltrace)).or_else(|| is_truss(text).then_some(Self::Truss));
        }
        let before = text.split('(').next().unwrap_or_default();
        if text.contains('(') && (before.contains("->") || before.contains('@')) {
            Some(Self::Ltrace)
        } else if text.contains(" Err#")
            || text.contains(" ERR#")
            || text.trim_start().starts_with("SYSCALL(args)")
        {
            Some(Self::Truss)
        } else if text.contains(") > ") || text.contains(") < ") {
            Some(Self::Sysdig)
        } else if text.contains(" IP ") && text.contains(" > ")
            || text.contains(" IP6 ") && text.contains(" > ")
        {
            Some(Self::Tcpdump)
        } else if text.starts_with("% time ") || text.starts_with("------ ------") {
            Some(Self::Counts)
        } else {
            None
        }
    }
}

/// `= 3 (0x3)` and `ERR#2` of BSD; strace has `0x…` in parentheses behind no number.
fn is_truss(text: &str) -> bool {
    let Some((before, hex)) = text.trim_end().strip_suffix(')').and_then(|t| t.rsplit_once(" (0x")) else {
        return text.contains(" ERR#") || text.contains(" Err#");
    };
    let number = before.rsplit_once("= ").map_or("", |(_, number)| number.trim());
    let value = number.parse::<u64>().ok();
    value.is_some() && u64::from_str_radix(hex, 16).ok() == value
}

#[cfg(test)]
mod tests {
    use super::super::line::parse;
    use super::*;

    #[test]
    fn other_tracers_are_told_by_their_lines() {
        let table = [
            (
                "     0.022 ( 0.003 ms): mysqld/812 openat(dfd: CWD, filename: 0x7f) = 3",
                Some(Looks::PerfTrace),
            ),
            ("libwrap.so.0->fopen(\"/etc/hosts.allow\", \"r\") = 0x55", Some(Looks::Ltrace)),
            ("openat@SYS(AT_FDCWD, \"/etc/hosts.allow\", 0) = 5", Some(Looks::Ltrace)),
            ("SYS_openat(0xffffff9c, 0x7f, 0, 0) = 5", Some(Looks::Ltrace)),
            ("openat(AT_FDCWD,\"/etc/hosts.allow\",O_RDONLY,00) = 5 (0x5)", Some(Looks::Truss)),
            ("open(\"/etc/hosts.allow\", O_RDONLY) Err#2 ENOENT", Some(Looks::Truss)),
            ("12 10:00:00.1 0 mysqld (812) > openat dirfd=-100(AT_FDCWD)", Some(Looks::Sysdig)),
            ("10:00:00.1 IP 10.0.0.1.4000 > 10.0.0.53.53: 1+ PTR? x.", Some(Looks::Tcpdump)),
            ("% time     seconds  usecs/call     calls    errors syscall", Some(Looks::Counts)),
            ("\u{fffd}\u{fffd}\0", Some(Looks::Binary)),
            ("7 10:00:00.1 openat(AT_FDCWD, \"/etc/hosts.allow\", O_RDONLY) = 5 <0.000010>", None),
            ("7 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)", None),
            ("7 poll([{fd=6, events=POLLIN}], 1, 5000) = 0 (Timeout)", None),
            ("7 --- SIGCHLD {si_signo=SIGCHLD} ---", None),
        ];
        for (text, looks) in table {
            assert_eq!(Looks::of(text, &parse(text).body), looks, "{text}");
        }
    }
}
