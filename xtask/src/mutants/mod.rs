//! `cargo xtask mutants`: breaks the code in small ways, each of which a named test has to notice.
//!
//! Mutants are files in `tests/mutants`. They are tried in a copy of the tree, one after another; its target directory
//! is kept, and first all their tests run in the unbroken tree, so that a mutant costs one incremental build.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::{
    cli,
    mutants::{
        list::{KilledBy, Mutant},
        tree::Tree,
    },
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
    let survey = Survey { tree, target_dir: dir.join("target") };
    let tried: Vec<&Mutant> =
        mutants.iter().filter(|mutant| with_lab || !survey.single(&mutant.killed_by).needs_lab()).collect();
    let left_out = mutants.len().saturating_sub(tried.len());
    let start = Instant::now();
    let unsound = survey.unbroken(&tried);
    println!("{:>7.1} s  their tests in the unbroken tree", start.elapsed().as_secs_f64());
    let mut bad = Vec::new();
    for mutant in tried {
        let start = Instant::now();
        let tried = match unsound.get(&mutant.killed_by) {
            Some(why) => Err(anyhow!("{why}")),
            None => survey.try_one(mutant),
        };
        let (killed, outcome) = match tried {
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
}

impl Survey {
    fn single<'a>(&'a self, by: &'a KilledBy) -> Single<'a> {
        let tree = self.tree.path();
        Single {
            tree,
            target_dir: &self.target_dir,
            package: &by.package,
            target: &by.target,
            test: &by.test,
        }
    }

    /// The tests that do not pass without any mutant, and why.
    fn unbroken<'a>(&self, mutants: &[&'a Mutant]) -> BTreeMap<&'a KilledBy, String> {
        let tests: BTreeSet<&KilledBy> = mutants.iter().map(|mutant| &mutant.killed_by).collect();
        let passes = |by: &KilledBy| {
            let single = self.single(by);
            single.build().context("the unbroken tree")?;
            ensure!(single.passes()?, "its test fails without it: {}", by.test);
            Ok(())
        };
        tests.into_iter().filter_map(|by| Some((by, format!("{:#}", passes(by).err()?)))).collect()
    }

    /// Whether the mutant's test, which passes without it, fails with it.
    fn try_one(&self, mutant: &Mutant) -> Result<bool> {
        let original = self.tree.read(&mutant.file)?;
        let mutated = mutant.apply(&original)?;
        self.tree.write(&mutant.file, &mutated)?;
        let single = self.single(&mutant.killed_by);
        let passes = single.build().context("does not compile").and_then(|()| single.passes());
        self.tree.write(&mutant.file, &original)?;
        passes.map(|passes| !passes)
    }
}
