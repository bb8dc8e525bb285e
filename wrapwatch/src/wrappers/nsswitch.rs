//! The `hosts` and `netgroup` lines of nsswitch.conf (nsswitch.conf(5)): who is asked, and when the asking stops.

use super::options::lossy;

/// How a service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It found something.
    Success,
    /// It is working and has no such entry.
    NotFound,
    /// It is not available.
    Unavail,
    /// Busy for the moment.
    TryAgain,
}

/// One service of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `files`, `dns`, `resolve`, …
    pub name: String,
    /// After which of its answers nobody else is asked.
    pub returns: [bool; 4],
}

impl Service {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), returns: [true, false, false, false] }
    }

    /// Whether the asking stops with this answer.
    pub const fn stops_at(&self, status: Status) -> bool {
        self.returns[status as usize]
    }
}

/// The services asked for host names, in order. glibc's default where the file or the line is missing: files, then dns. None where
/// the line is there and wrong: then no name is ever found.
pub fn hosts(text: &[u8]) -> Vec<Service> {
    line_of(text, b"hosts").unwrap_or_else(|| vec![Service::new("files"), Service::new("dns")])
}

/// The services asked for netgroups, in order. glibc's default where the file or the line is missing: files.
pub fn netgroup(text: &[u8]) -> Vec<Service> {
    line_of(text, b"netgroup").unwrap_or_else(|| vec![Service::new("files")])
}

/// A database's line; none where there is no such line.
fn line_of(text: &[u8], database: &[u8]) -> Option<Vec<Service>> {
    let mut services = None;
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.split(|&byte| byte == b'#' || byte == 0).next().unwrap_or_default().trim_ascii();
        let Some(rest) = line.strip_prefix(database) else { continue };
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b":") else { continue };
        // The last line wins.
        services = Some(services_of(&lossy(rest)).unwrap_or_default());
    }
    services
}

fn services_of(text: &str) -> Option<Vec<Service>> {
    let mut services: Vec<Service> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (actions, after) = inside.split_once(']')?;
            let service = services.last_mut()?;
            for action in actions.split_whitespace() {
                apply(service, action)?;
            }
            rest = after.trim_start();
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '[').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            services.push(Service::new(name));
            rest = after.trim_start();
        }
    }
    Some(services)
}

/// `STATUS=action` or `!STATUS=action`.
fn apply(service: &mut Service, action: &str) -> Option<()> {
    let (status, action) = action.split_once('=')?;
    let returns = match action.to_ascii_lowercase().as_str() {
        "return" => true,
        "continue" | "merge" => false,
        _ => return None,
    };
    let (not, status) = status.strip_prefix('!').map_or((false, status), |status| (true, status));
    let index = match status.to_ascii_lowercase().as_str() {
        "success" => Status::Success,
        "notfound" => Status::NotFound,
        "unavail" => Status::Unavail,
        "tryagain" => Status::TryAgain,
        _ => return None,
    } as usize;
    for (at, stop) in service.returns.iter_mut().enumerate() {
        if (at == index) != not {
            *stop = returns;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        hosts(text.as_bytes()).into_iter().map(|service| service.name).collect()
    }

    #[test]
    fn the_last_line_counts_and_there_is_a_default() {
        assert_eq!(names(""), ["files", "dns"]);
        assert_eq!(names("hosts: dns\n hosts : files # dns\n"), ["files"]);
        assert_eq!(names("hosts: [bogus files dns\n"), [""; 0]);
        assert_eq!(
            names("hosts: files mdns4_minimal [NOTFOUND=return] dns"),
            ["files", "mdns4_minimal", "dns"]
        );
    }

    #[test]
    fn actions_belong_to_the_service_before_them() {
        let services = hosts(b"hosts: resolve[!UNAVAIL=return] files [notfound=return success=continue] dns");
        assert!(services[0].stops_at(Status::NotFound) && !services[0].stops_at(Status::Unavail));
        assert!(services[1].stops_at(Status::NotFound) && !services[1].stops_at(Status::Success));
        assert!(services[2].stops_at(Status::Success) && !services[2].stops_at(Status::TryAgain));
    }
}
