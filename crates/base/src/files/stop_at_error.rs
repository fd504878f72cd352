//! A writer for libraries that write on after an error, as `zip` does when an archive is dropped that is not finished: the second
//! error would end up on stderr.

use std::io::{self, Seek, SeekFrom, Write};

/// Hands everything on to another writer up to its first error. What comes later is accepted and dropped: the file is to be thrown
/// away, and whoever got the first error has reported it.
#[derive(Debug)]
pub struct StopAtError<W> {
    inner: W,
    position: u64,
    failed: bool,
}

impl<W> StopAtError<W> {
    /// Writes to `inner`, from its beginning.
    pub fn new(inner: W) -> Self {
        Self { inner, position: 0, failed: false }
    }

    /// `outcome` of the inner writer; an interruption by a signal is no failure, as it is tried again.
    fn noted<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        self.failed |= matches!(&outcome, Err(error) if error.kind() != io::ErrorKind::Interrupted);
        outcome
    }
}

impl<W: Write> Write for StopAtError<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = match self.failed {
            true => Ok(bytes.len()),
            // What a full destination answers if it is none of the system's.
            false => match self.inner.write(bytes) {
                Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
                outcome => outcome,
            },
        };
        let written = self.noted(outcome)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = if self.failed { Ok(()) } else { self.inner.flush() };
        self.noted(outcome)
    }
}

impl<W: Seek> Seek for StopAtError<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outcome = match (self.failed, to) {
            (false, to) => self.inner.seek(to),
            (true, SeekFrom::Start(position)) => Ok(position),
            (true, SeekFrom::Current(by) | SeekFrom::End(by)) => Ok(self.position.saturating_add_signed(by)),
        };
        self.position = self.noted(outcome)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_first_error_is_the_only_one() {
        let mut room = [0; 5];
        let mut writer = StopAtError::new(Cursor::new(&mut room[..]));
        writer.write_all(b"abc").unwrap();
        assert_eq!(writer.seek(SeekFrom::Current(-1)).unwrap(), 2);
        assert!(writer.write_all(b"cdef").is_err(), "there is room for three");
        let position = writer.stream_position().unwrap();
        writer.write_all(b"more").unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.stream_position().unwrap(), position + 4);
        assert_eq!(writer.seek(SeekFrom::Start(1)).unwrap(), 1);
        assert_eq!(&room, b"abcde");
    }
}
