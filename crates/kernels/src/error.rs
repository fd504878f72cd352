//! What a kernel refuses.

/// A call that does not fit together, or a shape that no kernel supports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A slice does not have the length that the shape asks for.
    #[error("{what} has {found} values, but the shape asks for {expected}")]
    Length {
        /// The argument.
        what: &'static str,
        /// Number of values that the shape asks for.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// A size or parameter is outside of what the kernels support.
    #[error("{what} is {found}, supported is {supported}")]
    Unsupported {
        /// The parameter.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        supported: &'static str,
    },
    /// Weights were packed for another shape, or never packed.
    #[error(
        "the packed weights do not belong to this convolution: packed for {packed}, asked for {asked}; pack them again for the new shape"
    )]
    PackedWeights {
        /// What the weights were packed for.
        packed: String,
        /// What the call asked for.
        asked: String,
    },
    /// A name of a CPU level that does not exist.
    #[error("unknown CPU level '{0}', known are {known}", known = crate::CpuLevel::ALL.map(crate::CpuLevel::name).join(", "))]
    UnknownCpuLevel(String),
}

/// Compares a length with what the shape asks for.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), KernelError> {
    if found == expected { Ok(()) } else { Err(KernelError::Length { what, expected, found }) }
}

/// Checks that a size lies in a range.
pub(crate) fn check_range(
    what: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
    supported: &'static str,
) -> Result<(), KernelError> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(KernelError::Unsupported { what, found: value.to_string(), supported })
    }
}

/// Checks the slope of a LeakyReLU: `max(v, v * slope)` is the activation for 0 <= slope <= 1 only.
pub(crate) fn check_slope(slope: f32) -> Result<(), KernelError> {
    if (0.0..=1.0).contains(&slope) {
        Ok(())
    } else {
        Err(KernelError::Unsupported {
            what: "negative slope",
            found: slope.to_string(),
            supported: "0 to 1",
        })
    }
}
