//! `cargo xtask vm --instructions`: how many instructions queries, connections and other processes' calls take in a guest, beside nothing, beside empty programs and
//! beside wrapwatch, against `tests/costs.toml`.
//!
//! A guest's clock counts instructions ([`Accelerator::Counting`]), so the figures are the same on a crowded machine, and the same each time. The counting itself is
//! the guest's: `tests/guest/src/costs`.

mod page;
mod table;

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use self::table::Table;
use super::{
    MEMORY_MIB,
    expected::Expected,
    guest::{Extra, Guests},
    kernel::{self, Ready},
    machine::{Accelerator, Plan},
    pins::{self, Architecture},
    record::Cost,
    records::Judged,
};
use crate::{
    cli::{self, Server},
    side_by_side::side_by_side,
};

/// What such a guest has to run.
const EXPECTED: &str = "tests = ['instructions']";

/// A real server's work is counted on the kernels that the page has tables of, in a guest of its own.
fn servers(series: &str) -> &'static [Server] {
    if page::KERNELS.contains(&series) { &[Server::Plain, Server::Mariadb] } else { &[Server::Plain] }
}

/// A line of the output.
#[derive(Serialize)]
struct Line<'a> {
    kernel: &'a str,
    #[serde(flatten)]
    cost: &'a Cost,
}

/// The command.
pub(crate) fn run(options: &cli::Vm) -> Result<()> {
    let counted = count(options)?;
    for (kernel, costs) in &counted {
        for cost in costs {
            if options.json {
                println!("{}", serde_json::to_string(&Line { kernel, cost })?);
            } else {
                println!("{}", table::in_words(kernel, cost));
            }
        }
    }
    let mut table = Table::read()?;
    if options.update {
        for (kernel, costs) in counted {
            table.put(kernel, costs);
        }
        table.write()?;
        return page::write(|kernel| table.of(kernel));
    }
    let off: Vec<String> = counted.iter().flat_map(|(kernel, costs)| table.off(kernel, costs)).collect();
    if !off.is_empty() {
        bail!(
            "not as in {}:\n  {}\nwhere that is meant: cargo xtask vm --instructions --update",
            Table::FILE,
            off.join("\n  ")
        );
    }
    Ok(())
}

/// Boots the kernels asked for; what each guest counted.
fn count(options: &cli::Vm) -> Result<Vec<(String, Vec<Cost>)>> {
    let mut kernels = pins::chosen(&options.kernels)?;
    // On Linux 5.10 clients of the plain server wait in vain there; it is not known why.
    if options.kernels.is_empty() {
        kernels.retain(|kernel| page::KERNELS.contains(&kernel.series.as_str()));
    }
    if let Some(other) = kernels.iter().find(|kernel| kernel.architecture != Architecture::default()) {
        bail!("{}: instructions are counted on x86-64 only", other.series);
    }
    let mut guests = Guests::new(false);
    let mut boots = Vec::new();
    for kernel in &kernels {
        let ready = Arc::new(kernel::ready(kernel)?);
        if let Some(moved) = &ready.moved {
            eprintln!("note: {moved}");
        }
        for &server in servers(&ready.series) {
            if options.server.is_some_and(|only| only != server) {
                continue;
            }
            let dir = super::results_dir()?.join("costs").join(server.word());
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let extra = Extra { mariadb: server == Server::Mariadb, ..Extra::default() };
            let initramfs = guests.of(kernel.architecture)?.initramfs(&ready, extra, &dir)?;
            boots.push(Boot { kernel: Arc::clone(&ready), server, dir, initramfs });
        }
    }
    let expected = Expected::parse(EXPECTED)?;
    let counted = side_by_side(&boots, super::at_once(), |boot| boot.count(&expected))?;
    let of = |series: &String| {
        let own = boots.iter().zip(&counted).filter(|(boot, _)| boot.kernel.series == *series);
        own.flat_map(|(_, costs)| costs.clone()).collect()
    };
    Ok(kernels.iter().map(|kernel| (kernel.series.clone(), of(&kernel.series))).collect())
}

/// A guest: with which kernel, and whose work is counted.
struct Boot {
    kernel: Arc<Ready>,
    server: Server,
    dir: PathBuf,
    initramfs: PathBuf,
}

impl Boot {
    fn count(&self, expected: &Expected) -> Result<Vec<Cost>> {
        let plan = Plan {
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            words: &format!("wrapwatch.instructions={}", self.server.word()),
            memory_mib: MEMORY_MIB,
            limit: super::LIMIT,
            dir: &self.dir,
        };
        let judged = super::boot(&plan, Accelerator::Counting, expected)?;
        costs(judged, &self.kernel.series)
    }
}

/// What a guest counted, unless something was wrong with it.
fn costs(judged: Judged, series: &str) -> Result<Vec<Cost>> {
    let complaints = judged.complaints();
    if !complaints.is_empty() {
        bail!("{series}: {}", complaints.join("; "));
    }
    Ok(judged.costs)
}
