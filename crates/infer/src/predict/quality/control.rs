//! The quality control of one run over many cases.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nnunet_dataset::LabelOrRegion;

use super::agreement::Agreement;
use super::score::CaseQuality;
use super::table::QualityTable;
use super::volumes::{TrainingVolumes, class_names};
use crate::model::ModelSpec;
use crate::predict::error::PredictError;

/// Collects what is known of the quality of the cases of a run, in a [`QualityTable`].
pub(in crate::predict) struct QualityControl<'a> {
    classes: Vec<LabelOrRegion>,
    names: Vec<String>,
    passes: usize,
    training: Option<&'a TrainingVolumes>,
    table: Mutex<QualityTable>,
}

impl<'a> QualityControl<'a> {
    /// Into the table `path`, for predictions of `spec` by so many `passes`, whose volumes are compared with those of the training
    /// set.
    pub(in crate::predict) fn new(
        spec: &ModelSpec,
        passes: usize,
        training: Option<&'a TrainingVolumes>,
        path: PathBuf,
    ) -> Result<Self, PredictError> {
        let classes = spec.labels.foreground();
        let names = class_names(&spec.dataset, &classes);
        let table =
            QualityTable::open(path.clone(), &names).map_err(|source| PredictError::Io { path, source })?;
        Ok(Self { classes, names, passes, training, table: Mutex::new(table) })
    }

    /// The classes whose volumes are wanted.
    pub(in crate::predict) fn classes(&self) -> &[LabelOrRegion] {
        &self.classes
    }

    /// Whether a case is in the table.
    pub(in crate::predict) fn has(&self, case: &str) -> bool {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).has(case)
    }

    /// Writes a case, with its `volumes` in ml, into the table.
    pub(in crate::predict) fn note(
        &self,
        case: &str,
        agreement: Agreement,
        volumes: &[f64],
    ) -> Result<(), PredictError> {
        let found = agreement.finish();
        let quality =
            CaseQuality::new(case.to_owned(), self.passes, &found, &self.names, volumes, self.training);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.add(&quality).map_err(|source| PredictError::Io { path: table.path().to_owned(), source })
    }
}
