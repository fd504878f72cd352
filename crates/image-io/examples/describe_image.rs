//! Prints what a reader makes of image files, one JSON line each, for `tests/python/differential.py`.
//!
//! Usage: `describe_image READER < PATHS`, one path a line; READER is `nifti`, `nibabel`, `nibabel-reoriented`, `nrrd`,
//! `metaimage`, `tiff`, `picture`. A line has `shape` (c, z, y, x), `spacing`, `origin` and `direction` (or `affine`),
//! the first values, a checksum and warnings, or an `error`.

use std::io::{BufRead, Write};
use std::path::Path;

use nnunet_image_io::tiff3d::{self, Naming};
use nnunet_image_io::{Image, ImageWarning};
use nnunet_image_io::{metaimage, natural_image, nifti, nrrd};
use nnunet_volume::Result;
use serde_json::{Value, json};

/// Sum of the values times their place modulo a prime, so that places count.
fn checksum(values: &[f32]) -> f64 {
    values.iter().enumerate().map(|(i, &v)| f64::from(v) * (i % 1009 + 1) as f64).sum()
}

fn described(shape: [usize; 4], values: &[f32], warnings: &[ImageWarning], place: Value) -> Value {
    let mut out = json!({
        "shape": shape,
        "first": values.iter().take(8).map(|v| format!("{v:?}")).collect::<Vec<_>>(),
        "checksum": format!("{:?}", checksum(values)),
        "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let (Value::Object(out), Value::Object(place)) = (&mut out, place) {
        out.extend(place);
    }
    out
}

fn image(image: &Image) -> Value {
    let [z, y, x] = image.volume.shape();
    let g = image.geometry;
    let n = usize::from(g.dimension);
    let direction: Vec<f64> = (0..n * n).map(|i| g.direction[3 * (i / n) + i % n]).collect();
    let place = json!({ "spacing": g.spacing[..n], "origin": g.origin[..n], "direction": direction });
    described([1, z, y, x], image.volume.data(), &image.warnings, place)
}

fn nibabel(image: &nifti::nibabel::NibabelImage) -> Value {
    let [z, y, x] = image.volume.shape();
    let place = json!({ "spacing_zyx": image.spacing_zyx.along_axes(), "affine": image.affine });
    described([1, z, y, x], image.volume.data(), &image.warnings, place)
}

fn describe(reader: &str, path: &Path) -> Result<Value> {
    Ok(match reader {
        "nibabel" => nibabel(&nifti::nibabel::read(path)?),
        "nibabel-reoriented" => nibabel(&nifti::nibabel::read_reoriented(path)?),
        "nrrd" => image(&nrrd::read(path)?),
        "metaimage" => image(&metaimage::read(path)?),
        "tiff" => image(&tiff3d::read(path, Naming::Channel)?),
        "picture" => {
            let picture = natural_image::read(path)?;
            let [z, y, x] = picture.channels.shape();
            let shape = [picture.channels.channels(), z, y, x];
            described(shape, picture.channels.data(), &picture.warnings, json!({}))
        }
        _ => image(&nifti::read(path)?),
    })
}

// The script that reads the lines waits for all of them; a pipe that closes early is an error.
#[allow(clippy::disallowed_methods)]
fn main() -> std::io::Result<()> {
    let reader = std::env::args().nth(1).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = describe(&reader, Path::new(&line?));
        writeln!(out, "{}", answer.unwrap_or_else(|error| json!({ "error": error.to_string() })))?;
    }
    Ok(())
}
