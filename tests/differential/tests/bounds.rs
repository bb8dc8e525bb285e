//! The longest that a check's lookups can take, against the real glibc: for fifty resolver configurations the last nameserver answers the last query of
//! each name at the last moment, so that the lookup goes on. What is measured is never longer than the bound, and the bound no more than a fifth
//! longer than that. Each in namespaces of its own, all side by side. Needs root.

#![expect(clippy::expect_used, reason = "a test fails where it is surprised")]

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/rng.rs"]
mod rng;

#[expect(dead_code, reason = "shared with the other tests")]
#[path = "common/glibc.rs"]
mod glibc;

use glibc::measure;
use rng::Rng;
use wrapwatch::wrappers::cost::{Resolver, SECOND_NS, Wanted};
use wrapwatch::wrappers::{ResolvConf, nsswitch};
use wrapwatch_differential::resolver::{Nameserver, Question};

/// How long before the end of its time the answer comes: what a busy machine may take to bring it.
const EARLY_MS: u64 = 120;
/// What a busy machine adds to a process of its own.
const SLACK_NS: u64 = 100_000_000;
/// Longer checks are left out, for the sake of whoever waits for this test.
const LONGEST_NS: u64 = 16 * SECOND_NS;
/// A run in which the answer came too late measures less than the worst: so often it is tried.
const TRIES: usize = 4;

/// The bound of both lookups.
fn bound(question: &Question) -> u64 {
    let conf = ResolvConf::parse(question.resolv_conf.as_bytes());
    let services = nsswitch::hosts(question.nsswitch.as_deref().unwrap_or_default().as_bytes());
    let own_domain = question.hostname.split_once('.').map(|(_, domain)| domain);
    let resolver = Resolver { conf: &conf, services: &services, netgroup: &[], own_domain };
    let ipv6 = question.client.contains(':');
    let forward = resolver.bound(Wanted::Forward { name: &question.name, ipv6 }, false);
    let reverse = resolver.bound(Wanted::Reverse, false);
    reverse.0.expect("a bound") + forward.0.expect("a bound")
}

fn generate(rng: &mut Rng) -> Question {
    let count = 1 + rng.below(3);
    let mut text: String = (1..=count).map(|index| format!("nameserver 127.0.1.{index}\n")).collect();
    text += &format!(
        "options timeout:{} attempts:{}",
        rng.pick(&["0", "1", "1", " 1", "2", "2s"]),
        1 + rng.below(2)
    );
    text += rng.pick(&["", "", " ndots:2", " ndots:3 edns0", " trust-ad"]);
    text += rng.pick(&[
        "\n",
        "\n",
        "\nsearch a.test\n",
        "\nsearch a.test b.test\n",
        "\nsearch a.test b.test c.test\n",
        "\ndomain d.test e.test\n",
        "\nsearch .\n",
    ]);
    let conf = ResolvConf::parse(text.as_bytes());
    let waits = conf.waits_ns();
    let last = Nameserver::LastMoment {
        query: u32::try_from(conf.attempts).expect("attempts"),
        after_ms: waits.last().expect("a nameserver") / 1_000_000 - EARLY_MS,
    };
    let mut nameservers: Vec<(String, Nameserver)> =
        (1..count).map(|index| (format!("127.0.1.{index}"), Nameserver::Silent)).collect();
    nameservers.push((format!("127.0.1.{count}"), last));
    Question {
        resolv_conf: text,
        nsswitch: (!rng.chance(20))
            .then(|| format!("hosts: {}\n", rng.pick(&["files dns", "dns files", "files dns myhostname"]))),
        hosts: String::new(),
        nameservers,
        hostname: rng.pick(&["box", "box", "box.corp.test"]).to_owned(),
        client: rng.pick(&["10.0.2.14", "10.0.2.14", "2001:db8::7"]).to_owned(),
        name: rng.pick(&["db1.example.com", "db1", "a.b"]).to_owned(),
    }
}

/// The worst of a few runs; ends with the first that is near enough to the bound.
fn worst(question: &Question) -> Result<u64, String> {
    let bound = bound(question);
    let mut worst = 0;
    for _ in 0..TRIES {
        let timing = measure(question)?;
        worst = worst.max(timing.reverse.with_cpu_ns + timing.forward.unwrap_or_default().with_cpu_ns);
        if bound * 10 <= worst * 12 {
            break;
        }
    }
    Ok(worst)
}

#[test]
fn a_check_takes_as_long_as_its_bound_and_no_longer() {
    let mut rng = Rng(119);
    let mut questions: Vec<Question> = Vec::new();
    while questions.len() < 50 {
        let question = generate(&mut rng);
        let known = questions.contains(&question);
        if !known && bound(&question) <= LONGEST_NS {
            questions.push(question);
        }
    }
    let threads: Vec<_> = questions
        .into_iter()
        .map(|question| std::thread::spawn(move || (worst(&question), question)))
        .collect();
    let mut wrong = Vec::new();
    for thread in threads {
        let (measured, question) = thread.join().expect("the thread ends");
        let bound = bound(&question);
        match measured {
            Ok(measured) if measured <= bound + SLACK_NS && bound * 10 <= measured * 12 => {}
            other => wrong.push(format!("{question:#?}\nbound {bound}, glibc: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// With `rotate` each query begins with another nameserver, whichever comes first: all of them wait their time, so that the bound is the same.
#[test]
fn rotate_costs_as_much_whoever_comes_first() {
    let mut questions = Vec::new();
    for (count, options) in [
        (2, "timeout:1 attempts:1"),
        (3, "timeout:1 attempts:1"),
        (2, "timeout:2 attempts:2"),
        (3, "timeout:2 attempts:1"),
    ] {
        // Silent to every question, and to that for the name's address alone.
        for behaviour in [Nameserver::Silent, Nameserver::PtrOnly] {
            let lines: String = (1..=count).map(|index| format!("nameserver 127.0.1.{index}\n")).collect();
            questions.push(Question {
                resolv_conf: format!("{lines}options rotate {options}\n"),
                nsswitch: None,
                hosts: String::new(),
                nameservers: (1..=count).map(|index| (format!("127.0.1.{index}"), behaviour)).collect(),
                hostname: "box".to_owned(),
                client: "10.0.2.14".to_owned(),
                name: "db1.example.com".to_owned(),
            });
        }
    }
    let threads: Vec<_> = questions
        .into_iter()
        .map(|question| std::thread::spawn(move || (measure(&question), question)))
        .collect();
    for thread in threads {
        let (measured, question) = thread.join().expect("the thread ends");
        let timing = measured.expect("glibc answers");
        let conf = ResolvConf::parse(question.resolv_conf.as_bytes());
        assert!(conf.rotate, "{question:?}");
        let services = nsswitch::hosts(b"");
        let resolver = Resolver { conf: &conf, services: &services, netgroup: &[], own_domain: None };
        let silent = timing.forward.is_none();
        let wanted =
            if silent { Wanted::Reverse } else { Wanted::Forward { name: &question.name, ipv6: false } };
        let bound = resolver.bound(wanted, false).0.expect("a bound");
        // Measured once: where the kernel takes a sleep for a lack of CPU, the time without that is too short.
        let took = timing.forward.unwrap_or(timing.reverse);
        assert!(
            took.with_cpu_ns <= bound + SLACK_NS && bound * 10 <= took.elapsed_ns * 12,
            "{question:#?}\nbound {bound}: {timing:#?}"
        );
    }
}
