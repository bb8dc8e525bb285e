//! A stand-in for systemd-resolved behind its unix socket: knows every client's name and address, as the lab's zone does.
//!
//! Varlink: JSON objects that end in a NUL byte; `io.systemd.Resolve.ResolveAddress` and `ResolveHostname` as systemd 252's nss-resolve calls them.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::nameserver::zone;

/// systemd's socket for nss-resolve.
const SOCKET: &str = "/run/systemd/resolve/io.systemd.Resolve";
const INET: u8 = 2;

/// It listens when this returns, as long as the lab lives, and answers each call that much later.
pub(super) fn start(after: Duration) -> Result<()> {
    let path = Path::new(SOCKET);
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {SOCKET}"))?;
    std::thread::Builder::new().name("resolved".into()).spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(&stream, after));
        }
    })?;
    Ok(())
}

fn serve(stream: &UnixStream, after: Duration) {
    let mut out = stream;
    for call in BufReader::new(stream).split(0).map_while(Result::ok) {
        let Ok(call) = serde_json::from_slice::<Value>(&call) else { return };
        std::thread::sleep(after);
        let reply = answer(&call).unwrap_or_else(
            || json!({ "error": "io.systemd.Resolve.DNSError", "parameters": { "rcode": 3 } }),
        );
        let written = serde_json::to_vec(&reply).map(|bytes| out.write_all(&[&bytes[..], &[0]].concat()));
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

fn answer(call: &Value) -> Option<Value> {
    let parameters = call.get("parameters")?;
    match call.get("method")?.as_str()?.rsplit('.').next()? {
        "ResolveAddress" => {
            let bytes: Vec<u8> = serde_json::from_value(parameters.get("address")?.clone()).ok()?;
            let address = IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?);
            let names = json!([{ "ifindex": 0, "name": zone::name_of(address) }]);
            Some(json!({ "parameters": { "names": names, "flags": 1 } }))
        }
        "ResolveHostname" => {
            let name = parameters.get("name")?.as_str()?;
            let Some(IpAddr::V4(address)) = zone::address_of(name) else { return None };
            let addresses = json!([{ "ifindex": 0, "family": INET, "address": address.octets() }]);
            Some(json!({ "parameters": { "addresses": addresses, "name": name, "flags": 1 } }))
        }
        _ => None,
    }
}
