//! Finding members of structures in the kernel's description of its types (BTF; Documentation/bpf/btf.rst).
//!
//! The description has some hundred and fifty thousand types, of which four matter. So no tree is built: one pass notes where each
//! type begins, and what is asked for is looked up there. Nothing in the bytes can make it panic or go round in circles.

use std::collections::BTreeSet;

/// Length of what comes before the types.
const HEADER: u32 = 24;
/// Length of a type's fixed part.
const TYPE: usize = 12;
/// Length of a member.
const MEMBER: usize = 12;
/// How deep structures may lie in one another, typedefs counted.
const DEPTH: u32 = 16;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FORWARD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// The types of a kernel.
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where the type of each number begins, from number 1.
    starts: Vec<u32>,
}

/// One type.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// Number of members and the like.
    count: usize,
    /// A structure's members have their width in the upper eight bits of their offset.
    packed: bool,
    /// Size, or the type meant.
    other: u32,
    /// Where what follows the fixed part begins.
    rest: usize,
}

impl<'a> Btf<'a> {
    /// Goes once over all of it.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let cut = || "it is cut short".to_owned();
        let number = |at| word(bytes, at).map(|word| word as usize).ok_or_else(cut);
        // Magic 0xeb9f in the machine's byte order, version 1.
        if bytes.get(..3) != Some(&[0xeb9f_u16.to_ne_bytes()[0], 0xeb9f_u16.to_ne_bytes()[1], 1]) {
            return Err("it is no BTF of version 1".to_owned());
        }
        let header = number(4)?;
        let section = |offset: usize, len: usize| {
            let start = header.checked_add(offset)?;
            bytes.get(start..start.checked_add(len)?)
        };
        let types = section(number(8)?, number(12)?).ok_or_else(cut)?;
        let strings = section(number(16)?, number(20)?).ok_or_else(cut)?;
        let mut btf = Self { types, strings, starts: Vec::new() };
        let mut at = 0;
        while at < types.len() {
            let Some(found) = btf.read(at) else { return Err(cut()) };
            btf.starts.push(u32::try_from(at).map_err(|_| cut())?);
            at = found.rest + rest(&found).ok_or_else(|| format!("it has a type of kind {}", found.kind))?;
        }
        Ok(btf)
    }

    /// Offset in bytes of a member of a structure. Of members of members the path, with dots; anonymous ones between are passed through.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Result<u32, String> {
        let found = self.structure(structure).ok_or_else(|| format!("no type {structure}"))?;
        let bits =
            self.find(&found, path, DEPTH).ok_or_else(|| format!("no member {path} in {structure}"))?;
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(format!("{path} in {structure} is a bit field")) }
    }

    /// A description that has these functions at their numbers, and nothing else that has a name. Those that there are not stay out; of two of one name the first counts.
    pub(super) fn only_functions(&self, wanted: &BTreeSet<String>) -> Functions {
        let mut strings = vec![0];
        let mut found = BTreeSet::new();
        let mut types: Vec<u32> = Vec::new();
        for &at in &self.starts {
            let function = self.read(at as usize).filter(|found| found.kind == KIND_FUNC);
            let name =
                function.and_then(|function| self.name(function.name)).filter(|name| wanted.contains(*name));
            match name.filter(|name| found.insert((*name).to_owned())) {
                Some(name) => {
                    let offset = u32::try_from(strings.len()).unwrap_or(0);
                    strings.extend(name.bytes().chain([0]));
                    types.extend([offset, KIND_FUNC << 24, 0]);
                }
                None => types.extend([0, KIND_FORWARD << 24, 0]),
            }
        }
        Functions { names: found, bytes: written(&types, &strings) }
    }

    fn name(&self, offset: u32) -> Option<&'a str> {
        let rest = self.strings.get(offset as usize..)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(name).ok()
    }

    fn structure(&self, name: &str) -> Option<Type> {
        self.starts
            .iter()
            .filter_map(|&at| self.read(at as usize))
            .find(|found| found.kind == KIND_STRUCT && found.count > 0 && self.is_named(found.name, name))
    }

    /// In bits.
    fn find(&self, within: &Type, path: &str, depth: u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        let (first, further) = path.split_once('.').unwrap_or((path, ""));
        if first.is_empty() {
            return None;
        }
        for n in 0..within.count {
            let at = within.rest + n * MEMBER;
            let (name, id, offset) =
                (word(self.types, at)?, word(self.types, at + 4)?, word(self.types, at + 8)?);
            let offset = if within.packed { offset & 0x00ff_ffff } else { offset };
            let anonymous = self.is_named(name, "");
            if !anonymous && !self.is_named(name, first) {
                continue;
            }
            let wanted = if anonymous { path } else { further };
            if wanted.is_empty() {
                return Some(offset);
            }
            if let Some(inner) = self.aggregate(id).and_then(|inner| self.find(&inner, wanted, depth)) {
                return offset.checked_add(inner);
            }
        }
        None
    }

    /// The structure or union that a number means, behind typedefs and qualifiers.
    fn aggregate(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH {
            let at = *self.starts.get((id as usize).checked_sub(1)?)?;
            let found = self.read(at as usize)?;
            match found.kind {
                KIND_STRUCT | KIND_UNION => return Some(found),
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => id = found.other,
                _ => return None,
            }
        }
        None
    }

    fn read(&self, at: usize) -> Option<Type> {
        let info = word(self.types, at + 4)?;
        Some(Type {
            name: word(self.types, at)?,
            kind: info >> 24 & 0x1f,
            count: (info & 0xffff) as usize,
            packed: info >> 31 == 1,
            other: word(self.types, at + 8)?,
            rest: at + TYPE,
        })
    }

    /// Whether the string at an offset is this one.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0)
    }
}

/// Functions of a kernel.
pub(super) struct Functions {
    /// Those that there are.
    pub(super) names: BTreeSet<String>,
    /// A description of them: see [`Btf::only_functions`].
    pub(super) bytes: Vec<u8>,
}

/// A description of these types and strings.
fn written(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let types_len = len(size_of_val(types));
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    for number in [HEADER, 0, types_len, types_len, len(strings.len())].iter().chain(types) {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.extend(strings);
    bytes
}

/// Length of what follows a type's fixed part; None for a kind that is not known.
fn rest(found: &Type) -> Option<usize> {
    Some(match found.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * found.count,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * found.count,
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, tags.
        2 | 7..=12 | 16 | KIND_TYPE_TAG => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description of `struct outer { int a; struct { T b; }; }`, `T` being a typedef of `struct inner { int x; int y; }`.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0inner\0x\0y\0T\0b\0first\0second\0";
        let name = |wanted: &str| {
            let all = std::str::from_utf8(strings).unwrap();
            u32::try_from(all.find(&format!("\0{wanted}\0")).unwrap() + 1).unwrap()
        };
        let structure = |members: u32| KIND_STRUCT << 24 | members;
        let types = [
            vec![name("int"), KIND_INT << 24, 4, 32],
            vec![name("inner"), structure(2), 8, name("x"), 1, 0, name("y"), 1, 32],
            vec![name("T"), KIND_TYPEDEF << 24, 2],
            vec![0, structure(1), 8, name("b"), 3, 0],
            vec![name("outer"), structure(2), 12, name("a"), 1, 0, 0, 4, 32],
            vec![name("first"), KIND_FUNC << 24, 0],
            vec![name("second"), KIND_FUNC << 24, 0],
        ]
        .concat();
        written(&types, strings)
    }

    #[test]
    fn members_are_found_through_anonymous_structures_and_typedefs() {
        let bytes = example();
        let btf = Btf::new(&bytes).unwrap();
        assert_eq!(btf.offset("outer", "a"), Ok(0));
        assert_eq!(btf.offset("outer", "b"), Ok(4));
        assert_eq!(btf.offset("outer", "b.y"), Ok(8));
        assert!(btf.offset("outer", "y").is_err());
        assert!(btf.offset("outer", "").is_err());
        assert!(btf.offset("int", "a").is_err());
    }

    #[test]
    fn functions_keep_their_numbers() {
        let bytes = example();
        let wanted = ["second", "inner", "third"].map(ToOwned::to_owned).into();
        let found = Btf::new(&bytes).unwrap().only_functions(&wanted);
        // A structure is none, whatever it is called.
        assert_eq!(found.names, BTreeSet::from(["second".to_owned()]));
        let again = Btf::new(&found.bytes).unwrap();
        let named: Vec<_> =
            again.starts.iter().map(|&at| again.name(again.read(at as usize).unwrap().name)).collect();
        assert_eq!(named, [Some(""), Some(""), Some(""), Some(""), Some(""), Some(""), Some("second")]);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let whole = example();
        for len in 0..whole.len() {
            assert!(Btf::new(&whole[..len]).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                if let Ok(btf) = Btf::new(&bytes) {
                    for path in ["a", "b", "b.x", "b.y", ".", "b."] {
                        let _ = btf.offset("outer", path);
                    }
                    let _ = btf.only_functions(&["first".to_owned()].into());
                }
            }
        }
    }

    /// This kernel's types, read by another author's reader too.
    #[test]
    fn the_kernels_own_types_are_read_as_another_reader_reads_them() {
        use btfparse::{Offset, Readable, TypeInformation, TypeVariant};

        struct Bytes(Vec<u8>);
        impl Readable for Bytes {
            fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
                let from = usize::try_from(offset).unwrap();
                buffer.copy_from_slice(&self.0[from..from + buffer.len()]);
                Ok(())
            }
        }
        let Ok(bytes) = std::fs::read(crate::host::kernel::BTF) else {
            eprintln!("no {}", crate::host::kernel::BTF);
            return;
        };
        let btf = Btf::new(&bytes).unwrap();
        let other = TypeInformation::new(&Bytes(bytes.clone())).unwrap();
        for (structure, member) in super::super::layout::members() {
            let id = other.id_of(structure).unwrap();
            let theirs = match other.offset_of(id, member) {
                Ok((_, Offset::ByteOffset(bytes))) => Some(bytes),
                _ => None,
            };
            assert_eq!(btf.offset(structure, member).ok(), theirs, "{structure}.{member}");
        }
        let functions = ["tcp_sendmsg", "udp_recvmsg", "fd_install"];
        let ours = btf.only_functions(&functions.map(ToOwned::to_owned).into());
        let ours = TypeInformation::new(&Bytes(ours.bytes)).unwrap();
        for function in functions {
            // Some kernels have a function twice: the first counts.
            let mut all = other.get().iter().filter(|(_, found)| matches!(found, TypeVariant::Func(_)));
            let first = all.find(|(id, _)| other.name_of(**id).as_deref() == Some(function));
            assert_eq!(ours.id_of(function), Some(*first.unwrap().0), "{function}");
        }
    }
}
