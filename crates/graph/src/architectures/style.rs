//! Reading what all convolutions of a network share from `arch_kwargs`: bias, norm, activation, dropout, their order.
//!
//! Classes are recognised by the last part of their name, so `torch.nn.GELU` and `torch.nn.modules.activation.GELU` are one.

use serde_json::Value;

use super::blocks::{Activation, ConvStyle, NormKind, NormStyle};
use super::kwargs::Kwargs;
use crate::error::NetworkError;

/// Epsilon of torch's norms where none is given.
const EPSILON: f64 = 1e-5;
/// Share of a new batch in a batch norm's running statistics where none is given.
const MOMENTUM: f64 = 0.1;

impl Kwargs<'_> {
    /// Bias, normalisation, activation and dropout that all convolutions of the network share.
    pub(super) fn conv_style(&self, dimensions: usize) -> Result<ConvStyle, NetworkError> {
        Ok(ConvStyle {
            bias: self.flag("conv_bias", false)?,
            norm: self.norm(dimensions)?,
            activation: self.activation()?,
            activation_first: self.flag("nonlin_first", false)?,
            dropout: self.dropout()?,
        })
    }

    fn norm(&self, dimensions: usize) -> Result<Option<NormStyle>, NetworkError> {
        const KEY: &str = "norm_op_kwargs";
        let instance = format!("InstanceNorm{dimensions}d");
        let batch = format!("BatchNorm{dimensions}d");
        let name = self.class_name("norm_op");
        let torch_affine = match name {
            None if self.get("norm_op").is_none() => return Ok(None),
            Some(name) if name == instance => {
                self.options(KEY, &["eps", "affine", "momentum", "track_running_stats"])?;
                false
            }
            Some(name) if name == batch => {
                self.options(KEY, &["eps", "affine", "momentum", "track_running_stats"])?;
                true
            }
            Some("GroupNorm") => {
                self.options(KEY, &["num_groups", "eps", "affine"])?;
                true
            }
            _ => {
                let expected = format!("null, torch.nn.{instance}, torch.nn.{batch} or torch.nn.GroupNorm");
                return Err(self.fault("norm_op", expected));
            }
        };
        let epsilon = self.option(KEY, "eps", Value::as_f64, "a number")?.unwrap_or(EPSILON);
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(self.fault(KEY, "\"eps\" above zero"));
        }
        let affine = self.option(KEY, "affine", Value::as_bool, "true or false")?.unwrap_or(torch_affine);
        let tracked = self.option(KEY, "track_running_stats", Value::as_bool, "true or false")?;
        let kind = if name == Some(&instance) {
            if tracked == Some(true) {
                return Err(self.fault(KEY, "\"track_running_stats\" absent or false for instance norm"));
            }
            NormKind::Instance
        } else if name == Some(&batch) {
            NormKind::Batch { momentum: self.momentum()?, tracked: tracked.unwrap_or(true) }
        } else {
            let groups = self.option(KEY, "num_groups", Value::as_u64, "a whole number")?;
            match groups.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) {
                Some(groups) => NormKind::Group { groups },
                None => return Err(self.fault(KEY, "\"num_groups\" of at least 1 for group norm")),
            }
        };
        Ok(Some(NormStyle { kind, epsilon, affine }))
    }

    /// torch takes null for the mean over all batches.
    fn momentum(&self) -> Result<Option<f64>, NetworkError> {
        const KEY: &str = "norm_op_kwargs";
        match self
            .options(KEY, &["eps", "affine", "momentum", "track_running_stats"])?
            .and_then(|o| o.get("momentum"))
        {
            None => Ok(Some(MOMENTUM)),
            Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|m| (0.0..=1.0).contains(m)) {
                Some(momentum) => Ok(Some(momentum)),
                None => Err(self.fault(KEY, "\"momentum\" from 0 to 1, or null")),
            },
        }
    }

    fn activation(&self) -> Result<Option<Activation>, NetworkError> {
        const KEY: &str = "nonlin_kwargs";
        match self.class_name("nonlin") {
            None if self.get("nonlin").is_none() => Ok(None),
            Some("LeakyReLU") => {
                self.options(KEY, &["inplace", "negative_slope"])?;
                let slope = self.option(KEY, "negative_slope", Value::as_f64, "a number")?.unwrap_or(0.01);
                if !(0.0..=1.0).contains(&slope) {
                    return Err(self.fault(KEY, "\"negative_slope\" from 0 to 1"));
                }
                Ok(Some(Activation::LeakyRelu(slope)))
            }
            Some("ReLU") => {
                self.options(KEY, &["inplace"])?;
                Ok(Some(Activation::LeakyRelu(0.0)))
            }
            Some("GELU") => {
                let form = self.options(KEY, &["approximate"])?.and_then(|o| o.get("approximate"));
                if form.is_some_and(|form| form != "none") {
                    return Err(self.fault(KEY, "\"approximate\" absent or \"none\": the exact GELU"));
                }
                Ok(Some(Activation::Gelu))
            }
            _ => Err(self.fault("nonlin", "null, torch.nn.LeakyReLU, torch.nn.ReLU or torch.nn.GELU")),
        }
    }

    /// Probability of the dropout between convolution and norm; `None` without one.
    fn dropout(&self) -> Result<Option<f64>, NetworkError> {
        const KEY: &str = "dropout_op_kwargs";
        match self.class_name("dropout_op") {
            None if self.get("dropout_op").is_none() => Ok(None),
            Some("Dropout" | "Dropout2d" | "Dropout3d") => {
                self.options(KEY, &["p", "inplace"])?;
                let probability = self.option(KEY, "p", Value::as_f64, "a number")?.unwrap_or(0.5);
                if !(0.0..=1.0).contains(&probability) {
                    return Err(self.fault(KEY, "\"p\" from 0 to 1"));
                }
                Ok(Some(probability))
            }
            _ => {
                Err(self
                    .fault("dropout_op", "null, torch.nn.Dropout, torch.nn.Dropout2d or torch.nn.Dropout3d"))
            }
        }
    }

    /// One entry of the nested object `key`, unless it is absent or null.
    fn option<T>(
        &self,
        key: &str,
        name: &str,
        read: fn(&Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, NetworkError> {
        let Some(value) = self.get(key).and_then(|o| o.get(name)).filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| self.fault(key, format!("\"{name}\" {expected}")))
    }
}
