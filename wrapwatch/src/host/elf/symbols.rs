//! Looking up dynamic symbols by name, as the loader does: through the hash table, a few reads each.
//!
//! A file can be made so that each of its symbols has the hash that is looked for and a name of megabytes. So names are compared at their place and
//! only as far as the wanted one is long, and all lookups in one file look at [`MOST_SYMBOLS`] symbols together.

use super::image::{Image, Source};

/// Symbols looked at; libwrap has some hundred, of which a lookup meets one or two.
const MOST_SYMBOLS: u32 = 10_000;
/// Entries of a chain that are read at once.
const CHUNK: u32 = 64;

const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// A defined dynamic symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its value: an address, counted from where the image is loaded.
    pub address: u64,
    /// Where that is in the file; None for what is not in it (`.bss`).
    pub offset: Option<u64>,
}

/// Those of `names` that the image defines.
pub fn defined<S: Source + ?Sized>(image: &Image<'_, S>, names: &[&str]) -> Result<Vec<Symbol>, String> {
    let Some(mut lookup) = Lookup::of(image) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in names {
        if let Some(address) = lookup.find(name)? {
            found.push(Symbol { name: (*name).to_owned(), address, offset: image.offset_of(address) });
        }
    }
    Ok(found)
}

struct Lookup<'a, 'b, S: Source + ?Sized> {
    image: &'a Image<'b, S>,
    symbols: u64,
    strings: u64,
    strings_len: u64,
    left: u32,
}

impl<'a, 'b, S: Source + ?Sized> Lookup<'a, 'b, S> {
    fn of(image: &'a Image<'b, S>) -> Option<Self> {
        let one = |tag| image.dynamic(tag).next();
        Some(Self {
            image,
            symbols: one(DT_SYMTAB)?,
            strings: one(DT_STRTAB)?,
            strings_len: one(DT_STRSZ)?,
            left: MOST_SYMBOLS,
        })
    }

    fn find(&mut self, name: &str) -> Result<Option<u64>, String> {
        if let Some(table) = self.image.dynamic(DT_GNU_HASH).next() {
            self.find_gnu(table, name)
        } else if let Some(table) = self.image.dynamic(DT_HASH).next() {
            self.find_sysv(table, name)
        } else {
            Ok(None)
        }
    }

    /// The chain of a bucket lies in order; the last entry has its lowest bit set (glibc's `elf/dl-lookup.c`).
    fn find_gnu(&mut self, table: u64, name: &str) -> Result<Option<u64>, String> {
        let mut header = [0; 16];
        self.image.at_address(&mut header, table)?;
        let field = |at| self.image.number(&header, at, 4);
        let (buckets, first, words) = (field(0), field(4), field(8));
        let hash = gnu_hash(name.as_bytes());
        let Some(bucket) = u64::from(hash).checked_rem(buckets) else { return Ok(None) };
        let word = if self.image.is_wide() { 8 } else { 4 };
        let buckets_at = table.saturating_add(16).saturating_add(words.saturating_mul(word));
        let chains_at = buckets_at.saturating_add(buckets.saturating_mul(4));
        let mut index = self.entry(buckets_at, bucket)?;
        if index < first {
            return Ok(None);
        }
        loop {
            let (hashes, len) = self.entries(chains_at, index.saturating_sub(first))?;
            for entry in hashes.iter().take(len) {
                self.look_at_one()?;
                if (entry ^ hash) >> 1 == 0
                    && let Some(address) = self.if_named(index, name)?
                {
                    return Ok(Some(address));
                }
                if entry & 1 == 1 {
                    return Ok(None);
                }
                index = index.saturating_add(1);
            }
        }
    }

    fn find_sysv(&mut self, table: u64, name: &str) -> Result<Option<u64>, String> {
        let buckets = self.entry(table, 0)?;
        let Some(bucket) = u64::from(sysv_hash(name.as_bytes())).checked_rem(buckets) else {
            return Ok(None);
        };
        let mut index = self.entry(table, bucket.saturating_add(2))?;
        while index != 0 {
            self.look_at_one()?;
            if let Some(address) = self.if_named(index, name)? {
                return Ok(Some(address));
            }
            index = self.entry(table, index.saturating_add(buckets).saturating_add(2))?;
        }
        Ok(None)
    }

    /// A chain can be a circle.
    fn look_at_one(&mut self) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or("its table of symbols is not as a library's is")?;
        Ok(())
    }

    /// A number of a table of 32-bit numbers.
    fn entry(&self, table: u64, index: u64) -> Result<u64, String> {
        let mut bytes = [0; 4];
        self.image.at_address(&mut bytes, table.saturating_add(index.saturating_mul(4)))?;
        Ok(self.image.number(&bytes, 0, 4))
    }

    /// Several of them, and how many: one at least.
    fn entries(&self, table: u64, index: u64) -> Result<([u32; CHUNK as usize], usize), String> {
        let at = table.saturating_add(index.saturating_mul(4));
        let offset = self.image.offset_of(at).ok_or("an address outside of its segments")?;
        let mut bytes = [0; CHUNK as usize * 4];
        let len = self.image.some(&mut bytes, offset)? / 4;
        if len == 0 {
            return Err("it ends too early".into());
        }
        let mut entries = [0; CHUNK as usize];
        for (entry, bytes) in entries.iter_mut().zip(bytes.chunks_exact(4)) {
            *entry = u32::try_from(self.image.number(bytes, 0, 4)).unwrap_or(0);
        }
        Ok((entries, len))
    }

    /// The value of a symbol, if this is its name and it is defined here.
    fn if_named(&self, index: u64, name: &str) -> Result<Option<u64>, String> {
        let wide = self.image.is_wide();
        let mut symbol = [0; 24];
        let size: u64 = if wide { 24 } else { 16 };
        let bytes = symbol.get_mut(..if wide { 24 } else { 16 }).unwrap_or_default();
        self.image.at_address(bytes, self.symbols.saturating_add(index.saturating_mul(size)))?;
        let at = self.image.number(&symbol, 0, 4);
        let (value, section) = if wide { (8, 6) } else { (4, 14) };
        let len = u64::try_from(name.len()).unwrap_or(u64::MAX).saturating_add(1);
        if self.image.number(&symbol, section, 2) == 0 || at.saturating_add(len) > self.strings_len {
            return Ok(None);
        }
        let mut there = vec![0; name.len().saturating_add(1)];
        self.image.at_address(&mut there, self.strings.saturating_add(at))?;
        let same = there.split_last() == Some((&0, name.as_bytes()));
        Ok(same.then(|| self.image.word(&symbol, value)))
    }
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
}

fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0_u32, |hash, byte| {
        let hash = hash.wrapping_shl(4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}
