//! Reading `arch_kwargs` of plans.json with messages that name the entry, what it is and what it may be.
//!
//! Numbers that the reference takes "per stage" may be one number or a list; kernel sizes and strides
//! may be one number, one number per stage, or one list per stage with an entry per spatial axis.

use serde_json::{Map, Value};

use super::blocks::ConvStyle;
use crate::error::NetworkError;

/// Most stages, channels, convolutions or blocks that a description may ask for.
const MAX_STAGES: usize = 12;
const MAX_CHANNELS: usize = 1 << 14;
const MAX_REPEATS: usize = 256;
/// Largest kernel and stride per axis; what the kernels can do.
const MAX_KERNEL: usize = 7;
const MAX_STRIDE: usize = 4;

/// Entries that every U-Net has.
const COMMON: &[&str] = &[
    "n_stages",
    "features_per_stage",
    "conv_op",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage_decoder",
    "conv_bias",
    "norm_op",
    "norm_op_kwargs",
    "dropout_op",
    "dropout_op_kwargs",
    "nonlin",
    "nonlin_kwargs",
    "deep_supervision",
];

/// What every U-Net reads from its entries. Lists have one entry per stage, highest resolution first.
#[derive(Debug)]
pub(super) struct UNetSizes {
    pub(super) stages: usize,
    /// 2 or 3.
    pub(super) dimensions: usize,
    pub(super) channels: Vec<usize>,
    /// (z, y, x).
    pub(super) kernels: Vec<[usize; 3]>,
    /// (z, y, x).
    pub(super) strides: Vec<[usize; 3]>,
    /// Convolutions of the decoder's stages, lowest resolution first; one stage less.
    pub(super) decoder_convs: Vec<usize>,
    pub(super) style: ConvStyle,
}

/// The entries of one `arch_kwargs`.
pub(super) struct Kwargs<'a> {
    class: &'static str,
    entries: &'a Map<String, Value>,
}

impl<'a> Kwargs<'a> {
    /// Checks that `value` is an object with no other keys than those of every U-Net and `own`.
    pub(super) fn new(
        class: &'static str,
        value: &'a Value,
        own: &'static [&'static str],
    ) -> Result<Self, NetworkError> {
        let Some(entries) = value.as_object() else {
            return Err(NetworkError::BadKwarg {
                class,
                key: "arch_kwargs".into(),
                found: value.to_string(),
                expected: "an object".into(),
            });
        };
        let known = [COMMON, own].concat();
        match entries.keys().find(|k| !known.contains(&k.as_str())) {
            Some(key) => Err(NetworkError::UnknownKwarg { class, key: key.clone(), known: known.join(", ") }),
            None => Ok(Self { class, entries }),
        }
    }

    /// The entries that every U-Net has.
    pub(super) fn unet(&self) -> Result<UNetSizes, NetworkError> {
        let (stages, dimensions) = (self.stages()?, self.dimensions()?);
        // What is said of the outputs elsewhere wins; a flag it must be.
        self.flag("deep_supervision", false)?;
        Ok(UNetSizes {
            stages,
            dimensions,
            channels: self.channels("features_per_stage", stages)?,
            kernels: self.kernels(stages, dimensions)?,
            strides: self.strides(stages, dimensions)?,
            decoder_convs: self.repeats("n_conv_per_stage_decoder", stages - 1)?,
            style: self.conv_style(dimensions)?,
        })
    }

    /// The error for `key` having a value that is not `expected`.
    pub(super) fn fault(&self, key: &str, expected: impl Into<String>) -> NetworkError {
        NetworkError::BadKwarg {
            class: self.class,
            key: key.into(),
            found: self.entries.get(key).map_or("missing".into(), Value::to_string),
            expected: expected.into(),
        }
    }

    /// The entry, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries.get(key).filter(|v| !v.is_null())
    }

    /// A flag; `default` where absent.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, NetworkError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.fault(key, "true or false")),
        }
    }

    /// A count between one and the number of stages that can be built.
    fn stages(&self) -> Result<usize, NetworkError> {
        let expected = || self.fault("n_stages", format!("a whole number from 2 to {MAX_STAGES}"));
        let n = self.get("n_stages").and_then(whole).ok_or_else(expected)?;
        if (2..=MAX_STAGES).contains(&n) { Ok(n) } else { Err(expected()) }
    }

    /// Channel counts, one per stage.
    pub(super) fn channels(&self, key: &str, stages: usize) -> Result<Vec<usize>, NetworkError> {
        self.per_stage(key, stages, 1, MAX_CHANNELS)
    }

    /// One channel count; `None` where absent or null.
    pub(super) fn channel_count(&self, key: &str) -> Result<Option<usize>, NetworkError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match whole(value) {
            Some(n) if (1..=MAX_CHANNELS).contains(&n) => Ok(Some(n)),
            _ => Err(self.fault(key, format!("a whole number from 1 to {MAX_CHANNELS}"))),
        }
    }

    /// Numbers of convolutions or blocks, one per stage.
    pub(super) fn repeats(&self, key: &str, stages: usize) -> Result<Vec<usize>, NetworkError> {
        self.per_stage(key, stages, 1, MAX_REPEATS)
    }

    fn per_stage(
        &self,
        key: &str,
        stages: usize,
        least: usize,
        most: usize,
    ) -> Result<Vec<usize>, NetworkError> {
        let expected = || {
            self.fault(key, format!("a whole number from {least} to {most}, or a list of {stages} of them"))
        };
        let list = match self.get(key).ok_or_else(expected)? {
            Value::Array(list) => list.iter().map(whole).collect::<Option<Vec<_>>>().ok_or_else(expected)?,
            single => vec![whole(single).ok_or_else(expected)?; stages],
        };
        if list.len() == stages && list.iter().all(|n| (least..=most).contains(n)) {
            Ok(list)
        } else {
            Err(expected())
        }
    }

    /// Kernel sizes (z, y, x), one per stage; 1 along z for two-dimensional networks.
    fn kernels(&self, stages: usize, dimensions: usize) -> Result<Vec<[usize; 3]>, NetworkError> {
        self.sizes("kernel_sizes", stages, dimensions, MAX_KERNEL)
    }

    /// Strides (z, y, x), one per stage; 1 along z for two-dimensional networks.
    fn strides(&self, stages: usize, dimensions: usize) -> Result<Vec<[usize; 3]>, NetworkError> {
        self.sizes("strides", stages, dimensions, MAX_STRIDE)
    }

    fn sizes(
        &self,
        key: &str,
        stages: usize,
        dimensions: usize,
        most: usize,
    ) -> Result<Vec<[usize; 3]>, NetworkError> {
        let expected = || {
            self.fault(
                key,
                format!(
                    "a whole number, or {stages} whole numbers, or {stages} lists of {dimensions} whole numbers, \
                     each from 1 to {most}"
                ),
            )
        };
        let size = |value: &Value| -> Option<[usize; 3]> {
            let mut out = [1; 3];
            match value {
                Value::Array(axes) if axes.len() == dimensions => {
                    for (o, axis) in out[3 - dimensions..].iter_mut().zip(axes) {
                        *o = whole(axis)?;
                    }
                }
                single => out[3 - dimensions..].fill(whole(single)?),
            }
            out.iter().all(|n| (1..=most).contains(n)).then_some(out)
        };
        let list = match self.get(key).ok_or_else(expected)? {
            Value::Array(list) => list.iter().map(size).collect::<Option<Vec<_>>>().ok_or_else(expected)?,
            single => vec![size(single).ok_or_else(expected)?; stages],
        };
        if list.len() == stages { Ok(list) } else { Err(expected()) }
    }

    /// 2 or 3, from `conv_op`.
    fn dimensions(&self) -> Result<usize, NetworkError> {
        match self.class_name("conv_op") {
            Some("Conv2d") => Ok(2),
            Some("Conv3d") => Ok(3),
            _ => Err(self.fault("conv_op", "torch.nn.modules.conv.Conv2d or torch.nn.modules.conv.Conv3d")),
        }
    }

    /// The last part of a dotted class name.
    pub(super) fn class_name(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()?.rsplit('.').next()
    }

    /// A nested object with no other keys than `known`; `None` where absent or null.
    pub(super) fn options(
        &self,
        key: &str,
        known: &'static [&'static str],
    ) -> Result<Option<&'a Map<String, Value>>, NetworkError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let options = value.as_object().ok_or_else(|| self.fault(key, "null or an object"))?;
        match options.keys().find(|k| !known.contains(&k.as_str())) {
            Some(unknown) => Err(NetworkError::UnknownKwarg {
                class: self.class,
                key: format!("{key}.{unknown}"),
                known: known.join(", "),
            }),
            None => Ok(Some(options)),
        }
    }
}

/// A whole number, also one written as 2.0.
fn whole(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && (0.0..1e9).contains(f)).map(|f| f as u64))
        .and_then(|n| usize::try_from(n).ok())
}
