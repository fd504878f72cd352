//! Why a sliding window ended early.

use nnunet_base::progress::Interrupted;
use nnunet_graph::NetworkError;

use super::bands::HandOut;
use super::export::ExportError;

/// Why a sliding window ended early.
#[derive(Debug, thiserror::Error)]
pub enum SlidingWindowError {
    /// The network failed.
    #[error("the network failed on a tile: {0}")]
    Network(#[source] NetworkError),
    /// The network returned another shape than its input's.
    #[error("the network returned logits of shape {found:?} for tiles of shape {expected:?}")]
    Shape {
        /// (z, y, x) of the logits.
        found: [usize; 3],
        /// (z, y, x) of the tile.
        expected: [usize; 3],
    },
    /// Logits are infinite or not a number.
    #[error("the network's logits are not finite numbers: the weights or the image are damaged")]
    NotFinite,
    /// Whoever takes the logits failed.
    #[error(transparent)]
    Export(ExportError),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
}

impl From<HandOut> for SlidingWindowError {
    fn from(error: HandOut) -> Self {
        match error {
            HandOut::NotFinite => Self::NotFinite,
            HandOut::Sink(error) => Self::Export(error),
        }
    }
}
