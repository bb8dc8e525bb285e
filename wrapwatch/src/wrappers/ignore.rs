//! Problems that somebody has looked at and wants to hear no more of: a file beside the tables, since libwrap allows no comment within a rule.
//!
//! ```text
//! # kind            file         the rule as it stands in the table (nothing: any)
//! fails-closed      hosts.allow  mysqld: .example.com
//! single-nameserver
//! ```

use super::problems::{Problem, ProblemKind};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    line: u32,
    kind: ProblemKind,
    /// Base name or path; none for any.
    file: Option<String>,
    /// The rule's text, its blanks made one each; none for any.
    rule: Option<String>,
}

/// What is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreList {
    entries: Vec<Entry>,
    /// Lines that say nothing, with what is wrong with them.
    pub mistakes: Vec<(u32, String)>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Problems left out.
    pub count: usize,
    /// Lines that fit no problem any more.
    pub unused: Vec<u32>,
}

impl IgnoreList {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let Some(kind) = ProblemKind::named(name) else {
                out.mistakes.push((number, format!("there is no problem called {name}")));
                continue;
            };
            let file = words.next().map(str::to_owned);
            let rule = words.collect::<Vec<_>>().join(" ");
            out.entries.push(Entry { line: number, kind, file, rule: (!rule.is_empty()).then_some(rule) });
        }
        out
    }

    /// Takes out what is to be ignored; `rule` gives the text of the rule that a problem is about.
    pub fn apply(&self, problems: &mut Vec<Problem>, rule: impl Fn(&Problem) -> Option<String>) -> Applied {
        let mut used = vec![false; self.entries.len()];
        let before = problems.len();
        problems.retain(|problem| {
            let text = rule(problem).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
            let fits = self.entries.iter().position(|entry| entry.fits(problem, text.as_deref()));
            if let Some(used) = fits.and_then(|index| used.get_mut(index)) {
                *used = true;
            }
            fits.is_none()
        });
        let unused =
            self.entries.iter().zip(&used).filter(|(_, used)| !**used).map(|(entry, _)| entry.line).collect();
        Applied { count: before - problems.len(), unused }
    }
}

impl Entry {
    fn fits(&self, problem: &Problem, rule: Option<&str>) -> bool {
        let base = problem.file.rsplit('/').next().unwrap_or_default();
        self.kind == problem.kind
            && self.file.as_deref().is_none_or(|file| file == base || file == problem.file)
            && self.rule.as_deref().is_none_or(|own| rule == Some(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn a_line_ignores_what_it_names_and_says_when_it_is_of_no_use() {
        let problem = |kind, line| Problem {
            file: "/etc/hosts.allow".to_owned(),
            line: Some(line),
            column: None,
            kind,
            severity: Severity::Warning,
            message: String::new(),
            change: None,
            other_daemons: false,
        };
        let mut problems = vec![
            problem(ProblemKind::FailsClosed, 1),
            problem(ProblemKind::FailsClosed, 2),
            problem(ProblemKind::Twist, 3),
        ];
        let ignored = IgnoreList::parse(
            "# reviewed\nfails-closed hosts.allow mysqld:  .example.com\ntwist /etc/hosts.deny\nno-such-thing\n",
        );
        assert_eq!(ignored.mistakes, [(4, "there is no problem called no-such-thing".to_owned())]);
        let text = |problem: &Problem| {
            Some(format!("mysqld: .example.{}", if problem.line == Some(1) { "com" } else { "org" }))
        };
        assert_eq!(ignored.apply(&mut problems, text), Applied { count: 1, unused: vec![3] });
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
    }
}
