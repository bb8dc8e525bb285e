//! A report as text and as a page.

mod diff;
mod html;
mod text;

pub use html::Page;

use crate::model::Scenario;

/// A scenario in words.
pub(super) const fn scenario(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::AsItWas => "as it was",
        Scenario::DeadNameserverRemoved => "dead nameserver removed",
        Scenario::ShortTimeouts => "timeout:1 attempts:1",
        Scenario::LocalCache => "a cache, 1 ms a lookup",
        Scenario::ClientsInHosts => "clients in /etc/hosts",
        Scenario::AddressRules => "address-only rules",
        Scenario::WrappersOff => "wrappers off",
        Scenario::SkipNameResolve => "skip_name_resolve = ON",
    }
}

#[cfg(test)]
pub(crate) mod tests;
