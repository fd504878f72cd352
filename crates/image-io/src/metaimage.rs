//! MetaImage (`.mha`: header and voxels in one file), as SimpleITK reads and writes it.
//!
//! The header is `key = value` (or `key: value`) lines up to `ElementDataFile = LOCAL`. `TransformMatrix` lists the directions of the
//! axes one after the other, so it is the transposed direction matrix; coordinates are LPS in mm. Numbers are written
//! with as many digits as they need, so a geometry survives to the bit. Compressed voxels are one zlib stream. NaN stays.

use std::io::Write;
use std::path::Path;

use flate2::write::ZlibEncoder;

use super::labels::{self, WriteVolume, check_flat};
use super::stream::Compression;
use super::text_header::{Described, Fields, Skip, Start, spaced};
use super::voxels::{Encoding, StoredVoxel, write_voxels};
use crate::write_file;
use crate::{Image, ImageWarning, VoxelType};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{Geometry, Volume};

/// The element types that are read, in MetaImage's words.
const TYPES: [(&str, VoxelType); 13] = [
    ("MET_CHAR", VoxelType::I8),
    ("MET_UCHAR", VoxelType::U8),
    ("MET_SHORT", VoxelType::I16),
    ("MET_USHORT", VoxelType::U16),
    ("MET_INT", VoxelType::I32),
    ("MET_UINT", VoxelType::U32),
    ("MET_LONG_LONG", VoxelType::I64),
    ("MET_ULONG_LONG", VoxelType::U64),
    ("MET_FLOAT", VoxelType::F32),
    ("MET_DOUBLE", VoxelType::F64),
    // As some writers call them.
    ("MET_ASCII_CHAR", VoxelType::I8),
    ("MET_LONG", VoxelType::I32),
    ("MET_ULONG", VoxelType::U32),
];

/// Reads the image in `path`.
///
/// # Errors
/// As [`super::nifti::read`]; voxels of several components, voxels in another file.
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

/// The keys that say something about the image.
const KEYS: [&str; 18] = [
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "CompressedData",
    "DimSize",
    "ElementByteOrderMSB",
    "ElementDataFile",
    "ElementNumberOfChannels",
    "ElementSize",
    "ElementSpacing",
    "ElementType",
    "HeaderSize",
    "NDims",
    "Offset",
    "Orientation",
    "Origin",
    "Position",
    "Rotation",
    "TransformMatrix",
];

/// The fields up to `ElementDataFile`, and the first byte behind them.
///
/// As ITK's parser has it, a key ends at the first `=` or `:`, lines without text are skipped, and keys are told apart by
/// case.
fn fields(start: &mut Start) -> Result<(Fields, usize)> {
    let mut fields = Fields::default();
    let mut at = 0;
    loop {
        let Some((line, next)) = start.line(at)? else {
            return Err(
                start.not_this_format("MetaImage", "no line \"ElementDataFile = LOCAL\" in its beginning")
            );
        };
        at = next;
        if line.trim().is_empty() {
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return Err(start.not_this_format("MetaImage", format!("a line {:?}", shortened(&line))));
        };
        let key = key.trim();
        fields.push(key, value.trim_start_matches(['=', ':', ' ', '\t']).trim_end());
        if key == "ElementDataFile" {
            return Ok((fields, at));
        }
    }
}

/// Where the voxels lie behind the header: `HeaderSize` is their position in the file, or -1 where they are at its end.
fn skip(start: &Start, fields: &Fields, header: usize, compression: Compression) -> Result<Skip> {
    let text = fields.get("HeaderSize").unwrap_or("0");
    if text != "0" && compression != Compression::None {
        return Err(start.unsupported(
            format!("HeaderSize {text} of compressed voxels"),
            "compressed voxels right behind the header",
            "Convert it to .nii.gz.",
        ));
    }
    let position = text.parse::<i64>().ok();
    match position.map(|position| (position, position.checked_sub_unsigned(header as u64))) {
        Some((0, _)) => Ok(Skip::Before(0)),
        Some((-1, _)) => Ok(Skip::AllBut(0)),
        Some((_, Some(behind @ 0..))) => Ok(Skip::Before(behind.unsigned_abs())),
        _ => Err(start.bad("HeaderSize", text, format!("0, -1, or a position behind the header ({header})"))),
    }
}

fn describe(start: &mut Start) -> Result<Described> {
    let (fields, offset) = fields(start)?;
    let start = &*start;
    let is_true = |keys: &[&str]| fields.first_of(keys).is_some_and(|v| v.starts_with(['T', 't', '1']));
    let data_file = fields.get("ElementDataFile").unwrap_or_default();
    if !data_file.eq_ignore_ascii_case("LOCAL") {
        return Err(start.unsupported(
            format!("a header whose voxels are in {data_file:?}"),
            "header and voxels in one file (.mha)",
            "Convert it to .mha or .nii.gz.",
        ));
    }
    if fields.get("BinaryData").is_some() && !is_true(&["BinaryData"]) {
        return Err(start.unsupported("voxels as text".into(), "binary voxels", "Convert it to .nii.gz."));
    }
    let channels = fields.get("ElementNumberOfChannels").unwrap_or("1");
    if channels != "1" {
        return Err(start.unsupported(
            format!("an image with {channels} values per voxel"),
            "one value per voxel",
            "Store each component as a file of its own.",
        ));
    }
    let compression = if is_true(&["CompressedData"]) { Compression::Zlib } else { Compression::None };
    let skip = skip(start, &fields, offset, compression)?;
    let sizes = fields.get("DimSize").unwrap_or_default();
    let (shape, dimension) = start.shape("DimSize", sizes)?;
    let written = fields.get("NDims").and_then(|v| v.parse::<usize>().ok()).unwrap_or(usize::from(dimension));
    let listed = sizes.split_whitespace().count();
    if written != listed {
        return Err(start.bad("NDims", &written.to_string(), format!("{listed}, the length of DimSize")));
    }
    let type_name = fields.get("ElementType").unwrap_or_default();
    let voxel_type = TYPES
        .iter()
        .find(|(name, _)| *name == type_name)
        .ok_or_else(|| start.bad("ElementType", type_name, "a type of one integer or real number"))?
        .1;
    let mut warnings = fields.repeated(KEYS);
    Ok(Described {
        offset,
        skip,
        shape,
        geometry: geometry(start, &fields, listed, dimension, &mut warnings)?,
        encoding: Encoding {
            voxel_type,
            big_endian: is_true(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]),
            scaling: None,
            zero_non_finite: false,
        },
        compression,
        warnings,
    })
}

fn geometry(
    start: &Start,
    fields: &Fields,
    listed: usize,
    dimension: u8,
    warnings: &mut Vec<ImageWarning>,
) -> Result<Geometry> {
    let n = usize::from(dimension);
    // Dimensions of length one behind the third are dropped from every list.
    let list = |keys: &[&str], length: usize| -> Result<Option<(String, Vec<f64>)>> {
        let found = keys.iter().find_map(|key| fields.get(key).map(|text| (*key, text)));
        let Some((key, text)) = found else { return Ok(None) };
        Ok(Some((text.to_owned(), start.numbers(key, text, length)?)))
    };
    let spacing = match list(&["ElementSpacing", "ElementSize"], listed)? {
        Some((_, spacing)) => spacing,
        None => {
            warnings.push(ImageWarning::NoSpacing);
            vec![1.0; listed]
        }
    };
    if let Some(v) = spacing[..n].iter().find(|v| **v <= 0.0) {
        return Err(start.bad("ElementSpacing", &v.to_string(), "lengths above 0 in mm"));
    }
    let origin = list(&["Origin", "Offset", "Position"], listed)?.map_or(vec![0.0; listed], |(_, v)| v);
    let mut direction = [1., 0., 0., 0., 1., 0., 0., 0., 1.];
    if let Some((text, matrix)) = list(&["TransformMatrix", "Rotation", "Orientation"], listed * listed)? {
        for (row, axis) in (0..n * n).map(|i| (i / n, i % n)) {
            direction[3 * row + axis] = matrix[axis * listed + row];
        }
        start.check_directions("TransformMatrix", &text, &direction, n)?;
    }
    let d = direction;
    Ok(if n == 2 {
        Geometry::flat([spacing[0], spacing[1]], [origin[0], origin[1]], [d[0], d[1], d[3], d[4]])
    } else {
        let first = |v: &[f64]| [v[0], v[1], v[2]];
        Geometry { dimension: 3, spacing: first(&spacing), origin: first(&origin), direction }
    })
}

fn shortened(line: &str) -> String {
    line.chars().take(40).collect()
}

/// Writes `volume` (z, y, x) with `geometry` to `path`, compressed. The same image gives the same bytes.
///
/// # Errors
/// As [`super::nifti::write`].
pub fn write<T: StoredVoxel>(path: impl AsRef<Path>, volume: &Volume<T>, geometry: &Geometry) -> Result<()> {
    let path = path.as_ref();
    check_flat(path, volume.shape(), geometry.dimension)?;
    let name = TYPES.iter().find(|(_, t)| *t == T::TYPE).map_or("MET_OTHER", |(name, _)| name);
    let mut packed = ZlibEncoder::new(Vec::new(), flate2::Compression::new(4));
    let full = |e| VolumeError::io(path, "compress it", e);
    write_voxels(&mut packed, volume.data()).map_err(full)?;
    let packed = packed.finish().map_err(full)?;
    let n = usize::from(geometry.dimension);
    let matrix: Vec<f64> = (0..n * n).map(|i| geometry.direction[3 * (i % n) + i / n]).collect();
    let [z, y, x] = volume.shape();
    let shape = if n == 2 { format!("{x} {y}") } else { format!("{x} {y} {z}") };
    let header = format!(
        "ObjectType = Image\nNDims = {n}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
         CompressedData = True\nCompressedDataSize = {}\nTransformMatrix = {}\nOffset = {}\nElementSpacing = {}\n\
         DimSize = {shape}\nElementType = {name}\nElementDataFile = LOCAL\n",
        packed.len(),
        spaced(&matrix),
        spaced(&geometry.origin[..n]),
        spaced(&geometry.spacing[..n]),
    );
    write_file(path, |file| {
        file.write_all(header.as_bytes())?;
        file.write_all(&packed)
    })
}

struct Writer<'a>(&'a Path, &'a Geometry);

impl WriteVolume for Writer<'_> {
    fn write<T: StoredVoxel>(&self, volume: &Volume<T>) -> Result<()> {
        write(self.0, volume, self.1)
    }
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
    labels::write_labels(path.as_ref(), labels, &Writer(path.as_ref(), geometry))
}
