//! The summary: the verdict, then the numbers behind it.

use crate::model::{AcceptThreadStats, NameserverStats, Nanos, Percentiles, Share, Summary};

use super::{BOLD, DIM, Text, YELLOW, bare, fit};

impl Text {
    /// A block of lines that opens with the verdict.
    pub fn summary(&self, summary: &Summary) -> String {
        let mut text = String::new();
        let verdict = self.own(&self.outside(&summary.verdict, usize::MAX));
        for line in fit::wrap(&verdict, self.width(), 0, self.mark()).lines() {
            put!(text, "{}\n", self.paint(BOLD, line));
        }
        text + &self.numbers(summary)
    }

    /// The numbers behind the verdict.
    pub fn numbers(&self, summary: &Summary) -> String {
        let mut text = String::new();
        put!(text, "{}\n", fit::wrap(&counts(summary), self.width(), 2, self.mark()));
        if let Some(said) = lookups_and_unknown(summary) {
            put!(text, "{}\n", fit::wrap(&self.own(&said), self.width(), 2, self.mark()));
        }
        for thread in summary.accept_threads.iter().filter(|thread| thread.busy_ns > 0) {
            put!(text, "{}\n", self.own(&accept_thread(thread)));
        }
        self.spreads(summary, &mut text);
        self.nameservers(summary, &mut text);
        if summary.lost > 0 {
            let lost = format!(
                "{} events were lost, {} of them accepts: trust this less.",
                summary.lost, summary.lost_accepts
            );
            put!(text, "{}\n", self.paint(YELLOW, &lost));
        }
        if let Some(cost) = &summary.cost {
            let said = self.own(&format!("wrapwatch took {}.", super::cost(cost)));
            for line in fit::wrap(&said, self.width(), 2, self.mark()).lines() {
                put!(text, "{}\n", self.paint(DIM, line));
            }
        }
        text
    }

    fn spreads(&self, summary: &Summary, text: &mut String) {
        let spreads = [
            ("queued", &summary.queued),
            ("wrapper check", &summary.wrapper),
            ("dns in the check", &summary.dns),
            ("accept to greeting", &summary.greeting),
            ("client's wait", &summary.total),
            ("login: server", &summary.logins),
            ("login: client", &summary.logins_client),
        ];
        let seen: Vec<_> = spreads.into_iter().filter(|(_, spread)| spread.count > 0).collect();
        if !seen.is_empty() {
            let head = ["count", "p50", "p99", "max", "sum"].map(str::to_owned);
            put!(text, "{}\n", self.paint(DIM, &self.row("", SPREAD_NAME, &head)));
        }
        for (name, spread) in seen {
            put!(text, "{}\n", self.row(name, SPREAD_NAME, &spread_numbers(spread)));
        }
    }

    fn nameservers(&self, summary: &Summary, text: &mut String) {
        if summary.nameservers.is_empty() {
            return;
        }
        let head = ["asked", "answered", "timeouts", "unreach", "rtt p50", "rtt p99"].map(str::to_owned);
        put!(text, "{}\n", self.paint(DIM, &self.row("nameserver", SERVER_NAME, &head)));
        for server in &summary.nameservers {
            let name = self.outside(bare(&server.server), SERVER_NAME);
            put!(text, "{}\n", self.row(&name, SERVER_NAME, &server_numbers(server)));
        }
    }

    /// A row of a table: as many of its cells as fit.
    fn row(&self, name: &str, name_columns: usize, cells: &[String]) -> String {
        let mut row = format!("  {}", fit::left(name, name_columns, self.mark()));
        for cell in cells {
            let cell = fit::right(&self.own(cell), CELL.max(fit::width(cell)), "");
            if fit::width(&row) + 1 + fit::width(&cell) > self.width() {
                break;
            }
            put!(row, " {cell}");
        }
        row.trim_end().to_owned()
    }
}

/// Columns of a name in the two tables, and of a number.
const SPREAD_NAME: usize = 18;
const SERVER_NAME: usize = 21;
const CELL: usize = 8;

fn spread_numbers(spread: &Percentiles) -> [String; 5] {
    let ns = |ns| Nanos(ns).to_string();
    [spread.count.to_string(), ns(spread.p50_ns), ns(spread.p99_ns), ns(spread.max_ns), ns(spread.sum_ns)]
}

fn accept_thread(thread: &AcceptThreadStats) -> String {
    let busy = Share(thread.utilisation);
    let ceiling = thread.ceiling_per_s.map_or(String::new(), |per_s| match per_s {
        ..10.0 => format!(", at most {per_s:.2} connections/s"),
        _ => format!(", at most {per_s:.0} connections/s"),
    });
    format!("accept thread {}: {busy} busy{ceiling}", thread.tid)
}

/// `lookups 97 % of the wait (wrappers 2 %, the server's own 95 %); unknown 1 % (events were lost)`
pub(in crate::render) fn lookups_and_unknown(summary: &Summary) -> Option<String> {
    let waiting = &summary.waiting;
    let share = |ns| Share::of(ns, waiting.total_ns);
    if waiting.total_ns == 0 || (waiting.lookups() == 0 && waiting.unknown_ns == 0) {
        return None;
    }
    let mut said = format!("lookups: {} of the wait", share(waiting.lookups()));
    if waiting.resolve_ns > 0 {
        put!(said, " (wrappers {}, the server's own {})", share(waiting.dns_ns), share(waiting.resolve_ns));
    }
    if waiting.unknown_ns > 0 {
        let reasons: Vec<&str> = summary.unknown.iter().take(2).map(|part| part.reason.message()).collect();
        put!(said, "; unknown: {} ({})", share(waiting.unknown_ns), reasons.join(", "));
    }
    Some(said)
}

fn server_numbers(server: &NameserverStats) -> [String; 6] {
    let rtt = |ns| if server.rtt.count > 0 { Nanos(ns).to_string() } else { "-".to_owned() };
    [
        server.queries.to_string(),
        server.answered.to_string(),
        server.timeouts.to_string(),
        server.unreachable.to_string(),
        rtt(server.rtt.p50_ns),
        rtt(server.rtt.p99_ns),
    ]
}

fn counts(summary: &Summary) -> String {
    let mut said = match summary.connections {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    };
    if let (Some(from), Some(to)) = (summary.from, summary.to) {
        put!(said, " from {}", super::period(from, to));
    }
    for count in &summary.outcomes {
        put!(said, ", {} {}", count.count, count.outcome.of_several());
    }
    for (code, count) in &summary.errors {
        put!(said, " (error {code}: {count})");
    }
    let more = [
        (summary.clients_left, "left before their greeting"),
        (summary.still_queued, "still queued"),
        (summary.incomplete, "incomplete"),
    ];
    for (n, what) in more.into_iter().filter(|(n, _)| *n > 0) {
        put!(said, ", {n} {what}");
    }
    said + "." + &requests(summary)
}

/// ` 4 requests otherwise: 3 admitted, 1 refused, 806 ms at most.`
pub(in crate::render) fn requests(summary: &Summary) -> String {
    let counts = &summary.request_outcomes;
    let said: Vec<String> =
        counts.iter().map(|count| format!("{} {}", count.count, count.outcome.of_several())).collect();
    match summary.requests.count {
        0 => String::new(),
        n => {
            let (s, most) = (if n == 1 { "" } else { "s" }, Nanos(summary.requests.max_ns));
            format!(" {n} request{s} otherwise: {}, {most} at most.", said.join(", "))
        }
    }
}
