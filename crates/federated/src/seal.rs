//! Seals of messages: SHA-256 against damage; with a key that server and sites share, HMAC-SHA-256 against forgery.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::FederatedError;

/// Fewest bytes of a key.
const MIN_KEY: usize = 32;

/// A secret that the server and all sites share.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Reads a file with at least 32 bytes.
    ///
    /// # Errors
    /// A file that cannot be read or is too short.
    pub fn read(path: &Path) -> Result<Self, FederatedError> {
        let bytes = std::fs::read(path).map_err(FederatedError::io(path))?;
        if bytes.len() < MIN_KEY {
            return Err(FederatedError::ShortKey {
                path: path.to_owned(),
                found: bytes.len(),
                expected: MIN_KEY,
            });
        }
        Ok(Self(bytes))
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(bytes);
        mac
    }
}

/// The seal of `bytes`.
pub(crate) fn seal(bytes: &[u8], key: Option<&Key>) -> String {
    match key {
        None => format!("sha256:{}", sha256_hex(bytes)),
        Some(key) => format!("hmac-sha256:{}", hex(&key.mac(bytes).finalize().into_bytes())),
    }
}

/// Checks the seal of `bytes`; the problem if it is not right.
pub(crate) fn check(bytes: &[u8], sealed: &str, key: Option<&Key>) -> Result<(), &'static str> {
    match (sealed.split_once(':'), key) {
        (Some(("sha256", digest)), None) if digest == sha256_hex(bytes) => Ok(()),
        (Some(("hmac-sha256", digest)), Some(key)) => {
            let expected = from_hex(digest).ok_or("the seal is damaged")?;
            key.mac(bytes)
                .verify_slice(&expected)
                .map_err(|_| "the seal does not fit: it was changed on its way, or made with another key")
        }
        (Some(("sha256", _)), None) => Err("the seal does not fit: it was changed or damaged on its way"),
        (Some(("sha256", _)), Some(_)) => Err("it is sealed without the key of the federation"),
        (Some(("hmac-sha256", _)), None) => Err("it is sealed with a key, and none was given"),
        _ => Err("the seal is of an unknown kind"),
    }
}

/// SHA-256 of `bytes` in hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file in hexadecimal digits.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_follow_the_standards() {
        // RFC 4231, test case 6: a key longer than a block.
        let key = Key(vec![0xaa; 131]);
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let expected = "hmac-sha256:60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(seal(text, Some(&key)), expected);
        check(text, expected, Some(&key)).unwrap();
        // FIPS 180-2, "abc".
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(seal(b"abc", None), expected);
        check(b"abc", expected, None).unwrap();
    }

    #[test]
    fn other_bytes_keys_and_kinds_are_refused() {
        let (key, other) = (Key(vec![1; 32]), Key(vec![2; 32]));
        let (open, closed) = (seal(b"x", None), seal(b"x", Some(&key)));
        for (bytes, sealed, key, why) in [
            (b"y", &open, None, "changed or damaged"),
            (b"y", &closed, Some(&key), "changed on its way"),
            (b"x", &closed, Some(&other), "another key"),
            (b"x", &open, Some(&key), "without the key"),
            (b"x", &closed, None, "none was given"),
            (b"x", &"crc:0".to_owned(), None, "unknown kind"),
        ] {
            assert!(check(bytes, sealed, key).unwrap_err().contains(why), "{why}");
        }
    }
}
