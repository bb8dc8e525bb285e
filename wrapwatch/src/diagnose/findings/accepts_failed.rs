//! `accept` fails: clients stay in the queue though the server is awake.

use crate::model::{AcceptErrors, Evidence, Finding, FindingId, Severity};

use super::support::{counted, finding};
use super::{Case, Detector};

/// Errors that say nothing: no client was there, a signal came, the client was gone already (accept(2)).
const HARMLESS: [&str; 5] = ["EAGAIN", "EINTR", "ECONNABORTED", "ERESTARTSYS", "EWOULDBLOCK"];

#[derive(Debug, Default)]
pub(super) struct AcceptsFailed;

impl Detector for AcceptsFailed {
    fn tell(&self, case: &Case<'_>) -> Vec<Finding> {
        let errors = case.summary.accept_errors.iter();
        errors
            .filter(|error| !HARMLESS.contains(&error.errno.as_str()))
            .map(|error| tell(error, case))
            .collect()
    }
}

fn tell(error: &AcceptErrors, case: &Case<'_>) -> Finding {
    let AcceptErrors { pid, errno, count, first, last } = error;
    let message = format!(
        "accept failed {} with {errno} in process {pid}: clients stay in the queue, though the server tries to take them.",
        counted(*count, "time", "times")
    );
    let mut facts = Vec::new();
    if let (Some(first), Some(last)) = (first, last) {
        facts.push(format!("from {first} to {last}"));
    }
    if case.summary.still_queued > 0 {
        facts.push(format!(
            "{} still queued at the end",
            counted(case.summary.still_queued, "client", "clients")
        ));
    }
    let change = match errno.as_str() {
        "EMFILE" => {
            "The server is out of descriptors: raise `open_files_limit` (LimitNOFILE= of its unit, `ulimit -n`) and restart it; until then lower max_connections \
             or close idle clients."
        }
        "ENFILE" => {
            "The machine is out of descriptors: raise fs.file-max, and find out who holds so many (`lsof | awk '{print $2}' | sort | uniq -c | sort -n`)."
        }
        "EBADF" | "EINVAL" | "ENOTSOCK" => {
            "The server has closed its listener and still calls accept: restart it, and look into its error log for why."
        }
        "ENOBUFS" | "ENOMEM" => {
            "The kernel has no memory for sockets: look at net.ipv4.tcp_mem and `ss -m`, and at the memory limit of the server's cgroup."
        }
        "EPERM" => {
            "A firewall or a security module forbids it: look at nft/iptables, SELinux and AppArmor (dmesg)."
        }
        _ => "See accept(2) for what the error means, and the server's error log.",
    };
    let evidence = Evidence { facts, count: *count, ..Evidence::default() };
    finding(FindingId::AcceptsFailed, Severity::Critical, message, evidence, Some(change.to_owned()))
}
