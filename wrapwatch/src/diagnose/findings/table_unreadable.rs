//! A table that the server could not open. libwrap takes hosts.allow for an empty one then, and refuses whom it did not admit where that is hosts.deny.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Finding, FindingId, Severity};

use super::support::{Proof, counted, finding, is_deny_table, is_table};
use super::{Case, Detector, Seen};

/// Tables and errors told apart.
const KINDS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct TableUnreadable {
    /// By path, whether that is hosts.deny, and error.
    by: BTreeMap<(Arc<str>, bool, String), Proof>,
}

impl Detector for TableUnreadable {
    fn see(&mut self, seen: &Seen<'_>) {
        for file in seen.connection.files.iter().filter(|file| is_table(seen, &file.path)) {
            // One that is not there is an empty one, and meant to be.
            let Some(error) = file.error.as_deref().filter(|error| *error != "ENOENT") else { continue };
            let key = (file.path.clone(), is_deny_table(seen, &file.path), error.to_owned());
            if self.by.len() < KINDS_MAX || self.by.contains_key(&key) {
                self.by.entry(key).or_default().add(seen.connection, seen.connection.wrapper_ns);
            }
        }
    }

    fn tell(&self, _: &Case<'_>) -> Vec<Finding> {
        self.by.iter().map(|((path, deny, error), proof)| tell(path, *deny, error, proof)).collect()
    }
}

fn tell(path: &str, deny: bool, error: &str, proof: &Proof) -> Finding {
    let effect = if deny {
        "libwrap refused everybody whom hosts.allow did not admit"
    } else {
        "libwrap took it for empty, and none of its rules counted"
    };
    let checks = counted(proof.count, "check", "checks");
    let message = format!("{path} could not be opened ({error}) in {checks}: {effect}.");
    let change = match error {
        "EACCES" | "EPERM" => {
            format!("Let the server's user read it: `chmod 644 {path}`, and execute permission on each directory above (`namei -l {path}`).")
        }
        "EMFILE" | "ENFILE" => {
            "The server was out of descriptors: raise `open_files_limit` (LimitNOFILE= of its unit), and find out what holds so many.".to_owned()
        }
        "ELOOP" => format!("{path} is a symbolic link that leads to itself, or through too many: make it a file."),
        _ => format!("Find out why: `sudo -u mysql cat {path}`, and the kernel's log (dmesg) for errors of the disk."),
    };
    finding(FindingId::TableUnreadable, Severity::Critical, message, proof.evidence(Vec::new()), Some(change))
}
