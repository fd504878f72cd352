//! What can be wrong with a pickle.

/// Why a pickle cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The bytes end within an instruction or before the end mark.
    #[error("the pickle ends after {len} bytes in the middle of its data: the file is truncated")]
    Truncated {
        /// Bytes there are.
        len: usize,
    },
    /// A byte that is no instruction of protocols 0 to 5.
    #[error(
        "byte {opcode:#04x} at offset {offset} is no pickle instruction: the file is damaged or no pickle"
    )]
    UnknownOpcode {
        /// The byte.
        opcode: u8,
        /// Where it stands.
        offset: usize,
    },
    /// An instruction that needs something outside of the file.
    #[error("the pickle at offset {offset} uses {feature}, which is not supported: write it again without")]
    Unsupported {
        /// Where.
        offset: usize,
        /// What.
        feature: &'static str,
    },
    /// Instructions that contradict each other.
    #[error("the pickle is damaged at offset {offset}: {found} where {expected} is expected")]
    Malformed {
        /// Where.
        offset: usize,
        /// What is there.
        found: String,
        /// What ought to be there.
        expected: &'static str,
    },
    /// More than any honest file holds.
    #[error("the pickle holds more than {limit} {what}: refused, as a file of nnU-Net holds far fewer")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Containers that hold themselves or are nested too deep.
    #[error("the values of the pickle are nested deeper than {limit} levels or contain themselves: refused")]
    TooDeep {
        /// Deepest nesting that is read.
        limit: usize,
    },
    /// A class or function that is not written, since Python would run it.
    #[error(
        "{module}.{name} cannot be written to a pickle: Python would run it on loading, and it is not one of the known data types"
    )]
    NotWritable {
        /// Python module.
        module: String,
        /// Name within the module.
        name: String,
    },
    /// A value of which the writer knows no form.
    #[error("a value of kind {kind} cannot be written to this pickle: {reason}")]
    NoForm {
        /// Kind of the value.
        kind: &'static str,
        /// Why not.
        reason: &'static str,
    },
}
