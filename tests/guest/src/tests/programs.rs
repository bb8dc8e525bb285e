//! What the verifier went through for each program that is loaded. All programs of the guest are wrapwatch's.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;

use wrapwatch_tests::wait::wait_for;

use crate::record::Record;

/// Bytes of an instruction.
const INSTRUCTION: u32 = 8;

/// Waits until those of whatever ran before are gone: the kernel frees them some time after their owner has ended.
pub(super) fn wait_gone() -> Result<()> {
    wait_for("the end of the programs of whatever ran before", || Ok(loaded_programs().next().is_none()))
}

/// Waits until no trampoline is loaded.
pub(super) fn wait_trampolines_gone() -> Result<()> {
    wait_for("the end of all trampolines", || {
        let names = loaded_programs().filter_map(|program| Some(program.ok()?.name_as_str()?.to_owned()));
        Ok(names.into_iter().all(|name| !name.starts_with("fentry_") && !name.starts_with("fexit_")))
    })
}

/// One record a program, in the order of loading, named with the way of attaching.
pub(super) fn loaded(way: &str) -> Result<Vec<Record>> {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    let mut records = Vec::new();
    for program in loaded_programs() {
        let program = program.context("cannot read a program's info")?;
        let mut name = program.name_as_str().context("a program without a name")?.to_owned();
        let time = times.entry(name.clone()).or_default();
        *time += 1;
        if *time > 1 {
            name = format!("{name}#{time}");
        }
        let consists_of = program.size_translated().map(|bytes| bytes / INSTRUCTION);
        let instructions = program.verified_instruction_count().filter(|count| *count > 0).or(consists_of);
        let instructions = instructions.with_context(|| format!("no number of instructions for {name}"))?;
        records.push(Record::Program { name: format!("{way}:{name}"), instructions });
    }
    ensure!(!records.is_empty(), "no program is loaded");
    Ok(records)
}
