//! What the labels of a dataset.json mean for training and prediction: which values exist, which of them
//! are learnt, and as what: mutually exclusive labels, or regions that may overlap.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::DatasetError;
use super::json::{DatasetJson, LabelValue};
use nnunet_base::parts::Named;
use nnunet_pyformats::json::{Json, KeyOrder};

/// The dataset's labels, sorted out. Same rules as the reference's label manager.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelManager {
    all_labels: Vec<i32>,
    regions: Option<Vec<LabelOrRegion>>,
    regions_class_order: Vec<i32>,
    ignore_label: Option<i32>,
}

/// Something that is evaluated or predicted as one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelOrRegion {
    /// One value of the segmentation.
    Label(i32),
    /// Several values taken together, as listed in dataset.json.
    Region(Vec<i32>),
}

impl LabelOrRegion {
    /// Whether a voxel of this value belongs to it.
    pub fn contains(&self, value: i32) -> bool {
        self.values().contains(&value)
    }

    /// The values that belong to it.
    pub fn values(&self) -> &[i32] {
        match self {
            Self::Label(value) => std::slice::from_ref(value),
            Self::Region(values) => values,
        }
    }

    /// The name of the label or region with the same values in `json`.
    pub fn name_in<'a>(&self, json: &'a DatasetJson) -> Option<&'a str> {
        let named = json.labels.iter().find(|(_, value)| value.values() == self.values());
        named.map(|(name, _)| name.as_str())
    }

    /// The key in summary.json: `1` for a label, a Python tuple like `(1, 2)` for a region.
    pub fn key(&self) -> String {
        match self {
            Self::Label(value) => value.to_string(),
            Self::Region(values) if values.len() == 1 => format!("({},)", values[0]),
            Self::Region(values) => {
                let values: Vec<_> = values.iter().map(i32::to_string).collect();
                format!("({})", values.join(", "))
            }
        }
    }

    /// Reads such a key.
    pub fn from_key(key: &str) -> Option<Self> {
        if let Ok(value) = key.parse() {
            return Some(Self::Label(value));
        }
        let inner = key.strip_prefix('(')?.strip_suffix(')')?;
        let values = inner.split(',').map(str::trim).filter(|s| !s.is_empty());
        values.map(|s| s.parse().ok()).collect::<Option<_>>().map(Self::Region)
    }

    fn is_background(&self) -> bool {
        self.values().iter().all(|&v| v == 0)
    }
}

/// Sorts out the labels of a dataset.json.
pub type LabelManagerBuilder = Arc<dyn Fn(&DatasetJson) -> Result<LabelManager, DatasetError> + Send + Sync>;

/// Label managers by their names in the reference.
pub type LabelManagers = Named<LabelManagerBuilder>;

/// Label manager of plans that name none.
const DEFAULT: &str = "LabelManager";

/// The label managers that are built in.
///
/// One from outside sorts out a dataset.json with other labels:
///
/// ```
/// use std::sync::Arc;
///
/// use nnunet_dataset::{DatasetJson, LabelManager, label_managers};
///
/// let mut managers = label_managers();
/// let without_edema = |dataset: &DatasetJson| {
///     let mut dataset = dataset.clone();
///     dataset.labels.shift_remove("edema");
///     LabelManager::new(&dataset)
/// };
/// managers.register("WithoutEdema", "edema is not learnt", Arc::new(without_edema))?;
/// # Ok::<(), nnunet_base::parts::AlreadyRegistered>(())
/// ```
pub fn label_managers() -> LabelManagers {
    let none: LabelManagers = Named::new("label manager");
    none.with(DEFAULT, "labels and regions as dataset.json has them", Arc::new(LabelManager::new))
}

/// A label in the 16 bits in which segmentations are preprocessed and trained on.
///
/// # Errors
/// A label that does not fit.
pub fn stored_label(label: i32) -> Result<i16, DatasetError> {
    i16::try_from(label).map_err(|_| {
        let largest = i16::MAX;
        DatasetError::Labels(format!(
            "label {label} is too large: segmentations are stored with 16 bits, labels from 0 to {largest}. Renumber \
             the labels, in dataset.json and in the files"
        ))
    })
}

impl LabelManager {
    /// Sorts out the labels of `dataset` by the label manager that plans ask for. `name` is their entry `label_manager`,
    /// which older ones do not have, `path` their file.
    ///
    /// # Errors
    /// A name that is not among `managers`; labels that contradict each other.
    pub fn named(
        managers: &LabelManagers,
        name: Option<&Json>,
        path: &Path,
        dataset: &DatasetJson,
    ) -> Result<Self, DatasetError> {
        let name = match name {
            None | Some(Json::Null) => DEFAULT.to_owned(),
            Some(Json::String(name)) => name.clone(),
            Some(other) => other.to_python(KeyOrder::Kept),
        };
        let manager = managers.get(&name).map_err(|unknown| DatasetError::BadValue {
            path: path.to_owned(),
            key: "label_manager".to_owned(),
            found: unknown.name,
            expected: format!("one that is known: {}", unknown.known.join(", ")),
        })?;
        manager(dataset)
    }

    /// Sorts out the labels; regions are used where dataset.json declares any.
    pub fn new(json: &DatasetJson) -> Result<Self, DatasetError> {
        Self::build(json, true)
    }

    /// The same with regions taken apart into their labels, as the evaluation of a cascade needs it.
    pub fn with_plain_labels(json: &DatasetJson) -> Result<Self, DatasetError> {
        Self::build(json, false)
    }

    fn build(json: &DatasetJson, use_regions: bool) -> Result<Self, DatasetError> {
        let error = |message: String| Err(DatasetError::Labels(message));
        match json.labels.get("background") {
            Some(LabelValue::Label(0)) => {}
            Some(other) => {
                return error(format!("background is {}; it must be 0", describe(other)));
            }
            None => return error("there is no \"background\"; add \"background\": 0".into()),
        }
        let ignore_label = match json.labels.get("ignore") {
            None => None,
            Some(LabelValue::Label(value)) => Some(*value),
            Some(region) => {
                return error(format!("\"ignore\" is {}; it must be one integer", describe(region)));
            }
        };
        let learnt = || json.labels.iter().filter(|(name, _)| *name != "ignore").map(|(_, value)| value);
        let mut all_labels: Vec<i32> = learnt().flat_map(LabelValue::values).copied().collect();
        all_labels.sort_unstable();
        all_labels.dedup();
        if let (Some(ignore), Some(&largest)) = (ignore_label, all_labels.last())
            && ignore != largest + 1
        {
            return error(format!(
                "\"ignore\" is {ignore}; it must be the highest label and follow the others: {}",
                i64::from(largest) + 1
            ));
        }

        let has_regions = use_regions
            && json.labels.values().any(|v| matches!(v, LabelValue::Region(values) if values.len() > 1));
        let mut manager = Self { all_labels, regions: None, regions_class_order: Vec::new(), ignore_label };
        if has_regions {
            let regions: Vec<_> = learnt()
                .map(|value| match value {
                    LabelValue::Label(value) => LabelOrRegion::Label(*value),
                    LabelValue::Region(values) => LabelOrRegion::Region(values.clone()),
                })
                .filter(|region| !region.is_background())
                .collect();
            let Some(order) = &json.regions_class_order else {
                return error(format!(
                    "there are regions but no \"regions_class_order\"; add a list with the label to write for each \
                     of the {} regions, in their order",
                    regions.len()
                ));
            };
            if order.len() != regions.len() {
                return error(format!(
                    "\"regions_class_order\" has {} entries for {} regions (background and ignore do not count)",
                    order.len(),
                    regions.len()
                ));
            }
            if let Some(label) = order.iter().find(|label| u16::try_from(**label).is_err()) {
                return error(format!(
                    "\"regions_class_order\" has the label {label}; expected labels from 0 to {}",
                    u16::MAX
                ));
            }
            manager.regions_class_order.clone_from(order);
            manager.regions = Some(regions);
        }
        Ok(manager)
    }

    /// Whether regions are predicted (sigmoid) instead of exclusive labels (softmax).
    pub fn has_regions(&self) -> bool {
        self.regions.is_some()
    }

    /// The value of voxels that count neither in the loss nor in the evaluation.
    pub fn ignore_label(&self) -> Option<i32> {
        self.ignore_label
    }

    /// All values but the ignore label, background included, ascending.
    pub fn all_labels(&self) -> &[i32] {
        &self.all_labels
    }

    /// All values that voxels may have: [`all_labels`](Self::all_labels) and the ignore label.
    pub fn declared(&self) -> Vec<i32> {
        self.all_labels.iter().copied().chain(self.ignore_label).collect()
    }

    /// The values in `voxels` that dataset.json does not declare, ascending.
    pub fn undeclared(&self, voxels: &[i16]) -> BTreeSet<i32> {
        let declared = self.declared();
        let mut found = BTreeSet::new();
        let mut last = None;
        for &voxel in voxels {
            // Neighbours mostly have the same label.
            if last != Some(voxel) && !declared.contains(&voxel.into()) {
                found.insert(voxel.into());
            }
            last = Some(voxel);
        }
        found
    }

    /// All values but background and ignore, ascending.
    pub fn foreground_labels(&self) -> Vec<i32> {
        self.all_labels.iter().copied().filter(|&v| v != 0).collect()
    }

    /// The regions without background, in the order of dataset.json; empty where labels are used.
    pub fn foreground_regions(&self) -> &[LabelOrRegion] {
        self.regions.as_deref().unwrap_or_default()
    }

    /// The label written for each of [`Self::foreground_regions`]; later ones overwrite earlier ones.
    pub fn regions_class_order(&self) -> &[i32] {
        &self.regions_class_order
    }

    /// What is evaluated: the foreground regions, or else the foreground labels.
    pub fn foreground(&self) -> Vec<LabelOrRegion> {
        match &self.regions {
            Some(regions) => regions.clone(),
            None => self.foreground_labels().into_iter().map(LabelOrRegion::Label).collect(),
        }
    }

    /// Output channels of the network: one per region, or one per label with background.
    pub fn num_segmentation_heads(&self) -> usize {
        self.regions.as_ref().map_or(self.all_labels.len(), Vec::len)
    }
}

fn describe(value: &LabelValue) -> String {
    match value {
        LabelValue::Label(value) => value.to_string(),
        LabelValue::Region(values) => format!("the list {values:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnunet_pyformats::json::Json;
    use std::path::Path;

    #[test]
    fn labels_beyond_16_bits_are_named() {
        assert_eq!(stored_label(32767).unwrap(), 32767);
        for label in [32768, 65536 + 3, -40000] {
            let error = stored_label(label).unwrap_err().to_string();
            assert!(error.contains(&format!("label {label} ")) && error.contains("0 to 32767"), "{error}");
        }
        for order in ["[1, 65537]", "[-1, 2]"] {
            let labels = r#"{"background": 0, "whole": [1, 2], "core": 2}"#;
            let error = manager(labels, order).unwrap_err().to_string();
            assert!(error.contains("regions_class_order") && error.contains("0 to 65535"), "{error}");
        }
    }

    fn manager(labels: &str, order: &str) -> Result<LabelManager, DatasetError> {
        let text = format!(
            r#"{{"channel_names": {{"0": "CT"}}, "file_ending": ".nii", "labels": {labels}, "regions_class_order": {order}}}"#
        );
        LabelManager::new(&DatasetJson::from_json(Json::parse(&text).unwrap(), Path::new("dataset.json"))?)
    }

    #[test]
    fn plain_labels() {
        let m = manager(r#"{"background": 0, "b": 2, "a": 1, "ignore": 3}"#, "null").unwrap();
        assert!(!m.has_regions());
        assert_eq!(m.all_labels(), [0, 1, 2]);
        assert_eq!(m.foreground_labels(), [1, 2]);
        assert_eq!(m.ignore_label(), Some(3));
        assert_eq!(m.num_segmentation_heads(), 3);
        assert_eq!(m.foreground()[0].key(), "1");
    }

    #[test]
    fn regions() {
        let m = manager(
            r#"{"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}"#,
            "[1, 2, 3]",
        )
        .unwrap();
        assert!(m.has_regions());
        assert_eq!(m.all_labels(), [0, 1, 2, 3]);
        assert_eq!(m.num_segmentation_heads(), 3);
        assert_eq!(
            m.foreground().iter().map(LabelOrRegion::key).collect::<Vec<_>>(),
            ["(1, 2, 3)", "(2, 3)", "3"]
        );
        assert_eq!(m.regions_class_order(), [1, 2, 3]);
        // A list of one value alone makes no regions.
        let m = manager(r#"{"background": 0, "a": [1]}"#, "null").unwrap();
        assert!(!m.has_regions());
        assert_eq!(m.foreground(), [LabelOrRegion::Label(1)]);
    }

    #[test]
    fn keys_round_trip() {
        for text in ["7", "(1, 2)", "(3,)"] {
            assert_eq!(LabelOrRegion::from_key(text).unwrap().key(), text);
        }
        assert_eq!(LabelOrRegion::from_key("mean"), None);
    }

    #[test]
    fn contradictions_are_explained() {
        for (labels, order, part) in [
            (r#"{"a": 1}"#, "null", "no \"background\""),
            (r#"{"background": 1}"#, "null", "background is 1; it must be 0"),
            (r#"{"background": [0]}"#, "null", "background is the list [0]"),
            (r#"{"background": 0, "a": 1, "ignore": 5}"#, "null", "follow the others: 2"),
            (r#"{"background": 0, "a": 1, "ignore": [2]}"#, "null", "must be one integer"),
            (r#"{"background": 0, "a": [1, 2]}"#, "null", "no \"regions_class_order\""),
            (r#"{"background": 0, "a": [1, 2], "b": 2}"#, "[1]", "has 1 entries for 2 regions"),
        ] {
            let message = manager(labels, order).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
