//! The faults of a dataset.

use std::path::PathBuf;

use nnunet_base::Ctx;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetName;
use nnunet_dataset::repair::{Outcome, repair};
use nnunet_dataset::verify::{Fault, Report, Severity, verify};

use super::Project;
use crate::error::Error;

/// A dataset to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyJob {
    /// The dataset.
    pub dataset: DatasetName,
    /// Whether to repair what can be repaired without a doubt.
    pub repair: bool,
}

/// What a check has found.
#[derive(Debug)]
pub struct Verification {
    /// The raw folder of the dataset.
    pub folder: PathBuf,
    /// The faults.
    pub report: Report,
    /// What became of each fault, in their order.
    pub outcomes: Vec<Outcome>,
}

impl Verification {
    /// The faults with what became of them.
    pub fn faults(&self) -> impl Iterator<Item = (&Fault, &Outcome)> {
        self.report.faults.iter().zip(&self.outcomes)
    }

    /// How many faults were repaired.
    pub fn repaired(&self) -> usize {
        self.outcomes.iter().filter(|outcome| **outcome == Outcome::Repaired).count()
    }

    /// How many faults are left that forbid the use of the dataset.
    pub fn errors(&self) -> usize {
        self.left().filter(|fault| fault.problem.severity() == Severity::Error).count()
    }

    /// How many are left that do not.
    pub fn warnings(&self) -> usize {
        self.left().count() - self.errors()
    }

    /// Whether the dataset can be used.
    ///
    /// # Errors
    /// [`Error::Faults`] if it cannot.
    pub fn usable(&self) -> Result<(), Error> {
        match self.errors() {
            0 => Ok(()),
            errors => Err(Error::Faults {
                folder: self.folder.clone(),
                cases: self.report.cases,
                repaired: self.repaired(),
                errors,
                warnings: self.warnings(),
            }),
        }
    }

    fn left(&self) -> impl Iterator<Item = &Fault> {
        self.faults().filter(|(_, outcome)| **outcome != Outcome::Repaired).map(|(fault, _)| fault)
    }
}

impl Project {
    /// Lists every fault of a raw dataset. That there are some is no error: see [`Verification::usable`].
    ///
    /// # Errors
    /// The folder of raw datasets is not known; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, VerifyJob, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let found = project.verify(&VerifyJob { dataset: project.dataset("4")?, repair: false }, ctx)?;
    /// for (fault, _) in found.faults() {
    ///     println!("{}: {}", fault.path.display(), fault.problem);
    /// }
    /// found.usable()?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn verify(&self, job: &VerifyJob, ctx: Ctx<'_>) -> Result<Verification, Error> {
        let folder = self.folders.raw()?.join(&job.dataset);
        let formats = &self.registry.data.formats;
        let report = verify(&folder, |name| (self.variables)(name), formats, ctx);
        if report.interrupted {
            return Err(Error::CheckInterrupted { folder, source: Interrupted });
        }
        let outcomes = match job.repair {
            true => repair(&folder, &report, formats),
            false => report.faults.iter().map(|_| Outcome::Left).collect(),
        };
        Ok(Verification { folder, report, outcomes })
    }
}
