//! resolv.conf as the real glibc reads it: files that people have, and thousands of generated ones with everything that is nearly right in them.
//! Needs root.

#![expect(clippy::expect_used, reason = "a test fails where it is surprised")]

#[path = "common/rng.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod rng;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use rng::Rng;
use wrapwatch::wrappers::ResolvConf;
use wrapwatch_differential::resolver::Settings;

/// What glibc makes of these texts.
fn glibc(texts: &[Vec<u8>]) -> Vec<Settings> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_read-resolv"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let lines: Vec<u8> = texts
        .iter()
        .flat_map(|text| {
            let mut line = serde_json::to_vec(text).expect("bytes");
            line.push(b'\n');
            line
        })
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(&lines));
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let settings =
        stdout.lines().map(|line| serde_json::from_str(&line.expect("a line")).expect("settings")).collect();
    writer.join().expect("the thread ends").expect("the oracle reads");
    assert!(child.wait().expect("the oracle ends").success());
    settings
}

/// wrapwatch's reading in glibc's terms.
fn ours(text: &[u8]) -> Settings {
    let conf = ResolvConf::parse(text);
    Settings {
        nameservers: conf.nameservers,
        timeout_s: conf.timeout_s,
        attempts: conf.attempts,
        ndots: conf.ndots,
        rotate: conf.rotate,
        use_vc: conf.use_vc,
        no_aaaa: conf.no_aaaa,
        search: conf.search.unwrap_or_default().into_iter().take(6).map(String::into_bytes).collect(),
    }
}

fn compare(texts: &[Vec<u8>]) {
    let theirs = glibc(texts);
    assert_eq!(theirs.len(), texts.len());
    let wrong: Vec<String> = texts
        .iter()
        .zip(&theirs)
        .filter(|(text, theirs)| ours(text) != **theirs)
        .map(|(text, theirs)| {
            format!("{:?}\nglibc: {theirs:?}\nours:  {:?}", String::from_utf8_lossy(text), ours(text))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong of {}:\n{}",
        wrong.len(),
        texts.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

/// One line, mostly nearly right.
fn line(rng: &mut Rng) -> String {
    let blank = |rng: &mut Rng| rng.pick(&[" ", " ", " ", "\t", "  ", " \t ", ""]).to_owned();
    let start = rng.pick(&["", "", "", "", "", "", " ", "\t", "#", ";", "\0", "\u{b}"]);
    let keyword = rng.pick(&[
        "nameserver",
        "nameserver",
        "nameserver",
        "options",
        "options",
        "options",
        "search",
        "domain",
        "sortlist",
        "NAMESERVER",
        "nameservers",
        "option",
        "",
    ]);
    let mut line = format!("{start}{keyword}");
    for _ in 0..=rng.below(4) {
        line += &blank(rng);
        line += &match keyword {
            "options" | "option" => option(rng),
            "search" | "domain" => {
                rng.pick(&["a.test", "b.test", ".", "c", "#", "d.test.", "\u{e9}.test"]).to_owned()
            }
            _ => address(rng),
        };
    }
    line + rng.pick(&["", "", "", "", " ", "\t", "\r", " # x", "\0 y", "\u{c}"])
}

fn address(rng: &mut Rng) -> String {
    let address = rng.pick(&[
        "10.0.0.1",
        "10.0.0.2",
        "127.1",
        "010.1.1.1",
        "0x0a.0.0.3",
        "10.0.0.256",
        "10.0.0",
        "167772161",
        "1.2.3.4.5",
        "::1",
        "fe80::1",
        "2001:db8::53",
        "::ffff:10.0.0.5",
        "::10.0.0.6",
        "1::2::3",
        "[::1]",
        "foo",
        "10.0.0.9:53",
        "0.0.0.0",
        "255.255.255.255",
        "08.1.1.1",
        "::",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "12345::",
        "::1.2.3",
        "0::01",
    ]);
    let scope = rng.pick(&["", "", "", "", "%eth0", "%1", "%", "/24", ",", "x"]);
    format!("{address}{scope}")
}

fn option(rng: &mut Rng) -> String {
    let name = rng.pick(&[
        "timeout:",
        "timeout:",
        "attempts:",
        "attempts:",
        "ndots:",
        "timeout",
        "attempts=",
        "Timeout:",
        "rotate",
        "use-vc",
        "no-aaaa",
        "edns0",
        "rotatefoo",
        "single-request",
        "trust-ad",
        "xrotate",
        "#",
        "debug",
    ]);
    let value = rng.pick(&[
        "",
        "",
        "1",
        "3",
        "30s",
        "30",
        "31",
        "0",
        "-1",
        "-3",
        "+2",
        " 2",
        "\t4",
        "0x3",
        "1,2",
        "99999999999",
        "4294967298",
        "-99999999999",
        "\r",
        "2147483648",
    ]);
    format!("{name}{value}")
}

#[test]
fn files_from_the_field_are_read_as_glibc_reads_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/field-cases/lint");
    let texts: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "res"))
        .map(|path| std::fs::read(path).expect("a file"))
        .collect();
    assert!(texts.len() >= 4, "{} files", texts.len());
    compare(&texts);
}

#[test]
fn generated_files_are_read_as_glibc_reads_them() {
    let mut rng = Rng(1034);
    let texts: Vec<Vec<u8>> = (0..10_000)
        .map(|_| {
            let mut text: String = (0..rng.below(6)).map(|_| line(&mut rng) + "\n").collect();
            if rng.chance(30) {
                text += &line(&mut rng);
            }
            text.into_bytes()
        })
        // glibc would never end.
        .filter(|text| ResolvConf::parse(text).endless_line.is_none())
        .collect();
    assert!(texts.len() > 7_000, "{} are left", texts.len());
    compare(&texts);
}

/// A `sortlist` with a carriage return: glibc 2.36 never ends. The oracle has to burn a second of CPU on it, and is then killed by its limit.
#[test]
fn glibc_reads_a_sortlist_with_a_carriage_return_for_ever() {
    for (text, endless) in [("sortlist 10.0.0.1\r\n", true), ("sortlist 10.0.0.1\n", false)] {
        assert_eq!(ResolvConf::parse(text.as_bytes()).endless_line.is_some(), endless);
        let mut command = Command::new(env!("CARGO_BIN_EXE_read-resolv"));
        command.env("READ_RESOLV_CPU_SECONDS", "1").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("the oracle starts");
        let line = serde_json::to_vec(text.as_bytes()).expect("bytes");
        child.stdin.take().expect("a pipe").write_all(&line).expect("the oracle reads");
        assert_eq!(child.wait().expect("the oracle ends").success(), !endless, "{text:?}");
    }
}
