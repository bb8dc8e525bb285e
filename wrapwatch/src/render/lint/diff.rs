//! A fix as a unified diff that `patch` takes.

use similar::TextDiff;

use crate::linter::Change;
use crate::render::text::escape;

/// The diffs of all files, one after the other.
///
/// # Errors
/// Where a file holds what no diff can show; its path.
pub fn unified(changes: &[Change]) -> Result<String, String> {
    changes.iter().map(one).collect()
}

fn one(change: &Change) -> Result<String, String> {
    let path = escape(&change.path);
    let (Some(old), Some(new)) = (printable(&change.old), printable(&change.new)) else { return Err(path) };
    Ok(TextDiff::from_lines(old, new).unified_diff().context_radius(3).header(&path, &path).to_string())
}

/// What a terminal might act upon cannot be printed as it is, and escaped it would not apply.
fn printable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| {
        text.lines().all(|line| {
            let plain = line.replace('\t', " ").replace('\r', "");
            escape(&plain) == plain
        })
    })
}
