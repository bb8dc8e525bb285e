//! Every way that a query on port 53 can go.

use wrapwatch::model::{LookupKind, LookupOutcome, Outcome, QueryOutcome, ThreadRole, Transport};
use wrapwatch_tests::{
    clients::{ClientsSpec, Source},
    lab::{Files, ServerConfig},
    nameserver::{Rcode, Reply, Rule, Settings, Transport as Over, Wrong},
};

use crate::stage::{Stage, forward_is, lookup, resolv, reverse_is, usual, words};
use crate::support::{MS, NS1, NS2};

const FOUND: LookupOutcome = LookupOutcome::Found;
const FAILED: LookupOutcome = LookupOutcome::Failed;

#[test]
fn a_retry_goes_to_the_same_server_on_the_same_socket() {
    let mut stage = usual();
    stage.files(resolv(&["10.1.1.53"], ""));
    stage.rules([Rule::silent().times(1)]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR timeout", "53 PTR NOERROR"]);
    let queries = &lookup(&connection, LookupKind::Reverse).queries;
    assert_eq!(queries[0].id, queries[1].id, "glibc sends the same message again");
    assert!(queries[0].rtt_ns.unwrap() >= 1_000 * MS);
}

#[test]
fn round_2_asks_both_servers_again() {
    let mut stage = usual();
    stage.rules([Rule::silent().times(3)]);
    let (client, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR timeout", "54 PTR timeout", "53 PTR timeout", "54 PTR NOERROR"]);
    forward_is(&connection, FOUND, &["53 A NOERROR"]);
    assert!(connection.parts.dns_ns >= 2_900 * MS && connection.parts.dns_ns <= client.waited_ns());
}

#[test]
fn three_servers_dead_fail_the_lookup() {
    let mut stage = usual();
    stage.files(Files::resolv(
        "nameserver 10.1.1.53\nnameserver 10.1.1.54\nnameserver 10.1.1.55\noptions timeout:1 attempts:1\n",
    ));
    stage.rules([Rule::silent()]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FAILED, &["53 PTR timeout", "54 PTR timeout", "55 PTR timeout"]);
    assert_eq!(connection.outcome, Outcome::Refused, "without a name the rule does not match");
    assert!(connection.parts.dns_ns >= 2_900 * MS);
}

#[test]
fn an_ipv6_nameserver_and_an_ipv6_client() {
    let mut stage = usual();
    stage.files(resolv(&["fd00:1:1::53"], ""));
    let clients = stage.clients(ClientsSpec { source: Source::Own6, ..ClientsSpec::default() });
    let (_, connection) = &clients[0];
    reverse_is(connection, FOUND, &["53 PTR NOERROR"]);
    forward_is(connection, FOUND, &["53 AAAA NOERROR"]);
    let query = &lookup(connection, LookupKind::Reverse).queries[0];
    assert_eq!(&*query.server, "[fd00:1:1::53]:53");
    assert!(query.qname.as_ref().unwrap().ends_with(".ip6.arpa"));
    assert_eq!(connection.outcome, Outcome::Greeted);
}

#[test]
fn answers_too_many_and_wrong_ones_are_no_answers() {
    let mut stage = usual();
    // Twice the right one: the second comes to a socket that is closed, or is never read.
    stage.rules([Rule::replies([Reply::default(), Reply::default()])]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR NOERROR"]);
    // A wrong id, another question, another source, and then the right one: one query, waited for until that came.
    let wrong = [Wrong::Id, Wrong::Question, Wrong::Source].map(Reply::wrong);
    stage.rules([Rule::replies(wrong.into_iter().chain([Reply::after(120)])).qtype("PTR")]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR NOERROR"]);
    assert!(lookup(&connection, LookupKind::Reverse).queries[0].rtt_ns.unwrap() >= 120 * MS);
    // Wrong ones only are silence.
    stage.rules([Rule::replies([Reply::wrong(Wrong::Id)]).qtype("PTR").at(NS1)]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR timeout", "54 PTR NOERROR"]);
}

#[test]
fn answers_of_two_servers_out_of_order() {
    let mut stage = usual();
    // The first server's answer comes when the second one is being waited for; glibc looks at it in round 2 only.
    stage.rules([Rule::delay(1_200).qtype("PTR").at(NS1), Rule::silent().qtype("PTR")]);
    let (_, connection) = stage.one();
    let reverse = lookup(&connection, LookupKind::Reverse);
    assert_eq!(reverse.outcome, FOUND);
    let told = words(&reverse.queries);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[1], "54 PTR timeout");
    assert_eq!(told.iter().filter(|query| query.ends_with("NOERROR")).count(), 1, "{told:?}");
}

#[test]
fn an_answer_to_a_closed_socket_changes_nothing() {
    let mut stage = usual();
    // Both sockets are closed when the second server has answered; the first one's answer comes 100 ms after.
    stage.rules([Rule::delay(1_100).qtype("PTR").at(NS1), Rule::delay(300).qtype("A")]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR timeout", "54 PTR NOERROR"]);
    forward_is(&connection, FOUND, &["53 A NOERROR"]);
    assert_eq!(connection.outcome, Outcome::Greeted);
}

#[test]
fn a_port_that_is_closed_is_unreachable_at_once() {
    let mut stage = usual();
    stage.lab.dns(Settings { closed: Some(vec![NS1, NS2]), ..Settings::default() }).unwrap();
    let (_, connection) = stage.one();
    let reverse = lookup(&connection, LookupKind::Reverse);
    assert_eq!(reverse.outcome, FAILED);
    // ICMP is limited in rate (icmp_ratelimit): what gets none is a time-out and not a guess.
    let unreachable = reverse.queries.iter().filter(|query| query.outcome == QueryOutcome::Unreachable);
    assert!(unreachable.count() >= 2, "{reverse:#?}");
    assert!(reverse.queries.iter().all(|query| query.outcome != QueryOutcome::Answered));
    assert_eq!(connection.outcome, Outcome::Refused);
}

#[test]
fn a_truncated_answer_is_asked_again_over_tcp() {
    let mut stage = usual();
    stage.rules([Rule::delay(150).over(Over::Tcp), Rule::replies([Reply::truncated()]).qtype("PTR")]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR NOERROR cut", "53 tcp PTR NOERROR"]);
    let queries = &lookup(&connection, LookupKind::Reverse).queries;
    assert_eq!(queries[0].id, queries[1].id);
    assert!(queries[1].rtt_ns.unwrap() >= 150 * MS);
    assert_eq!(queries[1].answers.len(), 1);
}

#[test]
fn use_vc_goes_over_tcp_from_the_beginning() {
    let mut stage = usual();
    stage.files(resolv(&["10.1.1.53"], "options use-vc\n"));
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 tcp PTR NOERROR"]);
    forward_is(&connection, FOUND, &["53 tcp A NOERROR"]);
    assert_eq!(lookup(&connection, LookupKind::Reverse).queries[0].transport, Transport::Tcp);
}

#[test]
fn error_codes_are_answers_and_the_next_server_is_asked() {
    let mut stage = usual();
    for (rcode, word) in
        [(Rcode::ServFail, "SERVFAIL"), (Rcode::Refused, "REFUSED"), (Rcode::NotImp, "NOTIMP")]
    {
        stage.rules([Rule::replies([Reply::rcode(rcode)]).at(NS1)]);
        let (_, connection) = stage.one();
        reverse_is(&connection, FOUND, &[&format!("53 PTR {word}"), "54 PTR NOERROR"]);
    }
    stage.rules([Rule::replies([Reply::rcode(Rcode::NXDomain)])]);
    let (_, connection) = stage.one();
    reverse_is(&connection, LookupOutcome::NotFound, &["53 PTR NXDOMAIN"]);
    assert!(connection.lookups.len() == 1 && connection.outcome == Outcome::Refused, "{connection:#?}");
}

#[test]
fn a_search_list_is_gone_through_in_one_lookup() {
    let mut stage = usual();
    stage.files(resolv(&["10.1.1.53"], "search one.example two.example\n"));
    // The PTR's name is not in the zone, and relative names are tried with each suffix.
    let ptr = Reply { answers: Some(vec!["bare.nowhere".into()]), ..Reply::default() };
    stage.rules([Rule::replies([ptr]).qtype("PTR")]);
    let (_, connection) = stage.one();
    let forward = lookup(&connection, LookupKind::Forward);
    let names: Vec<&str> = forward.queries.iter().map(|query| query.qname.as_deref().unwrap()).collect();
    assert_eq!(names, ["bare.nowhere", "bare.nowhere.one.example", "bare.nowhere.two.example"]);
    assert_eq!((forward.name.as_deref(), forward.outcome), (Some("bare.nowhere"), LookupOutcome::NotFound));
}

#[test]
fn a_and_aaaa_are_sent_by_one_sendmmsg_in_the_connection_thread() {
    let options = ServerConfig { skip_name_resolve: false, ..ServerConfig::default() };
    let mut stage = Stage::with(ServerConfig { grant_tables: true, ..options });
    // The pair's answers in the other order.
    stage.rules([Rule::delay(60).qtype("A"), Rule::delay(20).qtype("AAAA")]);
    let (_, connection) = stage.one();
    let own: Vec<_> =
        connection.lookups.iter().filter(|lookup| lookup.thread == ThreadRole::Connection).collect();
    let kinds: Vec<LookupKind> = own.iter().map(|lookup| lookup.kind).collect();
    assert_eq!(kinds, [LookupKind::Reverse, LookupKind::Forward], "{connection:#?}");
    let pair = &own[1].queries;
    assert_eq!(words(pair), ["53 A NOERROR", "53 AAAA NOERROR"], "{pair:#?}");
    assert!(pair[1].at_ns - pair[0].at_ns < 10 * MS, "sent together");
    assert!(pair[0].rtt_ns.unwrap() >= 60 * MS && pair[1].rtt_ns.unwrap() < pair[0].rtt_ns.unwrap());
    assert!(connection.resolve_ns >= 60 * MS);
    // The check's own are told apart by their thread.
    assert!(connection.lookups.iter().any(|lookup| lookup.thread == ThreadRole::Accept));
    assert_eq!((connection.outcome, connection.error_code), (Outcome::ServerError, Some(1130)));
    stage.end();
}

#[test]
fn a_resolver_stand_in_that_never_connects_its_socket() {
    let server = ServerConfig::default().env("WRAP_RESOLVER", "10.1.1.53,10.1.1.54");
    let mut stage = Stage::with(server);
    stage.rules([Rule::silent().at(NS1).qtype("PTR")]);
    let (_, connection) = stage.one();
    reverse_is(&connection, FOUND, &["53 PTR timeout", "54 PTR NOERROR"]);
    assert!(lookup(&connection, LookupKind::Reverse).queries[0].rtt_ns.unwrap() >= 1_000 * MS);
    forward_is(&connection, FOUND, &["53 A NOERROR"]);
    assert_eq!(connection.outcome, Outcome::Greeted);
    stage.end();
}
