//! What wrapwatch cost, in one sentence's end.

use crate::model::Cost;

/// `0.42 % of a core, 14 MB, 1234 events/s, 0 lost; the server paid 0.031 % of a core (182 ns a run)`.
pub fn cost(cost: &Cost) -> String {
    let mut said = format!(
        "{} of a core, {} MB, {:.0} events/s, {} lost",
        percent(cost.cpu_share),
        cost.rss_max_bytes.div_ceil(1 << 20),
        cost.events_per_s,
        cost.lost
    );
    match cost.server {
        Some(server) if server.ns_per_run > 0.0 => put!(
            said,
            "; the server paid {} of a core ({:.0} ns a run)",
            percent(server.share),
            server.ns_per_run
        ),
        Some(_) => said.push_str("; the server paid nothing"),
        None => said.push_str("; what the server paid was not measured"),
    }
    said
}

/// With two digits that matter: small shares are what this is about.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        10.0.. => format!("{percent:.0} %"),
        1.0.. => format!("{percent:.1} %"),
        0.1.. => format!("{percent:.2} %"),
        _ => format!("{percent:.3} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerCost;

    #[test]
    fn it_is_one_line() {
        let server = ServerCost { share: 0.000_314, ns_per_run: 182.4, ..ServerCost::default() };
        let it = Cost {
            cpu_share: 0.0042,
            rss_max_bytes: 14 << 20,
            events_per_s: 1234.4,
            server: Some(server),
            ..Cost::default()
        };
        assert_eq!(
            cost(&it),
            "0.42 % of a core, 14 MB, 1234 events/s, 0 lost; the server paid 0.031 % of a core (182 ns a run)"
        );
        let unknown = Cost { server: None, ..it };
        assert!(cost(&unknown).ends_with("not measured"));
    }
}
