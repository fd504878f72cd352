//! What follows from the choice: a record for programs, and the commands for the user.

use std::path::Path;

use super::best::{SelectRequest, Selection};
use super::error::SelectError;
use nnunet_data::plan::Plans;
use nnunet_infer::model::ModelName;
use nnunet_pyformats::json::Json;

/// The content of inference_information.json, with the keys of the reference.
pub fn information(request: &SelectRequest, selection: &Selection) -> Json {
    let model = |model: &ModelName, plans_key: &str| {
        Json::object([
            ("configuration", Json::from(model.configuration.as_str())),
            ("trainer", Json::from(model.trainer.as_str())),
            (plans_key, Json::from(model.plans.as_str())),
        ])
    };
    let winner = selection.winner();
    let file = |name: &str| Json::String(winner.folder.join(name).display().to_string());
    let members = winner.members.iter().map(|member| model(member, "plans_identifier")).collect();
    let best = Json::object([
        ("postprocessing_file", file("postprocessing.pkl")),
        ("result_on_crossval_post_pp", Json::Float(selection.postprocessing.after.foreground_mean.dice)),
        ("result_on_crossval_pre_pp", Json::Float(winner.dice)),
        ("selected_model_or_models", Json::Array(members)),
        ("some_plans_file", file("plans.json")),
    ]);
    let results = selection.candidates.iter().map(|c| (c.identifier.as_str(), Json::Float(c.dice)));
    let considered = selection.considered.iter().map(|considered| model(considered, "plans")).collect();
    Json::object([
        ("all_results", Json::object(results)),
        ("best_model_or_ensemble", best),
        ("considered_models", Json::Array(considered)),
        ("dataset_name_or_id", Json::from(request.dataset.as_str())),
        ("ensembling_allowed", Json::Bool(request.ensembling)),
        ("folds", Json::Array(request.folds.iter().map(|&fold| Json::Int(i64::from(fold))).collect())),
    ])
}

/// The text of inference_instructions.txt: how to predict new cases with the choice. `results` is the folder
/// of the dataset's models.
///
/// # Errors
/// plans.json of a member cannot be read.
pub fn instructions(
    request: &SelectRequest,
    selection: &Selection,
    results: &Path,
) -> Result<String, SelectError> {
    let winner = selection.winner();
    let several = winner.members.len() > 1;
    let mut text =
        format!("Best in the cross-validation: {} (mean Dice {:.4}).\n\n", winner.identifier, winner.dice);
    text.push_str("Predict:\n");
    let mut outputs = Vec::new();
    for (i, member) in winner.members.iter().enumerate() {
        let number = i + 1;
        let output =
            if several { format!("OUTPUT_FOLDER_MODEL_{number}") } else { "OUTPUT_FOLDER".to_owned() };
        let plans = Plans::read(results.join(member.to_string()).join("plans.json"))?;
        let mut end = String::new();
        if let Some(previous) = plans.configuration(&member.configuration)?.previous_stage {
            let stage = ModelName { configuration: previous, ..member.clone() };
            let folder = format!("OUTPUT_FOLDER_PREV_STAGE_{number}");
            text.push_str(&format!("{}\n", predict(request, &stage, &folder)));
            end = format!(" -prev_stage_predictions {folder}");
        }
        if several {
            end.push_str(" --save_probabilities");
        }
        text.push_str(&format!("{}{end}\n", predict(request, member, &output)));
        outputs.push(output);
    }
    if several {
        let inputs = outputs.join(" ");
        text.push_str(&format!("\nAverage the models:\nnnunet ensemble -i {inputs} -o OUTPUT_FOLDER\n"));
    }
    text.push_str(&format!(
        "\nPostprocess:\nnnunet apply-postprocessing -i OUTPUT_FOLDER -o OUTPUT_FOLDER_PP -pp_pkl_file {} \
         -plans_json {}\n",
        quoted(&winner.folder.join("postprocessing.pkl")),
        quoted(&winner.folder.join("plans.json"))
    ));
    text.push_str(
        "\nThe Python nnU-Net takes the same arguments: nnUNetv2_predict, nnUNetv2_ensemble, \
         nnUNetv2_apply_postprocessing.\n",
    );
    Ok(text)
}

fn predict(request: &SelectRequest, model: &ModelName, output: &str) -> String {
    let folds: Vec<_> = request.folds.iter().map(u32::to_string).collect();
    format!(
        "nnunet predict -d {} -i INPUT_FOLDER -o {output} -f {} -tr {} -c {} -p {}",
        request.dataset,
        folds.join(" "),
        model.trainer,
        model.configuration,
        model.plans
    )
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}
