//! Symbols of shared objects.

use std::path::Path;

use object::{Object as _, ObjectSymbol as _};

use super::HostError;

/// Larger files than this are not libraries we know how to look into.
const MAX_BYTES: u64 = 256 << 20;

/// A shared object's dynamic symbols of interest: (name, value, size), undefined ones left out.
pub fn defined(path: &Path, names: &[&str]) -> Result<Vec<(String, u64)>, HostError> {
    let what = || path.display().to_string();
    let meta = std::fs::metadata(path).map_err(|e| HostError::io(what(), e))?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(HostError::Unusable { what: what(), why: "not a library".into() });
    }
    let bytes = std::fs::read(path).map_err(|e| HostError::io(what(), e))?;
    let file =
        object::File::parse(&*bytes).map_err(|e| HostError::Unusable { what: what(), why: e.to_string() })?;
    Ok(file
        .dynamic_symbols()
        .filter(|symbol| !symbol.is_undefined())
        .filter_map(|symbol| {
            let name = symbol.name().ok()?;
            names.contains(&name).then(|| (name.to_owned(), symbol.address()))
        })
        .collect())
}

/// Where the first loadable segment of an object wants to be: what its symbols' values count from.
pub fn is_executable_at_fixed_address(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    object::File::parse(&*bytes).is_ok_and(|file| file.kind() == object::ObjectKind::Executable)
}
