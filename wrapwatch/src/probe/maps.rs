//! Reading and writing the kernel side's maps by system calls.

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData},
};
use wrapwatch_common::maps::{Busy, Conn, Failures, Gate, Inflight, Slot, Target, Thread, Watch};
use zerocopy::IntoBytes as _;

use super::ProbeError;

/// A map value's bytes: what aya moves without further promises.
pub(super) type Bytes<T> = <T as AsArray>::Array;

/// A map value as the array of its bytes.
pub(super) trait AsArray: Sized {
    /// That array.
    type Array: Pod;
    /// The value's bytes.
    fn array(&self) -> Self::Array;
    /// The value of these bytes.
    fn of(array: &Self::Array) -> Self;
}

macro_rules! as_array {
    ($($type:ty),*) => {$(
        impl AsArray for $type {
            type Array = [u8; size_of::<$type>()];
            fn array(&self) -> Self::Array {
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice(self.as_bytes());
                array
            }

            fn of(array: &Self::Array) -> Self {
                zerocopy::transmute!(*array)
            }
        }
    )*};
}
as_array!(Failures, Target, Watch, Thread, Conn, Inflight, Slot, Gate, Busy);

/// A table by its name.
pub(super) fn table<'a, K: Pod, V: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<HashMap<&'a mut MapData, K, V>, ProbeError> {
    let map = ebpf.map_mut(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))?;
    HashMap::try_from(map).map_err(ProbeError::map(name))
}

/// An array by its name.
pub(super) fn array<'a, T: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<Array<&'a mut MapData, T>, ProbeError> {
    let map = ebpf.map_mut(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))?;
    Array::try_from(map).map_err(ProbeError::map(name))
}

/// Enters a value into a table, in the place of one that is there.
pub(super) fn insert<K: Pod, T: AsArray>(
    ebpf: &mut Ebpf,
    name: &'static str,
    key: K,
    value: &T,
) -> Result<(), ProbeError> {
    table::<K, T::Array>(ebpf, name)?.insert(key, value.array(), 0).map_err(ProbeError::map(name))
}

/// Reads a value of an array, changes it, writes it back.
pub(super) fn change<T: AsArray>(
    ebpf: &mut Ebpf,
    name: &'static str,
    index: u32,
    change: impl FnOnce(&mut T),
) -> Result<(), ProbeError> {
    let mut array = array::<T::Array>(ebpf, name)?;
    let mut value = T::of(&array.get(&index, 0).map_err(ProbeError::map(name))?);
    change(&mut value);
    array.set(index, value.array(), 0).map_err(ProbeError::map(name))
}

/// Takes processes' entries out, which have them in the high half of their keys.
pub(super) fn drop_keys<V: Pod>(mut map: HashMap<&mut MapData, u64, V>, of: impl Fn(u32) -> bool) {
    let is_of = |key: &u64| u32::try_from(key >> 32).is_ok_and(&of);
    let keys: Vec<u64> = map.keys().filter_map(Result::ok).filter(is_of).collect();
    for key in keys {
        let _ = map.remove(&key);
    }
}
