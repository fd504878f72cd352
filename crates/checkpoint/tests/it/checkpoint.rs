//! Checkpoints through the public interface: files of torch.save (tests/golden/checkpoint/make.py), of the
//! reference, our own, and damaged ones.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use nnunet_checkpoint::{
    Checkpoint, CheckpointError, SavedOptimiser, StateDict, TransferRules, read_safetensors,
    write_safetensors,
};
use nnunet_graph::Parameters;
use nnunet_graph::architectures::build;
use nnunet_graph::optimiser::{AdamOptions, OptimiserSpec, OptimiserState, SgdOptions, StateTensor};
use nnunet_pyformats::pickle::{Scalar, Value};
use nnunet_testkit::shared::shared_path;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoint").join(name)
}

/// make.py's tensor `k` of `shape`.
fn tensor(k: f32, shape: &[usize]) -> StateTensor {
    let count = shape.iter().product::<usize>();
    StateTensor { shape: shape.to_vec(), data: (0..count).map(|i| k + i as f32 / 16.0).collect() }
}

fn check_golden(path: &Path) {
    let read = Checkpoint::read(path).unwrap();
    let names: Vec<&str> = read.weights.tensors().map(|(name, _)| name).collect();
    let others = ["half", "bfloat", "double", "count", "transposed", "first", "second", "parameter"];
    let shared = ["encoder.a.conv.weight", "encoder.a.conv.bias", "encoder.a.norm.weight"];
    assert_eq!(names, [&shared[..], &others[..]].concat());
    assert_eq!(read.weights.keys().len(), 20);
    for (name, expected) in [
        ("encoder.a.conv.weight", tensor(1.0, &[4, 2, 3, 3])),
        ("decoder.encoder.a.all_modules.0.weight", tensor(1.0, &[4, 2, 3, 3])),
        ("encoder.a.all_modules.1.weight", tensor(3.0, &[4])),
        ("half", tensor(4.0, &[3])),
        ("double", tensor(6.0, &[3])),
        ("count", tensor(7.0, &[])),
        ("first", tensor(9.0, &[3])),
        ("second", tensor(9.1875, &[5])),
        ("parameter", tensor(10.0, &[2])),
    ] {
        assert_eq!(read.weights.get(name), Some(&expected), "{name}");
    }
    // Eight bits of precision: 5 + 1/16 and 5 + 1/8.
    assert_eq!(read.weights.get("bfloat").unwrap().data, [5.0, 5.0625, 5.125]);
    let transposed = read.weights.get("transposed").unwrap();
    assert_eq!(transposed.shape, [2, 3]);
    assert_eq!(transposed.data, [8.0, 8.125, 8.25, 8.0625, 8.1875, 8.3125]);

    let optimiser = read.optimiser.unwrap();
    assert_eq!(optimiser.setting("lr"), Some(0.005));
    let state = &optimiser.state.parameters;
    assert_eq!(state.len(), 4);
    assert_eq!(state[0].as_ref().unwrap()["momentum_buffer"], tensor(11.0, &[4, 2, 3, 3]));
    assert_eq!((&state[1], &state[2]), (&None, &None));
    assert_eq!(state[3].as_ref().unwrap()["step"].data, [5.0]);

    assert_eq!(read.logging.get("ema_fg_dice").unwrap().as_f64s().unwrap(), [0.5, 0.625]);
    assert_eq!(read.logging.get("extra").unwrap().as_f64s().unwrap(), [12.0, 12.0625]);
    assert_eq!((read.best_ema, read.current_epoch), (Some(0.625), 2));
    assert_eq!(read.init_args.get("fold").and_then(Value::as_str), Some("all"));
    assert_eq!(read.init_args.get("device"), Some(&Value::object("torch", "device", vec!["cpu".into()])));
    assert_eq!(read.trainer_name, "nnUNetTrainer");
    assert_eq!(read.mirroring_axes, Some(vec![0, 1, 2]));
    assert_eq!(read.grad_scaler, Value::None);
    assert_eq!(read.other.get("note").and_then(Value::as_str), Some("kept"));
    assert_eq!(Checkpoint::read_for_inference(path).unwrap().optimiser, None);
}

#[test]
fn reads_files_of_torch() {
    check_golden(&golden("weights.pth"));
}

#[test]
fn reads_files_of_torch_before_the_zip_form() {
    check_golden(&golden("legacy.pth"));
}

#[test]
fn reads_files_of_the_first_torch() {
    let path = golden("tar.pth");
    check_golden(&path);
    let class = Checkpoint::read(&path).unwrap().other.remove("network_class").unwrap();
    assert!(matches!(&class, Value::Global(global) if global.name == "Conv3d"), "{class:?}");
    let folder = tempfile::tempdir().unwrap();
    let (bytes, path) = (std::fs::read(&path).unwrap(), folder.path().join("a.pth"));
    let refused = |from: &[u8], to: &[u8], message: &str| {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let damaged = [&bytes[..at], to, &bytes[at + from.len()..]].concat();
        let found = read_bytes(&path, &damaged).unwrap_err().to_string();
        assert!(found.contains(message), "{found}");
    };
    // Another member, more numbers than there are, a tensor beyond its storage, too many axes.
    refused(b"storages\0", b"storage_\0", "the tar archive has no member storages");
    let count = |n: u64| n.to_le_bytes();
    refused(&count(72), &count(1 << 61), "elements beyond the");
    refused(
        &[count(4), count(2), count(3), count(3)].concat(),
        &[count(4); 4].concat(),
        "tensors has another entry",
    );
    refused(&count(4), &count(1 << 31), "tensors has another entry");
}

#[test]
fn tensors_of_every_type_become_f32() {
    for (name, types) in [("dtypes.pth", 13), ("dtypes_legacy.pth", 10)] {
        let read = Checkpoint::read(&golden(name)).unwrap();
        assert_eq!(read.weights.tensors().count(), types, "{name}");
        for (dtype, found) in read.weights.tensors() {
            let two = if dtype == "bool" { 1.0 } else { 2.0 };
            assert_eq!(*found, StateTensor { shape: vec![3], data: vec![1.0, 0.0, two] }, "{name}, {dtype}");
        }
    }
    // What has no meaning here is kept without being understood. The older form does not say how long it is.
    let other = Checkpoint::read(&golden("dtypes.pth")).unwrap().other;
    assert!(matches!(other.get("spectrum"), Some(Value::Object(_))), "{other:?}");
    let message = Checkpoint::read(&golden("complex_legacy.pth")).unwrap_err().to_string();
    assert!(message.contains("numbers of another type"), "{message}");
}

#[test]
fn reads_back_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint_final.pth");
    for name in ["weights.pth", "legacy.pth"] {
        let checkpoint = Checkpoint::read(&golden(name)).unwrap();
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint, "{name}");
    }
    let mut checkpoint = Checkpoint::new(StateDict::new(), "nnUNetTrainer", Value::None);
    checkpoint.best_ema = Some(0.1);
    checkpoint.write(&path).unwrap();
    assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);
}

/// Running statistics are part of the weights; the counters stay whole numbers.
#[test]
fn batch_norms_of_the_reference_both_ways() {
    let kwargs = serde_json::json!({
        "n_stages": 2, "features_per_stage": [2, 3], "conv_op": "torch.nn.modules.conv.Conv3d", "kernel_sizes": 3,
        "strides": [1, 2], "n_conv_per_stage": 1, "n_conv_per_stage_decoder": 1, "conv_bias": true,
        "norm_op": "torch.nn.modules.batchnorm.BatchNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": true},
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": true}
    });
    let graph = build("PlainConvUNet", &kwargs, 1, 2, true).unwrap();
    let original = Checkpoint::read(&golden("batch_norm.pth")).unwrap();
    let keys: Vec<&str> = original.weights.keys().map(|(key, _)| key).collect();
    assert_eq!(keys, graph.state_dict_names().map(|(key, _)| key).collect::<Vec<_>>());
    let parameters = original.weights.clone().into_parameters(&graph).unwrap();
    let buffer = |name: &str| {
        let found = parameters.buffers().find(|(own, _)| *own == name);
        found.map(|(_, buffer)| buffer.value().to_vec()).unwrap()
    };
    assert_eq!(buffer("encoder.stages.1.0.convs.0.norm.num_batches_tracked"), [3.0]);
    assert!(buffer("decoder.stages.0.convs.0.norm.running_var").iter().all(|v| *v > 0.0 && *v != 1.0));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint_final.pth");
    let weights = StateDict::from_parameters(&graph, parameters.clone());
    let written = Checkpoint { weights, ..original.clone() };
    written.write(&path).unwrap();
    let again = Checkpoint::read(&path).unwrap();
    assert_eq!(again.weights, original.weights);
    assert_eq!(again.weights.into_parameters(&graph).unwrap(), parameters);
    let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
    let mut pickle = Vec::new();
    let mut member = zip.by_name("checkpoint_final/data.pkl").unwrap();
    std::io::Read::read_to_end(&mut member, &mut pickle).unwrap();
    let has = |text: &[u8]| pickle.windows(text.len()).any(|window| window == text);
    assert!(has(b"LongStorage") && has(b"FloatStorage"));

    // Fine-tuning takes them over too; a file without them is named.
    let mut fresh = Parameters::zeros(&graph);
    original.weights.transfer_to(&graph, &mut fresh, TransferRules::default()).unwrap();
    assert_eq!(fresh.buffers().collect::<Vec<_>>(), parameters.buffers().collect::<Vec<_>>());
    let mut without = StateDict::new();
    for (name, tensor) in original.weights.tensors().filter(|(name, _)| !name.contains("running_mean")) {
        without.insert(name, tensor.clone());
    }
    let message = without.into_parameters(&graph).unwrap_err().to_string();
    assert!(message.contains("norm.running_mean"), "{message}");
}

#[test]
fn storages_are_aligned_and_named_as_torch_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint_best.pth");
    Checkpoint::read(&golden("weights.pth")).unwrap().write(&path).unwrap();
    let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
    let mut names = Vec::new();
    for i in 0..zip.len() {
        let member = zip.by_index(i).unwrap();
        assert_eq!(member.data_start().unwrap() % 64, 0, "{:?}", member.name());
        assert_eq!(member.compression(), zip::CompressionMethod::Stored);
        names.push(member.name().unwrap().into_owned());
    }
    assert_eq!(
        names[..3],
        ["checkpoint_best/data.pkl", "checkpoint_best/byteorder", "checkpoint_best/data/0"]
    );
    assert_eq!(names.last().map(String::as_str), Some("checkpoint_best/version"));
}

#[test]
fn state_of_sgd() {
    let state = OptimiserState { parameters: vec![None; 3] };
    let saved = SavedOptimiser::new(&OptimiserSpec::Sgd(SgdOptions::default()), 0.004, 0.01, 3, state);
    assert_eq!((saved.setting("lr"), saved.setting("initial_lr")), (Some(0.004), Some(0.01)));
    assert_eq!((saved.setting("momentum"), saved.setting("weight_decay")), (Some(0.99), Some(3e-5)));
    let group = &saved.groups.as_sequence().unwrap()[0];
    assert_eq!(group.get("params").unwrap().as_usizes().unwrap(), [0, 1, 2]);
}

#[test]
fn state_of_adam_has_pytorchs_keys() {
    let step = StateTensor { shape: Vec::new(), data: vec![3.0] };
    let moment = StateTensor { shape: vec![2], data: vec![0.5, 0.25] };
    let keys = ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
    let tensors = [step, moment.clone(), moment.clone(), moment];
    let entry = keys.iter().map(|&key| key.to_owned()).zip(tensors).collect();
    let state = OptimiserState { parameters: vec![None, Some(entry)] };
    let spec = OptimiserSpec::Adam(AdamOptions { amsgrad: true, ..AdamOptions::adamw() });
    let mut checkpoint = Checkpoint::new(StateDict::new(), "nnUNetTrainerAdam", Value::None);
    checkpoint.optimiser = Some(SavedOptimiser::new(&spec, 1e-3, 1e-2, 2, state));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adam.pth");
    checkpoint.write(&path).unwrap();
    let read = Checkpoint::read(&path).unwrap().optimiser;
    assert_eq!(read, checkpoint.optimiser);
    // As printed by torch.optim.AdamW(..., amsgrad=True).state_dict() of PyTorch 2.15 with a schedule.
    let group = &read.unwrap().groups.as_sequence().unwrap()[0].clone();
    let Value::Dict(group) = group else { panic!() };
    let keys: Vec<&str> = group.iter().map(|(key, _)| key.as_str().unwrap()).collect();
    let expected = "lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused \
                    decoupled_weight_decay initial_lr params";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
}

/// Each reference checkpoint has the weights of the network that its plans describe, no more and no less.
#[test]
fn checkpoints_of_the_reference_fit_their_networks() {
    let Some(models) = shared_path("reference/models") else { return };
    let mut seen = 0;
    for model in std::fs::read_dir(models).unwrap() {
        let model = model.unwrap().path().join("model");
        for fold in std::fs::read_dir(&model).unwrap().filter_map(|f| Some(f.ok()?.path())) {
            let path = fold.join("checkpoint_final.pth");
            if !path.exists() {
                continue;
            }
            let checkpoint = Checkpoint::read(&path).unwrap();
            assert_eq!((checkpoint.trainer_name.as_str(), checkpoint.current_epoch), ("nnUNetTrainer", 2));
            assert!(checkpoint.best_ema.unwrap() > 0.0);
            let plans = checkpoint.init_args.get("plans").unwrap().to_json().unwrap();
            let file: serde_json::Value =
                serde_json::from_slice(&std::fs::read(model.join("plans.json")).unwrap()).unwrap();
            assert_eq!(plans["configurations"], file["configurations"], "{}", path.display());
            // Momentum of every parameter but those of the lowest head, which gets no gradient.
            let optimiser = checkpoint.optimiser.as_ref().unwrap();
            assert_eq!(optimiser.state.parameters.len(), checkpoint.weights.len());
            let steps = optimiser.state.parameters.iter().zip(checkpoint.weights.tensors());
            for (state, (name, tensor)) in steps {
                match state {
                    Some(state) => assert_eq!(state["momentum_buffer"].shape, tensor.shape, "{name}"),
                    None => assert!(name.starts_with("decoder.seg_layers.0."), "{name}"),
                }
            }
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join("copy.pth");
            checkpoint.write(&copy).unwrap();
            assert_eq!(Checkpoint::read(&copy).unwrap(), checkpoint);
            check_network(&checkpoint);
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

/// The network of the plans takes these weights and gives them back with PyTorch's keys in PyTorch's order.
fn check_network(checkpoint: &Checkpoint) {
    let weights = &checkpoint.weights;
    let configuration = checkpoint.init_args.get("configuration").and_then(Value::as_str).unwrap();
    let configurations =
        checkpoint.init_args.get("plans").unwrap().to_json().unwrap()["configurations"].clone();
    let configuration = match configurations[configuration]["inherits_from"].as_str() {
        Some(parent) if configurations[configuration]["architecture"].is_null() => parent,
        _ => configuration,
    };
    let architecture = &configurations[configuration]["architecture"];
    let class = architecture["network_class_name"].as_str().unwrap();
    let channels = |suffix: &str, axis: usize| {
        let mut named = weights.tensors().filter(|(name, _)| name.ends_with(suffix));
        named.next().unwrap().1.shape[axis]
    };
    let (inputs, outputs) = (channels("conv.weight", 1), channels("seg_layers.0.weight", 0));
    let graph = build(class, &architecture["arch_kwargs"], inputs, outputs, true).unwrap();
    let parameters = weights.clone().into_parameters(&graph).unwrap();
    assert_eq!(StateDict::from_parameters(&graph, parameters), *weights);
    let order: Vec<_> = graph.state_dict_names().collect();
    assert_eq!(weights.keys().collect::<Vec<_>>(), order);

    // Pretrained weights leave the heads alone.
    let mut fresh = Parameters::zeros(&graph);
    let transfer = weights.transfer_to(&graph, &mut fresh, TransferRules::default()).unwrap();
    assert!(transfer.left.is_empty() && transfer.unused.is_empty() && transfer.repeated.is_none());
    for (name, parameter) in fresh.iter() {
        let taken = parameter.value() == weights.get(name).unwrap().data;
        assert_eq!(taken, !name.contains(".seg_layers."), "{name}");
    }

    // Of weights of another network every tensor that does not fit is named, with both shapes.
    let mut other = weights.clone();
    other.insert("encoder.unknown.weight", tensor(1.0, &[1]));
    other.insert("decoder.seg_layers.0.bias", tensor(1.0, &[7]));
    let first = graph.parameters()[0].clone();
    other.insert(&first.name, tensor(1.0, &[3, 5]));
    let message = other.clone().into_parameters(&graph).unwrap_err().to_string();
    assert!(message.contains("3 tensors do not fit"), "{message}");
    for line in [
        "encoder.unknown.weight: [1] in the checkpoint, missing in the network".to_owned(),
        format!("decoder.seg_layers.0.bias: [7] in the checkpoint, [{outputs}] in the network"),
        format!("{}: [3, 5] in the checkpoint, {:?} in the network", first.name, first.shape),
    ] {
        assert!(message.contains(&line), "{line} in {message}");
    }
    // Fine-tuning takes over what fits and lists the rest; heads do not matter.
    let mut fresh = Parameters::zeros(&graph);
    let rest = other.transfer_to(&graph, &mut fresh, TransferRules::default()).unwrap();
    assert_eq!((rest.taken, rest.left.len()), (transfer.taken - 1, 1));
    let line = format!("{}: [3, 5] in the checkpoint, {:?} in the network", first.name, first.shape);
    assert!(rest.left[0].to_string().contains(&line), "{}", rest.left[0]);
    assert_eq!(rest.unused, ["encoder.unknown.weight"]);
    assert!(fresh.get(&first.name).unwrap().value().iter().all(|weight| *weight == 0.0));

    // The encoder alone.
    let mut encoder = Parameters::zeros(&graph);
    let rules = TransferRules { part: Some("encoder."), ..TransferRules::default() };
    assert!(weights.transfer_to(&graph, &mut encoder, rules).unwrap().left.is_empty());
    for (name, parameter) in encoder.iter() {
        let taken = parameter.value() == weights.get(name).unwrap().data;
        assert_eq!(taken, name.starts_with("encoder."), "{name}");
    }

    // More channels: the stem is repeated if that is wanted.
    let more = build(class, &architecture["arch_kwargs"], inputs + 2, outputs, true).unwrap();
    let mut wider = Parameters::zeros(&more);
    let left = weights.transfer_to(&more, &mut wider, TransferRules::default()).unwrap().left;
    assert_eq!(left.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), [first.name.as_str()]);
    let rules = TransferRules { repeat_stem: true, ..TransferRules::default() };
    let transfer = weights.transfer_to(&more, &mut wider, rules).unwrap();
    assert!(transfer.left.is_empty() && transfer.repeated.as_deref() == Some(first.name.as_str()));
    assert!(wider.get(&first.name).unwrap().value().iter().any(|weight| *weight != 0.0));

    // Where nothing fits, everything is listed and nothing changed.
    let mut untouched = Parameters::zeros(&graph);
    let message = StateDict::new().transfer_to(&graph, &mut untouched, TransferRules::default()).unwrap_err();
    assert!(message.to_string().contains("missing in the checkpoint"), "{message}");
    assert_eq!(untouched, Parameters::zeros(&graph));
    let message = StateDict::new().into_parameters(&graph).unwrap_err().to_string();
    let all = format!("{} tensors do not fit", graph.parameters().len());
    assert!(message.contains(&all) && message.contains("missing in the checkpoint"), "{message}");
}

#[test]
fn safetensors_both_ways() {
    let read = read_safetensors(&golden("weights.safetensors")).unwrap();
    assert_eq!(read.get("a"), Some(&tensor(1.0, &[2, 3])));
    assert_eq!(read.get("b").unwrap().data, [2.0, 2.0625, 2.125, 2.1875]);
    assert_eq!(read.get("c"), Some(&tensor(3.0, &[])));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let weights = Checkpoint::read(&golden("weights.pth")).unwrap().weights;
    write_safetensors(&path, &weights).unwrap();
    let back = read_safetensors(&path).unwrap();
    assert_eq!(back.tensors().collect::<Vec<_>>(), weights.tensors().collect::<Vec<_>>());
    // The reference implementation agrees.
    let bytes = std::fs::read(&path).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let half = parsed.tensor("half").unwrap();
    assert_eq!((half.shape(), half.dtype()), (&[3][..], safetensors::Dtype::F32));
    assert_eq!(half.data(), [4.0f32, 4.0625, 4.125].map(f32::to_le_bytes).concat());
}

#[test]
fn damaged_safetensors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let message = |header: &str, data: &[u8]| {
        let len = (header.len() as u64).to_le_bytes();
        std::fs::write(&path, [&len[..], header.as_bytes(), data].concat()).unwrap();
        read_safetensors(&path).unwrap_err().to_string()
    };
    let entry = |dtype: &str, shape: &str, end: u64| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[0,{end}]}}}}"#)
    };
    assert!(message("{", &[]).contains("the header is no JSON object"));
    assert!(message(&entry("F4", "2", 1), &[0; 8]).contains("tensor a has type F4"));
    assert!(message(&entry("F32", "2", 8), &[0; 7]).contains("bytes 0 to 8 for shape [2]"));
    assert!(message(&entry("F32", "3", 8), &[0; 8]).contains("bytes 0 to 8 for shape [3]"));
    assert!(message(&entry("F32", "9223372036854775807,9", 8), &[0; 8]).contains("a place of that size"));
    std::fs::write(&path, [0xff; 8]).unwrap();
    assert!(read_safetensors(&path).unwrap_err().to_string().contains("promises a header"));
    std::fs::write(&path, [0; 3]).unwrap();
    assert!(read_safetensors(&path).unwrap_err().to_string().contains("the file has 3 bytes"));
}

fn read_bytes(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    std::fs::write(path, bytes).unwrap();
    Checkpoint::read(path)
}

#[test]
fn truncated_and_damaged_files_are_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    for name in ["weights.pth", "legacy.pth", "tar.pth"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        // Tar archives end with padding that nobody misses.
        let padding = bytes.iter().rev().take_while(|b| name == "tar.pth" && **b == 0).count();
        for len in (0..bytes.len() - padding).step_by(61) {
            assert!(read_bytes(&path, &bytes[..len]).is_err(), "{name}, {len} bytes");
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = read_bytes(&path, &damaged);
        }
    }
    let message = read_bytes(&path, b"no checkpoint").unwrap_err().to_string();
    assert!(
        message.contains("a.pth: the file begins with [6e, 6f, 20, 63], expected a checkpoint"),
        "{message}"
    );
    let message = read_bytes(&path, b"\x80\x04N.").unwrap_err().to_string();
    assert!(message.contains("a pickle without PyTorch's mark"), "{message}");
}

/// Writes a zip archive as `torch.save` lays it out.
fn archive(path: &Path, pickle: &[u8], storages: &[(&str, &[u8])], packed: bool) {
    use std::io::Write;
    let method = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::DEFAULT.compression_method(method);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in [("data.pkl", pickle)].into_iter().chain(storages.iter().copied()) {
        zip.start_file(format!("a/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// `{"network_weights": {"w": tensor of `shape` over `numel` floats}}` in the words of protocol 2.
fn pickle_of(numel: u32, shape: u32, stride: u8) -> Vec<u8> {
    let mut out = b"\x80\x02}X\x0f\x00\x00\x00network_weights}X\x01\x00\x00\x00w".to_vec();
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n");
    out.extend(b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ");
    out.extend(numel.to_le_bytes());
    out.extend(b"tQK\x00J");
    out.extend(shape.to_le_bytes());
    out.extend([0x85, b'K', stride, 0x85]);
    out.extend(b"\x89NtRss.");
    out
}

#[test]
fn sizes_are_checked_against_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let message = |pickle: &[u8], storages: &[(&str, &[u8])]| {
        archive(&path, pickle, storages, false);
        Checkpoint::read(&path).unwrap_err().to_string()
    };
    archive(&path, &pickle_of(2, 2, 1), &[("data/0", &[0; 8])], true);
    assert_eq!(Checkpoint::read(&path).unwrap().weights.get("w").unwrap().data, [0.0; 2]);
    // Two billion floats that are not there; a storage that is missing; one number shown a billion times.
    let found = message(&pickle_of(0x7fff_ffff, 2, 1), &[("data/0", &[0; 8])]);
    assert!(found.contains("storage 0 has 8 bytes, expected 2147483647 numbers of type float32"), "{found}");
    let found = message(&pickle_of(2, 2, 1), &[]);
    assert!(found.contains("member data/0"), "{found}");
    let found = message(&pickle_of(2, 1 << 30, 0), &[("data/0", &[0; 8])]);
    assert!(found.contains("storage 0 has Some(1073741824) elements in views of 2"), "{found}");
    let found = message(&pickle_of(2, 3, 1), &[("data/0", &[0; 8])]);
    assert!(found.contains("a tensor of shape [3] beyond its storage 0"), "{found}");
    let found = message(b"\x80\x02K\x01.", &[]);
    assert!(
        found.contains("the file holds a value of kind int, expected a checkpoint of nnU-Net"),
        "{found}"
    );
    let found = message(b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", &[]);
    assert!(found.contains("it has no entry network_weights"), "{found}");
}

/// Files that are small and would fill the memory: refused before they do.
#[test]
fn bombs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let message = || {
        assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
        Checkpoint::read(&path).unwrap_err().to_string()
    };
    // A storage of zeros, packed a thousand to one.
    let floats = 30 << 20;
    archive(&path, &pickle_of(floats, floats, 1), &[("data/0", &vec![0; 4 * floats as usize])], true);
    let found = message();
    assert!(found.contains("storage 0") && found.contains("bytes from a file of"), "{found}");
    // A pickle of that kind.
    archive(&path, &vec![b'0'; 140 << 20], &[], true);
    let found = message();
    assert!(found.contains("data.pkl has 146800640 bytes, expected at most"), "{found}");
}

#[test]
fn calls_in_checkpoints_are_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let mut pickle = pickle_of(1, 1, 1);
    pickle.pop();
    // A second entry: os.system("touch ...").
    let mark = folder.path().join("mark");
    let command = format!("touch {}", mark.display());
    pickle.extend(b"X\x09\x00\x00\x00init_argscos\nsystem\nX");
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85Rs.");
    archive(&path, &pickle, &[("data/0", &[0; 4])], false);
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert_eq!(checkpoint.init_args, Value::object("os", "system", vec![command.as_str().into()]));
    assert!(!mark.exists());
    let message = checkpoint.write(&folder.path().join("b.pth")).unwrap_err().to_string();
    assert!(message.contains("os.system cannot be written"), "{message}");
}

#[test]
fn numbers_keep_pythons_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let mut checkpoint = Checkpoint::new(StateDict::new(), "nnUNetTrainer", Value::None);
    checkpoint.logging = Value::List(vec![Scalar::f32(0.5).into(), Value::Float(0.5), Value::Int(1)]);
    checkpoint.write(&path).unwrap();
    assert_eq!(Checkpoint::read(&path).unwrap().logging, checkpoint.logging);
}
