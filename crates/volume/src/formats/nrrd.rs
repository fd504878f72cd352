//! NRRD (`.nrrd`: header and voxels in one file; raw or gzip), as SimpleITK reads and writes it. NaN stays NaN.
//!
//! Spacing and direction are length and direction of the `space directions`, in f64; coordinates are LPS, those of
//! files in RAS or LAS are converted. `spacings` serve where there are no directions.

use std::io::Write;
use std::path::Path;

use flate2::{Compression as Level, GzBuilder};

use super::labels::{self, WriteVolume, check_flat};
use super::text_header::{Compression, Described, Start, spaced};
use super::voxels::{Encoding, StoredVoxel, write_voxels};
use crate::error::Result;
use crate::formats::write_file;
use crate::{Geometry, Image, Volume, VoxelType};

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

/// Reads the image in `path`.
///
/// # Errors
/// As [`super::nifti::read`]; several values per voxel, voxels in another file, bzip2 or text encoding.
pub fn read(path: impl AsRef<Path>) -> Result<Image> {
    let start = Start::open(path.as_ref())?;
    let described = describe(&start)?;
    start.image(described)
}

/// Reads only the header of `path`: shape (z, y, x) and geometry.
///
/// # Errors
/// As [`read`], except for what only the voxels can show.
pub fn read_geometry(path: impl AsRef<Path>) -> Result<([usize; 3], Geometry)> {
    let described = describe(&Start::open(path.as_ref())?)?;
    Ok((described.shape, described.geometry))
}

fn describe(start: &Start) -> Result<Described> {
    let not_nrrd = |found: &str| start.not_this_format("NRRD", found);
    let (magic, mut at) = start.line(0).ok_or_else(|| not_nrrd("no line of text at its beginning"))?;
    if !magic.starts_with("NRRD000") {
        return Err(not_nrrd("its first line is not \"NRRD000x\""));
    }
    let mut fields: Vec<(String, String)> = Vec::new();
    loop {
        let (line, next) = start.line(at).ok_or_else(|| not_nrrd("no empty line that ends the header"))?;
        at = next;
        if line.is_empty() {
            break;
        }
        // Comments and the key:=value pairs of other programs.
        if line.starts_with('#') || line.contains(":=") {
            continue;
        }
        let (key, value) = line.split_once(':').ok_or_else(|| not_nrrd("a header line without a colon"))?;
        fields.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let field = |keys: &[&str]| {
        let found = fields.iter().find(|(k, _)| keys.contains(&k.as_str()));
        found.map(|(_, v)| v.as_str())
    };
    for key in [["data file", "datafile"], ["line skip", "lineskip"], ["byte skip", "byteskip"]] {
        if let Some(value) = field(&key).filter(|v| *v != "0") {
            return Err(start.unsupported(
                format!("{} {value:?}", key[0]),
                "voxels right behind the header",
                "Convert it to a plain .nrrd or .nii.gz.",
            ));
        }
    }
    let encoding = field(&["encoding"]).unwrap_or_default().to_ascii_lowercase();
    let compression = match encoding.as_str() {
        "raw" => Compression::None,
        "gzip" | "gz" => Compression::Gzip,
        _ => return Err(start.bad("encoding", &encoding, "raw or gzip")),
    };
    let kinds = field(&["kinds"]).unwrap_or_default();
    let spatial = ["domain", "space", "???", "none"];
    if let Some(kind) = kinds.split_whitespace().find(|kind| !spatial.contains(kind)) {
        return Err(start.unsupported(
            format!("an axis of kind {kind:?} (several values per voxel)"),
            "one value per voxel",
            "Store each component as a file of its own.",
        ));
    }
    let sizes = field(&["sizes"]).unwrap_or_default();
    let (shape, dimension) = start.shape("sizes", sizes)?;
    let listed = sizes.split_whitespace().count();
    if field(&["dimension"]).is_some_and(|v| v.parse() != Ok(listed)) {
        return Err(start.bad("dimension", field(&["dimension"]).unwrap_or_default(), format!("{listed}")));
    }
    let type_name = field(&["type"]).unwrap_or_default();
    let voxel_type = TYPES
        .iter()
        .find(|(names, _)| names.contains(&type_name))
        .ok_or_else(|| start.bad("type", type_name, "a type of one integer or real number"))?
        .1;
    let big_endian = match field(&["endian"]) {
        Some("big") => true,
        Some("little") => false,
        None if voxel_type.bytes() == 1 => false,
        other => return Err(start.bad("endian", other.unwrap_or_default(), "little or big")),
    };
    Ok(Described {
        offset: at,
        shape,
        geometry: geometry(start, field, listed, dimension)?,
        encoding: Encoding { voxel_type, big_endian, scaling: None, zero_non_finite: false },
        compression,
    })
}

fn geometry<'a>(
    start: &Start,
    field: impl Fn(&[&str]) -> Option<&'a str>,
    listed: usize,
    dimension: u8,
) -> Result<Geometry> {
    let n = usize::from(dimension);
    // Signs that turn the file's axes into left, posterior, superior.
    let signs = match field(&["space"]).unwrap_or_default().to_ascii_lowercase().as_str() {
        "right-anterior-superior" | "ras" => [-1.0, -1.0, 1.0],
        "left-anterior-superior" | "las" => [1.0, -1.0, 1.0],
        _ => [1.0; 3],
    };
    let vector = |name: &str, text: &str| -> Result<[f64; 3]> {
        let inside = text.trim().strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
        let numbers = start.numbers(name, &inside.replace(',', " "), n)?;
        Ok(std::array::from_fn(|i| numbers.get(i).map_or(0.0, |v| v * signs[i] + 0.0)))
    };
    let mut spacing = [1.0; 3];
    let mut direction = [1., 0., 0., 0., 1., 0., 0., 0., 1.];
    if let Some(text) = field(&["space directions"]) {
        let axes: Vec<&str> = text.split_inclusive(')').map(str::trim).filter(|t| !t.is_empty()).collect();
        if axes.len() < n {
            return Err(start.bad("space directions", text, format!("{n} vectors")));
        }
        for (axis, text) in axes.into_iter().take(n).enumerate() {
            let v = vector("space directions", text)?;
            let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length == 0.0 || !length.is_finite() {
                return Err(start.bad("space directions", text, "vectors longer than 0 mm"));
            }
            spacing[axis] = length;
            (0..n).for_each(|row| direction[3 * row + axis] = v[row] / length);
        }
    } else if let Some(text) = field(&["spacings"]) {
        let numbers = start.numbers("spacings", text, listed)?;
        if let Some(v) = numbers[..n].iter().find(|v| **v <= 0.0) {
            return Err(start.bad("spacings", &v.to_string(), "lengths above 0 in mm"));
        }
        spacing[..n].copy_from_slice(&numbers[..n]);
    }
    let origin = field(&["space origin"]).map_or(Ok([0.0; 3]), |text| vector("space origin", text))?;
    Ok(if n == 2 {
        let matrix = [direction[0], direction[1], direction[3], direction[4]];
        Geometry::flat([spacing[0], spacing[1]], [origin[0], origin[1]], matrix)
    } else {
        Geometry { dimension: 3, spacing, origin, direction }
    })
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
