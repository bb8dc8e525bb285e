//! sshd_config(5): the first value of a keyword counts, those behind a Match are for some clients only.

use super::{Source, below, expand, parsed};
use crate::model::doctor::{Limits, MaxStartups};

/// Where sshd looks, and where paths that are relative begin.
const FOLDER: &str = "/etc/ssh";
/// So deep files may include each other (`SERVCONF_MAX_DEPTH`).
const DEPTH_MAX: usize = 16;

#[derive(Debug, Default)]
struct Found {
    grace: Option<String>,
    startups: Option<String>,
    use_dns: Option<String>,
}

impl Found {
    /// Keywords are global; the first one counts.
    fn take(&mut self, keyword: &str, value: &str) {
        let place = match keyword.to_ascii_lowercase().as_str() {
            "logingracetime" => &mut self.grace,
            "maxstartups" => &mut self.startups,
            "usedns" => &mut self.use_dns,
            _ => return,
        };
        place.get_or_insert_with(|| value.to_owned());
    }
}

/// By the arguments that the server was started with; its title still has them (`sshd: /usr/sbin/sshd -D [listener] …`).
pub(super) fn read(source: &mut dyn Source, cmdline: &[String]) -> Limits {
    let mut found = Found::default();
    let path = given(cmdline, &mut found).unwrap_or_else(|| format!("{FOLDER}/sshd_config"));
    file(source, &path, 0, &mut found);
    let grace_s = parsed(source, "LoginGraceTime", found.grace, seconds).unwrap_or(120);
    let usual = MaxStartups { start: 10, rate: 30, full: 100 };
    Limits::Sshd {
        // 0 is no limit.
        login_grace_s: Some(grace_s).filter(|&seconds| seconds > 0),
        max_startups: parsed(source, "MaxStartups", found.startups, startups).unwrap_or(usual),
        use_dns: parsed(source, "UseDNS", found.use_dns, yes_or_no).unwrap_or(false),
    }
}

/// What arguments set (`-o Keyword=value`, `-g seconds`), and the file that they name (`-f file`); values may follow their letter at once.
fn given(cmdline: &[String], found: &mut Found) -> Option<String> {
    let mut path = None;
    let mut words = cmdline.iter().flat_map(|part| part.split_whitespace());
    while let Some(word) = words.next() {
        let option = word.strip_prefix('-').and_then(|rest| rest.split_at_checked(1));
        let Some((option @ ("o" | "f" | "g"), rest)) = option else { continue };
        let value = if rest.is_empty() { words.next()? } else { rest };
        match (option, value.split_once('=')) {
            ("f", _) => path = Some(value.to_owned()),
            ("g", _) => found.take("LoginGraceTime", value),
            (_, Some((keyword, value))) => found.take(keyword, value),
            (_, None) => found.take(value, words.next()?),
        }
    }
    path
}

fn file(source: &mut dyn Source, path: &str, depth: usize, found: &mut Found) {
    if depth > DEPTH_MAX {
        return source.doubt(format!("{path}: files include each other"));
    }
    let Some(text) = source.text(path) else { return };
    for line in text.lines() {
        let line = line.trim();
        let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
        let (keyword, value) = line.split_at(end);
        let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
        let mut words = value.split_whitespace().map(|word| word.trim_matches('"'));
        if keyword.starts_with('#') {
            continue;
        }
        if keyword.eq_ignore_ascii_case("Match") {
            return;
        }
        if keyword.eq_ignore_ascii_case("Include") {
            for pattern in words.take_while(|word| !word.starts_with('#')) {
                let pattern = below(FOLDER, pattern);
                for included in expand(source, &pattern) {
                    file(source, &included, depth + 1, found);
                }
            }
        } else {
            found.take(keyword, words.next().unwrap_or_default());
        }
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("yes") { Some(true) } else { is("no").then_some(false) }
}

/// `120`, `2m`, `1h30m` (sshd_config(5), TIME FORMATS).
fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let (mut total, mut number) = (0u64, None::<u64>);
    for c in text.chars() {
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            c => {
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(c.to_digit(10)?.into())?);
                continue;
            }
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    total.checked_add(number.unwrap_or(0))
}

/// `10:30:100`, or one number for both ends.
fn startups(text: &str) -> Option<MaxStartups> {
    let mut parts = text.split(':').map(str::parse::<u32>);
    let start = parts.next()?.ok()?;
    match (parts.next(), parts.next()) {
        (None, None) => Some(MaxStartups { start, rate: 100, full: start }),
        (Some(rate), Some(full)) => Some(MaxStartups { start, rate: rate.ok()?, full: full.ok()? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::tests::Texts;

    fn read_from(texts: &[(&str, &str)], cmdline: &[&str]) -> (Limits, Option<String>) {
        let mut source = Texts::of(texts);
        let cmdline: Vec<String> = cmdline.iter().map(|part| (*part).to_owned()).collect();
        (read(&mut source, &cmdline), source.doubt)
    }

    fn limits(grace: Option<u64>, (start, rate, full): (u32, u32, u32), use_dns: bool) -> Limits {
        Limits::Sshd { login_grace_s: grace, max_startups: MaxStartups { start, rate, full }, use_dns }
    }

    #[test]
    fn the_first_value_counts_and_what_is_included_comes_where_it_stands() {
        let main = "Include /etc/ssh/sshd_config.d/*.conf\nLoginGraceTime 30\nMaxStartups=3:50:6\n\
                    Match User a\nUseDNS yes\n";
        let more = ("/etc/ssh/sshd_config.d/a.conf", "logingracetime 2m # two\n");
        let (found, doubt) = read_from(&[("/etc/ssh/sshd_config", main), more], &["/usr/sbin/sshd", "-D"]);
        assert_eq!((found, doubt), (limits(Some(120), (3, 50, 6), false), None));
        let (found, _) = read_from(&[("/etc/ssh/sshd_config", main)], &["sshd"]);
        assert_eq!(found, limits(Some(30), (3, 50, 6), false));
    }

    #[test]
    fn arguments_come_first_and_a_title_keeps_them() {
        let texts = [("/tmp/c", "UseDNS yes\nMaxStartups 5\n")];
        let title = "sshd: /usr/sbin/sshd -D -f /tmp/c -o LoginGraceTime=0 [listener] 0 of 5-5 startups";
        assert_eq!(read_from(&texts, &[title]), (limits(None, (5, 100, 5), true), None));
        let (found, doubt) = read_from(&[], &["sshd"]);
        assert_eq!((found, doubt.is_some()), (limits(Some(120), (10, 30, 100), false), true));
        let circle = [("/etc/ssh/sshd_config", "Include sshd_config\nUseDNS yes\n")];
        let (found, doubt) = read_from(&circle, &["sshd"]);
        assert!(found == limits(Some(120), (10, 30, 100), true) && doubt.is_some(), "{found:?}");
        let arguments = ["sshd", "-f/tmp/c", "-g", "7", "-oUseDNS=no", "-o", "MaxStartups 4"];
        assert_eq!(read_from(&texts, &arguments), (limits(Some(7), (4, 100, 4), false), None));
    }

    #[test]
    fn a_value_that_is_not_understood_is_a_doubt() {
        for line in ["LoginGraceTime soon", "MaxStartups 3:50", "UseDNS perhaps", "LoginGraceTime"] {
            let (found, doubt) = read_from(&[("/etc/ssh/sshd_config", line)], &["sshd"]);
            assert_eq!(found, limits(Some(120), (10, 30, 100), false));
            assert!(doubt.is_some_and(|doubt| doubt.contains("not understood")), "{line}");
        }
        let good = "LoginGraceTime \"9\"\t# short\nMaxStartups 3 # few\nUseDNS Yes\n";
        let (found, doubt) = read_from(&[("/etc/ssh/sshd_config", good)], &["sshd"]);
        assert_eq!((found, doubt), (limits(Some(9), (3, 100, 3), true), None));
    }

    #[test]
    fn times_have_units() {
        let all = ["90", "2m", "1h30m", "1m5", "x", "99999999999999999999"].map(seconds);
        assert_eq!(all, [Some(90), Some(120), Some(5400), Some(65), None, None]);
    }
}
