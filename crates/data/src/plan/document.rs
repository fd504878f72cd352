//! What was decided, in the words of nnUNetPlans.json: keys and their order as in the reference.

use indexmap::IndexMap;

use nnunet_pyformats::json::Json;

use super::patch_size::PatchPlan;
use super::planner::{DatasetFacts, Experiment, PlannerOptions};
use super::preset::{NetworkFamily, ResamplingFamily};
use super::resampling::{SPLINE, TORCH, UNCHANGED};
use super::target_spacing::ANISOTROPY_THRESHOLD;

/// The content of a plans file.
pub(super) fn plans(facts: &DatasetFacts, options: &PlannerOptions, experiment: &Experiment) -> Json {
    let render = |name: &str, plan: &PatchPlan, batch_dice: bool| {
        let mut entries = configuration(options, experiment, name, plan);
        entries.insert("batch_dice".to_owned(), batch_dice.into());
        entries
    };
    let mut configurations = IndexMap::new();
    let mut add = |name: &str, entries| configurations.insert(name.to_owned(), Json::Object(entries));
    let has_lowres = experiment.plan_3d_lowres.is_some();
    add("2d", render("2d", &experiment.plan_2d, true));
    if let Some(plan) = &experiment.plan_3d_lowres {
        let mut entries = render("3d_lowres", plan, false);
        entries.insert("next_stage".to_owned(), "3d_cascade_fullres".into());
        add("3d_lowres", entries);
    }
    if let Some(plan) = &experiment.plan_3d_fullres {
        add("3d_fullres", render("3d_fullres", plan, has_lowres));
        if has_lowres {
            let cascade = [("inherits_from", "3d_fullres"), ("previous_stage", "3d_lowres")];
            add("3d_cascade_fullres", cascade.map(|(k, v)| (k.to_owned(), v.into())).into_iter().collect());
        }
    }
    let median_shape = experiment.original_median_shape.map(|edge| edge.round_ties_even() as usize);
    Json::object([
        ("dataset_name", facts.dataset_name.as_str().into()),
        ("plans_name", options.plans_name().into()),
        ("original_median_spacing_after_transp", experiment.original_median_spacing.into()),
        ("original_median_shape_after_transp", median_shape.into()),
        ("image_reader_writer", facts.image_reader_writer.as_str().into()),
        ("transpose_forward", experiment.transpose_forward.into()),
        ("transpose_backward", experiment.transpose_backward.into()),
        ("configurations", Json::Object(configurations)),
        ("experiment_planner_used", options.preset.name.into()),
        ("label_manager", "LabelManager".into()),
        ("foreground_intensity_properties_per_channel", facts.fingerprint.intensities_json()),
    ])
}

fn configuration(
    options: &PlannerOptions,
    experiment: &Experiment,
    name: &str,
    plan: &PatchPlan,
) -> IndexMap<String, Json> {
    // The reference writes rounded shapes as integers and medians as floats.
    let median_shape: Json = match name {
        "3d_lowres" => plan.median_shape.iter().map(|&edge| edge as usize).collect::<Vec<_>>().into(),
        _ => plan.median_shape.clone().into(),
    };
    let schemes = experiment.normalization_schemes.clone();
    let (function, [of_data, of_seg, of_probabilities]) = resampling(options.preset.resampling);
    let entries: [(&str, Json); 15] = [
        ("data_identifier", options.preset.data_identifier(options.plans_name(), name).into()),
        ("preprocessor_name", options.preprocessor_name.as_str().into()),
        ("batch_size", (plan.batch_size as usize).into()),
        ("patch_size", plan.topology.patch_size.clone().into()),
        ("median_image_size_in_voxels", median_shape),
        ("spacing", plan.spacing.clone().into()),
        ("normalization_schemes", schemes.into()),
        ("use_mask_for_norm", experiment.use_mask_for_norm.clone().into()),
        ("resampling_fn_data", function.into()),
        ("resampling_fn_seg", function.into()),
        ("resampling_fn_data_kwargs", of_data),
        ("resampling_fn_seg_kwargs", of_seg),
        ("resampling_fn_probabilities", function.into()),
        ("resampling_fn_probabilities_kwargs", of_probabilities),
        ("architecture", architecture(options, plan)),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The function, and its options for images, segmentations and probabilities.
fn resampling(family: ResamplingFamily) -> (&'static str, [Json; 3]) {
    let spline = |is_seg: bool, order: u32| {
        Json::object([
            ("is_seg", Json::Bool(is_seg)),
            ("order", order.into()),
            ("order_z", 0.into()),
            ("force_separate_z", Json::Null),
        ])
    };
    let torch = |is_seg: bool| {
        Json::object([
            ("is_seg", Json::Bool(is_seg)),
            ("force_separate_z", false.into()),
            ("memefficient_seg_resampling", false.into()),
        ])
    };
    let torch_separate = |is_seg: bool| {
        Json::object([
            ("is_seg", Json::Bool(is_seg)),
            ("force_separate_z", Json::Null),
            ("memefficient_seg_resampling", false.into()),
            ("separate_z_anisotropy_threshold", (ANISOTROPY_THRESHOLD as usize).into()),
        ])
    };
    match family {
        ResamplingFamily::Spline => (SPLINE, [spline(false, 3), spline(true, 1), spline(false, 1)]),
        ResamplingFamily::Torch => (TORCH, [false, true, false].map(torch)),
        ResamplingFamily::TorchSeparateAxis => (TORCH, [false, true, false].map(torch_separate)),
        ResamplingFamily::Unchanged => (UNCHANGED, [(); 3].map(|()| Json::Object(IndexMap::new()))),
    }
}

fn architecture(options: &PlannerOptions, plan: &PatchPlan) -> Json {
    let (class, blocks) = match options.preset.family {
        NetworkFamily::PlainConvUNet => ("PlainConvUNet", "n_conv_per_stage"),
        NetworkFamily::ResidualEncoderUNet => ("ResidualEncoderUNet", "n_blocks_per_stage"),
    };
    let stages = plan.topology.stages();
    let dimensions = plan.spacing.len();
    let kwargs = Json::object([
        ("n_stages", stages.into()),
        ("features_per_stage", plan.features.clone().into()),
        ("conv_op", format!("torch.nn.modules.conv.Conv{dimensions}d").into()),
        ("kernel_sizes", plan.topology.kernel_sizes.clone().into()),
        ("strides", plan.topology.strides.clone().into()),
        (blocks, options.preset.encoder_blocks(stages).into()),
        ("n_conv_per_stage_decoder", options.preset.decoder_convolutions(stages).into()),
        ("conv_bias", true.into()),
        ("norm_op", format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d").into()),
        ("norm_op_kwargs", Json::object([("eps", Json::Float(1e-5)), ("affine", true.into())])),
        ("dropout_op", Json::Null),
        ("dropout_op_kwargs", Json::Null),
        ("nonlin", "torch.nn.LeakyReLU".into()),
        ("nonlin_kwargs", Json::object([("inplace", Json::Bool(true))])),
    ]);
    Json::object([
        ("network_class_name", format!("dynamic_network_architectures.architectures.unet.{class}").into()),
        ("arch_kwargs", kwargs),
        ("_kw_requires_import", ["conv_op", "norm_op", "dropout_op", "nonlin"].into()),
    ])
}
