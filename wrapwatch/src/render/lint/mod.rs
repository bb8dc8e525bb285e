//! What lint found and would change, for other programs: SARIF 2.1.0, GitHub's annotations, a unified diff.

pub mod diff;
pub mod github;
pub mod sarif;

#[cfg(test)]
mod tests;
