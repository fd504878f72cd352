//! NRRD (`.nrrd`: header and voxels in one file; raw or gzip), as SimpleITK reads and writes it. NaN stays NaN.
//!
//! Spacing and direction are length and direction of the `space directions`, in f64; coordinates are LPS, those of
//! files in RAS or LAS are converted. `spacings` serve where there are no directions, `axis mins` where there is no space.
//! Names and values are told apart without regard to case. `line skip` and `byte skip` are followed as teem does: lines of the
//! file, then bytes of the decompressed stream; with a negative `byte skip` the voxels lie at its end.

use std::io::Write;
use std::path::Path;

use flate2::{Compression as Level, GzBuilder};

use super::labels::{self, WriteVolume, check_flat};
use super::stream::Compression;
use super::text_header::{Described, Fields, Skip, Start, spaced};
use super::voxels::{Encoding, StoredVoxel, write_voxels};
use crate::write_file;
use crate::{Image, ImageWarning, VoxelType};
use nnunet_volume::error::Result;
use nnunet_volume::{Geometry, Volume};

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

/// Kinds of axes along which the voxels lie, in lower case. Along others each voxel has several values.
const SPATIAL_KINDS: [&str; 5] = ["domain", "space", "time", "???", "none"];

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

/// Which of the axes in the file those of the image are. Axes of several values per voxel may be there if they have
/// one.
struct Axes {
    listed: usize,
    kept: Vec<usize>,
}

impl Axes {
    fn of(start: &Start, fields: &Fields) -> Result<Self> {
        let sizes: Vec<&str> = fields.get("sizes").unwrap_or_default().split_whitespace().collect();
        let listed = sizes.len();
        if let Some(dimension) = fields.get("dimension").filter(|v| v.parse() != Ok(listed)) {
            return Err(start.bad("dimension", dimension, format!("{listed}, the number of sizes")));
        }
        let text = fields.get("kinds").unwrap_or_default().to_ascii_lowercase();
        let kinds: Vec<&str> = text.split_whitespace().collect();
        if !kinds.is_empty() && kinds.len() != listed {
            return Err(start.bad("kinds", &text, format!("{listed} of them, one for each size")));
        }
        let mut kept = Vec::new();
        for (axis, size) in sizes.iter().enumerate() {
            match kinds.get(axis) {
                Some(kind) if !SPATIAL_KINDS.contains(kind) => {
                    if *size != "1" {
                        return Err(start.unsupported(
                            format!("an axis of kind {kind:?} (several values per voxel)"),
                            "one value per voxel",
                            "Store each component as a file of its own.",
                        ));
                    }
                }
                _ => kept.push(axis),
            }
        }
        Ok(Self { listed, kept })
    }

    fn sizes(&self, fields: &Fields) -> String {
        let sizes: Vec<&str> = fields.get("sizes").unwrap_or_default().split_whitespace().collect();
        self.kept.iter().filter_map(|&axis| sizes.get(axis).copied()).collect::<Vec<_>>().join(" ")
    }

    /// The words of the field `key` for the first `n` axes of the image, `None` if there is no such field.
    fn words<'a>(
        &self,
        start: &Start,
        fields: &'a Fields,
        key: &str,
        n: usize,
    ) -> Result<Option<Vec<&'a str>>> {
        let Some(text) = fields.get(key) else { return Ok(None) };
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() != self.listed {
            return Err(start.bad(key, text, format!("{} values, one for each size", self.listed)));
        }
        Ok(Some(self.kept.iter().take(n).map(|&axis| words[axis]).collect()))
    }

    /// The numbers of the field `key` for the first `n` axes of the image.
    fn numbers(&self, start: &Start, fields: &Fields, key: &str, n: usize) -> Result<Option<Vec<f64>>> {
        let words = self.words(start, fields, key, n)?;
        words.map(|words| start.numbers(key, &words.join(" "), n)).transpose()
    }
}

fn geometry(
    start: &Start,
    fields: &Fields,
    axes: &Axes,
    dimension: u8,
    warnings: &mut Vec<ImageWarning>,
) -> Result<Geometry> {
    let n = usize::from(dimension);
    // Signs that turn the file's axes into left, posterior, superior.
    let signs = match fields.get("space").unwrap_or_default().to_ascii_lowercase().as_str() {
        "right-anterior-superior" | "ras" => [-1.0, -1.0, 1.0],
        "left-anterior-superior" | "las" => [1.0, -1.0, 1.0],
        _ => [1.0; 3],
    };
    let vector = |name: &str, text: &str| -> Result<[f64; 3]> {
        let inside = text.trim().strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
        let numbers = start.numbers(name, &inside.replace(',', " "), n)?;
        Ok(std::array::from_fn(|i| numbers.get(i).map_or(0.0, |v| v * signs[i] + 0.0)))
    };
    let spacings = axes.numbers(start, fields, "spacings", n)?;
    let mut spacing = [1.0; 3];
    let mut direction = [1., 0., 0., 0., 1., 0., 0., 0., 1.];
    if let Some(text) = fields.get("space directions") {
        let vectors = vectors(text);
        if vectors.len() != axes.listed {
            let expected = format!("{} vectors, one for each size", axes.listed);
            return Err(start.bad("space directions", text, expected));
        }
        for (axis, &at) in axes.kept.iter().take(n).enumerate() {
            if vectors[at].eq_ignore_ascii_case("none") {
                continue;
            }
            let v = vector("space directions", vectors[at])?;
            let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length == 0.0 || !length.is_finite() {
                return Err(start.bad("space directions", text, "vectors longer than 0 mm"));
            }
            spacing[axis] = length;
            (0..n).for_each(|row| direction[3 * row + axis] = v[row] / length);
        }
        start.check_directions("space directions", text, &direction, n)?;
        if spacings.is_some() {
            let (key, instead) = ("spacings", "space directions");
            warnings.push(ImageWarning::IgnoredField { key, instead });
        }
    } else if let Some(numbers) = &spacings {
        if let Some(v) = numbers.iter().find(|v| **v <= 0.0) {
            return Err(start.bad("spacings", &v.to_string(), "lengths above 0 in mm"));
        }
        spacing[..n].copy_from_slice(numbers);
    } else {
        warnings.push(ImageWarning::NoSpacing);
    }
    let has_space = fields.first_of(&["space", "space dimension", "space directions"]).is_some();
    let origin = match fields.get("space origin") {
        Some(text) => vector("space origin", text)?,
        None if has_space => [0.0; 3],
        None => origin_of_axes(start, fields, axes, n, spacings.as_deref())?.unwrap_or([0.0; 3]),
    };
    Ok(if n == 2 {
        let matrix = [direction[0], direction[1], direction[3], direction[4]];
        Geometry::flat([spacing[0], spacing[1]], [origin[0], origin[1]], matrix)
    } else {
        Geometry { dimension: 3, spacing, origin, direction }
    })
}

/// The vectors in a list such as `none (1,0,0) (0,1,0)`.
fn vectors(text: &str) -> Vec<&str> {
    let mut vectors = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = if rest.starts_with('(') {
            rest.find(')').map_or(rest.len(), |at| at + 1)
        } else {
            rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len())
        };
        vectors.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    vectors
}

/// Position of the first voxel's centre from `axis mins`, as ITK has it for files without a space: where samples are
/// cells, which they are unless `centers` says so, the minimum is the outer border of the first one.
fn origin_of_axes(
    start: &Start,
    fields: &Fields,
    axes: &Axes,
    n: usize,
    spacings: Option<&[f64]>,
) -> Result<Option<[f64; 3]>> {
    let Some(mins) = axes.numbers(start, fields, "axis mins", n)? else { return Ok(None) };
    let maxs = axes.numbers(start, fields, "axis maxs", n)?;
    let centers = axes.words(start, fields, "centers", n)?;
    let sizes = axes.words(start, fields, "sizes", n)?.unwrap_or_default();
    let mut origin = [0.0; 3];
    for axis in 0..n {
        let cell = match (spacings, &maxs) {
            (Some(spacings), _) => spacings[axis],
            (None, Some(maxs)) => (maxs[axis] - mins[axis]) / sizes[axis].parse().unwrap_or(1.0),
            (None, None) => return Ok(None),
        };
        let is_node = centers.as_ref().is_some_and(|words| words[axis].eq_ignore_ascii_case("node"));
        origin[axis] = if is_node { mins[axis] } else { mins[axis] + cell / 2.0 };
    }
    Ok(Some(origin))
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
