//! Deals the patients of a dataset out to sites: a raw dataset for each, whose dataset.json names the images where they are.

use std::path::Path;

use nnunet::dataset::Patients;
use nnunet::dataset::cases::{Case, training_cases_with_warnings};
use nnunet::files::write_atomic;
use nnunet::json::{Json, KeyOrder};
use nnunet::{Ctx, DatasetName, Project};

use crate::error::FederatedError;
use crate::settings::Settings;

/// Fewest patients of a site: a cross-validation has five folds.
const FEWEST: usize = 5;

/// Writes a raw dataset for each site that has none; its patients are every n-th one.
pub(super) fn divide(
    project: &Project,
    dataset: &DatasetName,
    settings: &Settings,
    folder: &Path,
    ctx: Ctx<'_>,
) -> Result<(), FederatedError> {
    let (raw, json) = project.raw_dataset(dataset)?;
    let cases = training_cases_with_warnings(&raw, &json, ctx.progress)?;
    let names: Vec<String> = cases.iter().map(|case| case.identifier.clone()).collect();
    let patients = Patients::load(&raw)?;
    let groups = match &patients {
        Some(patients) => patients.groups(&names)?,
        None => names.iter().map(|name| vec![name.clone()]).collect(),
    };
    let sites = settings.sites.len();
    if groups.len() < FEWEST * sites {
        return Err(FederatedError::TooFewCases { cases: cases.len(), groups: groups.len(), sites });
    }
    for (number, site) in settings.sites.iter().enumerate() {
        let path = folder.join("sites").join(site).join("raw").join(dataset.as_str()).join("dataset.json");
        if path.exists() {
            continue;
        }
        let own: Vec<&String> = groups.iter().skip(number).step_by(sites).flatten().collect();
        let listed = cases.iter().filter(|case| own.contains(&&case.identifier));
        let listed = listed.map(|case| Ok((case.identifier.clone(), entry(case)?)));
        let listed = listed.collect::<Result<Vec<_>, FederatedError>>()?;
        let Json::Object(mut document) = json.document().clone() else { continue };
        document.insert("numTraining".to_owned(), Json::Int(listed.len() as i64));
        document.insert("dataset".to_owned(), Json::object(listed));
        if let Some(patients) = &patients {
            let of = |case: &String| Some((case.clone(), Json::String(patients.of_case(case)?.to_owned())));
            document.insert("patients".to_owned(), Json::object(own.iter().filter_map(|case| of(case))));
        }
        let text = Json::Object(document).to_python(KeyOrder::Kept);
        write_atomic(&path, text.as_bytes()).map_err(FederatedError::io(&path))?;
    }
    Ok(())
}

/// A case as dataset.json lists it.
fn entry(case: &Case) -> Result<Json, FederatedError> {
    let text = |path: &Path| -> Result<Json, FederatedError> {
        let path = std::path::absolute(path).map_err(FederatedError::io(path))?;
        Ok(Json::String(path.display().to_string()))
    };
    let images = case.images.iter().map(|path| text(path)).collect::<Result<Vec<_>, _>>()?;
    let label = case.label.as_deref().map_or(Ok(Json::Null), text)?;
    Ok(Json::object([("images", Json::Array(images)), ("label", label)]))
}
