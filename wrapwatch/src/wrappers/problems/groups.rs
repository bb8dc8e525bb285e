//! Equal problems of one file told together: a table of twelve thousand lines gives a page.

use std::collections::{HashMap, HashSet};

use super::{Problem, ProblemKind, Severity};

/// So many of one kind in one file are told one by one.
const ONE_BY_ONE: usize = 3;
/// So many different ones of a group are told besides the first.
const OTHERS_MAX: usize = 9;

/// Problems of one kind in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// The problem to tell: the only one, or the first of them.
    pub first: &'a Problem,
    /// The first of each that says something else than those before it, some of them.
    pub others: Vec<&'a Problem>,
    /// How many more there are that say something else.
    pub untold: usize,
    /// Their lines, each once, in the file's order.
    pub lines: Vec<u32>,
    /// How many.
    pub count: usize,
}

/// Problems in groups, in the order given. Those without a line stand alone.
pub fn groups(problems: &[Problem]) -> Vec<Group<'_>> {
    type Key<'a> = (ProblemKind, Severity, &'a str, bool);
    fn key(problem: &Problem) -> Option<Key<'_>> {
        problem.line?;
        Some((problem.kind, problem.severity, problem.file.as_str(), problem.other_daemons))
    }
    let mut counts: HashMap<Key<'_>, usize> = HashMap::new();
    for problem in problems {
        if let Some(key) = key(problem) {
            *counts.entry(key).or_default() += 1;
        }
    }
    let mut out: Vec<Group<'_>> = Vec::new();
    let mut said: HashSet<(Key<'_>, [String; 2])> = HashSet::new();
    let mut at: HashMap<Key<'_>, usize> = HashMap::new();
    for problem in problems {
        let together = key(problem).filter(|key| counts.get(key).is_some_and(|&count| count > ONE_BY_ONE));
        if let Some(key) = together
            && let Some(group) = at.get(&key).and_then(|&index| out.get_mut(index))
        {
            group.lines.extend(problem.line);
            group.count += 1;
            if said.insert((key, shape(problem))) {
                if group.others.len() < OTHERS_MAX {
                    group.others.push(problem);
                } else {
                    group.untold += 1;
                }
            }
            continue;
        }
        if let Some(key) = together {
            at.insert(key, out.len());
            said.insert((key, shape(problem)));
        }
        out.push(Group {
            first: problem,
            others: Vec::new(),
            untold: 0,
            lines: problem.line.into_iter().collect(),
            count: 1,
        });
    }
    for group in &mut out {
        group.lines.sort_unstable();
        group.lines.dedup();
    }
    out
}

/// What a problem says, whatever its numbers: of twelve thousand rules with an address each one is told.
fn shape(problem: &Problem) -> [String; 2] {
    let of = |text: &str| {
        let mut out = String::new();
        for character in text.chars() {
            let digit = character.is_ascii_digit();
            if !digit || !out.ends_with('0') {
                out.push(if digit { '0' } else { character });
            }
        }
        out
    };
    [of(&problem.message), problem.change.as_deref().map_or(String::new(), of)]
}

/// Lines as a person says them: each of a few, the number and the ends of many.
pub fn lines(lines: &[u32]) -> String {
    match lines {
        [] => String::new(),
        [line] => format!("line {line}"),
        [start @ .., last] if start.len() < 6 => {
            let start: Vec<String> = start.iter().map(u32::to_string).collect();
            format!("lines {} and {last}", start.join(", "))
        }
        [first, .., last] => format!("{} lines, {first} to {last}", grouped(lines.len())),
    }
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: u32, kind: ProblemKind) -> Problem {
        Problem {
            file: "hosts.allow".to_owned(),
            line: Some(line),
            column: None,
            kind,
            severity: Severity::Warning,
            message: format!("line {line}"),
            change: None,
            other_daemons: false,
        }
    }

    #[test]
    fn what_says_something_else_is_told_as_well_and_a_line_once() {
        let of = |message: String| Problem { message, ..problem(1, ProblemKind::FilePattern) };
        let five: Vec<Problem> =
            ["/a", "/b", "/c", "/d", "/e"].map(|path| of(format!("{path} is gone"))).into();
        let found = groups(&five);
        assert_eq!((found.len(), found[0].count, found[0].lines.as_slice()), (1, 5, &[1][..]));
        let told: Vec<&str> = found[0].others.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(told, ["/b is gone", "/c is gone", "/d is gone", "/e is gone"]);
        // Numbers alone make no difference.
        let same: Vec<Problem> = (0..50).map(|n| of(format!("10.0.0.{n} is /{}", n + 7))).collect();
        assert_eq!((groups(&same)[0].others.len(), groups(&same)[0].untold), (0, 0));
        let letters = ('a'..='z').map(|letter| of(letter.to_string())).collect::<Vec<_>>();
        assert_eq!((groups(&letters)[0].others.len(), groups(&letters)[0].untold), (OTHERS_MAX, 16));
    }

    #[test]
    fn many_of_a_kind_are_told_together_and_few_apart() {
        let mut problems: Vec<Problem> =
            (1..=1_200).map(|line| problem(line, ProblemKind::UnreachableRule)).collect();
        problems.push(problem(7, ProblemKind::Ident));
        problems.push(problem(9, ProblemKind::Ident));
        let found = groups(&problems);
        assert_eq!(found.iter().map(|group| group.count).collect::<Vec<_>>(), [1_200, 1, 1]);
        assert_eq!(lines(&found[0].lines), "1\u{a0}200 lines, 1 to 1200");
        assert_eq!(lines(&[3, 4, 9]), "lines 3, 4 and 9");
        assert_eq!(lines(&[3]), "line 3");
    }
}
