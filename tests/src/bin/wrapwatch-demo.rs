//! The demo: a real MariaDB behind the real libwrap, a nameserver that gets worse scene by scene, and `wrapwatch live` beside them.
//!
//! `wrapwatch-demo` prints wrapwatch's own text, with a line before each scene that says what to look at; `wrapwatch-demo --json`
//! prints wrapwatch's JSON lines and nothing else.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use anyhow::{Result, bail};
use wrapwatch::{model::Line, render::text::Text};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Lab, LabConfig},
    nameserver::Rule,
    watch::Watch,
};

const NAMESERVERS: &str = "nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1 attempts:2\n";
const ALLOW: &str = "# /etc/hosts.allow of the demo\nmysqld mariadbd: .lab.example\n";

/// What happens, and what to look at.
struct Scene {
    title: &'static str,
    look: &'static str,
    /// Changes the lab.
    prepare: fn(&Lab) -> Result<()>,
    clients: ClientsSpec,
}

fn scenes() -> Vec<Scene> {
    vec![
        Scene {
            title: "1. All is well",
            look: "Each client costs two DNS queries (PTR, then A) before its greeting; the nameserver answers at once, so nobody notices.",
            prepare: |_| Ok(()),
            clients: ClientsSpec::one_by_one(3),
        },
        Scene {
            title: "2. The nameserver takes 300 ms, and 20 clients come at once",
            look: "One thread accepts and checks: each check holds it for 600 ms, and everybody waits behind everybody. Look at \"queue\" growing.",
            prepare: |lab| lab.rules([Rule::delay(300)]),
            clients: ClientsSpec::at_once(20),
        },
        Scene {
            title: "3. The first nameserver of resolv.conf is dead",
            look: "Each lookup waits out its second at 10.1.1.53 before 10.1.1.54 answers. Look at the STALL lines, and at \"timeout\".",
            prepare: |lab| lab.rules([Rule::silent().at(std::net::Ipv4Addr::new(10, 1, 1, 53))]),
            clients: ClientsSpec::at_once(3),
        },
        Scene {
            title: "4. Clients that no rule allows",
            look: "Refused in the accept thread: the client sees the connection close without a byte. No DNS: the rules are addresses only.",
            prepare: |lab| {
                lab.rules([])?;
                lab.files(Files::tables("mysqld mariadbd: 10.99.\n", "ALL: ALL\n"))
            },
            clients: ClientsSpec::one_by_one(3),
        },
    ]
}

fn main() -> ExitCode {
    let json = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--json" => true,
        _ => {
            eprintln!("usage: wrapwatch-demo [--json]");
            return ExitCode::from(2);
        }
    };
    match demo(json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn demo(json: bool) -> Result<()> {
    let files = Files {
        allow: Some(ALLOW.to_owned()),
        deny: Some("ALL: ALL\n".to_owned()),
        resolv: Some(NAMESERVERS.to_owned()),
        ..Files::default()
    };
    let lab = Lab::start(LabConfig { files, ..LabConfig::default() })?;
    let mut show = Show { json, text: Text { color: colour(), ..Text::PLAIN } };
    show.say(&format!(
        "A MariaDB with wrapper checks runs as pid {pid}, its /etc/hosts.allow says \"mysqld mariadbd: .lab.example\".\n$ sudo wrapwatch live -p {pid}",
        pid = lab.server_pid()?
    ))?;
    let mut watch = Watch::pid(lab.server_pid()?)?;
    show.legend()?;
    let mut told = 0;
    for scene in scenes() {
        show.say(&format!("\n== {} ==\n{}\n", scene.title, scene.look))?;
        (scene.prepare)(&lab)?;
        let count = scene.clients.count;
        let clients = lab.begin_clients(scene.clients)?;
        told += count;
        watch.each_until_connections(told, |line| show.line(line))?;
        clients.wait()?;
    }
    show.say("\n== Ctrl-C: the verdict ==\n")?;
    let seen = watch.stop()?;
    for line in &seen.lines {
        show.line(line)?;
    }
    if seen.status != Some(0) {
        bail!("wrapwatch ended with {:?}: {}", seen.status, seen.stderr.trim());
    }
    Ok(())
}

fn colour() -> bool {
    use std::io::IsTerminal as _;
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

struct Show {
    json: bool,
    text: Text,
}

impl Show {
    /// The demo's own words, which are no data.
    fn say(&self, text: &str) -> Result<()> {
        if !self.json {
            for line in text.lines() {
                writeln!(stdout(), "{}", textwrap(line, self.text.width))?;
            }
        }
        Ok(())
    }

    fn legend(&self) -> Result<()> {
        if !self.json {
            stdout().write_all(self.text.legend().as_bytes())?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let mut out = stdout().lock();
        if self.json {
            wrapwatch::render::json::write_line(&mut out, line, &mut Vec::new())?;
        } else {
            out.write_all(self.text.line(line).as_bytes())?;
        }
        Ok(())
    }
}

/// Breaks a line at blanks.
fn textwrap(line: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in line.split(' ') {
        if column > 0 && column + 1 + word.chars().count() > width {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word.chars().count();
    }
    wrapped
}
