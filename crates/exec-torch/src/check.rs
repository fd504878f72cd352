//! Every operation that is used, run once on a few numbers when the library is opened: one that is missing, or that another
//! version computes differently, is named before anything is computed with it.

use std::sync::Arc;

use crate::interface::{
    AdamStep, Device, Dtype, Interface, Moments, SgdStep, Tensor, TorchError, Walk, adam, sgd,
};

/// What is checked: names of operations, and whether the numbers are right.
type Check = (&'static [&'static str], fn(&Arc<Interface>) -> Result<bool, TorchError>);

/// The operations that do not run, each with what happened.
pub(crate) fn faults(interface: &Arc<Interface>) -> Vec<String> {
    let mut faults = Vec::new();
    for (names, check) in CHECKS {
        match check(interface) {
            Ok(true) => {}
            Ok(false) => faults.push(format!("{} (other numbers than expected)", names.join(", "))),
            Err(error) => faults.push(error.to_string()),
        }
    }
    faults
}

const CHECKS: &[Check] = &[
    (&["aten::convolution", "aten::convolution_backward"], convolutions),
    (&["aten::native_batch_norm", "aten::native_batch_norm_backward"], batch_norm),
    (&["aten::native_group_norm", "aten::native_group_norm_backward"], group_norm),
    (&["aten::gelu", "aten::gelu_backward"], gelu),
    (&["aten::_prelu_kernel", "aten::_prelu_kernel_backward"], leaky_relu),
    (&["aten::native_dropout", "aten::native_dropout_backward"], dropout),
    (&["aten::cat", "aten::narrow", "aten::reshape", "aten::repeat"], views),
    (
        &["aten::avg_pool3d", "aten::avg_pool3d_backward", "aten::avg_pool2d", "aten::avg_pool2d_backward"],
        pools,
    ),
    (&["aten::mul.Tensor", "aten::div.Tensor", "aten::sum.dim_IntList", "aten::_to_copy"], arithmetic),
    (&["aten::exp", "aten::neg", "aten::sqrt", "aten::maximum", "aten::pow.Tensor_Tensor"], functions),
    (&["aten::_log_softmax", "aten::_softmax_backward_data"], softmax),
    (&["aten::sigmoid", "aten::log_sigmoid_forward"], sigmoid),
    (&["aten::eq.Tensor", "aten::gt.Tensor", "aten::logical_not", "aten::where.self"], choices),
    (&["aten::argmax", "aten::bincount", "aten::kthvalue"], counts),
    (&["aten::_foreach_mul_.Tensor"], foreach),
    (&["aten::_fused_sgd_"], gradient_descent),
    (&["aten::_fused_adam_", "aten::_fused_adamw_"], adams),
];

fn tensor(interface: &Arc<Interface>, data: &[f32], shape: &[i64]) -> Result<Tensor, TorchError> {
    Tensor::upload(interface, data, shape, Device::Cpu)
}

fn is(found: &Tensor, expected: &[f32]) -> Result<bool, TorchError> {
    let found: Vec<f32> = found.download()?;
    Ok(found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4))
}

fn convolutions(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[1.0, 2.0, 3.0, 4.0], &[1, 1, 1, 1, 4])?;
    let weight = tensor(interface, &[1.0, 0.0, -1.0], &[1, 1, 1, 1, 3])?;
    let bias = tensor(interface, &[0.5], &[1])?;
    let walk = Walk { stride: &[1, 1, 1], padding: &[0, 0, 1], transposed: false };
    let output = input.convolution(&weight, Some(&bias), walk)?;
    let [by_input, by_weight, by_bias] =
        output.convolution_backward(&input, &weight, Some(1), walk, [true; 3])?;
    let up = tensor(interface, &[1.0, 2.0], &[1, 1, 1, 2])?;
    let up = input.reshape(&[1, 1, 1, 4])?.convolution(
        &up,
        None,
        Walk { stride: &[1, 2], padding: &[0, 0], transposed: true },
    )?;
    Ok(is(&output, &[-1.5, -1.5, -1.5, 3.5])?
        && is(&by_input, &[-1.5, 0.0, 5.0, 1.5])?
        && is(&by_weight, &[6.0, 5.0, -13.5])?
        && is(&by_bias, &[-1.0])?
        && is(&up, &[1.0, 2.0, 2.0, 4.0, 3.0, 6.0, 4.0, 8.0])?)
}

fn batch_norm(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[1.0, 3.0], &[1, 1, 2])?;
    let (mean, variance) = (tensor(interface, &[0.0], &[1])?, tensor(interface, &[1.0], &[1])?);
    let norm = input.batch_norm(None, Some((&mean, &variance)), true, 0.5, 0.0)?;
    let gradient = tensor(interface, &[1.0, 0.0], &[1, 1, 2])?;
    let weight = tensor(interface, &[2.0], &[1])?;
    let [by_input, by_weight, by_bias] =
        gradient.batch_norm_backward(&input, Some(&weight), &norm.mean, &norm.inverse, 0.0, [true; 3])?;
    let evaluated = input.batch_norm(None, Some((&mean, &variance)), false, 0.0, 0.0)?;
    Ok(is(&norm.output, &[-1.0, 1.0])?
        && is(&mean, &[1.0])?
        && is(&variance, &[1.5])?
        && is(&by_input, &[0.0, 0.0])?
        && is(&by_weight, &[-1.0])?
        && is(&by_bias, &[1.0])?
        && is(&evaluated.output, &[0.0, 2.0 / 1.5f32.sqrt()])?)
}

fn group_norm(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[1.0, 3.0, 2.0, 6.0], &[1, 4, 1])?;
    let sizes = [1, 4, 1, 2];
    let norm = input.group_norm(None, sizes, 0.0)?;
    let weight = tensor(interface, &[1.0; 4], &[4])?;
    let gradient = tensor(interface, &[1.0, 0.0, 0.0, 0.0], &[1, 4, 1])?;
    let [by_input, by_weight, by_bias] =
        gradient.group_norm_backward(&input, Some(&weight), &norm.mean, &norm.inverse, sizes, [true; 3])?;
    Ok(is(&norm.output, &[-1.0, 1.0, -1.0, 1.0])?
        && is(&by_input, &[0.0; 4])?
        && is(&by_weight, &[-1.0, 0.0, 0.0, 0.0])?
        && is(&by_bias, &[1.0, 0.0, 0.0, 0.0])?)
}

fn gelu(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[-1.0, 0.0, 1.0], &[3])?;
    let ones = tensor(interface, &[1.0; 3], &[3])?;
    Ok(is(&input.gelu()?, &[-0.158_655, 0.0, 0.841_345])?
        && is(&ones.gelu_backward(&input)?, &[-0.083_315, 0.5, 1.083_315])?)
}

fn leaky_relu(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[-2.0, 3.0], &[1, 2])?;
    let slope = Tensor::full(interface, &[1, 1], 0.5, Dtype::F32, Device::Cpu)?;
    let ones = tensor(interface, &[1.0; 2], &[1, 2])?;
    Ok(is(&input.leaky_relu(&slope)?, &[-1.0, 3.0])?
        && is(&ones.leaky_relu_backward(&input, &slope)?, &[0.5, 1.0])?)
}

fn dropout(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[1.0; 4], &[4])?;
    let [all, kept] = input.dropout(0.0)?;
    Ok(is(&all, &[1.0; 4])? && is(&input.dropout_backward(&kept, 0.5)?, &[2.0; 4])?)
}

fn views(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let (a, b) = (tensor(interface, &[1.0, 2.0], &[1, 2])?, tensor(interface, &[3.0], &[1, 1])?);
    let joined = Tensor::cat(interface, &[&a, &b], 1)?;
    Ok(is(&joined, &[1.0, 2.0, 3.0])?
        && is(&joined.narrow(1, 1, 2)?, &[2.0, 3.0])?
        && a.reshape(&[2])?.shape() == [2]
        && is(&a.reshape(&[2])?.repeat(&[2])?, &[1.0, 2.0, 1.0, 2.0])?)
}

fn pools(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let input = tensor(interface, &[1.0, 3.0, 9.0], &[1, 1, 1, 1, 3])?;
    let (flat, ones) = (input.reshape(&[1, 1, 1, 3])?, tensor(interface, &[2.0], &[1, 1, 1, 1, 1])?);
    Ok(is(&input.average_pool(&[1, 1, 2])?, &[2.0])?
        && is(&ones.average_pool_backward(&input, &[1, 1, 2])?, &[1.0, 1.0, 0.0])?
        && is(&flat.average_pool(&[1, 2])?, &[2.0])?
        && is(&ones.reshape(&[1, 1, 1, 1])?.average_pool_backward(&flat, &[1, 2])?, &[1.0, 1.0, 0.0])?)
}

fn arithmetic(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let a = tensor(interface, &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    Ok(is(&a.times(&a)?, &[1.0, 4.0, 9.0, 16.0])?
        && is(&a.over(&a)?, &[1.0; 4])?
        && is(&a.plus(&a, 0.5)?, &[1.5, 3.0, 4.5, 6.0])?
        && is(&a.scaled(0.25)?, &[0.25, 0.5, 0.75, 1.0])?
        && is(&a.sum(&[1], true, Some(Dtype::F64))?, &[3.0, 7.0])?
        && is(&a.to(Dtype::Bf16)?.to(Dtype::F16)?, &[1.0, 2.0, 3.0, 4.0])?)
}

fn functions(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let a = tensor(interface, &[0.0, 1.0], &[2])?;
    let half = Tensor::number(interface, 0.5)?;
    Ok(is(&a.exp()?, &[1.0, std::f32::consts::E])?
        && is(&a.neg()?, &[0.0, -1.0])?
        && is(&a.sqrt()?, &[0.0, 1.0])?
        && is(&a.power(&a.plus(&a, 1.0)?)?, &[1.0, 1.0])?
        && is(&a.maximum(&half.to(Dtype::F32)?)?, &[0.5, 1.0])?)
}

fn softmax(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let logits = tensor(interface, &[0.0, 0.0], &[1, 2])?;
    let logarithm = logits.log_softmax(1)?;
    let gradient = tensor(interface, &[1.0, 0.0], &[1, 2])?;
    Ok(is(&logarithm, &[-std::f32::consts::LN_2; 2])?
        && is(&gradient.softmax_backward(&logarithm.exp()?, 1)?, &[0.25, -0.25])?)
}

fn sigmoid(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let logits = tensor(interface, &[0.0], &[1])?;
    Ok(is(&logits.sigmoid()?, &[0.5])? && is(&logits.log_sigmoid()?, &[-std::f32::consts::LN_2])?)
}

fn choices(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let (a, b) = (tensor(interface, &[1.0, 2.0], &[2])?, tensor(interface, &[1.0, 1.0], &[2])?);
    Ok(is(&a.equals(&b)?.choose(&a, &b.neg()?)?, &[1.0, -1.0])?
        && is(&a.exceeds(&b)?.to(Dtype::F32)?, &[0.0, 1.0])?
        && is(&a.equals(&b)?.not()?.to(Dtype::F32)?, &[0.0, 1.0])?)
}

fn counts(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let a = tensor(interface, &[1.0, 5.0, 5.0], &[1, 3])?;
    let indices: Vec<i64> = a.largest_channel()?.download()?;
    let bins: Vec<i64> = a.reshape(&[3])?.to(Dtype::I64)?.occurrences(7)?.download()?;
    let second = a.reshape(&[3])?.kth_smallest(2)?;
    Ok(is(&second, &[5.0])? && indices == [1] && bins == [0, 1, 0, 0, 0, 2, 0])
}

fn foreach(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let (a, b) = (tensor(interface, &[1.0], &[1])?, tensor(interface, &[2.0, 3.0], &[2])?);
    Tensor::multiply_each(interface, &[&a, &b], &tensor(interface, &[2.0], &[])?)?;
    Ok(is(&a, &[2.0])? && is(&b, &[4.0, 6.0])?)
}

fn gradient_descent(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    let (value, gradient) = (tensor(interface, &[1.0], &[1])?, tensor(interface, &[2.0], &[1])?);
    let momentum = tensor(interface, &[9.0], &[1])?;
    let step = SgdStep { rate: 0.1, weight_decay: 0.0, momentum: 0.5, nesterov: true, first: true };
    sgd(interface, &[&value], &[&gradient], &[&momentum], step)?;
    Ok(is(&value, &[0.7])? && is(&momentum, &[2.0])?)
}

fn adams(interface: &Arc<Interface>) -> Result<bool, TorchError> {
    for (decoupled, expected) in [(false, 0.9), (true, 0.89)] {
        let (value, gradient) = (tensor(interface, &[1.0], &[1])?, tensor(interface, &[2.0], &[1])?);
        let zero = || tensor(interface, &[0.0], &[1]);
        let (mean, square, largest) = (zero()?, zero()?, zero()?);
        let steps = tensor(interface, &[1.0], &[])?;
        let moments = Moments { mean: &[&mean], square: &[&square], largest: &[&largest], steps: &[&steps] };
        let weight_decay = if decoupled { 0.1 } else { 0.0 };
        let step = AdamStep { rate: 0.1, betas: (0.9, 0.999), weight_decay, epsilon: 1e-8, decoupled };
        adam(interface, &[&value], &[&gradient], &moments, step)?;
        if !(is(&value, &[expected])?
            && is(&mean, &[0.2])?
            && is(&square, &[0.004])?
            && is(&largest, &[0.004])?)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::OPERATIONS;

    #[test]
    fn every_operation_is_checked() {
        let checked: Vec<&str> = CHECKS.iter().flat_map(|(names, _)| *names).copied().collect();
        let used: Vec<String> = OPERATIONS.iter().map(crate::interface::Operation::shown).collect();
        assert_eq!(checked.len(), used.len());
        for name in used {
            assert!(checked.contains(&name.as_str()), "{name} is not checked");
        }
    }
}
