//! Debian's and Ubuntu's package manager.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{display, probe, root_prefix, run},
    toolchain,
};

/// Packages to install, in one go.
#[derive(Debug)]
pub(crate) struct Apt {
    there: bool,
    updated: bool,
    wanted: Vec<&'static str>,
    /// In a dry run: those of them that apt's lists do not have.
    pub(crate) unknown: Vec<&'static str>,
}

impl Apt {
    /// Finds out whether this machine has apt.
    pub(crate) fn new() -> Self {
        Self {
            there: !toolchain::on_path("apt-get").is_empty(),
            updated: false,
            wanted: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Adds packages to what will be installed, or says why they cannot be. Renews apt's lists if they do not have
    /// them; a dry run believes that they then would.
    pub(crate) fn want(&mut self, packages: &[&'static str], dry_run: bool) -> Result<(), String> {
        if !self.there {
            return Err("no apt-get here".to_owned());
        }
        for package in packages {
            if candidate_is_good(package) {
                continue;
            }
            if dry_run {
                self.unknown.push(package);
                continue;
            }
            if !self.updated {
                self.updated = true;
                let update = as_root(&["update"]).ok_or(NO_ROOT)?;
                run_loud(update).map_err(|error| format!("{error:#}"))?;
            }
            if !candidate_is_good(package) {
                return Err(format!("apt has no {package}, or one too old"));
            }
        }
        self.wanted.extend(packages);
        Ok(())
    }

    /// The command that will be run, if any.
    pub(crate) fn install_command(&self) -> Option<Command> {
        let with_qemu = if self.wanted.contains(&QEMU) { beside_qemu() } else { Vec::new() };
        let with_qemu = with_qemu.iter().map(String::as_str);
        let args: Vec<&str> = INSTALL.iter().chain(&self.wanted).copied().chain(with_qemu).collect();
        // Where there is no way to become root, this is still what to say.
        (!self.wanted.is_empty()).then(|| as_root(&args).unwrap_or_else(|| apt_get(&[], &args)))
    }

    /// Installs; where that fails, renews the lists and tries once more, since old lists name files that are gone.
    pub(crate) fn install(&mut self) -> Result<()> {
        let Some(command) = self.install_command() else { return Ok(()) };
        if root_prefix().is_none() {
            bail!("{NO_ROOT}; as root, run: {}", display(&command));
        }
        let Err(error) = run_loud(command) else { return Ok(()) };
        if self.updated {
            return Err(error);
        }
        eprintln!("{error:#}; again with new lists");
        self.updated = true;
        run_loud(as_root(&["update"]).context(NO_ROOT)?)?;
        run_loud(self.install_command().context("nothing to install")?)
    }
}

const QEMU: &str = "qemu-system-x86";

/// What has to be asked for beside qemu so that nothing needs to be removed: its utilities, where they are there from somewhere else in another version,
/// exclude it.
fn beside_qemu() -> Vec<String> {
    let show = probe(Command::new("dpkg-query").args([
        "--show",
        "--showformat=${db:Status-Status} ${Version}",
        "qemu-utils",
    ]));
    let policy = probe(Command::new("apt-cache").args(["policy", QEMU]).env("LC_ALL", "C"));
    match (
        show.as_deref().and_then(|show| show.strip_prefix("installed ")),
        policy.as_deref().and_then(candidate),
    ) {
        (Some(there), Some(wanted)) if there != wanted => {
            vec!["--allow-downgrades".to_owned(), format!("qemu-utils={wanted}")]
        }
        _ => Vec::new(),
    }
}

const NO_ROOT: &str = "installing packages needs root, and there is no sudo";

/// `--no-remove`: rustc-web and Debian's own rustup exclude each other, and throwing out somebody's rustup is not
/// for us to decide.
const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--no-remove"];

fn as_root(args: &[&str]) -> Option<Command> {
    root_prefix().map(|prefix| apt_get(prefix, args))
}

fn apt_get(prefix: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(prefix.first().unwrap_or(&"env"));
    if !prefix.is_empty() {
        command.arg("env");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]).args(args);
    command
}

fn run_loud(mut command: Command) -> Result<()> {
    eprintln!("\n$ {}", display(&command));
    // Its stdout is not a result of ours.
    run(command.stdin(Stdio::null()).stdout(std::io::stderr()))
}

/// Whether apt would install this package, in a version that can compile the workspace where it is a compiler.
fn candidate_is_good(package: &str) -> bool {
    let policy = probe(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    let candidate = policy.as_deref().and_then(candidate);
    candidate.is_some_and(|version| !package.starts_with("rustc") || toolchain::is_new_enough(version))
}

/// The candidate in what `apt-cache policy` prints.
fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::candidate;

    #[test]
    fn candidate_is_read_from_apts_policy() {
        let policy =
            "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n";
        assert_eq!(candidate(policy), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(candidate("tshark:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }
}
