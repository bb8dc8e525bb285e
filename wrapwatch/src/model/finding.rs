//! What is wrong, what proves it, and what to change; and what would be had it been changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RuleRef;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Costs clients time now, or will when something else fails.
    Warning,
    /// What clients suffer from.
    Critical,
}

/// Which finding. The names are a contract: they are added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingId {
    /// The accept thread does nothing but checks.
    AcceptThreadSaturated,
    /// The accept queue was full: the kernel dropped handshakes.
    QueueOverflow,
    /// Clients left before they were greeted.
    ClientsGaveUp,
    /// The first nameserver does not answer, a later one does.
    FirstNameserverDead,
    /// A nameserver does not answer.
    NameserverSilent,
    /// A nameserver answers late.
    NameserverSlow,
    /// A nameserver refuses, fails, or is not there.
    NameserverRefusing,
    /// Checks look names up, so DNS is in the way of every client.
    DnsInAcceptPath,
    /// A rule with names is read before the address rule that decides.
    NamesBeforeAddresses,
    /// Clients without a PTR record.
    PtrMissing,
    /// A client's name does not lead back to its address.
    ForwardMismatch,
    /// A failed lookup changed what the rules decided.
    VerdictFlipped,
    /// Refused because the client was gone when its address was asked for.
    RefusedUnknown,
    /// A rule asks the client's host for the user.
    IdentRule,
    /// A rule's command holds the accept thread until it ends.
    BlockingSpawn,
    /// A rule replaces the server by a command.
    Twist,
    /// Names are tried with the search list's domains appended.
    SearchListQueries,
    /// mysqld looks clients up itself.
    ServerOwnLookups,
    /// Clients were refused by a rule.
    ClientsRefused,
    /// The server turned clients away: it had reached its limit.
    ClientsDropped,
    /// A name is slow, and its nameserver is not.
    NameSlow,
    /// The kernel sent SYN cookies: clients may hang that no trace can list.
    SynCookies,
    /// `accept` fails.
    AcceptsFailed,
    /// A table could not be opened.
    TableUnreadable,
    /// About as many sockets in TIME_WAIT as there are local ports.
    TimeWaitNearPortRange,
    /// The server checks, and there is no rule.
    WrappedButNoRules,
    /// The server does not check.
    NotWrapped,
    /// Not everything was seen.
    EventsLost,
}

impl FindingId {
    /// Its name as in JSON.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// What proves a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The numbers, each a sentence.
    pub facts: Vec<String>,
    /// Connections that show it; 0 where it is not of connections.
    pub count: u64,
    /// Some of them, those that show it most first.
    pub connections: Vec<u64>,
    /// The nameserver it is about.
    pub server: Option<String>,
    /// The rule it is about.
    pub rule: Option<RuleRef>,
    /// Clients' and other DNS names that the finding's texts hold: they are personal, and can be left out.
    #[serde(skip)]
    pub names: Vec<String>,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which.
    pub id: FindingId,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What proves it.
    pub evidence: Evidence,
    /// What to change, exactly; null where nothing of the server's can be.
    pub change: Option<String>,
}

impl Finding {
    /// Without the names: `…` stands for each.
    #[must_use]
    pub fn without_names(&self) -> Self {
        let mut names: Vec<&String> = self.evidence.names.iter().filter(|name| !name.is_empty()).collect();
        // One can begin with another.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let without = |text: &String| names.iter().fold(text.clone(), |text, name| text.replace(*name, "…"));
        Self {
            message: without(&self.message),
            change: self.change.as_ref().map(without),
            evidence: Evidence {
                facts: self.evidence.facts.iter().map(without).collect(),
                names: Vec::new(),
                ..self.evidence.clone()
            },
            ..self.clone()
        }
    }
}

/// What is supposed to have been otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing: as it was.
    AsItWas,
    /// The nameserver that does not answer is not asked.
    DeadNameserverRemoved,
    /// `options timeout:1 attempts:1` in resolv.conf.
    ShortTimeouts,
    /// A cache answers each lookup in 1 ms.
    LocalCache,
    /// The clients are in /etc/hosts.
    ClientsInHosts,
    /// The rules name addresses only.
    AddressRules,
    /// No wrapper checks.
    WrappersOff,
    /// `skip_name_resolve = ON`: the server looks no client up itself.
    SkipNameResolve,
}

/// One row of the what-if table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhatIf {
    /// Which.
    pub scenario: Scenario,
    /// Connections a second that the accept thread can check; null where its work beside the check was not seen.
    pub ceiling_per_s: Option<f64>,
    /// Share of the time that it would have been busy with the arrivals seen, 0 to 1 and beyond; null in a trace of less than a second.
    pub utilisation: Option<f64>,
    /// Median of queue and check, for the arrivals seen; null with a caveat that says why.
    pub wait_p50_ns: Option<u64>,
    /// Its 99th percentile.
    pub wait_p99_ns: Option<u64>,
    /// Its maximum.
    pub wait_max_ns: Option<u64>,
}
