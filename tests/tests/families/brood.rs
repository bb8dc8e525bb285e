//! A server that has made more processes than are followed.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch::model::{DegradationKind, Outcome};
use wrapwatch_tests::watch::{Seen, Watch};

/// A hundred more than are followed.
const MADE: usize = 10_100;

struct Brood {
    child: Child,
    port: u16,
    name: String,
    _program: tempfile::TempDir,
}

impl Brood {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Nobody else's name; the kernel keeps 15 bytes of it.
        let name = format!("brood{}", std::process::id());
        let program = folder.path().join(&name);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/families/brood.c");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-static", "-D_GNU_SOURCE", source, "-o"]).arg(&program);
        let output = compile.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // A port that nobody listens on now.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let arguments = [port.to_string(), MADE.to_string()];
        let child = Command::new(&program).args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut brood = Self { child, port, name, _program: folder };
        let mut said = String::new();
        BufReader::new(brood.child.stdout.take().context("no stdout")?).read_line(&mut said)?;
        ensure!(said == "there\n", "not all were made: {said:?}");
        Ok(brood)
    }
}

impl Drop for Brood {
    fn drop(&mut self) {
        // It ends what it has made, and then itself.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What is said of the processes that are not followed.
fn not_followed(seen: &Seen) -> Vec<&str> {
    let told = seen.degradations().into_iter().filter(|lost| lost.kind == DegradationKind::NoHook);
    told.map(|lost| lost.message.as_str()).filter(|said| said.contains("cannot follow all")).collect()
}

#[test]
fn of_more_processes_than_are_followed_it_is_said_that_they_are_not() {
    let brood = Brood::start().unwrap();
    // All of them have its name, and are found by that.
    let name = brood.name.clone();
    for arguments in [["-p", &brood.child.id().to_string()], ["--comm", &name]] {
        let mut watch = Watch::live(arguments).unwrap();
        let mut greeting = Vec::new();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, brood.port)).unwrap();
        client.read_to_end(&mut greeting).unwrap();
        assert!(!greeting.is_empty());
        watch.wait_connections(1).unwrap();
        let seen = watch.stop().unwrap();
        let told = seen.connections();
        assert_eq!(
            (told.len(), told[0].outcome, told[0].complete, told[0].pid),
            (1, Outcome::Greeted, true, brood.child.id()),
            "{told:#?}"
        );
        let said = not_followed(&seen);
        assert!(matches!(said[..], [only] if only.contains("more than 10000 processes")), "{said:?}");
        assert_eq!(seen.stderr.matches("watching").count(), 1, "{}", seen.stderr);
    }
}
