//! The rule: observed where libwrap says it, inferred where it does not, quoted from where the tables really are.

use wrapwatch::model::{How, Outcome};
use wrapwatch_tests::{
    clients::ClientsSpec,
    lab::{Files, Namespace, ServerConfig},
    watch::{Watch, binary},
};

use crate::stage::Stage;

const ALLOW: &str = "sshd: ALL\nALL: 192.168.\nALL: .lab.example\n";

#[test]
fn observed_without_uprobes_too() {
    let mut stage = Stage::watched(ServerConfig::default(), &["--no-uprobes"]);
    stage.files(Files::tables(ALLOW, "ALL: ALL\n"));
    let told = stage.until("the tables are read again", |c| {
        c.verdict_rule.as_ref().is_some_and(|rule| rule.text.as_deref() == Some("ALL: .lab.example"))
    });
    let rule = told.rule.unwrap();
    assert_eq!((rule.line, rule.how), (3, How::Observed));
    stage.end();
}

/// A copy of libwrap that exports `tcpd_context` under another name. The new name has the old one's hash (`h * 33 + c`, dl_new_hash in glibc), so that
/// libwrap itself still finds it.
fn libwrap_without_context(folder: &std::path::Path) {
    let library = ["/lib/x86_64-linux-gnu/libwrap.so.0", "/usr/lib/x86_64-linux-gnu/libwrap.so.0"];
    let mut bytes = library.iter().find_map(|path| std::fs::read(path).ok()).unwrap();
    let (old, new) = (b"\0tcpd_context\0", b"\0tcpd_conteyS\0");
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + new.len()].copy_from_slice(new);
    std::fs::write(folder.join("libwrap.so.0"), bytes).unwrap();
}

#[test]
fn inferred_where_libwrap_does_not_say() {
    let folder = tempfile::Builder::new().prefix("wrapwatch").tempdir_in("/tmp").unwrap();
    libwrap_without_context(folder.path());
    let server = ServerConfig::default().env("LD_LIBRARY_PATH", folder.path().display().to_string());
    let mut stage = Stage::with(server);
    stage.files(Files::tables(ALLOW, "ALL: ALL\n"));
    let told = stage.until("the tables are read again", |c| {
        c.verdict_rule.as_ref().is_some_and(|rule| rule.text.as_deref() == Some("ALL: .lab.example"))
    });
    let (rule, verdict) = (told.rule.unwrap(), told.verdict_rule.unwrap());
    assert_eq!((rule.line, rule.how, verdict.line, verdict.how), (3, How::Inferred, 3, How::Inferred));
    stage.files(Files::tables("sshd: ALL\n", "sshd: ALL\nALL: 10.\n"));
    let told = stage
        .until("the tables are read again", |c| c.outcome == Outcome::Refused && c.verdict_rule.is_some());
    let verdict = told.verdict_rule.unwrap();
    assert_eq!((&*verdict.file, verdict.line, verdict.how), ("/etc/hosts.deny", 2, How::Inferred));
    assert_eq!(told.rule, None);
    let seen = stage.end();
    assert!(seen.degradations().iter().any(|lost| lost.message.contains("tcpd_context")));
}

/// Sets the paths that libwrap's variables point to, in place (see the preloaded library's `WRAP_TABLES`).
fn point_to(stage: &Stage, allow: &str, deny: &str) {
    for (path, block) in [(allow, 0), (deny, 1)] {
        let script =
            format!("printf '%s\\0' {path} | dd of=/etc/wrap-tables bs=256 seek={block} conv=notrunc");
        let done = stage.lab.exec(Namespace::Server, ["sh", "-c", &script]).unwrap();
        assert_eq!(done.status, Some(0), "{done:?}");
    }
}

#[test]
fn tables_are_where_the_program_says() {
    let mut files = Files::default();
    let name = "a-directory-whose-name-is-as-long-as-some-are-in-real-life/and-longer";
    files.other.insert("wrap-tables".into(), "\0".repeat(512));
    let lab = wrapwatch_tests::lab::Lab::start(wrapwatch_tests::lab::LabConfig {
        files,
        start_server: false,
        server: ServerConfig::default().env("WRAP_TABLES", "/etc/wrap-tables"),
        ..wrapwatch_tests::lab::LabConfig::default()
    })
    .unwrap();
    let long = format!("/etc/{name}/allow");
    let script = format!("mkdir -p /etc/{name} && printf 'sshd: ALL\\nALL: .lab.example\\n' > {long}");
    assert_eq!(lab.exec(Namespace::Server, ["sh", "-c", &script]).unwrap().status, Some(0));
    let mut files = Files::default();
    files.other.insert("elsewhere.allow".into(), "ALL: .nowhere.example\n".into());
    files.other.insert("elsewhere.deny".into(), "# one\nALL: 10.\n".into());
    lab.files(files).unwrap();
    let pid = lab.restart_server(None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("moved.wwt");
    let watch = Watch::record(pid, &trace, ["-q"; 0]).unwrap();
    let mut stage = Stage::of(lab, watch);
    // Until a path is set, libwrap is told of tables without a name, which it takes for empty ones.
    let (_, none) = stage.one();
    assert_eq!((none.outcome, none.verdict_rule), (Outcome::Greeted, None));
    point_to(&stage, "/etc/elsewhere.allow", "/etc/elsewhere.deny");
    let told = stage.until("the tables were found", |c| {
        c.verdict_rule.as_ref().is_some_and(|rule| rule.file.ends_with("deny") && rule.text.is_some())
    });
    assert_eq!(told.outcome, Outcome::Refused);
    let (rule, verdict) = (told.rule.unwrap(), told.verdict_rule.unwrap());
    assert_eq!((&*rule.file, rule.line), ("/etc/elsewhere.allow", 1));
    assert_eq!(rule.text.as_deref(), Some("ALL: .nowhere.example"));
    assert_eq!((&*verdict.file, verdict.line), ("/etc/elsewhere.deny", 2));
    assert_eq!(verdict.text.as_deref(), Some("ALL: 10."));
    // And moved again while it is traced, to a path longer than a record has room for.
    point_to(&stage, &long, "/etc/elsewhere.deny");
    let told = stage.until("the table was found again", |c| {
        c.verdict_rule.as_ref().is_some_and(|rule| rule.text.as_deref() == Some("ALL: .lab.example"))
    });
    assert_eq!((told.outcome, told.verdict_rule.unwrap().file), (Outcome::Greeted, long.as_str().into()));
    let clients = stage.clients(ClientsSpec::one_by_one(2));
    let seen = stage.end();
    // The trace tells the same, and has the tables.
    let replayed = std::process::Command::new(binary().unwrap())
        .args(["replay", "--json"])
        .arg(&trace)
        .output()
        .unwrap();
    let replayed = String::from_utf8(replayed.stdout).unwrap();
    for (client, connection) in &clients {
        let peer = crate::support::peer(client);
        let line = replayed.lines().find(|line| line.contains(&format!("\"peer\":\"{peer}\""))).unwrap();
        let again: wrapwatch::model::Line = serde_json::from_str(line).unwrap();
        let wrapwatch::model::Line::Connection(again) = again else { panic!("{line}") };
        assert_eq!((&again.rule, &again.verdict_rule), (&connection.rule, &connection.verdict_rule));
        assert_eq!(again.files.len(), seen.of(&peer).unwrap().files.len());
    }
}
