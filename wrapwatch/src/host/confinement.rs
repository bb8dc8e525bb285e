//! What AppArmor keeps a process to: the name of its profile and the mode, as the kernel says it (apparmor(7), proc_pid_attr(5)). What the profile
//! allows the kernel tells nobody.

use crate::model::doctor::Confinement;

/// Of process `pid`; none where it is not confined, or where that cannot be told.
pub fn of(pid: u32) -> Option<Confinement> {
    // The first is AppArmor's alone (Linux 5.8); the other belongs to the module that came first.
    let paths = [format!("/proc/{pid}/attr/apparmor/current"), format!("/proc/{pid}/attr/current")];
    paths.iter().find_map(|path| parse(&std::fs::read_to_string(path).ok()?))
}

/// `PROFILE (MODE)`; a context of SELinux has no mode, nor has `unconfined`.
fn parse(text: &str) -> Option<Confinement> {
    let text = text.trim_end_matches(['\n', '\0']);
    let (profile, mode) = text.strip_suffix(')')?.rsplit_once(" (")?;
    let confined = !profile.is_empty() && mode != "unconfined";
    confined.then(|| Confinement { profile: profile.to_owned(), mode: mode.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_and_mode_are_told_apart_and_others_are_none() {
        let of = |text| parse(text).map(|found| (found.profile, found.mode));
        let some = |profile: &str, mode: &str| Some((profile.to_owned(), mode.to_owned()));
        assert_eq!(of("/usr/sbin/mysqld (enforce)\n"), some("/usr/sbin/mysqld", "enforce"));
        assert_eq!(of("my (odd) name (complain)\0"), some("my (odd) name", "complain"));
        for none in ["unconfined\n", "", "x (unconfined)", "system_u:system_r:mysqld_t:s0\0", " (enforce)"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
