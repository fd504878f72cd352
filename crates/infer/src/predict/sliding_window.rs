//! Logits of a whole image from a network that sees one tile at a time.
//!
//! Each tile's logits (averaged over the mirrored versions of its input) are weighted with the
//! importance map and added up; the sum is divided by the sum of the weights. Several networks
//! (folds) are averaged. Sums are f16 and rounded tile by tile, in the order of the reference: near the
//! corners of an image, where all weights are tiny, its rounding decides probabilities, and half the
//! memory is enough. Finished slices are handed out while the tiles behind them are computed.

use half::f16;
use nnunet_graph::Tensor;
use nnunet_graph::backend::InferenceSession;
use nnunet_volume::ChannelVolume;

use super::bands::{Bands, JointSink, LogitSink, Placement};
use super::mirror;
pub use super::networks::{Networks, Single};
use super::quality::{Agreement, PassSums};
use super::slab_stream::Collected;
pub use super::sliding_window_error::SlidingWindowError;
use super::tiles::{axis_padding, tile_starts};
use nnunet_base::progress::{Cancel, Interrupted};

/// How an image is cut into tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct SlidingWindow {
    /// Shape (z, y, x) of the network's input; `tile[0] == 1` for a 2-D network.
    pub tile: [usize; 3],
    /// Whether each plane is predicted on its own (2-D network).
    pub planar: bool,
    /// Distance of neighbouring tiles as a share of the tile, in (0, 1].
    pub step_fraction: f64,
    /// Spatial axes (0 = z) along which inputs are mirrored; empty for no test-time mirroring.
    pub mirror_axes: Vec<usize>,
    /// Tiles that go through the network together.
    pub batch: usize,
}

/// Tensors that are used again from tile to tile.
struct Buffers {
    mirrored: Tensor,
    mean: Tensor,
    output: Tensor,
    /// What the passes say beside their mean, if that is asked for.
    passes: Option<PassSums>,
}

impl SlidingWindow {
    /// Number of network passes for an image of `shape` (z, y, x), mirrored versions included.
    pub fn passes(&self, shape: [usize; 3]) -> usize {
        self.starts(self.place(shape)).len() << self.mirror_axes.len()
    }

    /// Bytes that the logits of an image of `shape` (z, y, x) with `classes` channels take at most while
    /// `networks` networks run side by side: sums of the slices in work, and tiles.
    pub fn memory(&self, shape: [usize; 3], classes: usize, networks: usize) -> u64 {
        let place = self.place(shape);
        let starts = self.starts(place);
        let depth = deepest(&self.rounds(&starts), self.tile);
        // Mirroring needs a second input and a second output beside the session's own.
        let tile = if self.mirror_axes.is_empty() { 0 } else { self.tile.iter().product::<usize>() };
        place.bytes(classes, depth, networks) + (tile * self.batch * (classes + 1) * size_of::<f32>()) as u64
    }

    /// Further bytes that it takes to see how far the passes agree, see [`run_with_agreement`](Self::run_with_agreement).
    pub(super) fn memory_of_agreement(&self, shape: [usize; 3], classes: usize, networks: usize) -> u64 {
        let tile = self.tile.iter().product::<usize>() * self.batch;
        let sums = (2 * tile * (classes + 1) * size_of::<f32>()) as u64;
        self.memory(shape, classes + 1, networks) + sums
    }

    /// Hands the mean logits of `networks` for `image` (c, z, y, x) to `sink`, slice by slice. `progress`
    /// is called with the number of network passes just made.
    ///
    /// # Errors
    /// When a network or `sink` fails, when logits are unusable, or when `cancel` is raised between tiles.
    pub fn run(
        &self,
        networks: &mut dyn Networks,
        image: &ChannelVolume<f32>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
        sink: &mut LogitSink<'_>,
    ) -> Result<(), SlidingWindowError> {
        self.run_joint(networks, image, cancel, progress, None, &mut |logits, _| sink(logits))
    }

    /// As [`run`](Self::run), and `agreement` is told what the single passes say.
    ///
    /// # Errors
    /// As of `run`.
    pub(super) fn run_with_agreement(
        &self,
        networks: &mut dyn Networks,
        image: &ChannelVolume<f32>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
        agreement: &mut Agreement,
        sink: &mut LogitSink<'_>,
    ) -> Result<(), SlidingWindowError> {
        let sums = Some(PassSums::new(agreement.of_regions()));
        self.run_joint(networks, image, cancel, progress, sums, &mut |logits, passes| {
            if let Some(passes) = passes {
                agreement.push(logits, passes);
            }
            sink(logits)
        })
    }

    /// As [`run`](Self::run), with the means of `passes` along if they are asked for.
    fn run_joint(
        &self,
        networks: &mut dyn Networks,
        image: &ChannelVolume<f32>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
        passes: Option<PassSums>,
        sink: &mut JointSink<'_>,
    ) -> Result<(), SlidingWindowError> {
        let place = self.place(image.shape());
        let starts = self.starts(place);
        let rounds = self.rounds(&starts);
        let depth = deepest(&rounds, self.tile);
        let new_bands = || Bands::new(place, self.tile, &starts, depth, networks.count());
        let mut bands = new_bands();
        let mut along = passes.is_some().then(new_bands);
        let combinations = mirror::combinations(&self.mirror_axes);
        let empty = || Tensor::zeros([0; 5]);
        let mut buffers = Buffers { mirrored: empty(), mean: empty(), output: empty(), passes };
        for groups in rounds {
            bands.finish_until(groups[0][0][0], along.as_mut(), sink)?;
            for number in 0..networks.count() {
                let network = networks.select(number).map_err(SlidingWindowError::Network)?;
                for starts in &groups {
                    let input = self.gather(image, place.offset, starts);
                    self.tile_logits(network, &input, &combinations, &mut buffers, cancel, progress)?;
                    let [_, _, z, y, x] = buffers.mean.shape;
                    if [z, y, x] != self.tile {
                        return Err(SlidingWindowError::Shape { found: [z, y, x], expected: self.tile });
                    }
                    let share = 1.0 / combinations.len() as f32;
                    bands.add(number, &buffers.mean, share, starts);
                    if let (Some(along), Some(passes)) = (&mut along, &buffers.passes) {
                        along.add(number, passes.sum(), share, starts);
                    }
                }
            }
        }
        Ok(bands.finish_until(place.padded[0], along.as_mut(), sink)?)
    }

    /// As [`run`](Self::run), all slices in one volume (classes, z, y, x).
    ///
    /// # Errors
    /// As of `run`.
    pub fn whole(
        &self,
        networks: &mut dyn Networks,
        image: &ChannelVolume<f32>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<ChannelVolume<f16>, SlidingWindowError> {
        let mut collected = Collected::new(image.shape());
        self.run(networks, image, cancel, progress, &mut |slices| {
            collected.push(slices);
            Ok(())
        })?;
        // Without networks there are no logits.
        Ok(collected.finish().unwrap_or_else(|| ChannelVolume::filled(0, image.shape(), f16::ZERO)))
    }

    /// The sum of the logits over the mirrored versions of `input`, in `buffers.mean`.
    fn tile_logits(
        &self,
        network: &mut dyn InferenceSession,
        input: &Tensor,
        combinations: &[Vec<usize>],
        buffers: &mut Buffers,
        cancel: &Cancel,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), SlidingWindowError> {
        let Buffers { mirrored, mean, output, passes } = buffers;
        for axes in combinations {
            if cancel.is_cancelled() {
                return Err(Interrupted.into());
            }
            if axes.is_empty() {
                network.run_into(input, mean).map_err(SlidingWindowError::Network)?;
                if let Some(passes) = passes {
                    passes.add(mean, axes);
                }
            } else {
                mirrored.reshape(input.shape);
                mirror::mirror_into(input, axes, mirrored);
                network.run_into(mirrored, output).map_err(SlidingWindowError::Network)?;
                mirror::add_mirrored(output, axes, mean);
                if let Some(passes) = passes {
                    passes.add(output, axes);
                }
            }
            progress(input.shape[0]);
        }
        Ok(())
    }

    /// Where an image of `shape` lies in the padded grid.
    fn place(&self, shape: [usize; 3]) -> Placement {
        let pads: [(usize, usize); 3] =
            std::array::from_fn(|axis| axis_padding(shape[axis], self.tile[axis]));
        let padded = std::array::from_fn(|a| shape[a] + pads[a].0 + pads[a].1);
        Placement { shape, padded, offset: pads.map(|p| p.0) }
    }

    fn starts(&self, place: Placement) -> Vec<[usize; 3]> {
        tile_starts(place.padded, self.tile, self.step_fraction, self.planar)
    }

    /// The tiles in groups that go through the network together; a round is what begins in one slice.
    fn rounds<'a>(&self, starts: &'a [[usize; 3]]) -> Vec<Vec<&'a [[usize; 3]]>> {
        let groups: Vec<&[[usize; 3]]> = starts.chunks(self.batch.max(1)).collect();
        groups.chunk_by(|a, b| a[0][0] == b[0][0]).map(<[_]>::to_vec).collect()
    }

    /// The tiles at `starts` (in the padded image) as one batch; zero outside of the image.
    fn gather(&self, image: &ChannelVolume<f32>, offset: [usize; 3], starts: &[[usize; 3]]) -> Tensor {
        let [depth, height, width] = self.tile;
        let mut input = Tensor::zeros([starts.len(), image.channels(), depth, height, width]);
        let shape = image.shape();
        let tile_len = depth * height * width;
        for (n, start) in starts.iter().enumerate() {
            // The part of the tile that lies inside of the image, per axis: [low, high) in the tile.
            let inside: [(usize, usize); 3] = std::array::from_fn(|a| {
                let low = offset[a].saturating_sub(start[a]);
                (low, self.tile[a].min((shape[a] + offset[a]).saturating_sub(start[a])).max(low))
            });
            for c in 0..image.channels() {
                let channel = image.channel(c);
                let target = &mut input.data[(n * image.channels() + c) * tile_len..][..tile_len];
                for z in inside[0].0..inside[0].1 {
                    for y in inside[1].0..inside[1].1 {
                        let (x0, x1) = inside[2];
                        let row = (z + start[0] - offset[0]) * shape[1] + (y + start[1] - offset[1]);
                        let from = row * shape[2] + (x0 + start[2] - offset[2]);
                        target[(z * height + y) * width + x0..][..x1 - x0]
                            .copy_from_slice(&channel[from..from + x1 - x0]);
                    }
                }
            }
        }
        input
    }
}

/// Slices that the tiles of a round cover at most.
fn deepest(rounds: &[Vec<&[[usize; 3]]>], tile: [usize; 3]) -> usize {
    let depth = |round: &Vec<&[[usize; 3]]>| {
        let (first, last) = (round.first()?.first()?[0], round.last()?.last()?[0]);
        Some(last + tile[0] - first)
    };
    rounds.iter().filter_map(depth).max().unwrap_or(tile[0])
}

#[cfg(test)]
mod tests {
    use nnunet_graph::backend::MemoryEstimate;
    use nnunet_graph::{NetworkError, Parameters};

    use super::*;

    /// A network that returns its input times a factor, and ten times that as second class.
    struct Scaling {
        factor: f32,
        runs: usize,
    }

    impl InferenceSession for Scaling {
        fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError> {
            self.runs += input.shape[0];
            let [n, _, z, y, x] = input.shape;
            let voxels = z * y * x;
            output.reshape([n, 2, z, y, x]);
            for (o, i) in output.data.chunks_mut(2 * voxels).zip(input.data.chunks(voxels)) {
                o[..voxels].iter_mut().zip(i).for_each(|(o, i)| *o = i * self.factor);
                o[voxels..].iter_mut().zip(i).for_each(|(o, i)| *o = i * self.factor * 10.0);
            }
            Ok(())
        }

        fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError> {
            Ok(parameters)
        }

        fn renew(&mut self) -> Result<(), NetworkError> {
            Ok(())
        }

        fn memory(&self, _input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
            Ok(MemoryEstimate { activations: 0, weights: 0, border: 0 })
        }
    }

    fn image(shape: [usize; 3]) -> ChannelVolume<f32> {
        let data = (0..shape.iter().product()).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        ChannelVolume::new(1, shape, data).unwrap()
    }

    /// Several networks that return their input times their number, counted from 1.
    struct Scaled {
        networks: usize,
        session: Scaling,
    }

    impl Networks for Scaled {
        fn count(&self) -> usize {
            self.networks
        }

        fn select(&mut self, number: usize) -> Result<&mut dyn InferenceSession, NetworkError> {
            self.session.factor = number as f32 + 1.0;
            Ok(&mut self.session)
        }
    }

    /// All slices in one volume.
    fn run(
        window: &SlidingWindow,
        image: &ChannelVolume<f32>,
        networks: usize,
    ) -> (ChannelVolume<f16>, usize) {
        let mut scaled = Scaled { networks, session: Scaling { factor: 0.0, runs: 0 } };
        let mut passes = 0;
        let whole = window.whole(&mut scaled, image, &Cancel::new(), &mut |n| passes += n).unwrap();
        assert_eq!(passes, scaled.session.runs);
        assert_eq!(passes, window.passes(image.shape()) * networks);
        (whole, passes)
    }

    #[test]
    fn the_identity_comes_back_whatever_the_tiling() {
        for (shape, tile, planar, mirror_axes, batch) in [
            ([9, 13, 17], [4, 6, 8], false, vec![], 1),
            ([9, 13, 17], [4, 6, 8], false, vec![0, 1, 2], 3),
            ([3, 5, 7], [8, 8, 8], false, vec![2], 1),
            ([5, 13, 7], [1, 8, 8], true, vec![1, 2], 4),
        ] {
            let window = SlidingWindow { tile, planar, step_fraction: 0.5, mirror_axes, batch };
            let image = image(shape);
            // The mean of once and twice the image.
            let (mut logits, _) = run(&window, &image, 2);
            logits.data_mut().iter_mut().for_each(|v| *v = f16::from_f32(v.to_f32() / 1.5));
            assert_eq!((logits.channels(), logits.shape()), (2, shape));
            for (i, value) in image.data().iter().enumerate() {
                // Where all weights are near the smallest f16 numbers, sums have few digits.
                let tolerance = 0.02 * value.abs() + 1e-3;
                assert!((logits.channel(0)[i].to_f32() - value).abs() < tolerance, "{window:?} {value}");
                assert!((logits.channel(1)[i].to_f32() - value * 10.0).abs() < 10.0 * tolerance);
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_an_error() {
        let window = SlidingWindow {
            tile: [4, 4, 4],
            planar: false,
            step_fraction: 1.0,
            mirror_axes: vec![],
            batch: 1,
        };
        let mut image = image([4, 4, 4]);
        image.data_mut()[5] = f32::NAN;
        let mut network = Scaling { factor: 1.0, runs: 0 };
        let outcome =
            window.run(&mut Single(&mut network), &image, &Cancel::new(), &mut |_| (), &mut |_| Ok(()));
        assert!(matches!(outcome, Err(SlidingWindowError::NotFinite)));
    }

    #[test]
    fn stops_between_tiles_when_asked() {
        let window = SlidingWindow {
            tile: [4, 4, 4],
            planar: false,
            step_fraction: 0.5,
            mirror_axes: vec![],
            batch: 1,
        };
        let image = image([8, 8, 8]);
        let cancel = Cancel::new();
        let mut network = Scaling { factor: 1.0, runs: 0 };
        let outcome =
            window.run(&mut Single(&mut network), &image, &cancel, &mut |_| cancel.cancel(), &mut |_| Ok(()));
        assert!(matches!(outcome, Err(SlidingWindowError::Interrupted(_))));
    }
}
