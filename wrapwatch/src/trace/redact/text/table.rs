//! hosts.allow and hosts.deny (hosts_access(5), hosts_options(5)): daemons and keywords stay, patterns become patterns of the same kind
//! about pseudonyms, commands become commands that say nothing.

use super::{Text, words_between};

/// Words that mean something to libwrap.
const KEYWORDS: &[&str] = &["ALL", "LOCAL", "KNOWN", "UNKNOWN", "PARANOID", "EXCEPT"];
/// Options whose value is a number or a word of a fixed set.
const PLAIN_OPTIONS: &[&str] =
    &["allow", "deny", "severity", "nice", "umask", "linger", "keepalive", "rfc931"];
/// Options whose value is a command, a path or a name.
const COMMAND_OPTIONS: &[&str] = &["spawn", "twist", "banners", "setenv", "user", "group", "aclexec"];
/// Stands for a backslash and a newline within a logical line.
const CONTINUED: char = '\u{1}';

/// Whether libwrap takes the word for more than a name.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
        || PLAIN_OPTIONS.contains(&word)
        || COMMAND_OPTIONS.contains(&word)
}

impl Text {
    /// A table; every line stays where it is.
    pub(super) fn table(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = logical_line(rest);
            rest = after;
            let ends = line.ends_with('\n');
            let line =
                line.strip_suffix('\n').unwrap_or(line).replace(CONTINUED, " ").replace("\\\n", "\u{1}");
            if line.starts_with('#') {
                // A continued comment goes on.
                out.push('#');
                out.extend(line.chars().filter(|c| *c == CONTINUED));
            } else {
                out.push_str(&self.rule(&line));
            }
            if ends {
                out.push('\n');
            }
        }
        out.replace(CONTINUED, "\\\n")
    }

    fn rule(&self, line: &str) -> String {
        let fields = fields(line);
        if let [only] = fields.as_slice() {
            // No rule: libwrap skips it.
            return self.clients(only);
        }
        let mapped: Vec<String> = fields
            .iter()
            .enumerate()
            .map(|(i, field)| match i {
                0 => self.daemons(field),
                1 => self.clients(field),
                _ => self.option(field),
            })
            .collect();
        mapped.join(":")
    }

    /// `daemon` or `daemon@host`.
    fn daemons(&self, list: &str) -> String {
        words_between(list, separates, |word| match word.split_once('@') {
            Some((daemon, host)) if !daemon.is_empty() => {
                format!("{}@{}", self.scrub(daemon), self.pattern(host))
            }
            _ => self.scrub(word),
        })
    }

    /// A list of clients: patterns, or `user@pattern`.
    pub(super) fn clients(&self, list: &str) -> String {
        words_between(list, separates, |word| match word.split_once('@') {
            Some((user, host)) if !user.is_empty() => {
                let user = if is_keyword(user) { user.to_owned() } else { self.names.text(user) };
                format!("{user}@{}", self.pattern(host))
            }
            _ => self.pattern(word),
        })
    }

    fn pattern(&self, word: &str) -> String {
        if KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)) {
            return word.to_owned();
        }
        if let Some(netgroup) = word.strip_prefix('@') {
            return format!("@{}", self.names.text(netgroup));
        }
        if word.starts_with('/') {
            return self.scrub(word);
        }
        if let Some(inner) = word.strip_prefix('[') {
            return self.bracketed(inner).unwrap_or_else(|| self.names.text(word));
        }
        if word.contains(['*', '?']) {
            return self.wildcard(word);
        }
        if let Some(mapped) = self.net(word) {
            return mapped;
        }
        if let Some(mapped) = self.octets(word) {
            return mapped;
        }
        // `net/mask` with a mask of holes, or nonsense.
        match word.split_once('/') {
            Some((net, mask)) => format!("{}/{}", self.pattern(net), self.scrub(mask)),
            None => self.names.text(word),
        }
    }

    /// `2001:db8::]/64`, `::1]`, `10.0.0.1]`.
    fn bracketed(&self, inner: &str) -> Option<String> {
        let (ip, len) = inner.split_once(']')?;
        match len.strip_prefix('/') {
            None if len.is_empty() => Some(format!("[{}]", self.address(ip)?)),
            Some(len) => {
                let mapped = self.net(&format!("{ip}/{len}"))?;
                let (ip, _) = mapped.split_once('/')?;
                Some(format!("[{ip}]/{len}"))
            }
            None => None,
        }
    }

    /// `10.77.`: the beginning of an address.
    fn octets(&self, word: &str) -> Option<String> {
        let inner = word.strip_suffix('.')?;
        let parts: Vec<u8> = inner.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        let n = parts.len();
        let mut octets = [0; 4];
        octets.get_mut(..n)?.copy_from_slice(&parts);
        let len = u32::try_from(n * 8).ok()?;
        let mapped = self.names.addresses().v4_prefix(octets.into(), len).octets();
        let mapped: Vec<String> = mapped.iter().take(n).map(ToString::to_string).collect();
        Some(mapped.join(".") + ".")
    }

    /// `192.168.*`, `*.corp.example`, `web*.corp.example`: whole octets and whole labels are mapped. A label with a wildcard in it becomes one
    /// without: what it matched cannot be kept.
    fn wildcard(&self, word: &str) -> String {
        if !word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '*' | '?')) {
            return self.names.text(word);
        }
        let whole = word.find(['*', '?']).unwrap_or(0);
        let whole = word.get(..whole).and_then(|w| w.rfind('.')).map_or(0, |dot| dot + 1);
        let (begin, end) = word.split_at(whole);
        let begin = if begin.is_empty() { String::new() } else { self.octets(begin).unwrap_or_default() };
        let end: Vec<&str> = end.split('.').map(|_| "*").collect();
        begin + &end.join(".")
    }

    /// `spawn (command) &`, `severity local0.info`, `allow`.
    fn option(&self, field: &str) -> String {
        let trimmed = field.trim_start();
        let lead = &field[..field.len() - trimmed.len()];
        let end = trimmed.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(trimmed.len());
        let (keyword, value) = trimmed.split_at(end);
        if PLAIN_OPTIONS.contains(&keyword) {
            format!("{lead}{keyword}{}", self.scrub(value))
        } else if COMMAND_OPTIONS.contains(&keyword) {
            format!("{lead}{keyword}{}", command(value))
        } else {
            format!("{lead}{}", command(trimmed))
        }
    }
}

/// A command with its expansions (`%h`), brackets and what the shell reads, and without its words.
fn command(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' => {
                out.push('%');
                out.extend(chars.next());
            }
            c if c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '@' | '+' | ',' | '~') => {
                out.push('x');
                while chars.peek().is_some_and(|c| {
                    c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '@' | '+' | ',' | '~')
                }) {
                    chars.next();
                }
            }
            c => out.push(c),
        }
    }
    out
}

const fn separates(c: char) -> bool {
    matches!(c, ' ' | ',' | '\t' | '\r' | CONTINUED)
}

/// The logical line that `text` begins with, its newline included, and the rest.
fn logical_line(text: &str) -> (&str, &str) {
    let mut at = 0;
    while let Some(end) = text.get(at..).and_then(|t| t.find('\n')) {
        let end = at + end;
        if !text.get(..end).is_some_and(|line| line.ends_with('\\')) {
            return text.split_at(end + 1);
        }
        at = end + 1;
    }
    (text, "")
}

/// Cuts at colons outside square brackets.
fn fields(line: &str) -> Vec<&str> {
    let (mut fields, mut from, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in line.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                fields.push(line.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    fields.push(line.get(from..).unwrap_or_default());
    fields
}
