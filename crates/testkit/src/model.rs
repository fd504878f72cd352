//! A trained model of a few thousand weights, for tests that predict.

use std::path::{Path, PathBuf};

/// Folder of a model that segments the shells and cores of [`crate::phantom::PhantomDataset`] (one channel,
/// plain labels, fold 0). `data/ball_model/README.md` says how it was made.
pub fn ball_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/ball_model")
}
