//! The machine: mounts, modules, the loopback interface, its end.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
};

/// File systems, where, and whether the machine is of use without.
const MOUNTS: [(&str, &str, bool); 7] = [
    ("devtmpfs", "/dev", true),
    ("proc", "/proc", true),
    ("sysfs", "/sys", true),
    ("tmpfs", "/tmp", true),
    ("tmpfs", "/run", true),
    ("securityfs", "/sys/kernel/security", false),
    ("tracefs", "/sys/kernel/tracing", false),
];
/// Where xtask puts the kernel's modules, in the order in which they have to be loaded.
const MODULES: &str = "/modules";
/// Before the names of options on the kernel's command line.
const PREFIX: &str = "wrapwatch.";

/// Makes a usable machine of what the kernel starts with.
pub(crate) fn set_up() -> Result<()> {
    for (kind, place, needed) in MOUNTS {
        let mounted = fs::create_dir_all(place)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)?));
        if let Err(error) = mounted {
            ensure!(!needed, "cannot mount {kind} on {place}: {error}");
            eprintln!("no {kind}: {error}");
        }
    }
    load_modules()?;
    busybox(&["ip", "link", "set", "lo", "up"])
}

fn load_modules() -> Result<()> {
    let Ok(entries) = fs::read_dir(MODULES) else { return Ok(()) };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        let file = File::open(&path)?;
        finit_module(&file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("cannot load {}", path.display()))?;
    }
    Ok(())
}

/// The options on the kernel's command line.
pub(crate) fn options() -> Result<BTreeMap<String, String>> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let options = line.split_whitespace().filter_map(|word| word.strip_prefix(PREFIX));
    Ok(options
        .map(|option| option.split_once('=').unwrap_or((option, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// A shell on the console, until it ends.
pub(crate) fn shell() -> Result<()> {
    busybox(&["--install", "-s", "/bin"])?;
    // A session of its own, so that Ctrl-C goes to what runs in the shell.
    let status =
        Command::new("/bin/busybox").args(["setsid", "-c", "sh", "-l"]).env("PATH", "/bin").status()?;
    println!("the shell has ended: {status}");
    Ok(())
}

fn busybox(args: &[&str]) -> Result<()> {
    let status = Command::new("/bin/busybox").args(args).status().context("no busybox")?;
    ensure!(status.success(), "busybox {}: {status}", args.join(" "));
    Ok(())
}

/// Ends the machine. The kernel panics should that fail, since its first process is over then.
pub(crate) fn switch_off() {
    nix::unistd::sync();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("cannot switch off: {error}");
}
