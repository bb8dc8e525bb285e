//! postgresql.conf and pg_hba.conf: the last value of a setting counts, and what ALTER SYSTEM wrote comes behind.

use super::{Source, below, expand};
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
            Some(("config_file", file)) => config = Some(file),
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
        let auto = "postgresql.auto.conf";
        if source.names(data).is_some_and(|names| names.iter().any(|name| name == auto)) {
            file(source, &below(data, auto), 0, &mut found);
        }
    }
    let timeout = given.timeout.or(found.timeout);
    let hba = given.hba_file.or(found.hba_file).or_else(|| Some("pg_hba.conf".to_owned()))?;
    let hba = if hba.starts_with('/') { Some(hba) } else { data.map(|data| below(&data, &hba)) };
    let names_in_hba = hba.and_then(|hba| source.text(&hba)).map(|text| has_names(&text));
    Some(Limits::Postgres {
        authentication_timeout_s: timeout.as_deref().and_then(seconds).unwrap_or(60),
        log_hostname: given.log_hostname.or(found.log_hostname).is_some_and(|value| is_on(&value)),
        names_in_hba,
    })
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
            Some(quoted) => quoted.split('\'').next().unwrap_or_default(),
            None => value.split(['#', ' ', '\t']).next().unwrap_or_default(),
        };
        match name {
            "include" => file(source, &below(&folder, value), depth + 1, found),
            "include_if_exists" => source.doubt(format!("{path}: include_if_exists is not followed")),
            "include_dir" => {
                for included in expand(source, &format!("{}/*.conf", below(&folder, value))) {
                    file(source, &included, depth + 1, found);
                }
            }
            name => found.take(name, value),
        }
    }
}

/// `60`, `60s`, `1min`; seconds where there is no unit.
fn seconds(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "" | "s" => Some(number),
        "min" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        "d" => number.checked_mul(86_400),
        "ms" => Some(number / 1000),
        _ => None,
    }
}

/// As `parse_bool` takes it.
fn is_on(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "on" | "true" | "yes" | "1" | "t" | "y" | "tr" | "tru" | "ye"
    )
}

/// Whether a line of pg_hba.conf names clients by name: host lines whose address is no address and no keyword.
fn has_names(hba: &str) -> bool {
    hba.lines().map(str::split_whitespace).any(|mut fields| {
        let host = fields.next().is_some_and(|kind| kind.starts_with("host"));
        let address = fields.nth(2).map(|address| address.trim_matches('"')).unwrap_or_default();
        let is_address = address.starts_with(|c: char| c.is_ascii_digit()) || address.contains([':', '/']);
        host && !address.is_empty() && !is_address && !matches!(address, "all" | "samehost" | "samenet")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Texts;
    use super::*;

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
    fn what_is_not_there_is_a_doubt_and_without_a_folder_nothing_is_known() {
        assert_eq!(read_from(&[], &["postgres"]), (None, None));
        let (found, doubt) = read_from(&[], &["postgres", "-D", "/var/pg"]);
        let names_in_hba = None;
        let usual = Limits::Postgres { authentication_timeout_s: 60, log_hostname: false, names_in_hba };
        assert_eq!((found, doubt.is_some()), (Some(usual), true));
    }
}
