//! How a training treats the pretrained weights that it starts from.

use nnunet_base::parts::{OptionError, Options};
use serde_json::{Map, Value, json};

use crate::error::RecipeError;

/// How a training treats the pretrained weights that it starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct FineTuning {
    /// What is taken over.
    pub load: LoadedPart,
    /// Whether the first convolution's weights are repeated where the data have another number of channels.
    pub repeat_stem: bool,
    /// Parts that do not learn: `encoder`, `decoder` (without the heads), `heads`, or the beginning of parameters' names, part by
    /// part, where `*` stands for any: `encoder.stages.0`, `decoder.*.1`.
    pub frozen: Vec<String>,
    /// Epochs at the beginning in which only the segmentation heads learn.
    pub head_epochs: usize,
    /// Factor of the learning rate from each stage to the one before it, towards the input; 1 for none.
    pub rate_decay: f64,
}

/// Which part of pretrained weights is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedPart {
    /// All but the segmentation heads.
    All,
    /// The encoder.
    Encoder,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self {
            load: LoadedPart::All,
            repeat_stem: false,
            frozen: Vec::new(),
            head_epochs: 0,
            rate_decay: 1.0,
        }
    }
}

impl FineTuning {
    /// The table `fine_tuning` of a recipe's `options`, with what is not in it from `base`.
    pub(crate) fn read(options: &mut Options<'_>, base: Self) -> Result<Self, RecipeError> {
        let expected = "a table of load, repeat_stem, frozen, head_epochs and rate_decay";
        let Some(own) = options.read("fine_tuning", expected, |value| value.as_object().cloned())? else {
            return Ok(base);
        };
        Ok(Self::from_table(&own, base)?)
    }

    fn from_table(own: &Map<String, Value>, base: Self) -> Result<Self, OptionError> {
        let mut options = Options::new("recipe: fine_tuning", own);
        let texts = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let fine_tuning = Self {
            load: options.read("load", "all or encoder", LoadedPart::from_value)?.unwrap_or(base.load),
            repeat_stem: options.switch("repeat_stem", base.repeat_stem)?,
            frozen: options.read("frozen", "a list of parts of the network", texts)?.unwrap_or(base.frozen),
            head_epochs: options.count("head_epochs", base.head_epochs)?,
            rate_decay: options.number_where(
                "rate_decay",
                base.rate_decay,
                "a number above 0 and at most 1",
                |decay| decay > 0.0 && decay <= 1.0,
            )?,
        };
        options.finish()?;
        Ok(fine_tuning)
    }

    /// The table; `None` where everything is as by default.
    pub(crate) fn to_value(&self) -> Option<Value> {
        let table = json!({
            "load": self.load.word(),
            "repeat_stem": self.repeat_stem,
            "frozen": self.frozen,
            "head_epochs": self.head_epochs,
            "rate_decay": self.rate_decay,
        });
        (*self != Self::default()).then_some(table)
    }
}

impl LoadedPart {
    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Encoder => "encoder",
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        [Self::All, Self::Encoder].into_iter().find(|part| value.as_str() == Some(part.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_and_mistakes_are_named() {
        let given =
            json!({"load": "encoder", "frozen": ["encoder.stages.0"], "head_epochs": 5, "rate_decay": 0.8});
        let read = |value: &Value| FineTuning::from_table(value.as_object().unwrap(), FineTuning::default());
        let fine_tuning = read(&given).unwrap();
        assert_eq!((fine_tuning.load, fine_tuning.head_epochs), (LoadedPart::Encoder, 5));
        assert_eq!(read(&fine_tuning.to_value().unwrap()).unwrap(), fine_tuning);
        assert_eq!(FineTuning::default().to_value(), None);
        for (wrong, words) in [
            (json!({"load": "decoder"}), "load is \"decoder\", expected all or encoder"),
            (json!({"frozn": []}), "no option \"frozn\" (did you mean frozen?)"),
            (json!({"rate_decay": 1.5}), "at most 1"),
            (json!({"frozen": "encoder"}), "a list of parts"),
        ] {
            let error = read(&wrong).unwrap_err().to_string();
            assert!(error.starts_with("recipe: fine_tuning") && error.contains(words), "{error}");
        }
    }
}
