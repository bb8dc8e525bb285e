//! What lint found, for other programs: SARIF 2.1.0 and GitHub's annotations.

pub mod github;
pub mod sarif;

#[cfg(test)]
mod tests;
