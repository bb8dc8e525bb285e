//! Which server a process is, as lines name only its number.

use std::collections::BTreeMap;

use crate::trace::{Input, Target};

/// Processes remembered; beyond it that of the lowest number is forgotten.
const KEPT_MAX: usize = 4096;

/// Commands by process.
#[derive(Debug)]
pub(super) struct Commands(BTreeMap<u32, String>);

impl Commands {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes what an input says of targets.
    pub(super) fn input(&mut self, input: &Input<'_>) {
        match input {
            Input::Head(head) => head.targets.iter().for_each(|target| self.target(target)),
            Input::Target(target) => self.target(target),
            _ => {}
        }
    }

    fn target(&mut self, target: &Target) {
        if self.0.len() >= KEPT_MAX && !self.0.contains_key(&target.pid) {
            self.0.pop_first();
        }
        self.0.insert(target.pid, target.comm.clone());
    }

    pub(super) fn of(&self, pid: u32) -> Option<&str> {
        self.0.get(&pid).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_description_counts_and_there_is_an_end_to_them() {
        let mut commands = Commands::new();
        let mut told = |pid: u32, comm: &str| {
            commands.input(&(&Target { pid, comm: comm.to_owned(), ..Target::default() }).into());
        };
        told(7, "mysqld_safe");
        told(7, "mysqld");
        for pid in 10..=u32::try_from(KEPT_MAX).unwrap() + 8 {
            told(pid, "slapd");
        }
        told(10, "slapd");
        assert_eq!(commands.of(7), Some("mysqld"));
        commands.input(&(&Target { pid: 1_000_000, ..Target::default() }).into());
        assert_eq!((commands.0.len(), commands.of(7), commands.of(10)), (KEPT_MAX, None, Some("slapd")));
    }
}
