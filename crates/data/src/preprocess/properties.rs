//! What must be known of a case to bring a segmentation back to its original grid, and where its
//! classes are: the `.pkl` beside the arrays, as the reference writes and reads it.
//!
//! Shapes and the crop box are those of the transposed image; spacing (z, y, x) that of the original.

use std::path::Path;

use nnunet_pyformats::pickle::{Dict, NdArray, Protocol, Value, pickle, read_pickle_file, write_pickle_file};
use nnunet_volume::SpacingMm;

use super::class_locations::ClassLocations;
use super::error::PreprocessError;
use super::geometry_entries::{geometry_entry, nibabel_geometry, sitk_geometry, spacing_entry};
use crate::fingerprint::crop::CropBox;
use nnunet_dataset::{ImageGeometry, LabelOrRegion};

/// Properties of a preprocessed case.
#[derive(Debug, Clone, PartialEq)]
pub struct Properties {
    /// Geometry of the original image: `sitk_stuff` or `nibabel_stuff`, whichever its reader has.
    pub geometry: ImageGeometry,
    /// Spacing (z, y, x) in mm of the original image, axes not transposed.
    pub spacing: SpacingMm,
    /// Shape of the transposed image before cropping.
    pub shape_before_cropping: [usize; 3],
    /// The crop box in the transposed image.
    pub bbox_used_for_cropping: CropBox,
    /// Shape of the transposed image after cropping: what the network's output is resampled to.
    pub shape_after_cropping_and_before_resampling: [usize; 3],
    /// Sampled voxels of each class in the preprocessed segmentation; training cases have them.
    pub class_locations: Option<ClassLocations>,
    /// Channels that the case does not have, ascending. An entry of its own where there are any, which Python's reader
    /// passes over: `absent_channels`, a list of numbers.
    pub absent_channels: Vec<usize>,
    /// Names of the labels or regions that were annotated, `None` for all. An entry of its own, `annotated_labels`, as above.
    pub annotated_labels: Option<Vec<String>>,
    /// Entries this program does not know, but can write again.
    pub others: Dict,
}

impl Properties {
    /// Reads a properties file, ours or the reference's.
    pub fn read(path: &Path) -> Result<Self, PreprocessError> {
        let value = read_pickle_file(path)?;
        Self::from_pickle(value).map_err(|(key, problem)| PreprocessError::Properties {
            path: path.to_owned(),
            key,
            problem,
        })
    }

    /// The geometry alone, which also files have that are no properties of a preprocessed case.
    pub fn geometry_in(value: &Value) -> Result<ImageGeometry, (&'static str, String)> {
        if let Some(sitk) = value.get("sitk_stuff") {
            return sitk_geometry(sitk).map(ImageGeometry::Itk);
        }
        let spacing = value.get("spacing").ok_or(("spacing", "is missing".to_owned()))?;
        let spacing = triple_of_floats(spacing, "spacing")?;
        match value.get("nibabel_stuff") {
            Some(nibabel) => nibabel_geometry(nibabel, SpacingMm::new(spacing)),
            None => Ok(ImageGeometry::Spacing(SpacingMm::new(spacing))),
        }
    }

    /// Writes a properties file (temporary file, flush, rename).
    pub fn write(&self, path: &Path) -> Result<(), PreprocessError> {
        Ok(write_pickle_file(path, &self.to_pickle())?)
    }

    /// The dictionary that the reference keeps, entry for entry of the same Python types.
    pub fn to_pickle(&self) -> Value {
        let counts = |values: [usize; 3]| values.map(|v| Value::Int(v as i64)).to_vec();
        let CropBox { lower, upper } = self.bbox_used_for_cropping;
        let sides = [0, 1, 2]
            .map(|axis| Value::List(vec![Value::Int(lower[axis] as i64), Value::Int(upper[axis] as i64)]));

        let mut entries = Dict::new();
        if let Some((key, value)) = geometry_entry(&self.geometry) {
            entries.insert(key, value);
        }
        entries.insert("spacing", spacing_entry(&self.geometry, self.spacing));
        entries.insert("shape_before_cropping", Value::Tuple(counts(self.shape_before_cropping)));
        entries.insert("bbox_used_for_cropping", Value::List(sides.to_vec()));
        entries.insert(
            "shape_after_cropping_and_before_resampling",
            Value::Tuple(counts(self.shape_after_cropping_and_before_resampling)),
        );
        if let Some(locations) = &self.class_locations {
            let classes = locations.iter().map(|(class, voxels)| (class_key(class), voxel_array(voxels)));
            entries.insert("class_locations", Value::Dict(classes.collect()));
        }
        if !self.absent_channels.is_empty() {
            let numbers = self.absent_channels.iter().map(|&channel| Value::Int(channel as i64));
            entries.insert("absent_channels", Value::List(numbers.collect()));
        }
        if let Some(names) = &self.annotated_labels {
            let names = names.iter().map(|name| Value::Str(name.clone()));
            entries.insert("annotated_labels", Value::List(names.collect()));
        }
        for (key, value) in self.others.iter() {
            entries.push(key.clone(), value.clone());
        }
        Value::Dict(entries)
    }

    /// Reads the dictionary; the error is the key and what is wrong with it.
    pub fn from_pickle(value: Value) -> Result<Self, (&'static str, String)> {
        let geometry = Self::geometry_in(&value);
        let Value::Dict(mut entries) = value else {
            return Err(("properties", format!("are {}, expected a dict", value.kind())));
        };
        let geometry = geometry?;
        let mut take = |key: &'static str| entries.remove(key).ok_or((key, "is missing".to_owned()));
        let spacing = triple_of_floats(&take("spacing")?, "spacing")?;
        let shape_before_cropping =
            triple_of_counts(&take("shape_before_cropping")?, "shape_before_cropping")?;
        let bbox_used_for_cropping = crop_box(&take("bbox_used_for_cropping")?, shape_before_cropping)?;
        let key = "shape_after_cropping_and_before_resampling";
        let after = triple_of_counts(&take(key)?, key)?;
        if after != bbox_used_for_cropping.shape() {
            return Err((key, format!("is {after:?}, but bbox_used_for_cropping has another shape")));
        }
        let class_locations = match entries.remove("class_locations") {
            None => None,
            Some(value) => Some(class_locations(&value)?),
        };
        let absent_channels = match entries.remove("absent_channels") {
            None => Vec::new(),
            Some(value) => value
                .as_usizes()
                .filter(|channels| channels.is_sorted_by(|a, b| a < b))
                .ok_or(("absent_channels", "is not an ascending list of channels".to_owned()))?,
        };
        let annotated_labels = match entries.remove("annotated_labels") {
            None => None,
            Some(value) => Some(
                value
                    .as_sequence()
                    .and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect())
                    .ok_or(("annotated_labels", "is not a list of names".to_owned()))?,
            ),
        };
        for key in ["sitk_stuff", "nibabel_stuff"] {
            entries.remove(key);
        }
        Ok(Self {
            geometry,
            spacing: SpacingMm::new(spacing),
            shape_before_cropping,
            bbox_used_for_cropping,
            shape_after_cropping_and_before_resampling: after,
            class_locations,
            absent_channels,
            annotated_labels,
            others: writable(&entries),
        })
    }
}

fn class_key(class: &LabelOrRegion) -> Value {
    let int = |label: &i32| Value::Int(i64::from(*label));
    match class {
        LabelOrRegion::Label(label) => int(label),
        LabelOrRegion::Region(labels) => Value::Tuple(labels.iter().map(int).collect()),
    }
}

/// An int64 array (n, 4) of (channel 0, z, y, x), or an empty list where there is no voxel.
fn voxel_array(voxels: &[[u32; 3]]) -> Value {
    if voxels.is_empty() {
        return Value::List(Vec::new());
    }
    let numbers: Vec<i64> =
        voxels.iter().flat_map(|&[z, y, x]| [0, i64::from(z), i64::from(y), i64::from(x)]).collect();
    // Four numbers per voxel are written above.
    NdArray::from_i64s(vec![voxels.len(), 4], &numbers).map_or(Value::List(Vec::new()), Value::NdArray)
}

/// The entries that can be written again. Objects of classes that this program does not know are read as data, but
/// cannot be made again: a file that is written after it was read is without them.
fn writable(entries: &Dict) -> Dict {
    let mut writable = Dict::new();
    for (key, value) in entries.iter() {
        let entry = Value::Tuple(vec![key.clone(), value.clone()]);
        if pickle(&entry, Protocol::Four).is_ok() {
            writable.push(key.clone(), value.clone());
        }
    }
    writable
}

fn class_locations(value: &Value) -> Result<ClassLocations, (&'static str, String)> {
    let fault = |problem: String| ("class_locations", problem);
    let classes = value.as_dict().ok_or_else(|| fault(format!("is {}, expected a dict", value.kind())))?;
    let label = |value: &Value| value.as_i64().and_then(|v| i32::try_from(v).ok());
    let mut entries = Vec::with_capacity(classes.len());
    for (key, voxels) in classes.iter() {
        let class = match (label(key), key.as_sequence()) {
            (Some(label), _) => LabelOrRegion::Label(label),
            (None, Some(labels)) => labels
                .iter()
                .map(label)
                .collect::<Option<_>>()
                .map(LabelOrRegion::Region)
                .ok_or_else(|| fault("has a key that is no tuple of labels".to_owned()))?,
            _ => return Err(fault(format!("has {} as a key, expected labels", key.kind()))),
        };
        let voxels = match (voxels.as_array(), voxels.as_sequence()) {
            (None, Some([])) => Vec::new(),
            (Some(array), _) => array_of_voxels(array)
                .ok_or_else(|| fault(format!("of {} is not an (n, 4) array of voxels", class.key())))?,
            _ => return Err(fault(format!("of {} is {}, expected an array", class.key(), voxels.kind()))),
        };
        entries.push((class, voxels));
    }
    Ok(ClassLocations::new(entries))
}

fn array_of_voxels(array: &NdArray) -> Option<Vec<[u32; 3]>> {
    let [_, 4] = array.shape() else { return None };
    let numbers = array.to_i64s()?;
    let (voxels, _) = numbers.as_chunks::<4>();
    voxels
        .iter()
        .map(|&[_, z, y, x]| Some([u32::try_from(z).ok()?, u32::try_from(y).ok()?, u32::try_from(x).ok()?]))
        .collect()
}

fn triple_of_floats(value: &Value, key: &'static str) -> Result<[f64; 3], (&'static str, String)> {
    let numbers = value.as_f64s().and_then(|list| <[f64; 3]>::try_from(list).ok());
    numbers
        .filter(|list| list.iter().all(|v| v.is_finite() && *v > 0.0))
        .ok_or_else(|| (key, "is not three positive numbers".to_owned()))
}

fn triple_of_counts(value: &Value, key: &'static str) -> Result<[usize; 3], (&'static str, String)> {
    let numbers = value.as_usizes().and_then(|list| <[usize; 3]>::try_from(list).ok());
    numbers
        .filter(|list| list.iter().all(|v| (1..=1 << 31).contains(v)))
        .ok_or_else(|| (key, "is not three positive whole numbers".to_owned()))
}

fn crop_box(value: &Value, shape: [usize; 3]) -> Result<CropBox, (&'static str, String)> {
    let fault = || ("bbox_used_for_cropping", format!("is not three ranges within {shape:?}"));
    let sides: Vec<Vec<usize>> =
        value.as_sequence().and_then(|list| list.iter().map(Value::as_usizes).collect()).ok_or_else(fault)?;
    let mut found = CropBox::whole(shape);
    if sides.len() != 3 {
        return Err(fault());
    }
    for (axis, side) in sides.iter().enumerate() {
        match side.as_slice() {
            &[lower, upper] if lower < upper && upper <= shape[axis] => {
                found.lower[axis] = lower;
                found.upper[axis] = upper;
            }
            _ => return Err(fault()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use nnunet_dataset::image_geometry::PICTURE_SPACING;
    use nnunet_volume::Geometry;

    use super::*;

    fn properties(geometry: impl Into<ImageGeometry>) -> Properties {
        let geometry = geometry.into();
        let mut others = Dict::new();
        others.insert("something_else", Value::Bool(true));
        Properties {
            geometry,
            spacing: geometry.spacing_zyx(),
            shape_before_cropping: [5, 6, 7],
            bbox_used_for_cropping: CropBox { lower: [0, 1, 2], upper: [5, 4, 7] },
            shape_after_cropping_and_before_resampling: [5, 3, 5],
            class_locations: Some(ClassLocations::new(vec![
                (LabelOrRegion::Label(1), vec![[0, 1, 2], [3, 4, 5]]),
                (LabelOrRegion::Region(vec![-1, 0, 1]), Vec::new()),
            ])),
            absent_channels: vec![1, 3],
            annotated_labels: Some(vec!["core".to_owned()]),
            others,
        }
    }

    #[test]
    fn objects_of_unknown_classes_do_not_keep_properties_from_being_written() {
        let known = properties(Geometry::with_spacing([1.0; 3]));
        let Value::Dict(mut entries) = known.to_pickle() else { unreachable!() };
        entries.insert("table", Value::object("pandas", "DataFrame", vec![Value::Int(1)]));
        let read = Properties::from_pickle(Value::Dict(entries)).unwrap();
        assert_eq!(read, known);
        pickle(&read.to_pickle(), Protocol::Four).unwrap();
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        let solid = Geometry { origin: [-1.0, 2.5, 3.0], ..Geometry::with_spacing([0.5, 0.6, 1.2]) };
        let flat = Geometry::flat([0.5, 0.6], [1.0, 2.0], [0.0, 1.0, -1.0, 0.0]);
        let affine = [[-0.5, 0., 0., 3.], [0., 0.6, 0., -7.], [0., 0.1, 1.2, 0.25], [0., 0., 0., 1.]];
        let nibabel = |reoriented| ImageGeometry::Nibabel {
            spacing_zyx: SpacingMm::new([1.2, 0.6, 0.5]),
            original: affine,
            reoriented,
        };
        for geometry in [
            solid.into(),
            flat.into(),
            nibabel(None),
            nibabel(Some(affine)),
            ImageGeometry::Spacing(PICTURE_SPACING),
            ImageGeometry::Spacing(SpacingMm::new([2.5, 0.5, 0.5])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("case.pkl");
            properties(geometry).write(&path).unwrap();
            assert_eq!(Properties::read(&path).unwrap(), properties(geometry));
        }
    }

    #[test]
    fn bad_properties_are_named() {
        let good = properties(Geometry::with_spacing([1.0; 3])).to_pickle();
        for (key, value, expected) in [
            ("spacing", Value::List(vec![1.0.into(), 0.0.into(), 1.0.into()]), "three positive numbers"),
            ("bbox_used_for_cropping", Value::List(Vec::new()), "three ranges within [5, 6, 7]"),
            ("shape_before_cropping", Value::Tuple(vec![1i64.into(); 3]), "three ranges within [1, 1, 1]"),
            (
                "shape_after_cropping_and_before_resampling",
                Value::Tuple(vec![2i64.into(); 3]),
                "another shape",
            ),
            ("class_locations", Value::None, "expected a dict"),
            ("sitk_stuff", Value::Dict(Dict::new()), "no spacing, origin and direction"),
        ] {
            let Value::Dict(mut entries) = good.clone() else { panic!("no dict") };
            entries.insert(key, value);
            let (found, problem) = Properties::from_pickle(Value::Dict(entries)).unwrap_err();
            assert!(problem.contains(expected), "{found} {problem}");
        }
        assert_eq!(Properties::from_pickle(Value::Dict(Dict::new())).unwrap_err().1, "is missing");
    }
}
