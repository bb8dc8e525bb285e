//! The summary: the verdict, then the numbers behind it.

use crate::model::{NameserverStats, Nanos, Outcome, Percentiles, Summary};

use super::{BOLD, DIM, Text, YELLOW, fit};

impl Text {
    /// A block of lines that opens with the verdict.
    pub fn summary(&self, summary: &Summary) -> String {
        let mut text = String::new();
        let verdict = self.own(&self.outside(&summary.verdict, usize::MAX));
        for line in fit::wrap(&verdict, self.width(), 0, self.mark()).lines() {
            text += &self.paint(BOLD, line);
            text.push('\n');
        }
        text += &self.wrapped(&counts(summary));
        let spreads = [
            ("queued", &summary.queued),
            ("wrapper check", &summary.wrapper),
            ("dns in it", &summary.dns),
            ("accept to greeting", &summary.greeting),
            ("client's wait", &summary.total),
        ];
        if spreads.iter().any(|(_, spread)| spread.count > 0) {
            let head = row("", &["p50", "p99", "max", "sum"].map(str::to_owned), "");
            text += &format!("{}\n", self.paint(DIM, head.trim_end()));
        }
        for (name, spread) in spreads.into_iter().filter(|(_, spread)| spread.count > 0) {
            text += &format!("{}\n", self.own(&spread_row(name, spread)));
        }
        if !summary.nameservers.is_empty() {
            let head = format!(
                "  {:21}{:>8}{:>9}{:>9}{:>8}{:>9}{:>9}",
                "nameserver", "queries", "answered", "timeouts", "refused", "rtt p50", "rtt p99"
            );
            text += &format!("{}\n", self.paint(DIM, &head));
        }
        for server in &summary.nameservers {
            text += &self.nameserver(server);
        }
        if summary.lost > 0 {
            let lost = format!(
                "{} events were lost, {} of them accepts: trust this less.",
                summary.lost, summary.lost_accepts
            );
            text += &self.paint(YELLOW, &lost);
            text.push('\n');
        }
        text
    }

    fn wrapped(&self, said: &str) -> String {
        fit::wrap(said, self.width(), 2, self.mark()) + "\n"
    }

    fn nameserver(&self, server: &NameserverStats) -> String {
        let name = fit::left(&self.outside(&server.server, self.width().saturating_sub(54)), 21, self.mark());
        let rtt = |ns| if server.rtt.count > 0 { Nanos(ns).to_string() } else { "-".to_owned() };
        let line = format!(
            "  {name}{:>8}{:>9}{:>9}{:>8}{:>9}{:>9}",
            server.queries,
            server.answered,
            server.timeouts,
            server.unreachable,
            rtt(server.rtt.p50_ns),
            rtt(server.rtt.p99_ns),
        );
        self.own(&line) + "\n"
    }
}

fn counts(summary: &Summary) -> String {
    let mut said = format!("{} connections", summary.connections);
    for count in &summary.outcomes {
        let name = match count.outcome {
            Outcome::Greeted => "greeted",
            Outcome::ServerError => "with a server error",
            Outcome::Refused => "refused",
            Outcome::Unfinished => "without a seen end",
        };
        said += &format!(", {} {name}", count.count);
    }
    for (code, count) in &summary.errors {
        said += &format!(" (error {code}: {count})");
    }
    if summary.clients_left > 0 {
        said += &format!(", {} clients left before their greeting", summary.clients_left);
    }
    if summary.incomplete > 0 {
        said += &format!(", {} not seen whole", summary.incomplete);
    }
    said + "."
}

fn spread_row(name: &str, spread: &Percentiles) -> String {
    let numbers =
        [spread.p50_ns, spread.p99_ns, spread.max_ns, spread.sum_ns].map(|ns| Nanos(ns).to_string());
    let of = format!("of {}", spread.count);
    row(name, &numbers, &of)
}

fn row(name: &str, numbers: &[String; 4], of: &str) -> String {
    let [p50, p99, max, sum] = numbers;
    format!("  {name:20}{p50:>9}{p99:>9}{max:>9}{sum:>9}  {of}")
}
