//! A folder with the files of many hosts, as configuration management has them: one folder a host, with its hosts.allow, hosts.deny and whatever else there
//! is of /etc, in it or in `etc` below it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{Files, Paths, Subject};
use super::ignored::{IGNORE_FILE, IgnoreFile};
use crate::model::Severity;
use crate::replay::LintInput;
use crate::wrappers::FileText;
use crate::wrappers::problems::Problem;

/// What was found of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LintHost")]
pub struct HostReport {
    /// Name of its folder.
    pub host: String,
    /// Problems that are critical.
    pub critical: u64,
    /// Warnings.
    pub warning: u64,
    /// Problems that are worth knowing.
    pub info: u64,
    /// Problems left out by its ignore file.
    pub ignored: u64,
    /// The worst of them; null where there is none.
    pub worst: Option<Problem>,
    /// What is wrong with its ignore file.
    pub remarks: Vec<String>,
    /// Why it could not be looked at; null where it was.
    pub error: Option<String>,
}

/// Looks at each host of the folder, by name; calls `each` with what was found. The folders that have no tables are given back.
///
/// # Errors
/// Where the folder cannot be read. A host whose files cannot be read has that as its error.
pub fn each_host(
    folder: &Path,
    subject: &Subject<'_>,
    mut each: impl FnMut(&HostReport) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    let folder = &folder.canonicalize()?;
    let mut without = Vec::new();
    for name in names {
        let home = folder.join(&name);
        let Some(etc) = [home.clone(), home.join("etc")].into_iter().find(|etc| has_tables(etc)) else {
            without.push(name.to_string_lossy().into_owned());
            continue;
        };
        each(&one(&name.to_string_lossy(), &etc, folder, subject))?;
    }
    Ok(without)
}

/// Whether a folder has a table. A link that leads nowhere is one: it is told as what it is.
fn has_tables(folder: &Path) -> bool {
    ["hosts.allow", "hosts.deny"].iter().any(|name| folder.join(name).symlink_metadata().is_ok())
}

fn one(host: &str, etc: &Path, folder: &Path, subject: &Subject<'_>) -> HostReport {
    let mut report = HostReport { host: host.to_owned(), ..HostReport::default() };
    let looked_at = look(etc, folder, subject, &mut report);
    report.error = looked_at.err();
    report
}

fn look(etc: &Path, folder: &Path, subject: &Subject<'_>, report: &mut HostReport) -> Result<(), String> {
    let at = |name: &str| inside(&etc.join(name), folder);
    let paths = Paths {
        tables: [Some(at("hosts.allow")?), Some(at("hosts.deny")?)],
        resolv: Some(at("resolv.conf")?),
        hosts: Some(at("hosts")?),
        nsswitch: Some(at("nsswitch.conf")?),
    };
    // What a rule names is a path on that host: known where its folder has the file.
    let named = |path: &str| {
        let below = path.strip_prefix("/etc/").map(|rest| etc.join(rest));
        let known = below.filter(|path| !path.components().any(|part| part == Component::ParentDir));
        let known = known.filter(|path| path.symlink_metadata().is_ok());
        let Some(known) = known else { return FileText::Elsewhere };
        match inside(&known, folder) {
            Ok(path) => super::files::named_file(&path.to_string_lossy()),
            Err(why) => FileText::NotKnown(why),
        }
    };
    let files = Files::read_with(&paths, &LintInput::default(), named).map_err(|error| error.to_string())?;
    let ignored = IgnoreFile::read(&at(IGNORE_FILE)?, IGNORE_FILE).map_err(|error| error.to_string())?;
    let ignored = ignored.unwrap_or_default();
    if let Some(why) = ignored.unusable() {
        return Err(format!("{IGNORE_FILE}: {why}"));
    }
    // The name of the host that lint runs on says nothing of that one's domain.
    let (mut found, applied) = files.lint(&Subject { own_domain: None, ..subject.clone() }, &ignored.list);
    files.forget_absent(&mut found);
    report.remarks = ignored.remarks(&applied);
    report.ignored = found.ignored;
    for problem in found.problems.iter().filter(|problem| !problem.other_daemons) {
        *match problem.severity {
            Severity::Critical => &mut report.critical,
            Severity::Warning => &mut report.warning,
            Severity::Info => &mut report.info,
        } += 1;
    }
    report.worst = found.problems.into_iter().find(|problem| !problem.other_daemons);
    Ok(())
}

/// A host's file, where it is within the folder of all hosts: what a link leads to elsewhere is this machine's, or nobody's.
fn inside(path: &Path, folder: &Path) -> Result<PathBuf, String> {
    let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if path.symlink_metadata().is_err() {
        return Ok(path.to_owned());
    }
    match path.canonicalize() {
        Ok(real) if real.starts_with(folder) => Ok(real),
        Ok(_) => Err(format!("{} is a link that leads out of the folder", name())),
        Err(error) => Err(format!("{} is a link that leads nowhere: {error}", name())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::wrappers::Endpoint;
    use crate::wrappers::problems::ProblemKind as Kind;

    /// The reports of all hosts below a folder.
    fn reports(folder: &Path) -> Vec<HostReport> {
        let server = Endpoint::new("0.0.0.0".parse().unwrap(), 3306);
        let subject = Subject { daemon: "mysqld", server, own_domain: Some("this.machine"), clients: &[] };
        let mut all = Vec::new();
        each_host(folder, &subject, |report| {
            all.push(report.clone());
            Ok(())
        })
        .unwrap();
        all
    }

    fn host(folder: &Path, name: &str, allow: &str) -> PathBuf {
        let home = folder.join(name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("hosts.allow"), allow).unwrap();
        fs::write(home.join("hosts.deny"), "ALL: ALL\n").unwrap();
        home
    }

    #[test]
    fn each_host_has_its_line_and_what_is_no_host_has_none() {
        let folder = tempfile::tempdir().unwrap();
        host(folder.path(), "b", "mysqld: .example.com\n");
        host(&folder.path().join("a"), "etc", "mysqld: 10.\n");
        fs::create_dir(folder.path().join("empty")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let all = reports(folder.path());
        let names: Vec<&str> = all.iter().map(|report| report.host.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let server = Endpoint::new("0.0.0.0".parse().unwrap(), 3306);
        let subject = Subject { daemon: "mysqld", server, own_domain: None, clients: &[] };
        assert_eq!(each_host(folder.path(), &subject, |_| Ok(())).unwrap(), ["empty"]);
        assert_eq!((all[0].worst.as_ref(), all[0].error.as_ref()), (None, None), "{all:#?}");
        assert!(all[1].warning > 0 && all[1].worst.is_some());
    }

    #[test]
    fn nothing_of_this_machine_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "mysqld: 10.\n").unwrap();
        // A file that is there on every machine this runs on.
        let named = host(folder.path(), "named", "mysqld: /etc/passwd /etc/here 10.\n");
        fs::write(named.join("here"), "10.0.0.1 /none\n").unwrap();
        let link = host(folder.path(), "outside", "");
        fs::remove_file(link.join("hosts.deny")).unwrap();
        symlink(outside.path(), link.join("hosts.deny")).unwrap();
        symlink(folder.path().join("named"), folder.path().join("same")).unwrap();
        let dangling = folder.path().join("dangling");
        fs::create_dir(&dangling).unwrap();
        symlink("nothing-there", dangling.join("hosts.allow")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        host(elsewhere.path(), "x", "mysqld: 10.\n");
        symlink(elsewhere.path().join("x"), folder.path().join("x")).unwrap();
        let all = reports(folder.path());
        let of = |name: &str| all.iter().find(|report| report.host == name).unwrap();
        let error = |name: &str| of(name).error.clone().unwrap_or_default();
        assert!(error("outside").contains("hosts.deny is a link that leads out of the folder"), "{all:#?}");
        assert!(error("dangling").contains("hosts.allow is a link that leads nowhere"), "{all:#?}");
        assert!(error("x").contains("leads out"), "{all:#?}");
        // /etc/passwd is full of names of this machine; of that host's nothing is known, and it is said.
        let known = of("named");
        assert_eq!((known.info > 0, known.error.as_ref()), (true, None), "{known:#?}");
        assert_eq!(known.worst.as_ref().unwrap().kind, Kind::DnsLookup, "{known:#?}");
        assert_eq!(
            (of("same").warning, of("same").info),
            (known.warning, known.info),
            "a link within the folder"
        );
    }

    #[test]
    fn mistakes_in_a_hosts_ignore_file_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let home = host(folder.path(), "a", "mysqld: .example.com\n");
        fs::write(home.join(IGNORE_FILE), "nonsense\nfails-closed\ntwist\n").unwrap();
        let all = reports(folder.path());
        assert_eq!(all[0].ignored, 1);
        assert_eq!(
            all[0].remarks,
            [
                "hosts.lint-ignore:1: there is no problem called nonsense",
                "hosts.lint-ignore:3: nothing to ignore any more"
            ]
        );
    }
}
