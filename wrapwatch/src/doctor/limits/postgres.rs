//! postgresql.conf and pg_hba.conf: the last value of a setting counts, and what ALTER SYSTEM wrote comes behind.

use std::{net::IpAddr, time::Duration};

use super::{Source, below, expand, parsed};
use crate::model::doctor::Limits;

/// So deep files may include each other (`CONF_FILE_MAX_DEPTH`).
const DEPTH_MAX: usize = 10;

#[derive(Debug, Default)]
struct Found {
    timeout: Option<String>,
    log_hostname: Option<String>,
    hba_file: Option<String>,
    data_directory: Option<String>,
}

impl Found {
    fn take(&mut self, name: &str, value: &str) {
        let place = match name.to_ascii_lowercase().as_str() {
            "authentication_timeout" => &mut self.timeout,
            "log_hostname" => &mut self.log_hostname,
            "hba_file" => &mut self.hba_file,
            "data_directory" => &mut self.data_directory,
            _ => return,
        };
        *place = Some(value.to_owned());
    }
}

/// By the arguments that the server was started with; None where they do not say where its configuration is.
pub(super) fn read(source: &mut dyn Source, cmdline: &[String]) -> Option<Limits> {
    let (mut given, mut data, mut config) = (Found::default(), None, None);
    let mut arguments = cmdline.iter().map(String::as_str).skip(1);
    while let Some(argument) = arguments.next() {
        let setting = match argument {
            "-D" => {
                data = arguments.next();
                continue;
            }
            "-c" => arguments.next(),
            _ => argument.strip_prefix("--").or_else(|| argument.strip_prefix("-c")),
        };
        match setting.and_then(|setting| setting.split_once('=')) {
            Some(("config_file" | "config-file", file)) => config = Some(file),
            Some((name, value)) => given.take(&name.replace('-', "_"), value),
            None => data = argument.strip_prefix("-D").or(data),
        }
    }
    let config = config.map(ToOwned::to_owned).or_else(|| Some(below(data?, "postgresql.conf")))?;
    let mut found = Found::default();
    file(source, &config, 0, &mut found);
    let data = found.data_directory.clone().or(given.data_directory).or(data.map(ToOwned::to_owned));
    if let Some(data) = &data {
        // Without one there is nothing that ALTER SYSTEM wrote, which is usual.
        file_if_exists(source, &below(data, "postgresql.auto.conf"), 0, &mut found);
    }
    let timeout = given.timeout.or(found.timeout);
    let log_hostname = given.log_hostname.or(found.log_hostname);
    let hba = given.hba_file.or(found.hba_file).or_else(|| Some("pg_hba.conf".to_owned()))?;
    let hba = if hba.starts_with('/') { Some(hba) } else { data.map(|data| below(&data, &hba)) };
    let names_in_hba = hba.and_then(|hba| has_names(source, &hba));
    Some(Limits::Postgres {
        authentication_timeout_s: parsed(source, "authentication_timeout", timeout, seconds).unwrap_or(60),
        log_hostname: parsed(source, "log_hostname", log_hostname, boolean).unwrap_or(false),
        names_in_hba,
    })
}

/// That it is not there is no doubt.
fn file_if_exists(source: &mut dyn Source, path: &str, depth: usize, found: &mut Found) {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    if source.names(folder).is_some_and(|names| names.iter().any(|there| there == name)) {
        file(source, path, depth, found);
    }
}

fn file(source: &mut dyn Source, path: &str, depth: usize, found: &mut Found) {
    if depth > DEPTH_MAX {
        return source.doubt(format!("{path}: files include each other"));
    }
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned();
    let Some(text) = source.text(path) else { return };
    for line in text.lines() {
        let line = line.trim();
        let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
        let (name, value) = line.split_at(end);
        let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
        let value = match value.strip_prefix('\'') {
            Some(quoted) => unquoted(quoted),
            None => value.split(['#', ' ', '\t']).next().unwrap_or_default().to_owned(),
        };
        let place = below(&folder, &value);
        match name.to_ascii_lowercase().as_str() {
            "include" => file(source, &place, depth + 1, found),
            "include_if_exists" => file_if_exists(source, &place, depth + 1, found),
            "include_dir" => {
                for included in expand(source, &format!("{place}/*.conf")) {
                    file(source, &included, depth + 1, found);
                }
            }
            name => found.take(name, &value),
        }
    }
}

/// Up to the closing quote; a quote within is written twice, or behind a backslash.
fn unquoted(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' if rest.next_if_eq(&'\'').is_none() => break,
            '\\' => value.extend(rest.next()),
            c => value.push(c),
        }
    }
    value
}

/// `60`, `60s`, `1.5min`; seconds where there is no unit, and rounded to them.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let in_seconds = match unit.trim() {
        "" | "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * in_seconds;
    Some(Duration::try_from_secs_f64(seconds + 0.5).ok()?.as_secs())
}

/// As `parse_bool` takes it: the beginning of a word is enough where it is that of one word only.
fn boolean(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || value == "1" {
        return Some(true);
    }
    (begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0").then_some(false)
}

/// Whether a line of pg_hba.conf names clients by name; None where that is not known.
fn has_names(source: &mut dyn Source, path: &str) -> Option<bool> {
    let text = source.text(path)?.replace("\\\n", "");
    let lines: Vec<Vec<String>> = text.lines().map(fields).collect();
    let named = lines.iter().any(|fields| is_named(fields));
    if !named && lines.iter().any(|fields| fields.first().is_some_and(|first| first.starts_with("include"))) {
        source.doubt(format!("{path}: what it includes is not followed"));
        return None;
    }
    Some(named)
}

/// A host line whose address is no address and no keyword.
fn is_named(fields: &[String]) -> bool {
    let [kind, _, _, address, ..] = fields else { return false };
    // Quotes change a keyword only.
    let number = address.trim_matches('"').split('/').next().unwrap_or_default();
    let is_address = number.parse::<IpAddr>().is_ok();
    kind.starts_with("host") && !is_address && !matches!(address.as_str(), "all" | "samehost" | "samenet")
}

/// A line's fields up to a comment. Of quoted ones the quotes stay, for a keyword in quotes is none; a field goes on behind a comma.
fn fields(line: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let (mut quoted, mut goes_on) = (false, false);
    for c in line.chars() {
        match c {
            '#' if !quoted => break,
            c if c.is_whitespace() && !quoted => {
                goes_on = fields.last().is_some_and(|field| field.ends_with(','));
            }
            c => {
                if !goes_on {
                    fields.push(String::new());
                }
                goes_on = true;
                quoted ^= c == '"';
                fields.last_mut().into_iter().for_each(|field| field.push(c));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::tests::Texts;

    fn read_from(texts: &[(&str, &str)], cmdline: &[&str]) -> (Option<Limits>, Option<String>) {
        let mut source = Texts::of(texts);
        let cmdline: Vec<String> = cmdline.iter().map(|part| (*part).to_owned()).collect();
        (read(&mut source, &cmdline), source.doubt)
    }

    #[test]
    fn the_last_value_counts_and_alter_system_comes_behind() {
        let conf = "authentication_timeout = 1min\t# a minute\nlog_hostname on\nauthentication_timeout = 30s\n\
                    hba_file = '/etc/pg/pg_hba.conf'\ndata_directory = '/var/pg'\ninclude_dir 'conf.d'\n";
        let hba = "# TYPE\nlocal all all peer\nhost all all 10.0.0.0/8 md5\nhost all all ::1/128 md5\nhost all all all md5\n";
        let mut texts = vec![
            ("/etc/pg/postgresql.conf", conf),
            ("/etc/pg/pg_hba.conf", hba),
            ("/etc/pg/conf.d/a.conf", "log_hostname = off\n"),
        ];
        let arguments = ["postgres", "-D", "/var/pg", "-c", "config_file=/etc/pg/postgresql.conf"];
        let limits = |authentication_timeout_s, log_hostname, names| Limits::Postgres {
            authentication_timeout_s,
            log_hostname,
            names_in_hba: Some(names),
        };
        assert_eq!(read_from(&texts, &arguments), (Some(limits(30, false, false)), None));
        texts.push(("/var/pg/postgresql.auto.conf", "log_hostname = 'on'\nauthentication_timeout = '5'\n"));
        texts[1].1 = "hostssl all all .example.com md5\n";
        assert_eq!(read_from(&texts, &arguments), (Some(limits(5, true, true)), None));
        let given = [&arguments[..], &["--authentication-timeout=9", "-clog_hostname=no"]].concat();
        assert_eq!(read_from(&texts, &given), (Some(limits(9, false, true)), None));
    }

    #[test]
    fn files_are_included_and_quotes_are_taken_off() {
        let conf = "Include 'it''s.conf'\ninclude_if_exists 'none.conf'\ninclude_if_exists 'some.conf'\n";
        let texts = [
            ("/pg/postgresql.conf", conf),
            ("/pg/it's.conf", "authentication_timeout = '1.5 min'\n"),
            ("/pg/some.conf", "log_hostname = tr\n"),
            ("/pg/pg_hba.conf", "local all all peer\n"),
        ];
        let (found, doubt) =
            read_from(&texts, &["postgres", "--config-file=/pg/postgresql.conf", "-D", "/pg"]);
        let limits =
            Limits::Postgres { authentication_timeout_s: 90, log_hostname: true, names_in_hba: Some(false) };
        assert_eq!((found, doubt), (Some(limits), None));
    }

    #[test]
    fn what_is_not_understood_is_a_doubt() {
        let all = ["90", "1500ms", "2min", "5 min", "0x3c", "1 fortnight", ""].map(seconds);
        assert_eq!(all, [Some(90), Some(2), Some(120), Some(300), None, None, None]);
        let all = ["on", "OF", "y", "0", "o", "perhaps", ""].map(boolean);
        assert_eq!(all, [Some(true), Some(false), Some(true), Some(false), None, None, None]);
        for line in ["authentication_timeout = soon", "log_hostname = o"] {
            let texts = [("/pg/postgresql.conf", line), ("/pg/pg_hba.conf", "")];
            let (_, doubt) = read_from(&texts, &["postgres", "-D", "/pg"]);
            assert!(doubt.is_some_and(|doubt| doubt.contains("not understood")), "{line}");
        }
    }

    #[test]
    fn a_clients_name_in_pg_hba_is_told_from_addresses_and_keywords() {
        let names = |line: &str| {
            let mut source = Texts::of(&[("/h", line)]);
            (has_names(&mut source, "/h"), source.doubt.is_some())
        };
        for line in [
            "host \"my db\" all 10.0.0.1 255.255.255.255 md5",
            "host a, b c 10.0.0.0/8 md5",
            "host all all \"10.0.0.0/8\" md5",
            "host all all samenet md5 # db.example.com",
            "# host all all db.example.com md5",
            "local all all peer",
        ] {
            assert_eq!(names(line), (Some(false), false), "{line}");
        }
        for line in
            ["host a,b c .example.com md5", "hostssl all all \\\n 3com.com md5", "host all all \"all\" md5"]
        {
            assert_eq!(names(line), (Some(true), false), "{line}");
        }
        assert_eq!(names("include more.conf"), (None, true));
        assert_eq!(names("include more.conf\nhost all all db.example.com md5"), (Some(true), false));
    }

    #[test]
    fn what_is_not_there_is_a_doubt_and_without_a_folder_nothing_is_known() {
        assert_eq!(read_from(&[], &["postgres"]), (None, None));
        let (found, doubt) = read_from(&[], &["postgres", "-D", "/var/pg"]);
        let names_in_hba = None;
        let usual = Limits::Postgres { authentication_timeout_s: 60, log_hostname: false, names_in_hba };
        assert_eq!((found, doubt.is_some()), (Some(usual), true));
    }
}
