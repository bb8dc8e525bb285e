//! `cargo xtask recipes`: follows the recipes of CONTRIBUTING.md, each with a dummy, in a copy of the tree, and compiles and tests what comes of it.
//!
//! What is done is in `tests/recipes`, in the recipe's order and with its numbers; a step that is not followed says why. That the edits still fit the code, and
//! that no step is forgotten, a unit test sees in a second.

use std::{collections::BTreeMap, fs, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    cli,
    mutants::tree::Tree,
    setup::{self, Purpose},
    test::single::cargo_in,
    workspace,
};

const FOLDER: &str = "tests/recipes";

/// A recipe, followed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// The file's name without `.toml`.
    #[serde(skip)]
    name: String,
    /// Its heading in CONTRIBUTING.md.
    #[cfg_attr(not(test), expect(dead_code, reason = "what it names is compared by a test"))]
    heading: String,
    /// Steps that are not followed, and why.
    #[cfg_attr(not(test), expect(dead_code, reason = "what it names is compared by a test"))]
    left_out: BTreeMap<String, String>,
    #[serde(rename = "do")]
    actions: Vec<Action>,
}

/// Part of a step.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Action {
    Run(Run),
    Edit(Edit),
}

/// A command of cargo's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    step: usize,
    cargo: Vec<String>,
    /// It has to fail, and say this.
    fails: Option<String>,
    /// It has to print this.
    prints: Option<String>,
}

/// A change of a file, or a new one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    step: usize,
    file: String,
    /// What is replaced, of which there has to be one; without, the file is new.
    search: Option<String>,
    text: String,
}

/// The command.
pub(crate) fn run(options: &cli::Recipes) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    // Where mutants are tried: what they have compiled is used, too.
    let dir = workspace::scratch_dir()?.join("mutants");
    let mut bad = Vec::new();
    for recipe in read(&options.names)? {
        let start = Instant::now();
        let tree = Tree::copy_of(workspace::root()?, &dir.join("tree"))?;
        let outcome = recipe.actions.iter().try_for_each(|action| match action {
            Action::Edit(edit) => edit.make(&tree),
            Action::Run(run) => run.make(&tree, &dir.join("target")),
        });
        let said = outcome.as_ref().map_or_else(|error| format!("FAILED  {error:#}"), |()| "ok".to_owned());
        println!("{:>7.1} s  {}: {said}", start.elapsed().as_secs_f64(), recipe.name);
        if outcome.is_err() {
            bad.push(recipe.name);
        }
    }
    // As it was, for the mutants.
    Tree::copy_of(workspace::root()?, &dir.join("tree"))?;
    ensure!(bad.is_empty(), "recipes that cannot be followed: {}", bad.join(", "));
    Ok(())
}

/// Those whose names contain one of `names`, all if there are none.
fn read(names: &[String]) -> Result<Vec<Recipe>> {
    let dir = workspace::root()?.join(FOLDER);
    let mut recipes = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if names.is_empty() || names.iter().any(|part| name.contains(part.as_str())) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let recipe = toml::from_str(&text).with_context(|| format!("bad recipe {}", path.display()))?;
            recipes.push(Recipe { name, ..recipe });
        }
    }
    ensure!(!recipes.is_empty(), "no such recipe in {FOLDER}");
    recipes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(recipes)
}

impl Edit {
    fn make(&self, tree: &Tree) -> Result<()> {
        let old = if self.search.is_some() { tree.read(&self.file)? } else { String::new() };
        tree.write(&self.file, &self.apply(&old)?).with_context(|| format!("step {}", self.step))
    }

    /// The file's new text. A literal of several lines ends with a newline that the searched text need not have.
    fn apply(&self, old: &str) -> Result<String> {
        let Some(search) = &self.search else { return Ok(self.text.clone()) };
        let (search, text) = (search.trim_end_matches('\n'), self.text.trim_end_matches('\n'));
        match old.matches(search).count() {
            1 => Ok(old.replacen(search, text, 1)),
            count => {
                bail!("step {}: in {} there is {count} times, not once:\n{search}", self.step, self.file)
            }
        }
    }
}

impl Run {
    fn make(&self, tree: &Tree, target_dir: &std::path::Path) -> Result<()> {
        let args: Vec<&str> = self.cargo.iter().map(String::as_str).collect();
        let mut command = cargo_in(tree.path(), target_dir, &args)?;
        // What a snapshot should be now is read by a person.
        let (ok, said) = outcome(command.env("INSTA_UPDATE", "always").env("RUST_BACKTRACE", "0"))?;
        let wanted = self.fails.as_ref().or(self.prints.as_ref());
        let as_wanted = ok == self.fails.is_none() && wanted.is_none_or(|wanted| said.contains(wanted));
        ensure!(
            as_wanted,
            "step {}: cargo {} {}:\n{said}",
            self.step,
            args.join(" "),
            if ok { "went well" } else { "failed" }
        );
        Ok(())
    }
}

/// Whether a command went well, and all that it printed.
fn outcome(command: &mut Command) -> Result<(bool, String)> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Numbers of the steps below a heading.
    fn steps(page: &str, heading: &str) -> BTreeSet<usize> {
        let (_, part) = page.split_once(&format!("### {heading}\n")).expect(heading);
        let part = part.split("\n#").next().unwrap();
        part.lines().filter_map(|line| line.split_once(". **")?.0.parse().ok()).collect()
    }

    #[test]
    fn each_recipe_is_followed_step_by_step_and_fits_the_code() {
        let root = workspace::root().unwrap();
        let page = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
        let recipes = read(&[]).unwrap();
        assert_eq!(recipes.len(), page.split("## Three recipes").nth(1).unwrap().matches("\n### ").count());
        for Recipe { name, heading, left_out, actions } in recipes {
            let mut followed: BTreeSet<usize> = left_out.keys().map(|step| step.parse().unwrap()).collect();
            let mut files = BTreeMap::<&str, String>::new();
            for action in &actions {
                let edit = match action {
                    Action::Run(run) => {
                        followed.insert(run.step);
                        continue;
                    }
                    Action::Edit(edit) => edit,
                };
                followed.insert(edit.step);
                let path = root.join(&edit.file);
                assert_eq!(path.exists(), edit.search.is_some(), "{name}: {}", edit.file);
                let old =
                    files.entry(&edit.file).or_insert_with(|| fs::read_to_string(&path).unwrap_or_default());
                *old = edit.apply(old).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            assert_eq!(followed, steps(&page, &heading), "{name}");
        }
    }

    #[test]
    fn only_what_stands_there_once_is_replaced() {
        let edit = |search: &str| Edit {
            step: 1,
            file: "f".to_owned(),
            search: Some(search.to_owned()),
            text: "X\n".to_owned(),
        };
        assert_eq!(edit("b\n").apply("abc").unwrap(), "aXc");
        edit("b").apply("abcb").unwrap_err();
        edit("b").apply("ac").unwrap_err();
    }
}
