//! What on a kernel's console means that something went wrong. Pure.

/// Words of the kernel's that are findings, and what they are called here.
const TROUBLE: [(&str, &str); 12] = [
    ("Kernel panic - not syncing", "panic"),
    ("Oops:", "oops"),
    ("BUG: unable to handle", "oops"),
    ("general protection fault", "oops"),
    ("kernel BUG at", "kernel BUG"),
    ("soft lockup", "lockup"),
    ("hard LOCKUP", "lockup"),
    ("blocked for more than", "hung task"),
    ("self-detected stall", "RCU stall"),
    ("detected stalls on CPUs", "RCU stall"),
    ("WARNING: CPU:", "kernel warning"),
    ("Out of memory: Killed", "out of memory"),
];

/// The findings, each once, with the line that says it.
pub(crate) fn findings(console: &str) -> Vec<String> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in console.lines().map(printable) {
        for (words, name) in TROUBLE {
            if line.contains(words) && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, line.clone()));
            }
        }
    }
    found.into_iter().map(|(name, line)| format!("{name} on the console: {line}")).collect()
}

/// The last lines, for whoever has to find out what happened.
pub(crate) fn tail(console: &str, lines: usize) -> String {
    let all: Vec<String> = console.lines().map(printable).filter(|line| !line.is_empty()).collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Without what a terminal would act on.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{findings, tail};

    #[test]
    fn trouble_is_found_and_named_once() {
        let console = "[ 1.0] Run /init as init process\r\n\
            [ 2.0] sysrq: Trigger a crash\r\n\
            [ 2.1] Kernel panic - not syncing: sysrq triggered crash\r\n\
            [ 2.2] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\r\n\
            [ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [loop:1]\r\n";
        assert_eq!(
            findings(console),
            [
                "panic on the console: [ 2.1] Kernel panic - not syncing: sysrq triggered crash",
                "lockup on the console: [ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [loop:1]"
            ]
        );
    }

    #[test]
    fn an_ordinary_console_is_no_finding() {
        assert_eq!(findings("[ 0.0] Linux version 6.1\n[ 0.1] Oopsie\nreboot: Power down\n"), [""; 0]);
        assert_eq!(tail("a\n\n\u{1b}b\r\nc\n", 2), "b\nc");
    }
}
