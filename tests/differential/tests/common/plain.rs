//! Tables as people write them.

use crate::rng::Rng;

/// The table of lookups in wrapper-facts, and more: what people write.
pub(crate) const PATTERNS: [&str; 40] = [
    "ALL",
    "10.0.2.14",
    "10.0.2.",
    "10.",
    "10.0.2.0/24",
    "10.0.2.0/255.255.255.0",
    "0.0.0.0/0",
    "10.0.2.14/32",
    "10.0.2.*",
    "192.168.*",
    "192.168.7.?",
    "[2001:db8::]/64",
    "[2001:db8::7]",
    "[2001:db8::]/32",
    "[::]/0",
    "2001:db8::7",
    "[::1]",
    "[::1]/128",
    ".example.com",
    "db1.example.com",
    "DB1.Example.Com",
    "*.example.com",
    "db?.example.com",
    "localhost",
    "web",
    ".bad",
    "LOCAL",
    "KNOWN",
    "UNKNOWN",
    "PARANOID",
    "ALL EXCEPT .bad",
    "ALL EXCEPT 10.0.2.14 EXCEPT db1.example.com",
    "10.0.2.14, .example.com",
    ".example.org, 10.0.2.14",
    "LOCAL EXCEPT localhost",
    "KNOWN EXCEPT 10.",
    "10.9.9.9",
    "192.168.7.9 [::1]",
    "/list",
    "ALL EXCEPT /list",
];
const OPTIONS: [&str; 10] =
    ["", "", "", "", "", "allow", "deny", "severity info", "spawn /bin/true %a", "nice 5"];
const DAEMONS: [&str; 6] = ["mysqld", "ALL", "ALL EXCEPT sshd", "sshd", "mysqld sshd", "ALL EXCEPT mysqld"];

/// A table of up to three rules; where a pattern names a file, it is `list`.
pub(crate) fn table(rng: &mut Rng, list: &str) -> String {
    let mut text = String::new();
    for _ in 0..rng.below(4) {
        let option = rng.pick(&OPTIONS);
        let colon = if option.is_empty() { "" } else { " : " };
        let pattern = rng.pick(&PATTERNS).replace("/list", list);
        text += &format!("{}: {pattern}{colon}{option}\n", rng.pick(&DAEMONS));
    }
    text
}
