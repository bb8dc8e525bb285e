//! Comments that end in a backslash: libwrap joins lines before it looks for the #, so that the rule behind one is part of it.

use super::{EntryKind, Finding, Problem, ProblemKind as Kind, Scene, Severity, Table, TableKind};
use crate::wrappers::lines::Lines;

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    for kind in [TableKind::Allow, TableKind::Deny] {
        let text = scene.texts[kind as usize];
        let comments =
            Lines::new(text).filter(|line| line.physical.0 < line.physical.1 && line.text.starts_with(b"#"));
        for comment in comments {
            let source = text.get(comment.source.clone()).unwrap_or_default();
            let Some(swallowed) = swallowed(source) else { continue };
            let rules = || swallowed.entries().filter(|entry| entry.kind == EntryKind::Rule);
            let concerns = rules().any(|entry| scene.concerns(swallowed.daemons(&entry)));
            let first = rules().next().map(|entry| swallowed.text(&entry)).unwrap_or_default();
            let message = format!(
                "The comment ends in a backslash, so the next line is part of it and no rule: {first}"
            );
            let finding = Finding::new(Kind::ContinuedComment, Severity::Critical, message)
                .change(format!("Remove the backslash at the end of line {}.", comment.physical.0));
            let problem = scene.in_file(scene.path(kind), Some(comment.physical.1), finding);
            out.push(Problem { other_daemons: !concerns, ..problem });
        }
    }
}

/// What stands behind the comment lines of one logical line; none where all of it is comment. Others than rules are nobody's loss.
fn swallowed(source: &[u8]) -> Option<Table> {
    let mut rest = source;
    while rest.starts_with(b"#") {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        rest = rest.get(end + 1..)?;
    }
    // A table of its own, so that the last line needs its newline.
    let mut text = rest.to_vec();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let table = Table::parse(&text);
    let has_rule = table.entries().any(|entry| entry.kind == EntryKind::Rule);
    has_rule.then_some(table)
}
