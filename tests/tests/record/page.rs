//! The HTML report in a real browser, from nothing but its file: no error on its console, light and dark, and what a hostile name cannot do.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use wrapwatch_tests::{clients::ClientsSpec, lab::Files, nameserver::Rule, wait_for, watch::Watch};

use crate::support::{lab, wrapwatch};

/// What Chromium calls a message of a page's console in its log.
const CONSOLE: &str = ":CONSOLE";

/// Chromium without a window, a network or a profile that was there before; gives its log and its stdout.
fn chromium(profile: &Path, args: &[&str], page: &Path) -> (String, String) {
    let mut command = Command::new("timeout");
    command
        .args([
            "--kill-after=5",
            "120",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--v=0", "--window-size=1000,1600"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {log}", output.status);
    (log, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Some connections behind a slow lookup.
fn page(dir: &Path) -> PathBuf {
    let (file, page) = (dir.join("a.wwt"), dir.join("a.html"));
    let lab = lab();
    // A rule is somebody's text: here one that would be a picture in a careless page.
    lab.files(Files::tables("ALL: .lab.example <img src=x> 10.2.\n", "ALL: ALL\n")).unwrap();
    let recorder = Watch::record(lab.server_pid().unwrap(), &file, [""; 0]).unwrap();
    lab.rules([Rule::delay(1_000).name("1.0.2.10.in-addr.arpa")]).unwrap();
    let slow = lab.begin_clients(ClientsSpec::one_by_one(1)).unwrap();
    // The others come once it is asked for: who came before would not be queued behind it.
    wait_for("the slow lookup", || Ok(!lab.take_dns_log()?.is_empty())).unwrap();
    lab.clients(ClientsSpec::at_once(7)).unwrap();
    slow.wait().unwrap();
    assert_eq!(recorder.stop().unwrap().status, Some(0));
    let output = wrapwatch(["report", "--html", page.to_str().unwrap(), file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    page
}

/// How bright the page's corner is, 0 to 255.
fn brightness(png: &Path) -> u8 {
    let mut reader = png::Decoder::new(BufReader::new(File::open(png).unwrap())).read_info().unwrap();
    let mut row = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut row).unwrap();
    row[..3].iter().map(|value| value / 3).sum()
}

#[test]
fn a_browser_shows_the_page_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (page, profile) = (page(dir.path()), dir.path().join("profile"));
    // Blink's numbers for prefers-color-scheme.
    for (scheme, bright) in [("1", true), ("0", false)] {
        let shot = dir.path().join(format!("{scheme}.png"));
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let screenshot = format!("--screenshot={}", shot.display());
        let (log, _) = chromium(&profile, &[&scheme, &screenshot], &page);
        assert!(!log.contains(CONSOLE), "{log}");
        let brightness = brightness(&shot);
        assert_eq!(brightness > 128, bright, "the page's corner has brightness {brightness}");
    }
    let (log, dom) = chromium(&profile, &["--dump-dom"], &page);
    assert!(!log.contains(CONSOLE), "{log}");
    assert!(dom.contains("<title>wrapwatch report: a.wwt</title>"), "{dom}");
    assert!(!dom.contains("<script") && !dom.contains("<img"), "{dom}");
    assert!(dom.contains("The queue behind the longest check") && dom.contains("&lt;img src=x"), "{dom}");
}

#[test]
fn an_error_would_be_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("bad.html");
    std::fs::write(&page, "<!doctype html><svg><rect width=\"NaN\" height=\"1\"/></svg>").unwrap();
    let (log, _) = chromium(&dir.path().join("profile"), &["--dump-dom"], &page);
    assert!(log.contains(CONSOLE), "{log}");
}
