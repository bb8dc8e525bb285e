//! A rule's options (hosts_options(5)) as Debian's libwrap reads them: fields between colons, a keyword and its value.
//!
//! Everything behind the second colon is options, the line's newline included: a rule that ends in a colon has one option, without a
//! name, and libwrap refuses service for it.

use super::inet::{self, is_space};

/// What libwrap knows about an option's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spec {
    name: &'static str,
    option: Keyword,
    argument: Argument,
    expand: bool,
    last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    None,
    Optional,
    Needed,
}

/// The options of Debian's build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named and explained in hosts_options(5)")]
pub enum Keyword {
    User,
    Group,
    Umask,
    Linger,
    Keepalive,
    Aclexec,
    Spawn,
    Twist,
    Rfc931,
    Setenv,
    Nice,
    Severity,
    Allow,
    Deny,
    Banners,
}

impl Keyword {
    /// The keyword that is written so, in any case.
    pub fn find(word: &[u8]) -> Option<Self> {
        SPECS.iter().find(|spec| word.eq_ignore_ascii_case(spec.name.as_bytes())).map(|spec| spec.option)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        SPECS.iter().find(|spec| spec.option == self).map_or("", |spec| spec.name)
    }
}

/// The table in libwrap's options.c.
const SPECS: [Spec; 15] = {
    use Argument::{Needed, None, Optional};
    use Keyword as K;
    const fn spec(name: &'static str, option: Keyword, argument: Argument) -> Spec {
        Spec { name, option, argument, expand: false, last: false }
    }
    const fn expanded(name: &'static str, option: Keyword, last: bool) -> Spec {
        Spec { name, option, argument: Argument::Needed, expand: true, last }
    }
    [
        spec("user", K::User, Needed),
        spec("group", K::Group, Needed),
        spec("umask", K::Umask, Needed),
        spec("linger", K::Linger, Needed),
        spec("keepalive", K::Keepalive, None),
        expanded("aclexec", K::Aclexec, false),
        expanded("spawn", K::Spawn, false),
        expanded("twist", K::Twist, true),
        spec("rfc931", K::Rfc931, Optional),
        expanded("setenv", K::Setenv, false),
        spec("nice", K::Nice, Optional),
        spec("severity", K::Severity, Needed),
        Spec { last: true, ..spec("allow", K::Allow, None) },
        Spec { last: true, ..spec("deny", K::Deny, None) },
        spec("banners", K::Banners, Needed),
    ]
};

/// Why libwrap refuses service at an option. Displays as the text libwrap logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// An empty field: two colons in a row, or a colon at the end of the rule.
    #[error("missing option name")]
    MissingName,
    /// Not an option of this build.
    #[error("bad option name: \"{0}\"")]
    UnknownName(String),
    /// The option needs a value.
    #[error("option \"{0}\" requires value")]
    NeedsValue(String),
    /// The option takes no value.
    #[error("option \"{0}\" requires no value")]
    TakesNoValue(String),
    /// allow, deny and twist end a rule.
    #[error("option \"{0}\" must be at end")]
    NotLast(String),
    /// A value that is not what the option takes.
    #[error("bad {what}: \"{value}\"")]
    BadValue {
        /// What it should have been.
        what: &'static str,
        /// What it was.
        value: String,
    },
    /// No such user on the server's host.
    #[error("unknown user: \"{0}\"")]
    UnknownUser(String),
    /// No such group.
    #[error("unknown group: \"{0}\"")]
    UnknownGroup(String),
    /// setenv(3) refused the name: empty, or with an equals sign in it. libwrap takes that for a lack of memory.
    #[error("memory allocation failure")]
    BadVariable,
    /// twist after the server's first check.
    #[error("twist option in resident process")]
    TwistInResident,
}

/// One option, as far as its place in the rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub keyword: Keyword,
    /// Its value, before %-expansion.
    pub value: Option<Vec<u8>>,
    /// Whether libwrap expands the value.
    pub expand: bool,
}

/// A rule's options in order. libwrap runs those before an error, then refuses service.
pub fn steps(options: &[u8]) -> impl Iterator<Item = Result<Step, OptionError>> {
    let mut rest = Some(options);
    std::iter::from_fn(move || {
        let (field, after) = field(rest?)?;
        rest = Some(after);
        let step = step(&field, !after.is_empty());
        if step.is_err() {
            rest = None;
        }
        Some(step)
    })
}

/// libwrap's `get_field`: up to the next colon, `\:` being a colon of the field; none at the end of the text.
fn field(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if text.is_empty() {
        return None;
    }
    let mut field = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return Some((field, rest)),
            [b':', after @ ..] => return Some((field, after)),
            [b'\\', b':', after @ ..] => {
                field.push(b':');
                rest = after;
            }
            [byte, after @ ..] => {
                field.push(*byte);
                rest = after;
            }
        }
    }
}

/// Whether libwrap waits for an option's command: its shell ends when the command does, unless it sends it into the background. A twist ends the check.
pub(super) fn is_waited_for(option: Keyword, command: &[u8]) -> bool {
    matches!(option, Keyword::Spawn | Keyword::Aclexec) && !chop(command).ends_with(b"&")
}

/// libwrap's `chop_string`: without white space at either end.
pub(super) fn chop(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_space(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// White space after a keyword (`whitespace_eq` without its equals sign).
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// A field's keyword and value: separated by blanks, by an equals sign, or by both.
fn keyword_and_value(field: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(end) = field.iter().position(|&byte| byte == b'=' || is_blank(byte)) else {
        return (field, None);
    };
    let (keyword, rest) = field.split_at(end);
    let rest = skip_blanks(rest);
    let value = skip_blanks(rest.strip_prefix(b"=").unwrap_or(rest));
    (keyword, Some(value).filter(|value| !value.is_empty()))
}

fn step(field: &[u8], more: bool) -> Result<Step, OptionError> {
    let (name, value) = keyword_and_value(chop(field));
    let text = || String::from_utf8_lossy(name).into_owned();
    if name.is_empty() {
        return Err(OptionError::MissingName);
    }
    let Some(spec) = SPECS.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name)) else {
        return Err(OptionError::UnknownName(text()));
    };
    match (spec.argument, value) {
        (Argument::Needed, None) => return Err(OptionError::NeedsValue(text())),
        (Argument::None, Some(_)) => return Err(OptionError::TakesNoValue(text())),
        _ => {}
    }
    if more && spec.last {
        return Err(OptionError::NotLast(text()));
    }
    Ok(Step { keyword: spec.option, value: value.map(<[u8]>::to_vec), expand: spec.expand })
}

/// Checks the values that libwrap checks without asking anybody: numbers and syslog's names.
pub(super) fn check_value(keyword: Keyword, value: Option<&[u8]>) -> Result<(), OptionError> {
    let Some(value) = value else { return Ok(()) };
    let (what, fine) = match keyword {
        Keyword::Umask => ("umask value", inet::scan_unsigned(value, 8).is_some_and(|mask| mask <= 0o777)),
        Keyword::Linger => ("linger value", inet::scan_signed(value).is_some_and(|seconds| seconds >= 0)),
        Keyword::Nice => ("nice value", inet::scan_signed(value).is_some()),
        Keyword::Rfc931 => ("rfc931 timeout", inet::scan_signed(value).is_some_and(|seconds| seconds > 0)),
        Keyword::Severity => return check_severity(value),
        _ => return Ok(()),
    };
    if fine { Ok(()) } else { Err(OptionError::BadValue { what, value: lossy(value) }) }
}

/// The seconds of an `rfc931` option; none where it says none, or something else.
pub(super) fn rfc931_seconds(value: &[u8]) -> Option<u32> {
    inet::scan_signed(value).and_then(|seconds| u32::try_from(seconds).ok()).filter(|&seconds| seconds > 0)
}

/// The facilities and levels in libwrap's options.c; newer ones of syslog's (authpriv, ftp) are not among them.
const FACILITIES: [&str; 17] = [
    "kern", "user", "mail", "daemon", "auth", "lpr", "news", "uucp", "cron", "local0", "local1", "local2",
    "local3", "local4", "local5", "local6", "local7",
];
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

fn check_severity(value: &[u8]) -> Result<(), OptionError> {
    let known =
        |names: &[&str], name: &[u8]| names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    let bad = |name: &[u8]| OptionError::BadValue { what: "syslog facility or severity", value: lossy(name) };
    let (facility, level) = match super::table::split_at(value, b'.') {
        Some(at) => (value.get(..at), value.get(at + 1..).unwrap_or_default()),
        None => (None, value),
    };
    match facility {
        Some(facility) if !known(&FACILITIES, facility) => Err(bad(facility)),
        _ if !known(&LEVELS, level) => Err(bad(level)),
        _ => Ok(()),
    }
}

/// A setenv option's name and value, both chopped, from the expanded value.
pub(super) fn variable(value: &[u8]) -> Result<(&[u8], &[u8]), OptionError> {
    let end = value.iter().position(|&byte| is_blank(byte)).unwrap_or(value.len());
    let name = chop(value.get(..end).unwrap_or_default());
    let content = chop(value.get(end + 1..).unwrap_or_default());
    if name.is_empty() || name.contains(&b'=') { Err(OptionError::BadVariable) } else { Ok((name, content)) }
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str) -> Vec<Result<(Keyword, Option<String>), String>> {
        steps(options.as_bytes())
            .map(|step| step.map(|s| (s.keyword, s.value.map(|v| lossy(&v)))).map_err(|e| e.to_string()))
            .collect()
    }

    #[test]
    fn keywords_and_values_part_at_blanks_and_equals_signs() {
        let spawn = |value: &str| vec![Ok((Keyword::Spawn, Some(value.to_owned())))];
        for text in ["spawn x\n", " SPAWN  = x \n", "spawn=x", "spawn\t=x"] {
            assert_eq!(read(text), spawn("x"), "{text:?}");
        }
        assert_eq!(read("spawn ==x\n"), spawn("=x"));
        assert_eq!(read("spawn a\\:b\n"), spawn("a:b"));
        assert_eq!(read("spawn a\\b\n"), spawn("a\\b"));
    }

    #[test]
    fn a_colon_at_the_end_is_an_option_without_a_name() {
        assert_eq!(read("\n"), [Err("missing option name".into())]);
        assert_eq!(read(" allow:\n"), [Err("option \"allow\" must be at end".into())]);
        assert_eq!(read(" :deny\n"), [Err("missing option name".into())]);
        assert_eq!(read(""), []);
        assert_eq!(read("keepalive:"), [Ok((Keyword::Keepalive, None))]);
    }

    #[test]
    fn nothing_is_read_after_an_error() {
        assert_eq!(
            read("keepalive: logg: deny"),
            [Ok((Keyword::Keepalive, None)), Err("bad option name: \"logg\"".into())]
        );
        assert_eq!(read("spawn"), [Err("option \"spawn\" requires value".into())]);
        assert_eq!(read("allow yes"), [Err("option \"allow\" requires no value".into())]);
        assert_eq!(read("rfc931"), [Ok((Keyword::Rfc931, None))]);
    }

    #[test]
    fn values_are_checked_as_sscanf_does() {
        let check =
            |keyword, value: &str| check_value(keyword, Some(value.as_bytes())).map_err(|e| e.to_string());
        assert_eq!(check(Keyword::Umask, "022"), Ok(()));
        assert_eq!(check(Keyword::Umask, "8"), Err("bad umask value: \"8\"".into()));
        assert_eq!(check(Keyword::Umask, "1000"), Err("bad umask value: \"1000\"".into()));
        assert_eq!(check(Keyword::Rfc931, "0"), Err("bad rfc931 timeout: \"0\"".into()));
        assert_eq!(check(Keyword::Linger, "5s"), Err("bad linger value: \"5s\"".into()));
        assert_eq!(check(Keyword::Nice, "-5"), Ok(()));
        assert_eq!(check(Keyword::Severity, "daemon.info"), Ok(()));
        assert_eq!(check(Keyword::Severity, "INFO"), Ok(()));
        assert_eq!(
            check(Keyword::Severity, "authpriv.info"),
            Err("bad syslog facility or severity: \"authpriv\"".into())
        );
    }

    #[test]
    fn a_variable_needs_a_name_without_an_equals_sign() {
        assert_eq!(variable(b"A  b c "), Ok((&b"A"[..], &b"b c"[..])));
        assert_eq!(variable(b"A=b c"), Err(OptionError::BadVariable));
        assert_eq!(variable(b""), Err(OptionError::BadVariable));
        assert_eq!(variable(b"A"), Ok((&b"A"[..], &b""[..])));
    }
}
