//! What lookups cost, against the real glibc: generated resolver settings with nameservers that keep silent, each in namespaces of its
//! own, all side by side. Needs root.

#![expect(clippy::expect_used, reason = "a test fails where it is surprised")]

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/rng.rs"]
mod rng;

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/glibc.rs"]
mod glibc;

use glibc::measure;
use rng::Rng;
use wrapwatch::wrappers::cost::{Nameserver, Resolver, Wanted};
use wrapwatch::wrappers::{HostsFile, ResolvConf, nsswitch};
use wrapwatch_differential::resolver::{Nameserver as Behaviour, Question, Took};

/// What wrapwatch expects: time of the reverse lookup and whether it finds a name, time of the forward lookup of that name.
fn expect(question: &Question) -> (u64, Option<String>, Option<u64>) {
    let conf = ResolvConf::parse(question.resolv_conf.as_bytes());
    let services = nsswitch::hosts(question.nsswitch.as_deref().unwrap_or_default().as_bytes());
    let hosts = HostsFile::parse(question.hosts.as_bytes());
    let own_domain = question.hostname.split_once('.').map(|(_, domain)| domain);
    let resolver = Resolver { conf: &conf, services: &services, netgroup: &[], own_domain };
    let client = question.client.parse().expect("an address");
    let states = |reverse: bool| -> Vec<Nameserver> {
        let state = |address: &std::net::IpAddr| {
            let behaviour =
                question.nameservers.iter().find(|(own, _)| own.parse() == Ok(*address)).map(|(_, b)| *b);
            match behaviour {
                Some(Behaviour::Answers | Behaviour::NoSuchName) => Nameserver::Answers,
                Some(Behaviour::PtrOnly) if reverse => Nameserver::Answers,
                Some(Behaviour::PtrOnly | Behaviour::Silent | Behaviour::LastMoment { .. }) => {
                    Nameserver::Silent
                }
                Some(Behaviour::Refuses) | None => Nameserver::Refuses,
            }
        };
        conf.nameservers.iter().map(state).collect()
    };
    let in_file = hosts.reverse(client).map(ToOwned::to_owned);
    let reverse = resolver.lookup(Wanted::Reverse, in_file.is_some(), &states(true));
    let files_first = services.first().is_none_or(|service| service.name == "files");
    let name = if !reverse.answered {
        None
    } else if files_first && in_file.is_some() {
        in_file
    } else if states(true).contains(&Nameserver::Answers) {
        Some(question.name.clone())
    } else {
        in_file
    };
    let forward = name.as_ref().map(|name| {
        let ipv6 = client.is_ipv6();
        let in_files = hosts.forward(name, ipv6).is_some();
        resolver.lookup(Wanted::Forward { name, ipv6 }, in_files, &states(false)).ns.expect("a bound")
    });
    (reverse.ns.expect("a bound"), name, forward)
}

/// Short timeouts, so that the whole takes half a minute.
fn generate(rng: &mut Rng) -> Question {
    use Behaviour::{Answers, PtrOnly, Refuses, Silent};
    let count = 1 + rng.below(4);
    let mut nameservers = Vec::new();
    let mut text = String::new();
    for index in 1..=count {
        let address =
            if index == 2 && rng.chance(20) { "::1".to_owned() } else { format!("127.0.1.{index}") };
        text += &format!("nameserver {address}\n");
        nameservers
            .push((address, *rng.pick(&[&Silent, &Silent, &Silent, &PtrOnly, &PtrOnly, &Answers, &Refuses])));
    }
    text += &format!("options timeout:{} attempts:{}", rng.below(4), 1 + rng.below(3));
    text += rng.pick(&["", "", "", " ndots:3", " ndots:2 edns0", " single-request", " trust-ad"]);
    text += rng.pick(&[
        "\n",
        "\n",
        "\nsearch a.test\n",
        "\nsearch a.test b.test\n",
        "\ndomain corp.test\n",
        "\nsearch .\n",
    ]);
    let client = rng.pick(&["10.0.2.14", "10.0.2.14", "2001:db8::7"]).to_owned();
    let name = rng.pick(&["db1.example.com", "db1", "a.b"]).to_owned();
    let hosts = rng.pick(&[
        "",
        "",
        "",
        "10.0.2.14 db1.example.com\n",
        "10.0.2.14 file.example.com\n",
        "2001:db8::7 six\n",
    ]);
    let nsswitch = rng.pick(&[
        "files dns",
        "files dns",
        "files dns",
        "dns files",
        "dns [!UNAVAIL=return] files",
        "files",
    ]);
    Question {
        resolv_conf: text,
        nsswitch: (!rng.chance(10)).then(|| format!("hosts: {nsswitch}\n")),
        hosts: hosts.to_owned(),
        nameservers,
        hostname: rng.pick(&["box", "box", "box.corp.test"]).to_owned(),
        client,
        name,
    }
}

/// Within 5 %, and what a busy machine adds to a process of its own.
fn close(expected: u64, took: Took) -> bool {
    let slack = expected / 20 + 100_000_000;
    took.elapsed_ns >= expected.saturating_sub(expected / 20) && took.with_cpu_ns <= expected + slack
}

fn longest(question: &Question) -> u64 {
    let (reverse, _, forward) = expect(question);
    reverse + forward.unwrap_or(0)
}

#[test]
fn glibc_waits_as_long_as_expected() {
    // So many that wait, and some that do not; none longer than half a minute.
    let (mut waiting, mut at_once) = (60, 20);
    let mut rng = Rng(53);
    let mut questions = Vec::new();
    while waiting + at_once > 0 {
        let question = generate(&mut rng);
        let left = if longest(&question) > 0 { &mut waiting } else { &mut at_once };
        if *left > 0 && longest(&question) <= 30_000_000_000 {
            *left -= 1;
            questions.push(question);
        }
    }
    let threads: Vec<_> = questions
        .into_iter()
        .map(|question| std::thread::spawn(move || (measure(&question), question)))
        .collect();
    let mut wrong = Vec::new();
    for thread in threads {
        let (timing, question) = thread.join().expect("the thread ends");
        let (reverse, name, forward) = expect(&question);
        match timing {
            Ok(timing)
                if close(reverse, timing.reverse)
                    && timing.name == name
                    && forward.zip(timing.forward).is_none_or(|(a, b)| close(a, b)) => {}
            other => wrong
                .push(format!("{question:#?}\nexpected {reverse} {name:?} {forward:?}\nglibc: {other:#?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
