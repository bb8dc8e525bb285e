//! Annotations as GitHub Actions takes them from a job's output ("workflow commands"): one line a problem.

use std::fmt::Write as _;

use crate::model::Severity;
use crate::wrappers::lint::Report;
use crate::wrappers::problems::groups::{self, Group};

/// All problems, equal ones together as in the text: a runner shows ten of a kind and drops the rest.
pub fn report(report: &Report) -> String {
    let mut out = String::new();
    for Group { first: problem, others, untold, lines, count } in groups::groups(&report.problems) {
        let level = match problem.severity {
            _ if problem.other_daemons => "notice",
            Severity::Critical => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let mut place = format!("file={}", property(&problem.file));
        // Writing to a String cannot fail.
        let _ = problem.line.map_or(Ok(()), |line| write!(place, ",line={line}"));
        let _ = problem.column.map_or(Ok(()), |column| write!(place, ",col={column}"));
        let change = problem.change.as_deref().map_or(String::new(), |change| format!("\n{change}"));
        let mut more = String::new();
        for other in others {
            let line = other.line.map_or(String::new(), |line| format!("Line {line}: "));
            let change = other.change.as_deref().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(more, "\n{line}{} {change}", other.message);
        }
        let _ = match untold {
            0 => Ok(()),
            1.. => write!(more, "\nAnd {untold} that say something else (--format json)."),
        };
        let all = if count > 1 {
            format!("\n{count} of this kind in {}.", groups::lines(&lines))
        } else {
            String::new()
        };
        let message = data(&format!("{}{change}{more}{all}", problem.message));
        let _ = writeln!(out, "::{level} {place},title={}::{message}", property(problem.kind.name()));
    }
    out
}

/// What the runner takes back (`ActionCommand.cs`): the message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value between commas.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(data("100 %\r\n::error::x"), "100 %25%0D%0A::error::x");
        assert_eq!(property("a,b:c"), "a%2Cb%3Ac");
    }
}
