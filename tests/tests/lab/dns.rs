//! The programmable nameserver, asked by the real resolver.

use anyhow::Result;
use wrapwatch_tests::clients::{ClientsSpec, Outcome};
use wrapwatch_tests::lab::{Command, ExecResult, Files, Lab, LabConfig, Link, Namespace};
use wrapwatch_tests::nameserver::{Rcode, Reply, Rule, Settings, Transport, Wrong, zone};
use wrapwatch_tests::tshark;

const MS: u64 = 1_000_000;

/// A lab whose server asks two nameservers, a second each.
fn lab() -> Result<Lab> {
    let files = Files::resolv("nameserver 10.1.1.53\nnameserver 10.1.1.54\noptions timeout:1\n");
    Lab::start(LabConfig { files, ..LabConfig::default() })
}

/// What one client causes: its outcome, its wait in ms, and the queries.
fn one(lab: &Lab) -> Result<(Outcome, u64, Vec<String>)> {
    lab.take_dns_log()?;
    let client = lab.client()?;
    let asked = lab.take_dns_log()?;
    let asked = asked.iter().map(|entry| {
        let server = entry.server.to_string();
        let last = server.rsplit('.').next().unwrap_or_default();
        let transport = if entry.transport == Transport::Tcp { " tcp" } else { "" };
        format!("{} {last}{transport} {}", entry.qtype, entry.replies)
    });
    Ok((client.outcome, client.waited_ns() / MS, asked.collect()))
}

#[test]
fn error_codes_reach_the_resolver() -> Result<()> {
    let lab = lab()?;
    lab.rules([Rule::replies([Reply::rcode(Rcode::NXDomain)])])?;
    let (outcome, waited, asked) = one(&lab)?;
    assert_eq!((outcome, waited < 900), (Outcome::Closed, true), "{waited} ms");
    assert_eq!(asked, ["PTR 53 1"], "without a name there is nothing to check");
    for rcode in [Rcode::ServFail, Rcode::Refused, Rcode::NotImp] {
        lab.rules([Rule::replies([Reply::rcode(rcode)]).at([10, 1, 1, 53])])?;
        let (outcome, waited, asked) = one(&lab)?;
        assert_eq!(
            (outcome, waited < 900),
            (Outcome::Greeting, true),
            "{rcode:?} moves on to the next at once"
        );
        assert_eq!(asked, ["PTR 53 1", "PTR 54 1", "A 53 1", "A 54 1"], "{rcode:?}");
    }
    Ok(())
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() -> Result<()> {
    let lab = lab()?;
    lab.rules([Rule::replies([Reply::truncated()]).qtype("PTR")])?;
    let (outcome, _, asked) = one(&lab)?;
    assert_eq!(outcome, Outcome::Greeting);
    assert_eq!(asked, ["PTR 53 1", "PTR 53 tcp 1", "A 53 1"]);
    Ok(())
}

#[test]
fn delays_hold_over_tcp_too() -> Result<()> {
    let lab = lab()?;
    lab.rules([Rule::delay(200).over(Transport::Tcp), Rule::replies([Reply::truncated()]).qtype("PTR")])?;
    let (outcome, waited, _) = one(&lab)?;
    assert_eq!((outcome, (200..900).contains(&waited)), (Outcome::Greeting, true), "{waited} ms");
    Ok(())
}

#[test]
fn wrong_answers_are_waited_through() -> Result<()> {
    let lab = lab()?;
    for wrong in [Wrong::Id, Wrong::Question, Wrong::Source] {
        lab.rules([Rule::replies([Reply::wrong(wrong)]).qtype("PTR").at([10, 1, 1, 53])])?;
        let (outcome, waited, asked) = one(&lab)?;
        assert_eq!(outcome, Outcome::Greeting, "{wrong:?}");
        assert_eq!(asked, ["PTR 53 1", "PTR 54 1", "A 53 1"], "{wrong:?}");
        assert!((1_000..1_900).contains(&waited), "{wrong:?}: {waited} ms");
    }
    lab.rules([Rule::replies([Reply::wrong(Wrong::Id), Reply::after(100)]).qtype("PTR")])?;
    let (outcome, waited, asked) = one(&lab)?;
    assert_eq!((outcome, (100..900).contains(&waited)), (Outcome::Greeting, true), "{waited} ms");
    assert_eq!(asked, ["PTR 53 2", "A 53 1"]);
    Ok(())
}

#[test]
fn other_names_and_addresses_fail_the_address_check() -> Result<()> {
    let lab = lab()?;
    let wrong = Reply { answers: Some(vec!["10.9.9.9".into()]), ..Reply::default() };
    lab.rules([Rule::replies([wrong]).qtype("A")])?;
    assert_eq!(lab.client()?.outcome, Outcome::Closed);
    let said = lab.take_syslog()?;
    assert!(said.iter().any(|line| line.contains("mismatch")), "{said:?}");
    lab.dns(Settings {
        rules: Some(Vec::new()),
        zone: Some(vec![zone::ZoneEntry::new("3.0.2.10.in-addr.arpa", "PTR", ["outside.example.net"])]),
        ..Settings::default()
    })?;
    assert_eq!(lab.client()?.outcome, Outcome::Greeting, "10.2.0.2 is as usual");
    assert_eq!(lab.client()?.outcome, Outcome::Closed, "10.2.0.3 has a name that is not allowed");
    Ok(())
}

#[test]
fn a_closed_nameserver_is_refused_at_once_until_it_opens_again() -> Result<()> {
    let lab = lab()?;
    lab.dns(Settings { closed: Some(vec![[10, 1, 1, 53].into()]), ..Settings::default() })?;
    let (outcome, waited, asked) = one(&lab)?;
    assert_eq!((outcome, waited < 900), (Outcome::Greeting, true), "{waited} ms");
    assert_eq!(asked, ["PTR 54 1", "A 54 1"]);
    lab.dns(Settings { closed: Some(Vec::new()), ..Settings::default() })?;
    assert_eq!(one(&lab)?.2, ["PTR 53 1", "A 53 1"]);
    Ok(())
}

#[test]
fn a_rule_can_be_for_a_few_queries_only_and_answers_can_be_late_or_twice() -> Result<()> {
    let lab = lab()?;
    lab.rules([Rule::silent().times(1)])?;
    let (outcome, waited, asked) = one(&lab)?;
    assert_eq!((outcome, (1_000..1_900).contains(&waited)), (Outcome::Greeting, true), "{waited} ms");
    assert_eq!(asked, ["PTR 53 0", "PTR 54 1", "A 53 1"]);
    lab.rules([Rule::replies([Reply::default(), Reply::default()])])?;
    assert_eq!(one(&lab)?.2, ["PTR 53 2", "A 53 2"]);
    // Later than its time-out: the resolver looks at one socket at a time, and finds it when it asks the first server again.
    lab.rules([Rule::delay(1_200).qtype("PTR").at([10, 1, 1, 53]), Rule::silent().qtype("PTR")])?;
    let (outcome, waited, asked) = one(&lab)?;
    assert_eq!((outcome, (2_000..2_900).contains(&waited)), (Outcome::Greeting, true), "{waited} ms");
    assert_eq!(asked, ["PTR 53 1", "PTR 54 0", "PTR 53 0", "A 53 1"]);
    Ok(())
}

#[test]
fn a_nameserver_can_be_on_the_servers_own_loopback() -> Result<()> {
    let address = [127, 0, 0, 53].into();
    let files = Files::resolv("nameserver 127.0.0.53\n");
    let lab = Lab::start(LabConfig { nameservers: vec![address], files, ..LabConfig::default() })?;
    assert_eq!(lab.client()?.outcome, Outcome::Greeting);
    let asked: Vec<_> = lab.take_dns_log()?.into_iter().map(|entry| (entry.server, entry.qtype)).collect();
    assert_eq!(asked, [(address, "PTR".to_owned()), (address, "A".to_owned())]);
    Ok(())
}

#[test]
fn a_capture_has_every_message_also_of_a_slow_tcpdump() -> Result<()> {
    let lab = lab()?;
    lab.start_capture(Link::Dns)?;
    let signal = |name: &str| format!("kill -{name} $(grep -lx tcpdump /proc/[0-9]*/comm | cut -d/ -f3)");
    let shell = |script: String| ["sh".to_owned(), "-c".to_owned(), script];
    let stopped = lab.exec(Namespace::Clients, shell(signal("STOP")))?;
    assert_eq!(stopped.status, Some(0), "{stopped:?}");
    lab.clients(ClientsSpec { concurrency: 20, ..ClientsSpec::one_by_one(300) })?;
    // It goes on only while the capture is being ended.
    let later = Command::Exec {
        ns: Namespace::Clients,
        argv: shell(format!("sleep 0.5; {}", signal("CONT"))).to_vec(),
        timeout_ms: 10_000,
    };
    let later = lab.begin::<ExecResult>(later)?;
    let path = lab.stop_capture(Link::Dns)?.path;
    assert_eq!(later.wait()?.status, Some(0));

    let fields = ["dns.id", "dns.flags.response", "dns.qry.name"];
    let mut captured: Vec<_> =
        tshark(&path, "frame", &fields)?.iter().map(|packet| packet.join(" ")).collect();
    let mut logged = Vec::new();
    for entry in lab.take_dns_log()? {
        for response in [0, 1] {
            logged.push(format!("{:#06x} {response} {}", entry.id, entry.qname));
        }
    }
    captured.sort_unstable();
    logged.sort_unstable();
    assert_eq!(captured.len(), 4 * 300);
    assert_eq!(captured, logged, "and no packet besides");
    Ok(())
}
