//! Graphs that no architecture of the registry builds, but that the CPU executor must run: values with several readers,
//! norms after activations, activations twice, concatenations with the input, sums of sums. Gradients against finite differences.

#![allow(clippy::unwrap_used, clippy::panic)]

use nnunet_exec_cpu::{CpuExecutor, CpuLevel, CpuOptions, Precision};
use nnunet_graph::graph::{GraphBuilder, InitialValue, NodeId, Operation};
use nnunet_graph::{Graph, Tensor, init};

const HE: InitialValue = InitialValue::HeNormal { fan_in: 30, slope: 0.01 };

struct Build {
    builder: GraphBuilder,
    count: usize,
}

impl Build {
    fn new(channels: usize) -> Self {
        Self { builder: GraphBuilder::new(channels, 3), count: 0 }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("node{}", self.count)
    }

    fn conv(&mut self, input: NodeId, from: usize, to: usize, k: usize) -> NodeId {
        let name = self.name();
        let weight = self.builder.parameter(format!("{name}.weight"), vec![to, from, k, k, k], HE);
        let bias = self.builder.parameter(format!("{name}.bias"), vec![to], HE);
        let (kernel, stride, bias) = ([k; 3], [1; 3], Some(bias));
        self.builder
            .push(name, Operation::Convolution { input, weight, bias, output_channels: to, kernel, stride })
    }

    fn norm(&mut self, input: NodeId, channels: usize) -> NodeId {
        let name = self.name();
        let weight = self.builder.parameter(format!("{name}.weight"), vec![channels], HE);
        let bias = self.builder.parameter(format!("{name}.bias"), vec![channels], HE);
        self.builder
            .push(name, Operation::InstanceNorm { input, affine: Some((weight, bias)), epsilon: 1e-3 })
    }

    fn push(&mut self, operation: Operation) -> NodeId {
        let name = self.name();
        self.builder.push(name, operation)
    }

    fn leaky(&mut self, input: NodeId, slope: f64) -> NodeId {
        self.push(Operation::LeakyRelu { input, slope })
    }
}

/// Activation before norm, a norm with two readers, an activation of a value that is also read raw, a pooled sum, a norm on an
/// upsampled value, two activations in a row, and a concatenation with the batch.
fn twisted(channels: usize) -> Graph {
    let mut b = Build::new(channels);
    let input = b.builder.input();
    let a = b.conv(input, channels, 5, 3);
    let a = b.leaky(a, 0.3);
    let a = b.norm(a, 5);
    let c = b.conv(a, 5, 5, 1);
    let sum = b.push(Operation::Add { inputs: [a, c] });
    let active = b.leaky(sum, 0.2);
    let twice = b.leaky(active, 0.5);
    let sums = b.push(Operation::Add { inputs: [sum, twice] });
    let pooled = b.push(Operation::AveragePool { input: sums, kernel: [1, 2, 2] });
    let name = b.name();
    let weight = b.builder.parameter(format!("{name}.weight"), vec![5, 4, 1, 2, 2], HE);
    let up = b.builder.push(
        name,
        Operation::TransposedConvolution {
            input: pooled,
            weight,
            bias: None,
            output_channels: 4,
            stride: [1, 2, 2],
        },
    );
    let up = b.norm(up, 4);
    let joined = b.push(Operation::Concat { inputs: vec![up, input, active] });
    let joined = b.push(Operation::Concat { inputs: vec![c, joined] });
    let d = b.conv(joined, 5 + 4 + channels + 5, 17, 3);
    let d = b.leaky(d, 0.0);
    let head = b.conv(d, 17, 2, 1);
    b.builder.finish(vec![head])
}

#[test]
fn gradients_of_twisted_graphs() {
    for channels in [2, 9] {
        for level in [CpuLevel::Portable, CpuLevel::detect()] {
            let graph = twisted(channels);
            let parameters = init::initialise(&graph, 11);
            let options =
                CpuOptions { threads: 2, precision: Precision::Exact, level, recompute: channels == 9 };
            let mut executor = CpuExecutor::new(graph, parameters, options).unwrap();
            let mut x = Tensor::zeros([2, channels, 3, 4, 6]);
            x.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * 7919) % 613) as f32 / 300.0 - 1.0);
            let mut d = Tensor::zeros([2, 2, 3, 4, 6]);
            d.data.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * 104_729) % 911) as f32 / 450.0 - 1.0);
            let outputs = executor.forward(&x).unwrap();
            assert_eq!(executor.run(&x).unwrap(), outputs[0]);
            executor.forward(&x).unwrap();
            executor.backward(&[Some(d.clone())]).unwrap();
            let reference = executor.parameters().clone();
            for (name, parameter) in reference.iter() {
                let gradient = parameter.gradient().unwrap();
                let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
                let mut loss = |step: f64| -> f64 {
                    let value = executor.parameters_mut().get_mut(name).unwrap().value_mut();
                    for ((v, &start), &g) in value.iter_mut().zip(parameter.value()).zip(gradient) {
                        *v = (f64::from(start) + step * f64::from(g) / norm) as f32;
                    }
                    let y = executor.run(&x).unwrap();
                    y.data.iter().zip(&d.data).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
                };
                let slope = (loss(1e-3) - loss(-1e-3)) / 2e-3;
                loss(0.0);
                assert!(
                    (slope / norm - 1.0).abs() < 0.02,
                    "{channels} {level:?} {name}: slope {slope}, gradient {norm}"
                );
            }
        }
    }
}

#[test]
fn graphs_that_cannot_be_run_are_errors() {
    let fails = |graph: Graph, text: &str| {
        let parameters = init::initialise(&graph, 0);
        let message = CpuExecutor::new(graph, parameters, CpuOptions::default()).unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    };
    let mut b = Build::new(1);
    let input = b.builder.input();
    let a = b.conv(input, 1, 2, 3);
    let a = b.leaky(a, 0.1);
    fails(b.builder.finish(vec![a]), "1x1x1");

    let mut b = Build::new(1);
    let input = b.builder.input();
    let a = b.conv(input, 1, 2, 3);
    let twice = b.push(Operation::Concat { inputs: vec![a, a] });
    let head = b.conv(twice, 4, 2, 1);
    fails(b.builder.finish(vec![head]), "itself");

    let mut b = Build::new(1);
    let input = b.builder.input();
    let a = b.conv(input, 1, 2, 3);
    let c = b.conv(input, 1, 2, 3);
    let joined = b.push(Operation::Concat { inputs: vec![a, c] });
    let pooled = b.push(Operation::AveragePool { input: joined, kernel: [2; 3] });
    let head = b.conv(pooled, 4, 2, 1);
    fails(b.builder.finish(vec![head]), "concatenation");
}
