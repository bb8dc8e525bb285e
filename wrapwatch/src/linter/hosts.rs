//! A folder with the files of many hosts, as configuration management has them: one folder a host, with its hosts.allow, hosts.deny and whatever else there
//! is of /etc, in it or in `etc` below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{Files, IGNORE_FILE, Paths, Subject};
use crate::host::local::{self, Found};
use crate::model::Severity;
use crate::replay::LintInput;
use crate::wrappers::ignore::IgnoreList;
use crate::wrappers::problems::Problem;

/// What was found of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Why it could not be looked at; null where it was.
    pub error: Option<String>,
}

/// Looks at each host of the folder, by name; calls `each` with what was found.
///
/// # Errors
/// Where the folder cannot be read. A host whose files cannot be read has that as its error.
pub fn each_host(
    folder: &Path,
    subject: &Subject<'_>,
    mut each: impl FnMut(&HostReport) -> io::Result<()>,
) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    for name in names {
        let home = folder.join(&name);
        let Some(etc) = [home.clone(), home.join("etc")].into_iter().find(|etc| has_tables(etc)) else {
            continue;
        };
        each(&one(&name.to_string_lossy(), &etc, subject))?;
    }
    Ok(())
}

/// Whether a folder has a table. A link that leads nowhere is one: it is told as what it is.
fn has_tables(folder: &Path) -> bool {
    ["hosts.allow", "hosts.deny"].iter().any(|name| folder.join(name).symlink_metadata().is_ok())
}

fn one(host: &str, etc: &Path, subject: &Subject<'_>) -> HostReport {
    let mut report = HostReport {
        host: host.to_owned(),
        critical: 0,
        warning: 0,
        info: 0,
        ignored: 0,
        worst: None,
        error: None,
    };
    let at = |name: &str| -> PathBuf { etc.join(name) };
    let paths = Paths {
        tables: [at("hosts.allow"), at("hosts.deny")],
        resolv: at("resolv.conf"),
        hosts: at("hosts"),
        nsswitch: at("nsswitch.conf"),
    };
    let files = match Files::read(&paths, &LintInput::default()) {
        Ok(files) => files,
        Err(error) => {
            report.error = Some(error.to_string());
            return report;
        }
    };
    let ignored = match local::read(&at(IGNORE_FILE)) {
        Ok(Found::Text(text)) => IgnoreList::parse(&String::from_utf8_lossy(&text)),
        Ok(Found::Missing) => IgnoreList::default(),
        Ok(Found::Unusable(why)) => {
            report.error = Some(format!("{IGNORE_FILE}: {why}"));
            return report;
        }
        Err(error) => {
            report.error = Some(error.to_string());
            return report;
        }
    };
    let (mut found, _) = files.lint(subject, &ignored);
    files.forget_absent(&mut found);
    report.ignored = found.ignored;
    for problem in found.problems.iter().filter(|problem| !problem.other_daemons) {
        *match problem.severity {
            Severity::Critical => &mut report.critical,
            Severity::Warning => &mut report.warning,
            Severity::Info => &mut report.info,
        } += 1;
    }
    report.worst = found.problems.into_iter().find(|problem| !problem.other_daemons);
    report
}
