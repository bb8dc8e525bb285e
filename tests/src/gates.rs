//! What the kernel side counts to know that nothing is watched, read from outside: one that never comes back to 0 makes every system call of the server
//! dearer, and nothing else would show it.

use std::fs;

use anyhow::{Context as _, Result};
use aya::maps::{Array, Map, MapData};

/// How many a running wrapwatch's kernel side has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// Open connections.
    pub connections: u64,
    /// Watched descriptors.
    pub descriptors: u64,
    /// System calls between enter and exit.
    pub calls: u64,
}

/// Of the wrapwatch with this pid.
pub fn read(pid: u32) -> Result<Gates> {
    Ok(Gates {
        connections: value(pid, "ALL_CONNS")?,
        descriptors: value(pid, "ALL_FDS")?,
        calls: value(pid, "ALL_CALLS")?,
    })
}

/// The one value of an array that a process holds.
fn value(pid: u32, name: &str) -> Result<u64> {
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may have been closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let Some(id) = text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok()) else {
            continue;
        };
        let map = MapData::from_id(id)?;
        if map.info()?.name_as_str() == Some(name) {
            return Ok(Array::<_, u64>::try_from(Map::Array(map))?.get(&0, 0)?);
        }
    }
    None.with_context(|| format!("process {pid} has no map {name}"))
}
