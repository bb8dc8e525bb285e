//! errno by name.

use std::{collections::HashMap, sync::LazyLock};

use crate::model::errno_name;

/// Most that the kernel returns as an error (`MAX_ERRNO`, include/linux/err.h).
const MAX_ERRNO: i32 = 4_095;

static NUMBERS: LazyLock<HashMap<String, i32>> =
    LazyLock::new(|| (1..MAX_ERRNO).map(|number| (errno_name(number), number)).collect());

/// errno by name (Linux, the generic numbers); of a name that nobody knows the last there can be, which has no meaning.
pub(super) fn number(name: &str) -> i32 {
    match name {
        // Aliases on the architectures that are traced.
        "EWOULDBLOCK" => libc::EAGAIN,
        "EDEADLOCK" => libc::EDEADLK,
        "ENOTSUP" => libc::EOPNOTSUPP,
        _ => NUMBERS.get(name).copied().unwrap_or(MAX_ERRNO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_knows_is_taken_for_no_other() {
        assert_eq!((number("EMFILE"), number("EWOULDBLOCK")), (libc::EMFILE, libc::EAGAIN));
        assert_eq!(errno_name(number("EWHATEVER")), "errno 4095");
    }
}
