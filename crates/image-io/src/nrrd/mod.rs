//! NRRD (`.nrrd`: header and voxels in one file; raw or gzip), as SimpleITK reads and writes it. NaN stays NaN.
//!
//! Spacing and direction are length and direction of the `space directions`, in f64; coordinates are LPS, those of
//! files in RAS or LAS are converted. `spacings` serve where there are no directions, `axis mins` where there is no space.
//! Names and values are told apart without regard to case. `line skip` and `byte skip` are followed as teem does: lines of the
//! file, then bytes of the decompressed stream; with a negative `byte skip` the voxels lie at its end.

mod axes;

use std::io::Write;
use std::path::Path;

use flate2::{Compression as Level, GzBuilder};

use super::itk::ItkFormat;
use super::labels::check_flat;
use super::stream::Compression;
use super::text_header::{Described, Fields, Skip, Start, spaced};
use super::voxels::{Encoding, StoredVoxel, write_voxels};
use axes::{Axes, geometry};

use crate::write_file;
use crate::{Image, VoxelType};
use nnunet_volume::error::Result;
use nnunet_volume::{Geometry, Volume};

/// The format.
pub(crate) const FORMAT: ItkFormat = ItkFormat {
    endings: &[".nrrd"],
    refuses_skew: false,
    read: |path| read(path),
    read_geometry: |path| read_geometry(path),
    write_u8: |path, labels, geometry| write(path, labels, geometry),
    write_u16: |path, labels, geometry| write(path, labels, geometry),
};

/// The names of the types; the first of each is written.
const TYPES: [(&[&str], VoxelType); 10] = [
    (&["signed char", "int8", "int8_t"], VoxelType::I8),
    (&["unsigned char", "uchar", "uint8", "uint8_t"], VoxelType::U8),
    (&["short", "short int", "signed short", "signed short int", "int16", "int16_t"], VoxelType::I16),
    (&["unsigned short", "ushort", "unsigned short int", "uint16", "uint16_t"], VoxelType::U16),
    (&["int", "signed int", "int32", "int32_t"], VoxelType::I32),
    (&["unsigned int", "uint", "uint32", "uint32_t"], VoxelType::U32),
    (
        &[
            "int64",
            "longlong",
            "long long",
            "long long int",
            "signed long long",
            "signed long long int",
            "int64_t",
        ],
        VoxelType::I64,
    ),
    (&["uint64", "ulonglong", "unsigned long long", "unsigned long long int", "uint64_t"], VoxelType::U64),
    (&["float"], VoxelType::F32),
    (&["double"], VoxelType::F64),
];

/// Fields of more than one name, with the name that is used here.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("axismins", "axis mins"),
    ("axismaxs", "axis maxs"),
    ("centerings", "centers"),
    ("datafile", "data file"),
    ("lineskip", "line skip"),
    ("byteskip", "byte skip"),
];

/// The fields that say something about the image, in lower case.
const KEYS: [&str; 17] = [
    "axis maxs",
    "axis mins",
    "byte skip",
    "centers",
    "data file",
    "dimension",
    "encoding",
    "endian",
    "kinds",
    "line skip",
    "sizes",
    "space",
    "space dimension",
    "space directions",
    "space origin",
    "spacings",
    "type",
];

/// Reads the image in `path`.
///
/// # Errors
/// As [`super::nifti::read`]; several values per voxel, voxels in another file, bzip2 or text encoding.
pub fn read(path: impl AsRef<Path>) -> Result<Image> {
    let mut start = Start::open(path.as_ref())?;
    let described = describe(&mut start)?;
    start.image(described)
}

/// Reads only the header of `path`: shape (z, y, x) and geometry.
///
/// # Errors
/// As [`read`], except for what only the voxels can show.
pub fn read_geometry(path: impl AsRef<Path>) -> Result<([usize; 3], Geometry)> {
    let described = describe(&mut Start::open(path.as_ref())?)?;
    Ok((described.shape, described.geometry))
}

/// The fields up to the empty line that ends the header, their names in lower case, and the first byte behind it.
fn fields(start: &mut Start) -> Result<(Fields, usize)> {
    let no_text = |start: &Start| start.not_this_format("NRRD", "no line of text at its beginning");
    let (magic, mut at) = start.line(0)?.ok_or_else(|| no_text(start))?;
    if !magic.starts_with("NRRD000") {
        return Err(start.not_this_format("NRRD", "its first line is not \"NRRD000x\""));
    }
    let mut fields = Fields::default();
    loop {
        let Some((line, next)) = start.line(at)? else {
            return Err(start.not_this_format("NRRD", "no empty line that ends the header"));
        };
        at = next;
        if line.is_empty() {
            return Ok((fields, at));
        }
        if line.starts_with('#') || is_note(&line) {
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            return Err(start.not_this_format("NRRD", "a header line without a colon"));
        };
        let key = key.trim().to_ascii_lowercase();
        let name = OTHER_NAMES.iter().find(|(other, _)| *other == key).map_or(key.as_str(), |(_, name)| name);
        fields.push(name, value.trim());
    }
}

/// Whether a line is a `key:=value` pair of some program, not a field (`key: value`) that has `:=` in its text.
fn is_note(line: &str) -> bool {
    let is_field = |key: &str| KEYS.contains(&key.trim().to_ascii_lowercase().as_str());
    line.contains(":=") && !line.split_once(": ").is_some_and(|(key, _)| is_field(key))
}

/// Where the voxels lie, from the offset behind the header on: the offset behind the lines to skip, and the bytes.
fn skips(
    start: &mut Start,
    fields: &Fields,
    header: usize,
    compression: Compression,
) -> Result<(usize, Skip)> {
    let text = fields.get("line skip").unwrap_or("0");
    let lines = text.parse::<u64>().map_err(|_| start.bad("line skip", text, "a whole number of lines"))?;
    let mut offset = header;
    for _ in 0..lines {
        let Some((_, next)) = start.line(offset)? else {
            return Err(start.bad("line skip", text, "not more lines than there are behind the header"));
        };
        offset = next;
    }
    let text = fields.get("byte skip").unwrap_or("0");
    let skip = match text.parse::<i64>() {
        Ok(bytes @ 0..) => Skip::Before(bytes.unsigned_abs()),
        Ok(-1) => Skip::AllBut(0),
        // Teem's extension for compressed voxels.
        Ok(bytes) if compression == Compression::Gzip => Skip::AllBut(bytes.unsigned_abs() - 1),
        _ => return Err(start.bad("byte skip", text, "a whole number of bytes, or -1")),
    };
    Ok((offset, skip))
}

fn describe(start: &mut Start) -> Result<Described> {
    let (fields, header) = fields(start)?;
    if let Some(file) = fields.get("data file") {
        return Err(start.unsupported(
            format!("data file {file:?}"),
            "header and voxels in one file",
            "Convert it to a plain .nrrd or .nii.gz.",
        ));
    }
    let lower = |key: &str| fields.get(key).unwrap_or_default().to_ascii_lowercase();
    let encoding = lower("encoding");
    let compression = match encoding.as_str() {
        "raw" => Compression::None,
        "gzip" | "gz" => Compression::Gzip,
        _ => return Err(start.bad("encoding", &encoding, "raw or gzip")),
    };
    let (offset, skip) = skips(start, &fields, header, compression)?;
    let start = &*start;
    let axes = Axes::of(start, &fields)?;
    let (shape, dimension) = start.shape("sizes", &axes.sizes(&fields))?;
    let type_name = lower("type");
    let voxel_type = TYPES
        .iter()
        .find(|(names, _)| names.contains(&type_name.as_str()))
        .ok_or_else(|| start.bad("type", &type_name, "a type of one integer or real number"))?
        .1;
    let big_endian = match lower("endian").as_str() {
        "big" => true,
        "little" => false,
        "" if voxel_type.bytes() == 1 => false,
        other => return Err(start.bad("endian", other, "little or big")),
    };
    let mut warnings = fields.repeated(KEYS);
    let geometry = geometry(start, &fields, &axes, dimension, &mut warnings)?;
    let encoding = Encoding { voxel_type, big_endian, scaling: None, zero_non_finite: false };
    Ok(Described { offset, skip, shape, geometry, encoding, compression, warnings })
}

/// Writes `volume` (z, y, x) with `geometry` to `path`, compressed. The same image gives the same bytes.
///
/// The format has no spacing beside the directions: as in the reference, reading may give the last bit differently.
///
/// # Errors
/// As [`super::nifti::write`].
pub fn write<T: StoredVoxel>(path: impl AsRef<Path>, volume: &Volume<T>, geometry: &Geometry) -> Result<()> {
    let path = path.as_ref();
    check_flat(path, volume.shape(), geometry.dimension)?;
    let name = TYPES.iter().find(|(_, t)| *t == T::TYPE).map_or("block", |(names, _)| names[0]);
    let n = usize::from(geometry.dimension);
    let vector = |values: Vec<f64>| format!("({})", spaced(&values).replace(' ', ","));
    let axes: Vec<String> = (0..n)
        .map(|axis| {
            vector((0..n).map(|row| geometry.direction[3 * row + axis] * geometry.spacing[axis]).collect())
        })
        .collect();
    let [z, y, x] = volume.shape();
    let (space, shape) = if n == 2 {
        ("space dimension: 2", format!("{x} {y}"))
    } else {
        ("space: left-posterior-superior", format!("{x} {y} {z}"))
    };
    let header = format!(
        "NRRD0004\ntype: {name}\ndimension: {n}\n{space}\nsizes: {shape}\nspace directions: {}\nkinds:{}\n\
         endian: little\nencoding: gzip\nspace origin: {}\n\n",
        axes.join(" "),
        " domain".repeat(n),
        vector(geometry.origin[..n].to_vec()),
    );
    write_file(path, |file| {
        file.write_all(header.as_bytes())?;
        let mut gz = GzBuilder::new().mtime(0).write(file, Level::new(4));
        write_voxels(&mut gz, volume.data())?;
        gz.finish().map(|_| ())
    })
}

/// Writes a label image: u8 if every label is below 255, else u16.
///
/// # Errors
/// As [`write()`]; a label above 65535.
pub fn write_labels<L: Copy + Into<u32>>(
    path: impl AsRef<Path>,
    labels: &Volume<L>,
    geometry: &Geometry,
) -> Result<()> {
    FORMAT.write_labels(path.as_ref(), labels, geometry)
}
