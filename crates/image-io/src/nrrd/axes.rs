//! The axes of the file, and where the image lies by them.

use crate::ImageWarning;
use crate::text_header::{Fields, Start};
use nnunet_volume::Geometry;
use nnunet_volume::error::Result;

/// Kinds of axes along which the voxels lie, in lower case. Along others each voxel has several values.
const SPATIAL_KINDS: [&str; 5] = ["domain", "space", "time", "???", "none"];

/// Which of the axes in the file those of the image are. Axes of several values per voxel may be there if they have
/// one.
pub(super) struct Axes {
    listed: usize,
    kept: Vec<usize>,
}

impl Axes {
    pub(super) fn of(start: &Start, fields: &Fields) -> Result<Self> {
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

    pub(super) fn sizes(&self, fields: &Fields) -> String {
        let sizes: Vec<&str> = fields.get("sizes").unwrap_or_default().split_whitespace().collect();
        self.kept.iter().filter_map(|&axis| sizes.get(axis).copied()).collect::<Vec<_>>().join(" ")
    }

    /// The words of the field `key` for the first `n` axes of the image, `None` if there is no such field.
    pub(super) fn words<'a>(
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
    pub(super) fn numbers(
        &self,
        start: &Start,
        fields: &Fields,
        key: &str,
        n: usize,
    ) -> Result<Option<Vec<f64>>> {
        let words = self.words(start, fields, key, n)?;
        words.map(|words| start.numbers(key, &words.join(" "), n)).transpose()
    }
}

/// Where the image lies.
pub(super) fn geometry(
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
