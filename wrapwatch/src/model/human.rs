//! Durations, shares and errors as a person reads them, the same wherever they are printed.

use std::fmt;

/// A duration in nanoseconds, printed with three digits or so and its unit: `87 µs`, `0.43 ms`, `603 ms`, `12.0 s`, `13 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl Nanos {
    /// As it is displayed, behind what is there.
    pub(crate) fn append_to(self, text: &mut String) {
        // A string takes everything.
        let _ = self.put(text);
    }

    /// Written digit by digit: each connection's line has several, and the library's way to write numbers takes many times as long.
    fn put(self, out: &mut (impl fmt::Write + ?Sized)) -> fmt::Result {
        let us = self.0 / 1_000;
        let (whole, part, unit) = match us {
            0..100 => (us, None, " µs"),
            100..10_000 => (us / 1_000, Some((us % 1_000 / 10, 2)), " ms"),
            10_000..1_000_000 => (us / 1_000, None, " ms"),
            1_000_000..10_000_000 => (us / 1_000_000, Some((us % 1_000_000 / 10_000, 2)), " s"),
            10_000_000..100_000_000 => (us / 1_000_000, Some((us % 1_000_000 / 100_000, 1)), " s"),
            100_000_000..600_000_000 => (us / 1_000_000, None, " s"),
            _ => (us / 60_000_000, None, " min"),
        };
        let mut digits = itoa::Buffer::new();
        out.write_str(digits.format(whole))?;
        if let Some((part, places)) = part {
            out.write_str(if places == 2 && part < 10 { ".0" } else { "." })?;
            out.write_str(digits.format(part))?;
        }
        out.write_str(unit)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_none() {
            return self.put(f);
        }
        let mut text = String::new();
        self.put(&mut text)?;
        f.pad(&text)
    }
}

/// A share from 0 to 1, printed in percent: `99 %`, `3.4 %`, `0.2 %`. Rounded down, so that 100 % means all of it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl Share {
    /// `part` of `whole`; 0 where there is no whole.
    pub fn of(part: u64, whole: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        Self(if whole == 0 { 0.0 } else { part as f64 / whole as f64 })
    }

    /// In percent as a person wrote it: 0.0001, 1, 2.5, without what multiplying leaves behind.
    pub fn percent(self) -> f64 {
        (self.0 * 1e8).round() / 1e6
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        // Rounding errors of a division must not turn all into 99 %.
        let floor = |digits: f64| ((percent + 1e-9) * digits).floor() / digits;
        let text = if percent >= 10.0 {
            format!("{:.0} %", floor(1.0))
        } else if percent >= 0.1 {
            format!("{:.1} %", floor(10.0))
        } else if percent > 0.0 {
            "under 0.1 %".to_owned()
        } else {
            "0 %".to_owned()
        };
        f.pad(&text)
    }
}

/// An error with what is behind it, in one line.
pub(crate) fn error_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some errors print their source themselves.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    let line = text.lines().next().unwrap_or_default();
    // Of the kernel's verifier, whose many lines come behind it.
    line.trim_end_matches("Verifier output:").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_as_it_was_written() {
        for written in ["0.0001", "0.3", "1", "2.5", "7", "100"] {
            let share = written.parse::<f64>().unwrap() / 100.0;
            assert_eq!(Share(share).percent().to_string(), written);
        }
    }

    #[test]
    fn durations_keep_about_three_digits() {
        let text = |ns| Nanos(ns).to_string();
        assert_eq!(text(0), "0 µs");
        assert_eq!(text(87_999), "87 µs");
        assert_eq!(text(430_000), "0.43 ms");
        assert_eq!(text(9_999_999), "9.99 ms");
        assert_eq!(text(603_000_000), "603 ms");
        assert_eq!(text(2_001_000_000), "2.00 s");
        assert_eq!(text(12_038_000_000), "12.0 s");
        assert_eq!(text(599_000_000_000), "599 s");
        assert_eq!(text(800_000_000_000), "13 min");
        assert!(text(u64::MAX).ends_with(" min"));
    }

    #[test]
    fn shares_are_rounded_down() {
        let text = |part, whole| Share::of(part, whole).to_string();
        assert_eq!(text(0, 0), "0 %");
        assert_eq!(text(999, 1000), "99 %");
        assert_eq!(text(29, 100), "29 %");
        assert_eq!(text(1000, 1000), "100 %");
        assert_eq!(text(2, 1000), "0.2 %");
        assert_eq!(text(1, 100_000), "under 0.1 %");
    }
}
