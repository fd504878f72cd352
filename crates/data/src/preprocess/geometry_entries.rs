//! Geometries in the properties of a case, as each of the reference's readers keeps them.

use nnunet_dataset::ImageGeometry;
use nnunet_dataset::image_geometry::PICTURE_SPACING;
use nnunet_image_io::nifti::nibabel::Affine;
use nnunet_pyformats::pickle::{Dict, NdArray, Scalar, Value};
use nnunet_volume::{Geometry, SpacingMm};

/// What the reader of the image keeps beside the spacing.
pub(super) fn geometry_entry(geometry: &ImageGeometry) -> Option<(&'static str, Value)> {
    let mut entries = Dict::new();
    match geometry {
        ImageGeometry::Itk(Geometry { dimension, spacing, origin, direction }) => {
            let floats = |values: &[f64]| Value::Tuple(values.iter().map(|&v| Value::Float(v)).collect());
            let flat = *dimension == 2;
            let axes = if flat { 2 } else { 3 };
            entries.insert("spacing", floats(&spacing[..axes]));
            entries.insert("origin", floats(&origin[..axes]));
            let [a, b, _, c, d, ..] = *direction;
            entries.insert("direction", if flat { floats(&[a, b, c, d]) } else { floats(direction) });
            Some(("sitk_stuff", Value::Dict(entries)))
        }
        ImageGeometry::Nibabel { original, reoriented, .. } => {
            let affines = [("original_affine", Some(original)), ("reoriented_affine", reoriented.as_ref())];
            for (key, affine) in affines {
                let array = affine.and_then(|m| NdArray::from_f64s(vec![4, 4], m.as_flattened()));
                if let Some(array) = array {
                    entries.insert(key, Value::NdArray(array));
                }
            }
            Some(("nibabel_stuff", Value::Dict(entries)))
        }
        ImageGeometry::Spacing(_) => None,
    }
}

/// The spacing in the Python types of each reader: NumPy's, Python's, whole numbers where none is given.
pub(super) fn spacing_entry(geometry: &ImageGeometry, spacing: SpacingMm) -> Value {
    match geometry {
        ImageGeometry::Itk(_) => {
            Value::List(spacing.along_axes().map(|v| Value::Scalar(Scalar::f64(v))).to_vec())
        }
        ImageGeometry::Spacing(stored) if [SpacingMm::UNIT, PICTURE_SPACING].contains(stored) => {
            Value::Tuple(spacing.along_axes().map(|v| Value::Int(v as i64)).to_vec())
        }
        _ => Value::List(spacing.along_axes().map(Value::Float).to_vec()),
    }
}

/// The geometry that `nibabel_stuff` has.
pub(super) fn nibabel_geometry(
    value: &Value,
    spacing_zyx: SpacingMm,
) -> Result<ImageGeometry, (&'static str, String)> {
    let affine = |key: &str| -> Option<Affine> {
        let array = value.get(key)?.as_array()?;
        let rows: [f64; 16] = array.to_f64s().try_into().ok().filter(|_| array.shape() == [4, 4])?;
        rows.as_chunks::<4>().0.try_into().ok()
    };
    let fault = || ("nibabel_stuff", "has no original_affine of 4 x 4 numbers".to_owned());
    let original = affine("original_affine").ok_or_else(fault)?;
    Ok(ImageGeometry::Nibabel { spacing_zyx, original, reoriented: affine("reoriented_affine") })
}

/// The geometry that `sitk_stuff` has.
pub(super) fn sitk_geometry(value: &Value) -> Result<Geometry, (&'static str, String)> {
    let fault = || ("sitk_stuff", "has no spacing, origin and direction of 2 or 3 dimensions".to_owned());
    let list = |key: &str| value.get(key).and_then(Value::as_f64s).ok_or_else(fault);
    match (list("spacing")?.as_slice(), list("origin")?.as_slice(), list("direction")?.as_slice()) {
        (&[sx, sy], &[ox, oy], &[a, b, c, d]) => Ok(Geometry::flat([sx, sy], [ox, oy], [a, b, c, d])),
        (&[sx, sy, sz], &[ox, oy, oz], direction) => Ok(Geometry {
            dimension: 3,
            spacing: [sx, sy, sz],
            origin: [ox, oy, oz],
            direction: direction.try_into().map_err(|_| fault())?,
        }),
        _ => Err(fault()),
    }
}
