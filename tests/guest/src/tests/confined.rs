//! A server that AppArmor keeps from a table, on the kernels whose guests have what loads profiles.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use wrapwatch::model::{
    Connection, Outcome,
    doctor::{Doctor, DoctorProblemKind, ServerProblem},
};
use wrapwatch_tests::{
    clients::ClientsSpec,
    watch::{Watch, binary},
};

use super::skipped;
use crate::{
    report::Report,
    site::{ALLOW, DENY, Site, StandIn, tables},
};

const PARSER: &str = "/bin/apparmor_parser";
const PROFILE: &str = "wrapwatch-lab";
const PORT: u16 = 3309;
/// Of one of these the kernel leaves out nothing.
const SEVERAL: usize = 5;

/// The test.
pub(super) fn run(report: &mut Report, site: &Site) {
    if !Path::new(PARSER).exists() {
        return;
    }
    report.test("confined by AppArmor", || {
        keep_from("/etc/hosts.allow")?;
        let server = StandIn::start(PORT, 0)?;
        doctor_names_the_profile(server.pid())?;
        refused_since(&server, site, "/etc/hosts.allow")?;
        // Whom hosts.allow does not admit is refused where hosts.deny cannot be read, whatever it says.
        tables("ALL: .elsewhere.example\n", "")?;
        keep_from("/etc/hosts.deny")?;
        refused_since(&server, site, "/etc/hosts.deny")?;
        tables(ALLOW, DENY)
    });
}

/// Has AppArmor allow the stand-in everything but reading this file.
fn keep_from(file: &str) -> Result<()> {
    let profile = format!(
        "profile {PROFILE} /bin/wrapwatch-stand-in {{\n file,\n network,\n capability,\n ptrace,\n signal,\n unix,\n deny {file} r,\n}}\n"
    );
    fs::write("/tmp/profile", profile)?;
    let output = Command::new(PARSER).args(["--replace", "--skip-cache", "/tmp/profile"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn doctor_names_the_profile(pid: u32) -> Result<()> {
    let output = Command::new(binary()?).args(["doctor", "--json", "-p", &pid.to_string()]).output()?;
    let doctor: Doctor = serde_json::from_slice(&output.stdout).context("doctor's JSON")?;
    let confined = doctor.targets.first().and_then(|target| target.confined.as_ref());
    let confined = confined.context("doctor says nothing of AppArmor")?;
    ensure!((confined.profile.as_str(), confined.mode.as_str()) == (PROFILE, "enforce"), "{confined:?}");
    ensure!(
        doctor
            .problems
            .iter()
            .any(|problem| problem.kind == DoctorProblemKind::Server(ServerProblem::Confined)),
        "no problem: {:?}",
        doctor.problems
    );
    Ok(())
}

/// Clients are refused, and the connection says which table could not be opened.
fn refused_since(server: &StandIn, site: &Site, table: &str) -> Result<()> {
    let spec = ClientsSpec { port: PORT, ..ClientsSpec::one_by_one(SEVERAL) };
    let start = || Watch::pid(server.pid());
    let (seen, clients) = skipped::watched(start, || site.clients(&spec))?;
    for client in skipped::undoubted(&seen, &clients)? {
        let connection = seen.of(&client.source.context("a client has no address")?.to_string())?;
        ensure!(connection.outcome == Outcome::Refused, "told as {:?}", connection.outcome);
        let error = error_of(connection, table);
        ensure!(error == Some("EACCES"), "{table}: {error:?} in {:?}", connection.files);
    }
    Ok(())
}

fn error_of<'a>(connection: &'a Connection, table: &str) -> Option<&'a str> {
    connection.files.iter().find(|file| &*file.path == table)?.error.as_deref()
}
