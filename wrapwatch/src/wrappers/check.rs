//! A wrapper check under way: what libwrap knows of the request by now, and what it asks of its environment.

use super::environment::Environment;
use super::evaluation::{Command, Lookup, LookupKind, Place, Subject, Warning};
use super::options::{OptionError, lossy};
use super::request::{Host, Request, UNKNOWN, user_name};

/// What ends a check from inside a rule's options (libwrap jumps out of them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Allow,
    Deny,
    Error(OptionError),
    Twist,
    ServerExits,
}

/// Messages of one check that are kept: a file of ten thousand names of unreadable files makes as many.
const WARNINGS_MAX: usize = 1_000;

/// A check under way.
pub(super) struct Check<'a> {
    pub(super) env: &'a mut dyn Environment,
    pub(super) client: Host,
    pub(super) server: Host,
    pub(super) user: Option<Vec<u8>>,
    pub(super) daemon: Vec<u8>,
    pub(super) pid: u32,
    pub(super) resident: bool,
    pub(super) aclexec_failed: bool,
    pub(super) commands: Vec<Command>,
    pub(super) place: Option<Place>,
    /// `rfc931_timeout`, where this check has set it.
    pub(super) rfc931_timeout_s: Option<u32>,
    pub(super) ident_limit_s: Option<u32>,
    pub(super) lookups: Vec<Lookup>,
    pub(super) warnings: Vec<Warning>,
    pub(super) read_to: [Option<u32>; 2],
    /// Files of `/file` patterns read so far.
    pub(super) files: u32,
    /// Those that are being read, one in another.
    pub(super) open_files: Vec<String>,
}

impl<'a> Check<'a> {
    pub(super) fn new(request: &Request, env: &'a mut dyn Environment) -> Self {
        Self {
            env,
            client: Host::new(request.client.clone(), Subject::Client).named(request.given_name.as_deref()),
            server: Host::new(request.server.clone().filter(|_| request.client.is_some()), Subject::Server),
            user: None,
            daemon: user_name(request.daemon.clone()),
            pid: request.pid,
            resident: request.resident,
            aclexec_failed: request.aclexec_failed,
            commands: Vec::new(),
            place: None,
            rfc931_timeout_s: None,
            ident_limit_s: None,
            lookups: Vec::new(),
            warnings: Vec::new(),
            read_to: [None; 2],
            files: 0,
            open_files: Vec::new(),
        }
    }

    pub(super) fn warn(&mut self, message: String) {
        if self.warnings.len() >= WARNINGS_MAX {
            return;
        }
        self.warnings.push(Warning { place: self.place, message });
    }

    /// `eval_hostname` of the client.
    pub(super) fn client_name(&mut self) -> &[u8] {
        let (place, lookups) = (self.place, &mut self.lookups);
        self.client.name(self.env, &mut |lookup| lookups.push(Lookup { place, ..lookup }))
    }

    /// `eval_hostname` of the server's end.
    pub(super) fn server_name(&mut self) -> &[u8] {
        let (place, lookups) = (self.place, &mut self.lookups);
        self.server.name(self.env, &mut |lookup| lookups.push(Lookup { place, ..lookup }))
    }

    /// `eval_user`: ident, once; it needs both ends of the connection.
    pub(super) fn ask_user(&mut self) -> &[u8] {
        if self.user.is_none() {
            let both = self.client.port().zip(self.server.port());
            let user = both.and_then(|_| self.env.ident()).map(user_name).filter(|user| !user.is_empty());
            if both.is_some() {
                self.ident_limit_s = self.rfc931_timeout_s;
                let question = lossy(self.client.address());
                let (kind, subject) = (LookupKind::Ident, Subject::Client);
                self.lookups.push(Lookup {
                    kind,
                    subject,
                    question,
                    found: user.is_some(),
                    place: self.place,
                });
            }
            self.user = Some(user.unwrap_or_else(|| UNKNOWN.to_vec()));
        }
        self.user.as_deref().unwrap_or(UNKNOWN)
    }

    pub(super) fn name(&mut self, subject: Subject) -> Vec<u8> {
        match subject {
            Subject::Client => self.client_name().to_vec(),
            Subject::Server => self.server_name().to_vec(),
        }
    }

    pub(super) fn address(&self, subject: Subject) -> &[u8] {
        match subject {
            Subject::Client => self.client.address(),
            Subject::Server => self.server.address(),
        }
    }
}
