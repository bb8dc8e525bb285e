//! The line of a monitoring plugin: `NAME STATE - text | label=value[unit];warning;critical;least;most …`.

use crate::diagnose::check::{Check, Number, Value};

/// The line, with its newline.
pub fn line(name: &str, check: &Check) -> String {
    let mut out = format!("{name} {} - {}", check.state.name(), text(&check.text));
    for (index, number) in check.numbers.iter().enumerate() {
        out += if index == 0 { " | " } else { " " };
        out += &number_text(number);
    }
    out.push('\n');
    out
}

/// One line of printable ASCII; a bar would begin the numbers.
fn text(text: &str) -> String {
    let text = text.replace('\u{a0}', " ").replace('µ', "u").replace('|', "/");
    let one_line: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    one_line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn number_text(number: &Number) -> String {
    let (value, unit) = match number.value {
        Value::Count(count) => (count.to_string(), ""),
        Value::Counter(count) => (count.to_string(), "c"),
        Value::Time(ns) => (seconds(ns), "s"),
    };
    let label = text(&number.label).replace(['\'', '='], "_");
    let label = if label.contains(' ') { format!("'{label}'") } else { label };
    let limit = |limit: Option<Value>| match limit {
        Some(Value::Count(count) | Value::Counter(count)) => count.to_string(),
        Some(Value::Time(ns)) => seconds(ns),
        None => String::new(),
    };
    let [warning, critical] = number.limits.map(limit);
    let [least, most] = number.range.map(|end| end.map_or(String::new(), |end| end.to_string()));
    let fields = format!("{label}={value}{unit};{warning};{critical};{least};{most}");
    fields.trim_end_matches(';').to_owned()
}

/// Seconds without trailing zeros.
fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::check::State;

    fn check() -> Check {
        let number =
            |label: &str, value, limits, range| Number { label: label.to_owned(), value, limits, range };
        Check {
            state: State::Warning,
            text: "slow | by 1.2\u{a0}µs\nand more".to_owned(),
            numbers: vec![
                number(
                    "time",
                    Value::Time(1_500_000_000),
                    [Some(Value::Time(1_000_000_000)), None],
                    [Some(0), None],
                ),
                number(
                    "queued [::1]:3306",
                    Value::Count(3),
                    [Some(Value::Count(40)), Some(Value::Count(80))],
                    [Some(0), None],
                ),
                number("it's=x", Value::Counter(7), [None; 2], [Some(0), None]),
                number("greeted", Value::Count(5), [None; 2], [Some(0), Some(5)]),
            ],
        }
    }

    #[test]
    fn it_is_one_line() {
        assert_eq!(
            line("PING", &check()),
            "PING WARNING - slow / by 1.2 us and more | time=1.5s;1;;0 'queued [::1]:3306'=3;40;80;0 it_s_x=7c;;;0 greeted=5;;;0;5\n"
        );
        assert_eq!(seconds(0), "0");
        assert_eq!(seconds(10_000_000_001), "10.000000001");
    }

    /// The numbers put into Python's nagiosplugin, which says each as it should be said.
    #[test]
    fn a_plugin_library_says_the_numbers_the_same_way() {
        let library =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/nagiosplugin-1.3.3-py3-none-any.whl");
        let script = r#"
import re, sys
from nagiosplugin.performance import Performance
from nagiosplugin.range import Range
line = sys.stdin.read()
assert line.count("\n") == 1 and line.count("|") == 1, line
numbers = line.split("|")[1].strip()
tokens = re.findall(r"(?:'[^'=]+'|[^' =]+)=\S+", numbers)
assert " ".join(tokens) == numbers, numbers
for token in tokens:
    label, rest = re.fullmatch(r"('[^'=]+'|[^' =]+)=(\S+)", token).groups()
    value, *fields = (rest.split(";") + [""] * 4)[:5]
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]*)", value).groups()
    warn, crit, low, high = fields
    said = Performance(label.strip("'"), float(number) if "." in number else int(number), unit,
                       Range(warn) if warn else "", Range(crit) if crit else "", low, high)
    assert str(said) == token, (str(said), token)
print(len(tokens))
"#;
        let run = |text: &str| {
            use std::io::Write as _;
            let mut child = std::process::Command::new("python3")
                .args(["-c", script])
                .env("PYTHONPATH", library)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        let good = run(&line("PING", &check()));
        assert_eq!(String::from_utf8_lossy(&good.stdout), "4\n", "{}", String::from_utf8_lossy(&good.stderr));
        assert!(!run("PING OK - x | time=1.5s;1;;0 bad label=3\n").status.success());
    }
}
