//! Sites with phantom datasets, and what a server does with their answers.

use std::path::{Path, PathBuf};

use nnunet::progress::{Cancel, Silent};
use nnunet::{Ctx, DatasetName, Folders, PreprocessJob, Project};
use nnunet_federated::{FederatedError, Message, Settings, Site, aggregate, merge};
use nnunet_testkit::phantom::PhantomDataset;
use serde_json::Value;

/// Name of the dataset at every site.
pub(crate) const NAME: &str = "Dataset007_Balls";

/// Sites in folders of their own, and the folder of the exchange.
pub(crate) struct Place {
    pub(crate) root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The folders of a site.
    pub(crate) fn project(&self, site: &str) -> Project {
        Project::new(Folders {
            raw: Some(self.path(&format!("{site}/raw"))),
            preprocessed: Some(self.path(&format!("{site}/pre"))),
            results: Some(self.path(&format!("{site}/res"))),
        })
    }

    /// Writes a dataset with these cases; every case is the same wherever it is.
    pub(crate) fn write_dataset(&self, site: &str, cases: std::ops::Range<u32>) {
        let folder = self.path(&format!("{site}/raw")).join(NAME);
        for case in cases.clone() {
            let spacing = [1.0 + 0.1 * case as f32, 1.0, 1.0 + 0.01 * case as f32];
            let phantom = PhantomDataset { spacing, ..Default::default() };
            let id = format!("ball_{case:03}");
            phantom.write_case(&folder.join("imagesTr"), &folder.join("labelsTr"), &id, case);
        }
        let phantom = PhantomDataset { cases: cases.len(), ..Default::default() };
        std::fs::write(folder.join("dataset.json"), phantom.dataset_json()).unwrap();
    }

    /// Writes a file of settings: those of a federation of `sites` that trains in milliseconds, and `more`.
    pub(crate) fn settings(&self, sites: &[&str], more: &str) -> PathBuf {
        let text = format!(
            "name = \"balls\"\nsites = {sites:?}\niterations_per_epoch = 2\nbatch_size = 2\n{more}\n"
        );
        let path = self.path("federation.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path).unwrap();
        path
    }

    /// What a site does with `input`.
    pub(crate) fn at<T>(
        &self,
        site: &str,
        act: impl FnOnce(&Site<'_>, Ctx<'_>) -> Result<T, FederatedError>,
    ) -> Result<T, FederatedError> {
        let (project, cancel) = (self.project(site), Cancel::new());
        let dataset = DatasetName::new(NAME).unwrap();
        let site = Site { project: &project, name: site.to_owned(), dataset, key: None, agreed: None };
        act(&site, Ctx::new(&Silent, &cancel))
    }

    /// Every site answers `input` in the folder `step`, and the server merges the answers.
    pub(crate) fn exchange_fingerprints(&self, sites: &[&str], step: &str, input: &Path) -> PathBuf {
        for site in sites {
            self.at(site, |site, ctx| site.fingerprint(input, &self.path(step).join(&site.name), ctx))
                .unwrap();
        }
        let merged = self.path(&format!("{step}_merged"));
        merge(&self.path(step), &merged, None).unwrap();
        merged
    }

    /// Plans, makes the network tiny, `change`s the configuration and preprocesses: everything before round 0.
    pub(crate) fn prepare(&self, site: &str, change: impl FnOnce(&mut Value)) {
        let project = self.project(site);
        let (cancel, dataset) = (Cancel::new(), DatasetName::new(NAME).unwrap());
        let ctx = Ctx::new(&Silent, &cancel);
        project.fingerprint(&nnunet::FingerprintJob::new(dataset.clone()), ctx).unwrap();
        project.plan(&nnunet::PlanJob::new(dataset.clone())).unwrap();
        let path = self.path(&format!("{site}/pre")).join(NAME).join("nnUNetPlans.json");
        let mut plans: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let configuration = &mut plans["configurations"]["3d_fullres"];
        nnunet_testkit::plans::shrink(configuration);
        change(configuration);
        std::fs::write(&path, plans.to_string()).unwrap();
        let job = PreprocessJob {
            configurations: vec!["3d_fullres".to_owned()],
            ..PreprocessJob::new(dataset, "nnUNetPlans")
        };
        project.preprocess(&job, ctx).unwrap();
    }

    /// Round `round` at the given sites; returns the weights of all.
    pub(crate) fn round(&self, sites: &[&str], round: usize, input: &Path) -> PathBuf {
        let answers = self.path(&format!("round_{round}"));
        for site in sites {
            self.at(site, |site, ctx| site.round(input, &answers.join(&site.name), ctx)).unwrap();
        }
        let global = self.path(&format!("global_{round}"));
        aggregate(&answers, &global, None).unwrap();
        global
    }

    /// The message in a folder.
    pub(crate) fn message(&self, folder: &Path) -> Message {
        Message::read(folder, None).unwrap()
    }
}
