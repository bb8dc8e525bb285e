//! `cargo xtask mutants`: breaks the code in small ways, each of which a named test has to notice.
//!
//! Mutants are files in `tests/mutants`. They are tried in a copy of the tree, one after another; its target directory
//! is kept, so that a mutant costs one incremental build.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{
    cli,
    mutants::{list::Mutant, tree::Tree},
    setup::{self, Purpose},
    test::single::Single,
    workspace,
};

mod list;
pub(crate) mod tree;

/// The command.
pub(crate) fn run(options: &cli::Mutants) -> Result<()> {
    if options.list {
        for mutant in list::read(&options.names)? {
            let by = &mutant.killed_by;
            println!(
                "{}: {}\n    killed by {} {} {}",
                mutant.name, mutant.why, by.package, by.target, by.test
            );
        }
        return Ok(());
    }
    setup::ensure(if options.no_lab {
        &[Purpose::Build]
    } else {
        &[Purpose::Build, Purpose::Compare, Purpose::Lab]
    })?;
    survey(&options.names, !options.no_lab)
}

/// Tries those whose names contain one of `names`, or all; fails unless each is killed by its test.
pub(crate) fn survey(names: &[String], with_lab: bool) -> Result<()> {
    let mutants = list::read(names)?;
    let dir = workspace::scratch_dir()?.join("mutants");
    let tree = Tree::copy_of(workspace::root()?, &dir.join("tree"))?;
    let mut survey = Survey { tree, target_dir: dir.join("target"), sound: Vec::new() };
    let mut bad = Vec::new();
    let mut left_out = 0_usize;
    for mutant in &mutants {
        if survey.single(mutant).needs_lab() && !with_lab {
            left_out = left_out.saturating_add(1);
            continue;
        }
        let start = Instant::now();
        let (killed, outcome) = match survey.try_one(mutant) {
            Ok(true) => (true, "killed".to_owned()),
            Ok(false) => (false, format!("SURVIVED {}", mutant.killed_by.test)),
            Err(error) => (false, format!("INVALID  {error:#}")),
        };
        println!("{:>7.1} s  {}: {outcome}", start.elapsed().as_secs_f64(), mutant.name);
        if !killed {
            bad.push(mutant.name.as_str());
        }
    }
    if left_out > 0 {
        println!("{left_out} mutants left out, since they need the lab");
    }
    if !bad.is_empty() {
        bail!("mutants alive or invalid: {}", bad.join(", "));
    }
    Ok(())
}

struct Survey {
    tree: Tree,
    target_dir: std::path::PathBuf,
    /// Tests that passed on the unbroken tree.
    sound: Vec<list::KilledBy>,
}

impl Survey {
    fn single<'a>(&'a self, mutant: &'a Mutant) -> Single<'a> {
        let by = &mutant.killed_by;
        let tree = self.tree.path();
        Single {
            tree,
            target_dir: &self.target_dir,
            package: &by.package,
            target: &by.target,
            test: &by.test,
        }
    }

    /// Whether the mutant's test, which passes without it, fails with it.
    fn try_one(&mut self, mutant: &Mutant) -> Result<bool> {
        let original = self.tree.read(&mutant.file)?;
        let mutated = mutant.apply(&original)?;
        if !self.sound.contains(&mutant.killed_by) {
            let single = self.single(mutant);
            single.build().context("the unbroken tree")?;
            if !single.passes()? {
                bail!("its test fails without it: {}", mutant.killed_by.test);
            }
            self.sound.push(mutant.killed_by.clone());
        }
        self.tree.write(&mutant.file, &mutated)?;
        let single = self.single(mutant);
        let passes = single.build().context("does not compile").and_then(|()| single.passes());
        self.tree.write(&mutant.file, &original)?;
        passes.map(|passes| !passes)
    }
}
