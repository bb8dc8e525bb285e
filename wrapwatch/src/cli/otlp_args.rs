//! What of a trace is meant for OpenTelemetry.

use anyhow::bail;

use super::common::percent;
use crate::export::otlp::Sampling;

/// Arguments of `export` that go with `--to otlp`.
#[derive(Debug, clap::Args)]
pub struct OtlpArgs {
    /// With --to otlp: also write the names that were looked up; there are as many as clients
    #[arg(long)]
    pub(super) names: bool,
    /// With --to otlp: besides slow and failed clients, also write this share of the others
    #[arg(long, value_name = "PERCENT", value_parser = sampling, default_value = "0%")]
    pub(super) sample: Sampling,
}

/// A share of clients, as [`percent`] reads it.
pub fn sampling(text: &str) -> anyhow::Result<Sampling> {
    match percent(text) {
        Ok(share) if share <= 1.0 => Ok(Sampling::of(share)),
        _ => bail!("{text:?} is no share of clients; write 1% or 0.5%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_clients_is_no_more_than_all_of_them() {
        let none = ["0%", "0"].map(|text| sampling(text).unwrap());
        assert_eq!(none, [Sampling::NONE; 2]);
        assert_eq!(sampling("100%").unwrap(), Sampling::of(1.0));
        for bad in ["", "101%", "-1%", "nan"] {
            assert!(sampling(bad).is_err(), "{bad}");
        }
    }
}
