//! What is in the command only with a cargo feature: without it, what is asked for is refused in a line that says so.

use clap::error::ErrorKind;

/// A feature, and the words that stand for it on a command line.
struct Feature {
    name: &'static str,
    words: &'static [&'static str],
    is_built_in: bool,
}

const FEATURES: [Feature; 3] = [
    Feature { name: "otlp", words: &["otlp", "--otlp"], is_built_in: cfg!(feature = "otlp") },
    Feature { name: "parquet", words: &["parquet"], is_built_in: cfg!(feature = "parquet") },
    Feature { name: "tui", words: &["--tui"], is_built_in: cfg!(feature = "tui") },
];

/// Why these arguments cannot be read, if that is because a feature is not there.
pub fn missing(error: ErrorKind, args: impl IntoIterator<Item = String>) -> Option<String> {
    if !matches!(error, ErrorKind::UnknownArgument | ErrorKind::InvalidValue) {
        return None;
    }
    args.into_iter().find_map(|argument| {
        let missing = |word: &str| {
            FEATURES.iter().find(|feature| !feature.is_built_in && feature.words.contains(&word))
        };
        let feature = argument.split('=').find_map(missing)?;
        Some(format!("{argument}: this wrapwatch was built without the feature {}", feature.name))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    /// Each with the feature that it needs.
    const LINES: [(&str, &str); 7] = [
        ("otlp", "wrapwatch export a.wwt --to otlp -o a"),
        ("otlp", "wrapwatch export a.wwt --to=otlp --names -o a"),
        ("otlp", "wrapwatch publish --follow --slow 1s --otlp a.wwt"),
        ("otlp", "wrapwatch schema otlp"),
        ("parquet", "wrapwatch export a.wwt --to parquet -o a"),
        ("tui", "wrapwatch live --tui --tz local"),
        ("tui", "wrapwatch replay --tui a.wwt"),
    ];

    #[test]
    fn what_needs_a_feature_is_refused_with_its_name_where_it_is_not_there() {
        for (name, line) in LINES {
            let feature = FEATURES.iter().find(|feature| feature.name == name).unwrap();
            let args = || line.split(' ').map(str::to_owned);
            let why = Cli::try_parse_from(args()).err().map(|error| missing(error.kind(), args()));
            assert_eq!(why.is_none(), feature.is_built_in, "{line}");
            if let Some(why) = why {
                let why = why.unwrap_or_default();
                assert!(why.ends_with(&format!("without the feature {name}")), "{line}: {why}");
            }
        }
    }

    #[test]
    fn what_is_wrong_anyway_is_no_matter_of_features() {
        for line in ["wrapwatch export a.wwt --to xml", "wrapwatch live --parquets"] {
            let args = || line.split(' ').map(str::to_owned);
            let error = Cli::try_parse_from(args()).unwrap_err();
            assert_eq!(missing(error.kind(), args()), None, "{line}");
        }
    }
}
