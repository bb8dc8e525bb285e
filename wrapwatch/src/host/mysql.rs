//! Asking the server about itself with the client program that is installed anyway: no protocol of our own, no password on a command line.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::HostError;

/// Names of the client program, MariaDB's first.
pub const CLIENTS: [&str; 2] = ["mariadb", "mysql"];
/// A server that does not answer within this is not waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// What it prints is a few hundred bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Variables and counters asked for, by their names without regard to letter case.
const VARIABLES: [&str; 6] =
    ["version", "port", "skip_name_resolve", "back_log", "max_connections", "thread_handling"];
const STATUS: [&str; 7] = [
    "Threads_connected",
    "Threads_cached",
    "Max_used_connections",
    "Aborted_connects",
    "Aborted_clients",
    "Connection_errors_tcpwrap",
    "Uptime",
];

/// Names (lower case) and values.
pub type Answers = Vec<(String, String)>;

/// Logs in as `defaults` says and asks.
pub fn ask(defaults: &Path) -> Result<Answers, HostError> {
    let unusable = |why: String| HostError::Unusable { what: "the server's answer".into(), why };
    let mut child = start(defaults)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, stdout, stderr) = thread::scope(|scope| {
        let stdout = scope.spawn(|| read(stdout));
        let stderr = scope.spawn(|| read(stderr));
        let status = wait(&mut child);
        (status, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
    });
    match status {
        None => Err(unusable(format!("the client did not end within {} s", PATIENCE.as_secs()))),
        Some(true) => Ok(parse(&stdout)),
        // Its own words, the first line of them.
        Some(false) => Err(unusable(stderr.lines().next().unwrap_or("the client failed").trim().to_owned())),
    }
}

fn start(defaults: &Path) -> Result<Child, HostError> {
    let mut file = std::ffi::OsString::from("--defaults-file=");
    // The client would look for a relative path in its own folders.
    file.push(std::path::absolute(defaults).map_err(|e| HostError::io(defaults.display().to_string(), e))?);
    let mut last = None;
    for client in CLIENTS {
        let started = Command::new(client)
            // --defaults-file has to be the first.
            .arg(&file)
            .args(["--batch", "--skip-column-names", "--connect-timeout=4", "--execute", &statement()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match started {
            Ok(child) => return Ok(child),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound));
    Err(HostError::io(
        format!("the server with {} (install the client program)", CLIENTS.join(" or ")),
        error,
    ))
}

fn statement() -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",");
    format!(
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ({}); SHOW GLOBAL STATUS WHERE Variable_name IN ({})",
        list(&VARIABLES),
        list(&STATUS)
    )
}

/// Whether it ended well; None where it had to be killed.
fn wait(child: &mut Child) -> Option<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn read(pipe: Option<impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is still worth having.
        let _ = pipe.take(MAX_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(text: &str) -> Answers {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_split_at_the_tab() {
        let answers = parse("Aborted_connects\t3\nversion\t10.11.6 MariaDB\nno tab\n");
        assert_eq!(
            answers,
            [("aborted_connects".into(), "3".into()), ("version".into(), "10.11.6 MariaDB".into())]
        );
    }
}
