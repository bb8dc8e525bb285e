//! The page's drawings in SVG: waits over time, the queue's length, the longest check with the queue behind it.

use maud::{Markup, display, html};

use crate::diagnose::{Bar, WaitColumn};
use crate::model::{KtimeNs, Nanos};

use super::Page;

/// Units of the drawings' width; the browser scales them.
pub(super) const WIDTH: f64 = 900.0;
/// Room on the left for the axis.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 8.0;
/// Between the two.
const PLOT_WIDTH: f64 = WIDTH - LEFT - RIGHT;
const TOP: f64 = 10.0;
const PLOT: f64 = 150.0;
const ROW: f64 = 16.0;

/// Part of a whole, 0 to 1.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    crate::model::Share::of(part, whole).0.clamp(0.0, 1.0)
}

/// A length in the drawing.
pub(super) fn px(length: f64) -> String {
    format!("{length:.1}")
}

/// What the colours mean.
pub(super) fn key() -> Markup {
    let colours = [
        ("queue", "in the accept queue"),
        ("dns", "DNS"),
        ("check", "rest of the check"),
        ("unknown", "unknown"),
        ("server", "connection thread"),
    ];
    html! { @for (class, name) in colours { span { i class=(class) {} (name) } } }
}

/// A drawing of this height with its caption.
fn figure(label: &str, height: f64, svg: &Markup, caption: &Markup) -> Markup {
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(label) { (svg) }
            (caption)
        }
    }
}

/// A line across the plot with its name on the left.
fn level(class: &str, y: f64, name: &str) -> Markup {
    html! {
        line class=(class) x1=(LEFT) x2=(px(WIDTH - RIGHT)) y1=(px(y)) y2=(px(y)) {}
        text x=(px(LEFT - 6.0)) y=(px(y + 4.0)) text-anchor="end" { (name) }
    }
}

fn rect(class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) -> Markup {
    html! { rect class=(class) x=(px(x)) y=(px(y)) width=(px(width)) height=(px(height)) {} }
}

impl Page<'_> {
    fn time(&self, at: KtimeNs, span_ns: u64) -> String {
        let at = self.clock.wall(at).0;
        if span_ns < 10_000_000_000 { at.strftime("%H:%M:%S%.3f") } else { at.strftime("%H:%M:%S") }
            .to_string()
    }

    fn time_axis(&self, from: KtimeNs, to: KtimeNs, y: f64) -> Markup {
        let span = to.since(from);
        let anchor = |tick| match tick {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        html! {
            @for tick in 0..=4_u64 {
                text x=(px(LEFT + PLOT_WIDTH * share(tick, 4))) y=(px(y + 14.0)) text-anchor=(anchor(tick)) {
                    (self.time(from.plus(span / 4 * tick), span))
                }
            }
        }
    }

    pub(super) fn waits_over_time(&self) -> Markup {
        let waits = self.waits;
        let max = waits.columns.iter().map(|column| column.max_ns).max().unwrap_or(0);
        let top = nice(max);
        #[expect(clippy::cast_precision_loss, reason = "a hundred columns")]
        let step = PLOT_WIDTH / waits.columns.len().max(1) as f64;
        #[expect(clippy::cast_precision_loss, reason = "a hundred columns")]
        let placed =
            waits.columns.iter().enumerate().map(|(index, column)| (LEFT + step * index as f64, column));
        let svg = html! {
            @for (ns, part) in [(0, 0), (top / 2, 1), (top, 2)] {
                @let name = if ns == 0 { "0".to_owned() } else { Nanos(ns).to_string() };
                (level("axis", TOP + PLOT * (1.0 - share(part, 2)), &name))
            }
            @for (x, column) in placed.filter(|(_, column)| column.count > 0) {
                (waited(column, x, (step - 1.0).max(1.0), top))
            }
            (self.time_axis(waits.from, waits.to, TOP + PLOT))
        };
        let caption = html! {
            figcaption.key {
                span { i.queue {} "longest wait of the clients that came then" }
                span { i.dns {} "their median" }
            }
        };
        html! {
            @if max > 0 {
                div.together {
                    h2 { "Wait over time" }
                    (figure("wait over time", TOP + PLOT + 20.0, &svg, &caption))
                    (self.queue_length())
                }
            }
        }
    }

    /// The accept queue's length by the samples, where there are any, on the time axis of the waits above it.
    fn queue_length(&self) -> Markup {
        let (from, to) = (self.waits.from, self.waits.to);
        // With the last one before and the first one after, which are drawn at the ends.
        let begin = self.queue.partition_point(|point| point.at < from).saturating_sub(1);
        let end = self.queue.partition_point(|point| point.at <= to).saturating_add(1).min(self.queue.len());
        let points = self.queue.get(begin..end).unwrap_or_default();
        let most = points.iter().map(|point| point.queued).max().unwrap_or(0);
        let limit = points.iter().map(|point| point.limit).max().unwrap_or(0);
        let top = u64::from(most.max(if most.saturating_mul(3) >= limit { limit } else { 0 })).max(1);
        let height = 70.0;
        let span = to.since(from);
        let line: Vec<String> = points
            .iter()
            .map(|point| {
                let x = LEFT + PLOT_WIDTH * share(point.at.min(to).since(from), span);
                format!("{x:.1},{:.1}", TOP + height * (1.0 - share(u64::from(point.queued), top)))
            })
            .collect();
        let top_class = if top == u64::from(limit) { "limit" } else { "axis" };
        let svg = html! {
            polyline.length points=(line.join(" ")) {}
            @for (value, class) in [(0, "axis"), (top, top_class)] {
                (level(class, TOP + height * (1.0 - share(value, top)), &value.to_string()))
            }
            (self.time_axis(from, to, TOP + height))
        };
        let caption = html! { figcaption { "clients in the accept queue, limit " (limit) } };
        html! {
            @if most > 0 && points.len() >= 2 {
                (figure("accept queue over time", TOP + height + 20.0, &svg, &caption))
            }
        }
    }

    /// The longest check and everybody behind it.
    pub(super) fn queue_behind(&self) -> Markup {
        let waterfall = self.waterfall;
        let (Some(from), Some(to)) = (
            waterfall.bars.iter().map(|bar| bar.arrival).min(),
            waterfall.bars.iter().map(|bar| bar.end).max(),
        ) else {
            return Markup::default();
        };
        let rows = std::iter::successors(Some(TOP), |y| Some(y + ROW));
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let bottom = TOP + ROW * waterfall.bars.len() as f64;
        let svg = html! {
            @for (bar, y) in waterfall.bars.iter().zip(rows) {
                (drawn(bar, waterfall.queue_known, (from, to), y))
            }
            (self.time_axis(from, to, bottom))
        };
        let what = if waterfall.queue_known {
            "The longest check, and the clients that were queued when it ended."
        } else {
            "The longest check, and the checks that followed it at once; the time in the queue was not seen."
        };
        html! {
            @if waterfall.bars.len() >= 2 {
                h2 { "The queue behind the longest check" }
                p { (what) @if waterfall.more > 0 { " " (waterfall.more) " more are not drawn." } }
                (figure("waterfall", bottom + 20.0, &svg, &html! { figcaption.key { (key()) } }))
            }
        }
    }
}

/// The clients of one column of the waits.
fn waited(column: &WaitColumn, x: f64, width: f64, top: u64) -> Markup {
    let (p50, max) = (Nanos(column.p50_ns), Nanos(column.max_ns));
    html! {
        g {
            title {
                (column.count) @if column.count == 1 { " client" } @else { " clients" }
                ", median " (display(p50)) ", longest " (display(max))
            }
            @for (class, ns) in [("max", column.max_ns), ("p50", column.p50_ns)] {
                @let height = (PLOT * share(ns, top)).max(1.0);
                (rect(class, (x, TOP + PLOT - height), (width, height)))
            }
        }
    }
}

/// One connection of the queue behind the longest check.
fn drawn(bar: &Bar, queue_known: bool, (from, to): (KtimeNs, KtimeNs), y: f64) -> Markup {
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
    let place = |at: KtimeNs| LEFT + PLOT_WIDTH * share(at.since(from), to.since(from));
    html! {
        g {
            title {
                "#" (bar.conn) ": "
                @if queue_known { "queued " (display(Nanos(bar.accepted.since(bar.arrival)))) ", " }
                "check " (display(Nanos(bar.check_end.since(bar.accepted)))) ", DNS " (display(Nanos(bar.dns_ns)))
            }
            text.name x=(px(LEFT - 6.0)) y=(px(y + 10.0)) text-anchor="end" { "#" (bar.conn) }
            @for (class, begin, end) in parts.into_iter().filter(|(_, begin, end)| end > begin) {
                (rect(class, (place(begin), y), ((place(end) - place(begin)).max(0.3), ROW - 4.0)))
            }
        }
    }
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
