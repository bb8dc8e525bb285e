//! %-expansions in option values (hosts_access(5)), for the commands they end up in and for the lookups they force.

use super::check::{Check, Stop};
use super::options::lossy;

/// Characters an expansion may hold; libwrap writes an underscore over every other one, in its own copy of the name too.
const SAFE: &[u8] = b"1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Room for an expanded value (`BUFSIZ`), the final NUL included. libwrap ends the whole server where one does not fit.
const ROOM: usize = 8192;

fn sanitise(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| !SAFE.contains(byte)) {
        *byte = b'_';
    }
}

/// libwrap's `percent_x`. `%n`, `%N` look names up, `%u` asks ident; `%c`, `%h`, `%s` use what is known already.
pub(super) fn expand(value: &[u8], check: &mut Check<'_>) -> Result<Vec<u8>, Stop> {
    expand_into(value, check, ROOM)
}

/// The same with the room a banner's line has.
pub(super) fn expand_into(value: &[u8], check: &mut Check<'_>, room: usize) -> Result<Vec<u8>, Stop> {
    let mut out: Vec<u8> = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let (piece, after) = match (byte, after.split_first()) {
            (b'%', Some((&letter, after))) => (expansion(letter, check), after),
            _ => (vec![byte], after),
        };
        if out.len() + piece.len() >= room - 1 {
            let start = out.get(..30.min(out.len())).unwrap_or_default();
            check.warn(format!("percent_x: expansion too long: {}...", lossy(start)));
            return Err(Stop::ServerExits);
        }
        out.extend(piece);
        rest = after;
    }
    Ok(out)
}

fn expansion(letter: u8, check: &mut Check<'_>) -> Vec<u8> {
    match letter {
        b'a' => cleaned(check.client.address_mut()),
        b'A' => cleaned(check.server.address_mut()),
        b'h' => cleaned(check.client.info_mut()),
        b'H' => cleaned(check.server.info_mut()),
        b'n' => {
            check.client_name();
            check.client.name_mut().map_or_else(Vec::new, |text| cleaned(text))
        }
        b'N' => {
            check.server_name();
            check.server.name_mut().map_or_else(Vec::new, |text| cleaned(text))
        }
        b'u' => {
            check.ask_user();
            check.user.as_mut().map_or_else(Vec::new, |text| cleaned(text))
        }
        b'd' => cleaned(&mut check.daemon),
        b'c' => {
            let mut text = check.client.info().to_vec();
            if let Some(user) =
                check.user.as_ref().filter(|user| !user.eq_ignore_ascii_case(super::request::UNKNOWN))
            {
                text = [user.as_slice(), b"@", &text].concat();
            }
            cleaned(&mut text)
        }
        b's' => {
            let mut text = check.daemon.clone();
            let host = check.server.info();
            if !host.eq_ignore_ascii_case(super::request::UNKNOWN) {
                text = [text.as_slice(), b"@", host].concat();
            }
            cleaned(&mut text)
        }
        b'p' => check.pid.to_string().into_bytes(),
        b'r' => check.client.port().unwrap_or(0).to_string().into_bytes(),
        b'R' => check.server.port().unwrap_or(0).to_string().into_bytes(),
        b'%' => b"%".to_vec(),
        other => {
            check.warn(format!("unrecognized %{}", lossy(&[other])));
            Vec::new()
        }
    }
}

fn cleaned(text: &mut [u8]) -> Vec<u8> {
    sanitise(text);
    text.to_vec()
}
