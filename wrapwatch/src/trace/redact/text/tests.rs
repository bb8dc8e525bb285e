//! Tables of pseudonyms decide about pseudonyms as the tables did about the originals.

use super::*;
use crate::trace::redact::Key;

fn text() -> Text {
    Text::new(Names::new(Key::new([9; 16])))
}

#[test]
fn hosts_keeps_its_shape() {
    let t = text();
    let bytes =
        b"127.0.0.1\tlocalhost\n# site\n10.77.0.2 dbhost db.corp.example # main\n\n::1 ip6-localhost\n";
    let out = String::from_utf8(t.file(SnapshotRole::Hosts, bytes)).unwrap();
    let lines: Vec<&str> = out.split('\n').collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(
        (lines[0], lines[1], lines[3], lines[4]),
        ("127.0.0.1\tlocalhost", "", "", "::1 ip6-localhost")
    );
    let expected = format!(
        "{} {} {}",
        t.address("10.77.0.2").unwrap(),
        t.names.text("dbhost"),
        t.names.text("db.corp.example")
    );
    assert_eq!(lines[2], expected);
}

#[test]
fn resolv_conf_keeps_its_options() {
    let t = text();
    let bytes = b"; comment 10.0.0.9\nnameserver 10.1.1.53\nnameserver fe80::1%eth0\nsearch corp.example\noptions timeout:1 attempts:2\nsortlist 10.3.0.0/255.255.0.0\n";
    let out = String::from_utf8(t.file(SnapshotRole::ResolvConf, bytes)).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], format!("nameserver {}", t.address("10.1.1.53").unwrap()));
    assert!(lines[2].starts_with("nameserver fe80::") && lines[2].ends_with("%eth0"));
    assert_eq!(lines[3], format!("search {}", t.names.text("corp.example")));
    assert_eq!(lines[4], "options timeout:1 attempts:2");
    assert!(!out.contains("10.3.") && !out.contains("10.1.1"), "{out}");
}

#[test]
fn tables_keep_keywords_daemons_and_lines() {
    let t = text();
    let table = "# for 10.9.9.9\nmysqld, sshd@10.0.0.1: ALL EXCEPT .bad.example \\\n  192.168.7.0/255.255.255.0 : \
                 spawn (/usr/bin/mail -s %h root@corp.example) & : severity local0.info\nALL:[2001:db8::]/64 @trusted bob@10.77. 10.8.* web*.x.example /etc/clients\nno rule here\nlast";
    let out = t.table(table);
    let lines: Vec<&str> = out.split('\n').collect();
    assert_eq!(lines.len(), table.split('\n').count());
    assert_eq!(lines[0], "#");
    let host = t.address("10.0.0.1").unwrap();
    assert_eq!(lines[1], format!("mysqld, sshd@{host}: ALL EXCEPT {} \\", t.names.text(".bad.example")));
    let net = t.names.addresses().v4_prefix([192, 168, 7, 0].into(), 24);
    assert_eq!(lines[2], format!("  {net}/255.255.255.0 : spawn (x x %h x) & : severity local0.info"));
    assert!(
        lines[3].starts_with("ALL:[")
            && lines[3].contains("::]/64 @x")
            && lines[3].ends_with(" /etc/clients")
    );
    for leak in ["10.77", "10.8", "bob", "web", "trusted", "2001", "192.168.7", "corp", "bad", "rule", "last"]
    {
        assert!(!out.contains(leak), "{leak}: {out}");
    }
}

#[test]
fn a_continued_line_before_nothing_stays() {
    for table in ["\\\n\n", "#\\\nx\n", "a: b \\", "\n\n", "a: b\\\n"] {
        assert_eq!(text().table(table).split('\n').count(), table.split('\n').count(), "{table:?}");
    }
}

#[test]
fn kept_text_is_searched_for_what_is_known() {
    let mut t = text();
    t.learn("db1.corp.example");
    t.learn_from(SnapshotRole::HostsAllow, b"mysqld: .lan.test 10.77.\n# secretcomment\n");
    let out =
        t.scrub("/var/lib/mysql/db1.err 10.77.0.1:53 [2001:db8::1]:53 mysqld-DB1_a.sock via lan.test. 5.4.3");
    for leak in ["db1", "DB1", "10.77", "2001:db8", "lan", ".test"] {
        assert!(!out.contains(leak), "{leak}: {out}");
    }
    for kept in ["/var/lib/mysql/x", ".err ", ":53 [", "]:53 mysqld-x", " via x", "_a.sock", " 5.4.3"] {
        assert!(out.contains(kept), "{kept}: {out}");
    }
    assert_eq!(t.path(b"\0hidden-db1")[..8], *b"\0hidden-");
    assert_eq!(t.scrub("/etc/hosts.allow"), "/etc/hosts.allow");
    assert_eq!(t.scrub("/var/run/nscd/socket"), "/var/run/nscd/socket");
}
