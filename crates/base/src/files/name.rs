//! Names of unfinished files: `.STEM.PROCESS-NUMBER.tmp`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a stem. File systems allow 255 for a name; the numbers and dots around the stem take up to 37.
const LONGEST_STEM: usize = 200;

/// A name beside `path`, hidden, that no other writer of this or another process uses. It fits into a folder where
/// the name of `path` does.
pub fn temporary_name(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = temporary_stem(&name);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{stem}.{}-{number}.tmp", std::process::id()))
}

/// The part of a [`temporary_name`] that tells which file it is to become: its name, or for long ones the beginning of
/// it with a checksum of the whole.
pub fn temporary_stem(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST_STEM {
        return Cow::Borrowed(name);
    }
    let checksum = format!("~{:016x}", fnv1a(name.as_bytes()));
    let mut cut = LONGEST_STEM - checksum.len();
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    Cow::Owned(format!("{}{checksum}", &name[..cut]))
}

/// FNV-1a with 64 bits: another program, or a later version of this one, has to find the same.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_definition() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn stems_are_whole_or_short_and_distinct() {
        assert_eq!(temporary_stem("case.nii.gz"), "case.nii.gz");
        let long = |last: &str| format!("{}{last}", "\u{e4}b".repeat(82));
        let (a, b) = (long("a.nii.gz"), long("b.nii.gz"));
        assert_ne!(temporary_stem(&a), temporary_stem(&b));
        for name in [&a, &b] {
            let stem = temporary_stem(name).into_owned();
            assert!(stem.len() <= LONGEST_STEM && stem.starts_with(&name[..150]), "{stem}");
        }
    }
}
