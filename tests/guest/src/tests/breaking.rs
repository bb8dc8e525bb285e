//! Trouble on purpose, so that it can be seen that a run then fails: `cargo xtask vm --break …`.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};

use super::scenes;
use crate::{report::Report, site::Site};

/// The kernel's description of its types, from which offsets in sockets are taken.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The member that is said to be elsewhere: the client's port.
const MEMBER: &str = "skc_dport";

/// Makes it, if it was asked for; says whether it was. Then no other test runs.
pub(super) fn run(report: &mut Report) -> Result<bool> {
    let Some(what) = report.option("break").map(ToOwned::to_owned) else { return Ok(false) };
    match what.as_str() {
        // What sysrq(c) does to a kernel.
        "panic" => report.test("panic on purpose", || {
            fs::write("/proc/sys/kernel/sysrq", "1")?;
            fs::write("/proc/sysrq-trigger", "c")?;
            anyhow::bail!("the kernel did not panic")
        }),
        "loop" => report.test("endless on purpose", || {
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }),
        // See `Report::ended`.
        "record" => report.test("unheard of on purpose", || Ok(())),
        "offset" => {
            move_member()?;
            scenes::run(report, &Site::start()?, scenes::Way::RAW);
        }
        "verdict" => anyhow::bail!("no verdict, on purpose"),
        other => anyhow::bail!("no such breakage: {other}"),
    }
    Ok(true)
}

/// Has the kernel describe a socket as if the client's port lay two bytes further on, where its own is.
fn move_member() -> Result<()> {
    let mut btf = fs::read(BTF).with_context(|| BTF.to_owned())?;
    let word = |btf: &[u8], at: usize| {
        let bytes = btf.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).context("BTF is cut short")
    };
    // Header: its length at 4, where types and strings begin after it and their lengths at 8 (Documentation/bpf/btf.rst).
    let header = word(&btf, 4)? as usize;
    let (types, length) = (header + word(&btf, 8)? as usize, word(&btf, 12)? as usize);
    let strings = header + word(&btf, 16)? as usize;
    let name = [&[0], MEMBER.as_bytes(), &[0]].concat();
    let names = btf.get(strings..).unwrap_or_default();
    let name = names.windows(name.len()).position(|bytes| bytes == name).context("no such member")? + 1;
    let mut moved = 0;
    // A member is its name, its type, and its offset in bits.
    for at in (types..types + length).step_by(4) {
        if word(&btf, at)? as usize == name {
            let bits = word(&btf, at + 8)? + 16;
            btf.get_mut(at + 8..at + 12).context("BTF is cut short")?.copy_from_slice(&bits.to_ne_bytes());
            moved += 1;
        }
    }
    ensure!(moved == 1, "{MEMBER} was found {moved} times");
    fs::write("/run/btf", btf)?;
    Ok(mount(Some("/run/btf"), BTF, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}
