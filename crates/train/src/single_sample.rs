//! One sample of a batch as a batch of its own.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, RegionBatch, Target, Targets, Validity};

use super::batch::Batch;

/// A batch of the sample `sample` of `batch` alone, which has to be there.
pub(super) fn single_sample(batch: &Batch, sample: usize) -> Batch {
    let targets = &batch.targets;
    let scales = targets.scales.iter().map(|target| single_target(target, sample)).collect();
    let validity = targets.validity.as_ref().map(|validity| {
        let [_, classes] = validity.shape;
        let data = validity.data[sample * classes..(sample + 1) * classes].to_vec();
        Validity { shape: [1, classes], data }
    });
    let teacher = targets.teacher.as_ref().map(|teacher| single_tensor(teacher, sample));
    Batch {
        image: single_tensor(&batch.image, sample),
        targets: Targets { validity, teacher, ..Targets::new(scales) },
        cases: batch.cases[sample..=sample].to_vec(),
        starts: batch.starts.get(sample).copied().into_iter().collect(),
    }
}

fn single_tensor(tensor: &Tensor, sample: usize) -> Tensor {
    let [_, c, z, y, x] = tensor.shape;
    let size = c * z * y * x;
    Tensor { shape: [1, c, z, y, x], data: tensor.data[sample * size..(sample + 1) * size].to_vec() }
}

fn single_target(target: &Target, sample: usize) -> Target {
    match target {
        Target::Labels(labels) => {
            let [_, z, y, x] = labels.shape;
            let size = z * y * x;
            let data = labels.data[sample * size..(sample + 1) * size].to_vec();
            Target::Labels(LabelBatch { shape: [1, z, y, x], data })
        }
        Target::Regions(regions) => {
            let [_, c, z, y, x] = regions.shape;
            let size = c * z * y * x;
            let data = regions.data[sample * size..(sample + 1) * size].to_vec();
            Target::Regions(RegionBatch { shape: [1, c, z, y, x], data })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_all_that_belongs_to_it() {
        let labels = LabelBatch { shape: [2, 1, 1, 2], data: vec![0, 1, 2, 3] };
        let regions = RegionBatch { shape: [2, 2, 1, 1, 1], data: vec![true, false, false, true] };
        let validity = Some(Validity { shape: [2, 2], data: vec![true, true, false, false] });
        let scales = vec![Target::Labels(labels), Target::Regions(regions)];
        let batch = Batch {
            image: Tensor { shape: [2, 1, 1, 1, 2], data: vec![1.0, 2.0, 3.0, 4.0] },
            targets: Targets { validity, ..Targets::new(scales) },
            cases: vec!["a".to_owned(), "b".to_owned()],
            starts: vec![[0; 3], [-1, 2, 3]],
        };
        let second = single_sample(&batch, 1);
        assert_eq!(second.image.data, [3.0, 4.0]);
        assert_eq!((second.cases, second.starts), (vec!["b".to_owned()], vec![[-1, 2, 3]]));
        assert_eq!(second.targets.validity.unwrap().data, [false, false]);
        let [Target::Labels(labels), Target::Regions(regions)] = &second.targets.scales[..] else { panic!() };
        assert_eq!((&labels.data[..], &regions.data[..]), (&[2, 3][..], &[false, true][..]));
    }
}
