//! Long work shows on a terminal how far it is, and nothing of that is left when it has ended, or gets into a pipe.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use wrapwatch_tests::{tmux::Tmux, wait::wait_for, watch::binary};

use crate::support::made_up;

/// Connections of the trace: more lines than a pipe takes.
const CONNECTIONS: u64 = 3_000;

/// Exports it in a terminal, to a shell that takes its time for each line; gives how long it took until progress was shown.
fn shown(dir: &Path, trace: &Path) -> Duration {
    let (go, ended) = (dir.join("go"), dir.join("ended"));
    let script = format!(
        "{{ {} export {} --to jsonl; echo $? > {}; }} | {{ while [ ! -e {} ] && read -r line; do :; done; cat > /dev/null; }}; echo all read; read -r line",
        binary().unwrap().display(),
        trace.display(),
        ended.display(),
        go.display(),
    );
    let begun = Instant::now();
    let terminal = Tmux::start(&script, 100, 10).unwrap();
    let screen = || terminal.screen();
    wait_for("progress is shown", || {
        let screen = screen()?;
        Ok(screen.contains(" %") && screen.contains(" of ") && screen.contains('['))
    })
    .unwrap();
    let took = begun.elapsed();
    File::create(&go).unwrap();
    wait_for("the end", || Ok(screen()?.contains("all read"))).unwrap();
    assert_eq!(std::fs::read_to_string(ended).unwrap(), "0\n");
    assert_eq!(screen().unwrap().trim(), "all read");
    took
}

#[test]
fn progress_is_for_terminals_only() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("a.wwt");
    made_up(&trace, 1, CONNECTIONS);
    let took = shown(dir.path(), &trace);
    // The same, with pipes; and nothing is read for longer than it took to show anything.
    let mut command = Command::new(binary().unwrap());
    command.arg("export").arg(&trace).args(["--to", "jsonl"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (begun, mut child) = (Instant::now(), command.spawn().unwrap());
    wait_for("longer than it took", || Ok(begun.elapsed() > took * 2)).unwrap();
    let (mut printed, mut said) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    assert!(
        printed.lines().count() as u64 > CONNECTIONS && printed.lines().all(|line| line.starts_with('{'))
    );
}
