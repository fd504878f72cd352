//! TensorBoard's event files, written without TensorFlow: frames of TFRecord, each with one `Event` message of Protocol Buffers.
//!
//! A frame is the length (u64), its masked CRC-32C, the message, and the message's masked CRC-32C, all little-endian. Of the
//! messages (tensorflow/core/util/event.proto, framework/summary.proto) these fields are written:
//! `Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }`,
//! `Summary { repeated Value value = 1; }`, `Value { string tag = 1; float simple_value = 2; Image image = 4; }` and
//! `Image { int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4; }`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nnunet_base::files::write_atomic;

use super::sample_picture::Picture;

/// What the first event of a file says.
const VERSION: &str = "brain.Event:2";

/// Channels of an RGB image, as `colorspace` counts them.
const RGB: u64 = 3;

/// A value of one step.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// A number.
    Scalar(&'a str, f64),
    /// A picture.
    Image(&'a str, &'a Picture),
}

/// An event file that grows.
#[derive(Debug)]
pub(super) struct EventFile {
    file: File,
}

impl EventFile {
    /// Opens the file at `path` with the events that an earlier run of the training left of steps before `first_step`; those of
    /// later steps, and a frame that was not finished, are gone.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path, first_step: usize) -> io::Result<Self> {
        let earlier = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut bytes = frame(&version_event());
        let of_earlier_step =
            |event: &&[u8]| step_of_summary(event).is_some_and(|step| step < first_step as u64);
        frames(&earlier).filter(of_earlier_step).for_each(|event| bytes.extend(frame(event)));
        write_atomic(path, &bytes)?;
        Ok(Self { file: OpenOptions::new().append(true).open(path)? })
    }

    /// Adds the `values` of `step`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn add(&mut self, step: usize, values: &[Value<'_>]) -> io::Result<()> {
        let mut summary = Vec::new();
        values.iter().for_each(|value| bytes_field(&mut summary, 1, &value.message()));
        let mut event = Vec::new();
        double_field(&mut event, 1, now());
        number_field(&mut event, 2, step as u64);
        bytes_field(&mut event, 5, &summary);
        self.file.write_all(&frame(&event))?;
        self.file.flush()
    }
}

impl Value<'_> {
    fn message(&self) -> Vec<u8> {
        let mut message = Vec::new();
        match self {
            Self::Scalar(tag, value) => {
                bytes_field(&mut message, 1, tag.as_bytes());
                key(&mut message, 2, 5);
                message.extend((*value as f32).to_le_bytes());
            }
            Self::Image(tag, picture) => {
                let mut image = Vec::new();
                number_field(&mut image, 1, picture.height.into());
                number_field(&mut image, 2, picture.width.into());
                number_field(&mut image, 3, RGB);
                bytes_field(&mut image, 4, &picture.png);
                bytes_field(&mut message, 1, tag.as_bytes());
                bytes_field(&mut message, 4, &image);
            }
        }
        message
    }
}

fn version_event() -> Vec<u8> {
    let mut event = Vec::new();
    double_field(&mut event, 1, now());
    bytes_field(&mut event, 3, VERSION.as_bytes());
    event
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// `message` between its length and checksums.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(message.len() + 16);
    frame.extend(length);
    frame.extend(masked_crc(&length).to_le_bytes());
    frame.extend(message);
    frame.extend(masked_crc(message).to_le_bytes());
    frame
}

/// The messages in `bytes` up to the first frame that is damaged or not complete.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != masked_crc(length) {
            return None;
        }
        let (message, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        bytes = rest;
        (u32::from_le_bytes(*crc) == masked_crc(message)).then_some(message)
    })
}

/// The step of an event that has a summary.
fn step_of_summary(mut event: &[u8]) -> Option<u64> {
    let (mut step, mut has_summary) = (0, false);
    while !event.is_empty() {
        let key = take_varint(&mut event)?;
        let size = match key & 7 {
            0 => {
                let number = take_varint(&mut event)?;
                if key >> 3 == 2 {
                    step = number;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut event)?).ok()?,
            5 => 4,
            _ => return None,
        };
        has_summary |= key >> 3 == 5;
        event = event.get(size..)?;
    }
    has_summary.then_some(step)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn number_field(out: &mut Vec<u8>, field: u64, number: u64) {
    key(out, field, 0);
    varint(out, number);
}

fn double_field(out: &mut Vec<u8>, field: u64, number: f64) {
    key(out, field, 1);
    out.extend(number.to_le_bytes());
}

fn bytes_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(out, field, 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// TFRecord's checksum: CRC-32C, rotated and shifted so that a checksum of data with checksums is not trivial.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit-reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0x82f6_3b78 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_definition() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_resumed_file_has_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents");
        let steps = |path: &Path| -> Vec<Option<u64>> {
            frames(&std::fs::read(path).unwrap()).map(step_of_summary).collect()
        };
        let mut file = EventFile::open(&path, 0).unwrap();
        for step in [0, 1, 200] {
            file.add(step, &[Value::Scalar("loss", -0.5)]).unwrap();
        }
        assert_eq!(steps(&path), [None, Some(0), Some(1), Some(200)]);
        drop(file);
        // Killed within a frame.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 3);
        std::fs::write(&path, &bytes).unwrap();
        let mut file = EventFile::open(&path, 1).unwrap();
        file.add(1, &[Value::Scalar("loss", -0.6), Value::Scalar("rate", 0.1)]).unwrap();
        assert_eq!(steps(&path), [None, Some(0), Some(1)]);
        drop(file);
        EventFile::open(&path, 0).unwrap();
        assert_eq!(steps(&path), [None], "a new training begins anew");
        std::fs::write(&path, b"something else entirely").unwrap();
        EventFile::open(&path, 7).unwrap();
        assert_eq!(steps(&path), [None]);
    }
}
