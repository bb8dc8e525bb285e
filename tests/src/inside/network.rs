//! Links, addresses and routes: clients (`10.0.0.2`) — server (`10.0.0.1`, `10.1.1.1`) — nameservers (`10.1.1.53` …), IPv6 alike.
//!
//! All of `10.2.0.0/15` and `fd00:2::/64` are clients' addresses (AnyIP: a local route for the whole block), so that a client
//! can come from any of them without each being configured.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::namespaces::{Namespaces, sysctl};
use crate::lab::{Link, Namespace};
use crate::wait_for;

/// The server's addresses, for clients.
pub(super) const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// IPv6.
pub(super) const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
/// The clients' block: first address and how many.
pub(super) const CLIENTS4: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 2, 0, 0), 1 << 17);
/// First address of the clients' IPv6 block.
pub(super) const CLIENTS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0);

/// Where a link is captured, and its interface there.
pub(super) fn end_of(link: Link) -> (Namespace, &'static str) {
    match link {
        Link::Dns => (Namespace::Dns, "to-server"),
        Link::Clients => (Namespace::Clients, "to-server"),
    }
}

/// Which namespace a nameserver's address is in.
pub(super) fn home_of(nameserver: IpAddr) -> Namespace {
    if nameserver.is_loopback() { Namespace::Server } else { Namespace::Dns }
}

/// Makes all of it; the interfaces are up when it returns.
pub(super) fn make(namespaces: &Namespaces, nameservers: &[IpAddr]) -> Result<()> {
    let all = [Namespace::Clients, Namespace::Server, Namespace::Dns];
    all.iter().try_for_each(|place| namespaces.inside(*place, || sysctls(*place)))?;
    // Both ends of a link with different indices: only then does the kernel look at once after a link that comes up (for equal ones
    // it may take a second, and until then it sends nothing).
    let (server, dns) = (namespaces.net_path(Namespace::Server), namespaces.net_path(Namespace::Dns));
    let mut clients_setup = vec![
        "link set lo up".to_owned(),
        format!(
            "link add to-server index 11 type veth peer name to-clients index 12 netns {}",
            server.display()
        ),
    ];
    clients_setup.extend(interface("to-server", &["10.0.0.2/30", "fd00::2/64", "fe80::2/64"]));
    clients_setup
        .extend(["10.2.0.0/15", "fd00:2::/64"].map(|block| format!("route add local {block} dev lo")));
    let mut server_setup = vec![
        "link set lo up".to_owned(),
        format!("link add to-dns index 13 type veth peer name to-server index 14 netns {}", dns.display()),
    ];
    server_setup.extend(interface("to-clients", &["10.0.0.1/30", "fd00::1/64", "fe80::1/64"]));
    server_setup.extend(interface("to-dns", &["10.1.1.1/24", "fd00:1:1::1/64", "fe80::1/64"]));
    server_setup.extend(
        ["10.2.0.0/15 via 10.0.0.2", "fd00:2::/64 via fd00::2"].map(|route| format!("route add {route}")),
    );
    let mut dns_setup = vec!["link set lo up".to_owned()];
    dns_setup.extend(interface("to-server", &["10.1.1.2/24", "fd00:1:1::2/64", "fe80::2/64"]));
    for address in nameservers.iter().filter(|address| home_of(**address) == Namespace::Dns) {
        let (prefix, nodad) = if address.is_ipv4() { (32, "") } else { (128, " nodad") };
        dns_setup.push(format!("addr add {address}/{prefix} dev to-server{nodad}"));
        server_setup.push(format!("route replace {address}/{prefix} dev to-dns"));
    }
    ip(namespaces, Namespace::Clients, &clients_setup)?;
    ip(namespaces, Namespace::Server, &server_setup)?;
    ip(namespaces, Namespace::Dns, &dns_setup)?;
    all.iter().try_for_each(|place| namespaces.inside(*place, wait_up))
}

/// Waits until every interface is up and running.
fn wait_up() -> Result<()> {
    let running = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let up = || Ok(getifaddrs()?.all(|interface| interface.flags.contains(running)));
    wait_for("the lab's links come up", up)
}

/// Commands that set it up. It gets its link-local address from here: the kernel would make one only when it notices that the link
/// is up, up to a second later, and without one there is no looking for neighbours.
fn interface(name: &str, addresses: &[&str]) -> Vec<String> {
    let mut commands = vec![format!("link set {name} addrgenmode none")];
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        commands.push(format!("addr add {address} dev {name}{nodad}"));
    }
    commands.push(format!("link set {name} up"));
    commands
}

fn sysctls(place: Namespace) -> Result<()> {
    for interface in ["all", "default"] {
        // An address is there at once or never: no detection of duplicates, no routers asked for.
        sysctl(&format!("net.ipv6.conf.{interface}.accept_dad"), "0")?;
        sysctl(&format!("net.ipv6.conf.{interface}.accept_ra"), "0")?;
    }
    if place == Namespace::Clients {
        // IPv4 lets bind() take any address that is routed here; IPv6 only with this.
        sysctl("net.ipv6.ip_nonlocal_bind", "1")?;
        sysctl("net.ipv4.ip_local_port_range", "10000 65535")?;
    }
    Ok(())
}

/// Runs a batch of `ip` there.
fn ip(namespaces: &Namespaces, place: Namespace, batch: &[String]) -> Result<()> {
    let mut child = namespaces
        .command(place, "ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip; run: cargo xtask setup")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all((batch.join("\n") + "\n").as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip failed in the namespace {place:?}: {}", errors.trim());
    Ok(())
}
