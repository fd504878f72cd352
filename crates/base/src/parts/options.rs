//! Options of a part, read one by one and refused where the part does not have them.

use serde_json::{Map, Value};

use crate::spelling::closest;

/// Reads the options of a part. Each option is asked for by name, with its default; what nobody asked for is an error of
/// [`Options::finish`].
#[derive(Debug)]
pub struct Options<'a> {
    what: String,
    given: &'a Map<String, Value>,
    asked: Vec<&'static str>,
}

impl<'a> Options<'a> {
    /// Options of `what`, e.g. `loss focal`.
    pub fn new(what: impl Into<String>, given: &'a Map<String, Value>) -> Self {
        Self { what: what.into(), given, asked: Vec::new() }
    }

    /// What the options belong to, for messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The number `name` if it is given.
    ///
    /// # Errors
    /// A value that is no finite number.
    pub fn optional_number(&mut self, name: &'static str) -> Result<Option<f64>, OptionError> {
        self.read(name, "a number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    /// The number `name`.
    ///
    /// # Errors
    /// A value that is no finite number.
    pub fn number(&mut self, name: &'static str, default: f64) -> Result<f64, OptionError> {
        Ok(self.optional_number(name)?.unwrap_or(default))
    }

    /// The number `name`, which has to satisfy `valid`; `expected` says in words what that is, e.g. `a number above 0`.
    ///
    /// # Errors
    /// A value that is no finite number or not valid.
    pub fn number_where(
        &mut self,
        name: &'static str,
        default: f64,
        expected: &'static str,
        valid: impl Fn(f64) -> bool,
    ) -> Result<f64, OptionError> {
        let number =
            self.read(name, expected, |value| value.as_f64().filter(|n| n.is_finite() && valid(*n)))?;
        Ok(number.unwrap_or(default))
    }

    /// The probability `name`, from 0 to 1.
    ///
    /// # Errors
    /// Anything else.
    pub fn probability(&mut self, name: &'static str, default: f64) -> Result<f64, OptionError> {
        self.number_where(name, default, "a number from 0 to 1", |p| (0.0..=1.0).contains(&p))
    }

    /// The range `name`, written `[low, high]`.
    ///
    /// # Errors
    /// Anything but two finite numbers in ascending order.
    pub fn range(&mut self, name: &'static str, default: [f64; 2]) -> Result<[f64; 2], OptionError> {
        let read = |value: &Value| match numbers(value)?[..] {
            [low, high] if low <= high => Some([low, high]),
            _ => None,
        };
        Ok(self.read(name, "[low, high]", read)?.unwrap_or(default))
    }

    /// The numbers `name` if they are given.
    ///
    /// # Errors
    /// Anything but a list of finite numbers.
    pub fn optional_numbers(&mut self, name: &'static str) -> Result<Option<Vec<f64>>, OptionError> {
        self.read(name, "a list of numbers", numbers)
    }

    /// The count `name` if it is given.
    ///
    /// # Errors
    /// Anything but a whole number of at least 0.
    pub fn optional_count(&mut self, name: &'static str) -> Result<Option<usize>, OptionError> {
        self.read(name, "a whole number of at least 0", |value| value.as_u64()?.try_into().ok())
    }

    /// The count `name`.
    ///
    /// # Errors
    /// Anything but a whole number of at least 0.
    pub fn count(&mut self, name: &'static str, default: usize) -> Result<usize, OptionError> {
        Ok(self.optional_count(name)?.unwrap_or(default))
    }

    /// The counts `name` if they are given, e.g. axes or channels.
    ///
    /// # Errors
    /// Anything but a list of whole numbers of at least 0.
    pub fn optional_counts(&mut self, name: &'static str) -> Result<Option<Vec<usize>>, OptionError> {
        self.read(name, "a list of whole numbers of at least 0", |value| {
            value.as_array()?.iter().map(|v| v.as_u64()?.try_into().ok()).collect()
        })
    }

    /// The switch `name`.
    ///
    /// # Errors
    /// Anything but true or false.
    pub fn switch(&mut self, name: &'static str, default: bool) -> Result<bool, OptionError> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// The text `name` if it is given.
    ///
    /// # Errors
    /// Anything but text.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, OptionError> {
        self.read(name, "text", |value| value.as_str().map(str::to_owned))
    }

    /// One of `words` by the name `name`; `words[0]` where it is not given.
    ///
    /// # Errors
    /// Another word.
    ///
    /// # Panics
    /// If `words` is empty.
    pub fn word(
        &mut self,
        name: &'static str,
        words: &'static [&'static str],
    ) -> Result<&'static str, OptionError> {
        let read = |value: &Value| words.iter().copied().find(|word| value.as_str() == Some(word));
        self.asked.push(name);
        match self.given.get(name) {
            None => Ok(words[0]),
            Some(value) => read(value).ok_or_else(|| self.wrong(name, value, words.join(" or "))),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// An option that was given and not asked for, with the closest one that exists.
    pub fn finish(self) -> Result<(), OptionError> {
        match self.given.keys().find(|name| !self.asked.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(OptionError::Unknown {
                what: self.what,
                name: name.clone(),
                closest: closest(name, self.asked.iter().copied()).map(str::to_owned),
                known: self.asked.iter().map(|&name| name.to_owned()).collect(),
            }),
        }
    }

    /// An error on the value of the option `name`, for rules that involve several options.
    pub fn invalid(&self, name: &str, expected: impl Into<String>) -> OptionError {
        self.wrong(name, self.given.get(name).unwrap_or(&Value::Null), expected)
    }

    /// An error on the part as a whole, which does not fit the data that it was chosen for. `reason` goes on after the
    /// part's name and says what to choose instead.
    pub fn unsuitable(&self, reason: impl Into<String>) -> OptionError {
        OptionError::Unsuitable { what: self.what.clone(), reason: reason.into() }
    }

    /// The option `name` as `read` understands it, for kinds of values that only one part has; `expected` says in words
    /// what these are.
    ///
    /// # Errors
    /// A value that `read` does not take.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        self.asked.push(name);
        match self.given.get(name) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(result) => Ok(Some(result)),
                None => Err(self.wrong(name, value, expected)),
            },
        }
    }

    fn wrong(&self, name: &str, found: &Value, expected: impl Into<String>) -> OptionError {
        OptionError::Value {
            what: self.what.clone(),
            name: name.to_owned(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(|v| v.as_f64().filter(|number| number.is_finite())).collect()
}

/// An option that a part does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A value that the option does not have.
    #[error("{what}: {name} is {found}, expected {expected}")]
    Value {
        /// What the option belongs to.
        what: String,
        /// Name of the option.
        name: String,
        /// Its value as it is written.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// An option that does not exist.
    #[error(
        "{what}: there is no option {name:?}{suggestion}{list}",
        suggestion = closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)")),
        list = if known.is_empty() { "; it has none".to_owned() } else { format!("; known: {}", known.join(", ")) }
    )]
    Unknown {
        /// What the option belongs to.
        what: String,
        /// Name of the option.
        name: String,
        /// The known name that was probably meant, if one resembles it.
        closest: Option<String>,
        /// All options that exist.
        known: Vec<String>,
    },
    /// A part that does not fit the data that it was chosen for.
    #[error("{what} {reason}")]
    Unsuitable {
        /// The part.
        what: String,
        /// Why, and what to choose instead.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::parts::Choice;

    fn choice() -> Choice {
        Choice::new("focal")
            .with("gamma", 2)
            .with("range", json!([0.5, 1.5]))
            .with("axes", json!([0, 2]))
            .with("per_class", true)
            .with("mode", "sum")
    }

    #[test]
    fn options_are_read_with_defaults_for_the_others() {
        let choice = choice();
        let mut options = choice.reader("loss focal");
        assert_eq!(options.number("gamma", 1.0), Ok(2.0));
        assert_eq!(options.number("alpha", 0.25), Ok(0.25));
        assert_eq!(options.range("range", [0.0, 1.0]), Ok([0.5, 1.5]));
        assert_eq!(options.optional_counts("axes"), Ok(Some(vec![0, 2])));
        assert_eq!(options.switch("per_class", false), Ok(true));
        assert_eq!(options.word("mode", &["mean", "sum"]), Ok("sum"));
        assert_eq!(options.finish(), Ok(()));
    }

    #[test]
    fn options_that_nobody_asked_for_are_errors_with_the_closest_one() {
        let choice = Choice::new("focal").with("gama", 2);
        let mut options = choice.reader("loss focal");
        options.number("gamma", 1.0).unwrap();
        options.number("alpha", 1.0).unwrap();
        assert_eq!(
            options.finish().unwrap_err().to_string(),
            "loss focal: there is no option \"gama\" (did you mean gamma?); known: gamma, alpha"
        );
    }

    #[test]
    fn values_of_another_kind_say_what_was_expected() {
        let choice = Choice::new("x")
            .with("gamma", "two")
            .with("range", json!([2.0, 1.0]))
            .with("p", 1.5)
            .with("n", -1)
            .with("mode", "median");
        let mut options = choice.reader("loss x");
        let texts = [
            options.number("gamma", 1.0).unwrap_err().to_string(),
            options.range("range", [0.0, 1.0]).unwrap_err().to_string(),
            options.probability("p", 0.5).unwrap_err().to_string(),
            options.count("n", 1).unwrap_err().to_string(),
            options.word("mode", &["mean", "sum"]).unwrap_err().to_string(),
        ];
        assert_eq!(
            texts,
            [
                "loss x: gamma is \"two\", expected a number",
                "loss x: range is [2.0,1.0], expected [low, high]",
                "loss x: p is 1.5, expected a number from 0 to 1",
                "loss x: n is -1, expected a whole number of at least 0",
                "loss x: mode is \"median\", expected mean or sum",
            ]
        );
    }
}
