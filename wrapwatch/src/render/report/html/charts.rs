//! The page's drawings in SVG: waits over time, the queue's length, the longest check with the queue behind it.

use crate::model::{KtimeNs, Nanos};

use super::Page;

/// Units of the drawings' width; the browser scales them.
pub(super) const WIDTH: f64 = 900.0;
/// Room on the left for the axis.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const PLOT: f64 = 150.0;
const ROW: f64 = 16.0;

/// Part of a whole, 0 to 1.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    crate::model::Share::of(part, whole).0.clamp(0.0, 1.0)
}

/// What the colours mean.
pub(super) const KEY: &str = "<span><i class=\"queue\"></i>in the accept queue</span><span><i class=\"dns\"></i>DNS</span>\
     <span><i class=\"check\"></i>rest of the check</span><span><i class=\"unknown\"></i>unknown</span><span><i class=\"server\"></i>connection thread</span>";

impl Page<'_> {
    fn time(&self, at: KtimeNs, span_ns: u64) -> String {
        let at = self.clock.wall(at).0;
        if span_ns < 10_000_000_000 { at.strftime("%H:%M:%S%.3f") } else { at.strftime("%H:%M:%S") }
            .to_string()
    }

    fn time_axis(&self, from: KtimeNs, to: KtimeNs, y: f64) -> String {
        let span = to.since(from);
        let mut svg = String::new();
        for tick in 0..=4_u64 {
            let at = from.plus(span / 4 * tick);
            let x = LEFT + (WIDTH - LEFT - RIGHT) * share(tick, 4);
            let anchor = match tick {
                0 => "start",
                4 => "end",
                _ => "middle",
            };
            svg += &format!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y + 14.0,
                self.time(at, span)
            );
        }
        svg
    }

    pub(super) fn waits_over_time(&self) -> String {
        let waits = self.waits;
        let max = waits.columns.iter().map(|column| column.max_ns).max().unwrap_or(0);
        if max == 0 {
            return String::new();
        }
        let top = nice(max);
        let plot = WIDTH - LEFT - RIGHT;
        #[expect(clippy::cast_precision_loss, reason = "a hundred columns")]
        let step = plot / waits.columns.len().max(1) as f64;
        let mut svg = String::new();
        for (name, part) in [(0, 0), (top / 2, 1), (top, 2)] {
            let y = TOP + PLOT * (1.0 - share(part, 2));
            svg += &format!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                if name == 0 { "0".to_owned() } else { Nanos(name).to_string() }
            );
        }
        let mut x = LEFT;
        for column in &waits.columns {
            if column.count > 0 {
                svg += &format!(
                    "<g><title>{} {}, median {}, longest {}</title>",
                    column.count,
                    if column.count == 1 { "client" } else { "clients" },
                    Nanos(column.p50_ns),
                    Nanos(column.max_ns)
                );
                for (class, ns) in [("max", column.max_ns), ("p50", column.p50_ns)] {
                    let height = (PLOT * share(ns, top)).max(1.0);
                    svg += &format!(
                        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                        TOP + PLOT - height,
                        (step - 1.0).max(1.0)
                    );
                }
                svg += "</g>";
            }
            x += step;
        }
        svg += &self.time_axis(waits.from, waits.to, TOP + PLOT);
        let mut html = format!(
            "<div class=\"together\"><h2>Wait over time</h2>\n<figure><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"wait over time\">{svg}</svg>\n\
             <figcaption class=\"key\"><span><i class=\"queue\"></i>longest wait of the clients that came then</span><span><i class=\"dns\"></i>their median</span></figcaption></figure>\n",
            TOP + PLOT + 20.0
        );
        html += &self.queue_length();
        html + "</div>\n"
    }

    /// The accept queue's length by the samples, where there are any, on the time axis of the waits above it.
    fn queue_length(&self) -> String {
        let (from, to) = (self.waits.from, self.waits.to);
        // With the last one before and the first one after, which are drawn at the ends.
        let begin = self.queue.partition_point(|point| point.at < from).saturating_sub(1);
        let end = self.queue.partition_point(|point| point.at <= to).saturating_add(1).min(self.queue.len());
        let points = self.queue.get(begin..end).unwrap_or_default();
        let most = points.iter().map(|point| point.queued).max().unwrap_or(0);
        let limit = points.iter().map(|point| point.limit).max().unwrap_or(0);
        if most == 0 || points.len() < 2 {
            return String::new();
        }
        let top = u64::from(most.max(if most.saturating_mul(3) >= limit { limit } else { 0 })).max(1);
        let height = 70.0;
        let span = to.since(from);
        let line: Vec<String> = points
            .iter()
            .map(|point| {
                let x = LEFT + (WIDTH - LEFT - RIGHT) * share(point.at.min(to).since(from), span);
                format!("{x:.1},{:.1}", TOP + height * (1.0 - share(u64::from(point.queued), top)))
            })
            .collect();
        let mut svg = format!("<polyline class=\"length\" points=\"{}\"/>", line.join(" "));
        for (value, class) in [(0, "axis"), (top, if top == u64::from(limit) { "limit" } else { "axis" })] {
            let y = TOP + height * (1.0 - share(value, top));
            svg += &format!(
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        svg += &self.time_axis(from, to, TOP + height);
        format!(
            "<figure><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"accept queue over time\">{svg}</svg>\n\
             <figcaption>clients in the accept queue, limit {limit}</figcaption></figure>\n",
            TOP + height + 20.0
        )
    }

    /// The longest check and everybody behind it.
    pub(super) fn queue_behind(&self) -> String {
        let waterfall = self.waterfall;
        let (Some(from), Some(to)) = (
            waterfall.bars.iter().map(|bar| bar.arrival).min(),
            waterfall.bars.iter().map(|bar| bar.end).max(),
        ) else {
            return String::new();
        };
        if waterfall.bars.len() < 2 {
            return String::new();
        }
        let mut svg = String::new();
        let mut y = TOP;
        for bar in &waterfall.bars {
            let dns_end = bar.accepted.plus(bar.dns_ns).min(bar.check_end);
            let own_end = bar.check_end.plus(bar.own_ns).min(bar.end);
            let unknown_end = own_end.plus(bar.unknown_ns).min(bar.end);
            let parts = [
                ("queue", bar.arrival, bar.accepted),
                ("dns", bar.accepted, dns_end),
                ("check", dns_end, bar.check_end),
                ("dns", bar.check_end, own_end),
                ("unknown", own_end, unknown_end),
                ("server", unknown_end, bar.end),
            ];
            let queued = match bar.accepted.since(bar.arrival) {
                _ if !waterfall.queue_known => String::new(),
                ns => format!("queued {}, ", Nanos(ns)),
            };
            svg += &format!(
                "<g><title>#{}: {queued}check {}, DNS {}</title><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">#{}</text>",
                bar.conn,
                Nanos(bar.check_end.since(bar.accepted)),
                Nanos(bar.dns_ns),
                LEFT - 6.0,
                y + 10.0,
                bar.conn
            );
            svg += &parts
                .map(|(class, a, b)| piece(class, (a.since(from), b.since(from)), to.since(from), y))
                .concat();
            svg += "</g>";
            y += ROW;
        }
        svg += &self.time_axis(from, to, y);
        let what = if waterfall.queue_known {
            "The longest check, and the clients that were queued when it ended."
        } else {
            "The longest check, and the checks that followed it at once; the time in the queue was not seen."
        };
        let more = if waterfall.more > 0 {
            format!(" {} more are not drawn.", waterfall.more)
        } else {
            String::new()
        };
        format!(
            "<h2>The queue behind the longest check</h2>\n<p>{what}{more}</p>\n<figure><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" \
             aria-label=\"waterfall\">{svg}</svg>\n<figcaption class=\"key\">{KEY}</figcaption></figure>\n",
            y + 20.0
        )
    }
}

/// A bar from and to, of a whole.
fn piece(class: &str, (from, to): (u64, u64), whole: u64, y: f64) -> String {
    if to <= from {
        return String::new();
    }
    let plot = WIDTH - LEFT - RIGHT;
    let (x, end) = (LEFT + plot * share(from, whole), LEFT + plot * share(to, whole));
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        (end - x).max(0.3),
        ROW - 4.0
    )
}

/// A round number not below.
fn nice(ns: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for tenths in [10, 15, 20, 30, 40, 50, 60, 80] {
            let candidate = unit.saturating_mul(tenths) / 10;
            if candidate >= ns || candidate > u64::MAX / 100 {
                return candidate.max(1);
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([nice(0), nice(1), nice(5), nice(602_000_000)], [1, 1, 5, 800_000_000]);
        assert_eq!(nice(2_000_000_001), 3_000_000_000);
        assert!(nice(u64::MAX) > u64::MAX / 200);
    }
}
