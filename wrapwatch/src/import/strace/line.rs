//! One line of strace's output → who, when, and what.
//!
//! Reads what strace 4.x to 6.x print: with `-f` (`PID ` in files, `[pid PID] ` on a terminal, `PID<comm>` with `-Y`), with
//! `-r`, `-t`, `-tt`, `-ttt` (any precision), `-i` and `-n`, calls whole or split into `<unfinished ...>` and
//! `resumed`. Whatever else a line says is [`Body::Other`].

use super::{errno, text};

/// Stands for the thread of lines that name none, until one is known: strace on a terminal prints none while it follows a
/// single one. No server's thread has this number.
pub(super) const ONLY_THREAD: u32 = 1;

/// The time that begins a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `-ttt`: since 1970, nanoseconds.
    Epoch(u64),
    /// `-t`, `-tt`: since midnight, nanoseconds, in the time zone of who ran strace.
    Daytime(u64),
    /// `-r`: since the line before, nanoseconds.
    Relative(u64),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish<'a> {
    /// What it returned: a number, or a negative errno; `None` for `?`.
    pub ret: Option<i64>,
    /// What `-y` and `-yy` say of a returned descriptor, without the angle brackets; of `poll`, what it says of each.
    pub note: &'a str,
    /// `-T`: how long it took, nanoseconds.
    pub took_ns: Option<u64>,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A call and its return.
    Whole {
        /// Name.
        name: &'a str,
        /// Between the parentheses.
        args: &'a str,
        /// Return.
        finish: Finish<'a>,
    },
    /// The beginning of a call.
    Unfinished {
        /// Name.
        name: &'a str,
        /// Behind the opening parenthesis, as far as it was printed.
        args: &'a str,
    },
    /// The end of a call.
    Resumed {
        /// Name.
        name: &'a str,
        /// The rest of what stands between the parentheses.
        args: &'a str,
        /// Return.
        finish: Finish<'a>,
    },
    /// `+++ exited with 0 +++`, `+++ killed by SIGKILL +++`.
    Exited,
    /// A signal, a remark, a line that is not strace's.
    Other,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Thread, where the line says.
    pub tid: Option<u32>,
    /// Time, where the line says.
    pub stamp: Option<Stamp>,
    /// What happened.
    pub body: Body<'a>,
}

/// Largest PID that Linux gives (`PID_MAX_LIMIT`); a larger number at the line's beginning is a time.
const PID_MAX: u64 = 1 << 22;
/// `-r` counts from the line before, `-ttt` from 1970: a number this large (1973) is the latter.
const EPOCH_FROM_S: u64 = 100_000_000;
const S: u64 = 1_000_000_000;

/// Reads a line. Never fails: what is not understood is [`Body::Other`].
pub fn parse(line: &str) -> Line<'_> {
    let (tid, stamp, rest) = prefix(line);
    Line { tid, stamp, body: body(rest) }
}

/// What stands behind the thread and the time of a line.
pub(super) fn behind_prefix(line: &str) -> &str {
    prefix(line).2
}

fn prefix(line: &str) -> (Option<u32>, Option<Stamp>, &str) {
    let mut rest = line.trim_ascii();
    let tid = take_tid(&mut rest);
    let mut stamp = None;
    // `-r` together with `-t` prints both, the relative one as `(+ 0.000123)`.
    while let Some((next, after)) = take_stamp(rest) {
        stamp = stamp.or(next);
        rest = after;
    }
    // `-n` and `-i`: `[ 257] [00007f0c5a3b1d2e] `.
    while let Some((inner, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        if !inner.trim_ascii().bytes().all(|b| b.is_ascii_hexdigit() || b == b'?') {
            break;
        }
        rest = after.trim_ascii_start();
    }
    (tid, stamp, rest)
}

fn take_tid(rest: &mut &str) -> Option<u32> {
    if let Some((pid, after)) = rest.strip_prefix("[pid").and_then(|r| r.split_once(']')) {
        *rest = after.trim_ascii_start();
        return number(pid.trim_ascii().split('<').next()?).and_then(|(n, _)| u32::try_from(n).ok());
    }
    let (n, after) = number(rest)?;
    let after = match after.strip_prefix('<') {
        Some(comm) => comm.split_once('>')?.1,
        None => after,
    };
    if n > PID_MAX || !after.starts_with(' ') {
        return None;
    }
    *rest = after.trim_ascii_start();
    u32::try_from(n).ok()
}

/// The stamp at the beginning of `rest` and what follows it; a stamp that counts for nothing beside another is `None`.
fn take_stamp(rest: &str) -> Option<(Option<Stamp>, &str)> {
    if let Some((_, after)) = rest.strip_prefix("(+").and_then(|r| r.split_once(')')) {
        return Some((None, after.trim_ascii_start()));
    }
    let (token, after) = rest.split_once(' ')?;
    let after = after.trim_ascii_start();
    if token.contains(':') {
        let mut parts = token.splitn(3, ':');
        let (h, m) = (digits(parts.next()?)?, digits(parts.next()?)?);
        let s = seconds(parts.next()?)?;
        // With a leap second.
        let is_time = h < 24 && m < 60 && s < 61 * S;
        return is_time.then(|| (Some(Stamp::Daytime((h * 3600 + m * 60) * S + s)), after));
    }
    let ns = seconds(token)?;
    let stamp = if ns >= EPOCH_FROM_S * S {
        Stamp::Epoch(ns)
    } else if token.contains('.') {
        Stamp::Relative(ns)
    } else {
        return None;
    };
    Some((Some(stamp), after))
}

/// All of `text` as a number.
fn digits(text: &str) -> Option<u64> {
    number(text).and_then(|(n, rest)| rest.is_empty().then_some(n))
}

/// The number at the beginning, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

/// `12`, `12.345`: seconds, as nanoseconds; digits behind the ninth are left out.
fn seconds(text: &str) -> Option<u64> {
    let (whole, rest) = number(text)?;
    let mut fraction = 0;
    if !rest.is_empty() {
        let decimals = rest.strip_prefix('.')?;
        if decimals.is_empty() || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        for i in 0..9 {
            let digit = decimals.as_bytes().get(i).map_or(0, |b| u64::from(b - b'0'));
            fraction = fraction * 10 + digit;
        }
    }
    whole.checked_mul(S)?.checked_add(fraction)
}

fn body(text: &str) -> Body<'_> {
    parse_body(text).unwrap_or(Body::Other)
}

fn parse_body(text: &str) -> Option<Body<'_>> {
    if let Some(end) = text.strip_prefix("+++ ") {
        let ended = end.starts_with("exited") || end.starts_with("killed");
        return Some(if ended { Body::Exited } else { Body::Other });
    }
    if let Some(rest) = text.strip_prefix("<... ") {
        let (name, rest) = rest.split_once(" resumed>")?;
        let (args, after) = text::to_closing(rest)?;
        return Some(Body::Resumed { name: call_name(name)?, args, finish: finish(after)? });
    }
    let (name, rest) = text.split_once('(')?;
    let name = call_name(name)?;
    if let Some(args) = rest.strip_suffix("<unfinished ...>") {
        return Some(Body::Unfinished { name, args: args.trim_ascii_end() });
    }
    let (args, after) = text::to_closing(rest)?;
    Some(Body::Whole { name, args, finish: finish(after)? })
}

fn call_name(name: &str) -> Option<&str> {
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits.then_some(name)
}

/// What stands behind the closing parenthesis: `= 31<TCP:[…]> <0.000009>`, `= -1 ENOENT (No such file or directory)`,
/// `= 1 ([{fd=10, revents=POLLIN}]) <0.0017>`, `= ?`.
fn finish(after: &str) -> Option<Finish<'_>> {
    let mut rest = after.trim_ascii_start().strip_prefix('=')?.trim_ascii();
    let mut took_ns = None;
    if let Some((before, took)) = rest.strip_suffix('>').and_then(|r| r.rsplit_once(" <"))
        && let Some(ns) = seconds(took)
    {
        took_ns = Some(ns);
        rest = before.trim_ascii_end();
    }
    if rest.starts_with('?') {
        return Some(Finish { ret: None, note: "", took_ns });
    }
    if let Some(error) = rest.strip_prefix("-1 ") {
        let name = error.split(' ').next().unwrap_or_default();
        return Some(Finish { ret: Some(-i64::from(errno::number(name))), note: "", took_ns });
    }
    let (ret, tail) = returned(rest)?;
    // What `poll` says of each descriptor: ` ([{fd=6, revents=POLLERR}])`.
    let said = || {
        tail.strip_prefix(" (").and_then(|said| said.strip_suffix(')')).filter(|said| said.starts_with('['))
    };
    let note = text::note(tail).map(|(note, _)| note).or_else(said).unwrap_or_default();
    Some(Finish { ret, note, took_ns })
}

/// The number at the beginning, decimal or hexadecimal, and what follows it; `None` for one beyond 64 bits.
fn returned(text: &str) -> Option<(Option<i64>, &str)> {
    if let Some(hex) = text.strip_prefix("0x") {
        let end = hex.bytes().position(|b| !b.is_ascii_hexdigit()).unwrap_or(hex.len());
        let (hex, tail) = hex.split_at_checked(end)?;
        return Some((u64::from_str_radix(hex, 16).ok().map(u64::cast_signed), tail));
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (n, tail) = number(digits)?;
    let n = i64::try_from(n).ok();
    Some((if negative { n.map(|n| -n) } else { n }, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(line: &str) -> (Option<u32>, Option<Stamp>, &str, &str, Finish<'_>) {
        let parsed = parse(line);
        match parsed.body {
            Body::Whole { name, args, finish } => (parsed.tid, parsed.stamp, name, args, finish),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn numbers_with_colons_that_are_no_time_of_day() {
        for stamp in ["24516023:59:60.000000", "23:59:18446744073.0", "23:59:61", "24:00:00", "23:60:00"] {
            assert_eq!(parse(&format!("{stamp} close(33) = 0")).stamp, None, "{stamp}");
        }
        let leap = Stamp::Daytime(86_400 * S);
        assert_eq!(parse("23:59:60 close(33) = 0").stamp, Some(leap));
    }

    #[test]
    fn who_and_when_in_every_form() {
        let tail = "close(33) = 0";
        let epoch = Some(Stamp::Epoch(1_795_326_189_316_837_000));
        let day = Some(Stamp::Daytime((5 * 3600 + 43 * 60 + 9) * S + 316_837_000));
        let table = [
            ("", None, None),
            ("24516 ", Some(24_516), None),
            ("24516 1795326189.316837 ", Some(24_516), epoch),
            ("1795326189.316837 ", None, epoch),
            ("[pid 24516] 1795326189.316837 ", Some(24_516), epoch),
            ("[pid   77] ", Some(77), None),
            ("24516<mysqld> 1795326189.316837000 ", Some(24_516), epoch),
            ("24516 1795326189 ", Some(24_516), Some(Stamp::Epoch(1_795_326_189 * S))),
            ("24516 05:43:09.316837 ", Some(24_516), day),
            ("05:43:09 ", None, Some(Stamp::Daytime((5 * 3600 + 43 * 60 + 9) * S))),
            ("24516      0.000123 ", Some(24_516), Some(Stamp::Relative(123_000))),
            ("     0.000123 ", None, Some(Stamp::Relative(123_000))),
            ("24516 05:43:09.316837 (+     0.000123) ", Some(24_516), day),
            ("24516 1795326189.316837 [00007f0c5a3b1d2e] ", Some(24_516), epoch),
            ("24516 1795326189.316837 [   3] [00007f0c5a3b1d2e] ", Some(24_516), epoch),
        ];
        for (prefix, tid, stamp) in table {
            let line = format!("{prefix}{tail}");
            let (got_tid, got_stamp, name, args, _) = whole(&line);
            assert_eq!((got_tid, got_stamp, name, args), (tid, stamp, "close", "33"), "{prefix:?}");
        }
    }

    #[test]
    fn what_a_call_returned() {
        let table = [
            ("= 0", Some(0), "", None),
            (
                "= 31<TCP:[10.77.0.2:13306->10.77.0.1:60563]> <0.000009>",
                Some(31),
                "TCP:[10.77.0.2:13306->10.77.0.1:60563]",
                Some(9_000),
            ),
            ("= 33</etc/hosts.allow>", Some(33), "/etc/hosts.allow", None),
            ("= -1 ENOENT (No such file or directory) <0.5>", Some(-2), "", Some(S / 2)),
            ("= 0x2 (flags O_RDWR) <0.000020>", Some(2), "", Some(20_000)),
            (
                "= 1 ([{fd=10, revents=POLLIN}]) <0.001703>",
                Some(1),
                "[{fd=10, revents=POLLIN}]",
                Some(1_703_000),
            ),
            ("= ?", None, "", None),
            ("= ? ERESTARTSYS (To be restarted if SA_RESTART is set) <0.1>", None, "", Some(S / 10)),
            ("= -1 ENEVERHEARD (?)", Some(-4_095), "", None),
        ];
        for (text, ret, note, took_ns) in table {
            let line = format!("accept(10, {{a=(1)}}, \")\") {text}");
            let (_, _, _, args, finish) = whole(&line);
            assert_eq!(args, "10, {a=(1)}, \")\"");
            assert_eq!(finish, Finish { ret, note, took_ns }, "{text}");
        }
    }

    #[test]
    fn a_call_in_two_lines() {
        let begun = parse("24516 1795326189.324562 accept(10<TCP:[0.0.0.0:13306]>,  <unfinished ...>");
        assert_eq!(begun.body, Body::Unfinished { name: "accept", args: "10<TCP:[0.0.0.0:13306]>," });
        let ended = parse(
            "24516 1795326189.324589 <... accept resumed>{sa_family=AF_INET}, [128 => 16]) = 33 <0.000021>",
        );
        let Body::Resumed { name: "accept", args: "{sa_family=AF_INET}, [128 => 16]", finish } = ended.body
        else {
            panic!("{ended:?}")
        };
        assert_eq!((finish.ret, finish.took_ns), (Some(33), Some(21_000)));
        // strace 4: a space, and the parenthesis by itself.
        let old = parse("24516 <... close resumed> )              = 0");
        assert!(matches!(old.body, Body::Resumed { name: "close", .. }), "{old:?}");
    }

    #[test]
    fn everything_else_is_other() {
        for line in [
            "",
            "24516 1795326189.3 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
            "strace: Process 24516 attached with 30 threads",
            "24516 +++ superseded by execve in pid 7 +++",
            " > /usr/lib/x86_64-linux-gnu/libc.so.6(__close+0x4d) [0xf7b4d]",
            "24516 close(33",
            "24516 close(33) = ",
            "% time     seconds  usecs/call     calls    errors syscall",
            "24516 <... resumed>",
            "\u{fffd}\u{fffd}(",
        ] {
            assert_eq!(parse(line).body, Body::Other, "{line}");
        }
        assert_eq!(parse("24516 1795326189.3 +++ exited with 0 +++").body, Body::Exited);
    }
}
