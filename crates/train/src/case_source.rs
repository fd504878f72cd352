//! Preprocessed cases as the loader sees them, and a wrapper that keeps small datasets in memory.

use super::sampler::ForegroundLocations;
use nnunet_augment::Sample;
use nnunet_augment::crop::copy_box;
use nnunet_augment::spatial::OUTSIDE_LABEL;
use nnunet_volume::ChannelVolume;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Any error of a case; its message names the file.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Size of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseLayout {
    /// Shape (z, y, x).
    pub shape: [usize; 3],
    /// Channels of the image.
    pub image_channels: usize,
    /// Channels of the segmentation: 1, or 2 with that of a cascade's previous stage.
    pub segmentation_channels: usize,
}

/// One preprocessed case.
pub trait CaseSource: Send + Sync {
    /// Name of the case, for messages.
    fn identifier(&self) -> &str;

    /// Size of the case.
    fn layout(&self) -> Result<CaseLayout, SourceError>;

    /// Voxels that patches may be centred on.
    fn foreground_locations(&self) -> Result<Arc<ForegroundLocations>, SourceError>;

    /// Which classes (background included) or regions were annotated in this case, in the order of the network's outputs;
    /// `None` where all were. See [`Validity`](nnunet_graph::loss::Validity) for what losses make of it.
    fn annotated_classes(&self) -> Option<Vec<bool>> {
        None
    }

    /// Channels of the image that this case does not have, ascending; their voxels are 0, and so they are in batches.
    ///
    /// # Errors
    /// Missing or damaged files.
    fn absent_channels(&self) -> Result<Vec<usize>, SourceError> {
        Ok(Vec::new())
    }

    /// Image and segmentation of the box of `size` at `start` (z, y, x), which lies inside the case
    /// and is not empty.
    fn read_box(&self, start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError>;

    /// The same for any box: outside of the case the image is 0 and the segmentation -1.
    fn read_patch(&self, start: [isize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        let layout = self.layout()?;
        let low: [isize; 3] = std::array::from_fn(|d| start[d].clamp(0, layout.shape[d] as isize));
        let high: [isize; 3] = std::array::from_fn(|d| {
            start[d].saturating_add_unsigned(size[d]).clamp(low[d], layout.shape[d] as isize)
        });
        let inside: [usize; 3] = std::array::from_fn(|d| (high[d] - low[d]) as usize);
        if inside == size {
            return self.read_box(low.map(|v| v as usize), size);
        }
        if inside.contains(&0) {
            return Ok(empty_sample(&layout, size));
        }
        let sample = self.read_box(low.map(|v| v as usize), inside)?;
        Ok(cut(&sample, std::array::from_fn(|d| start[d] - low[d]), size))
    }
}

/// A sample of `size` that lies outside of the case.
fn empty_sample(layout: &CaseLayout, size: [usize; 3]) -> Sample {
    Sample {
        image: ChannelVolume::filled(layout.image_channels, size, 0.0),
        segmentation: ChannelVolume::filled(layout.segmentation_channels, size, OUTSIDE_LABEL),
    }
}

/// The box of `size` at `start` of `sample`, padded.
fn cut(sample: &Sample, start: [isize; 3], size: [usize; 3]) -> Sample {
    let layout = CaseLayout {
        shape: sample.image.shape(),
        image_channels: sample.image.channels(),
        segmentation_channels: sample.segmentation.channels(),
    };
    let mut result = empty_sample(&layout, size);
    for c in 0..layout.image_channels {
        copy_box(sample.image.channel(c), layout.shape, start, result.image.channel_mut(c), size);
    }
    for c in 0..layout.segmentation_channels {
        let target = result.segmentation.channel_mut(c);
        copy_box(sample.segmentation.channel(c), layout.shape, start, target, size);
    }
    result
}

/// Bytes that the cases of a dataset may take in memory, shared between them.
#[derive(Debug)]
pub struct MemoryBudget {
    left: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    /// Takes `bytes` if they are left.
    fn take(&self, bytes: usize) -> bool {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A case that stays in memory once it was read, as long as the budget allows.
pub struct CachedCase<S> {
    source: S,
    budget: Arc<MemoryBudget>,
    layout: OnceLock<CaseLayout>,
    locations: OnceLock<Arc<ForegroundLocations>>,
    content: Mutex<Content>,
}

#[derive(Clone)]
enum Content {
    Unread,
    Held(Arc<Sample>),
    TooLarge,
}

impl<S: CaseSource> CachedCase<S> {
    /// Wraps `source`; nothing is read yet.
    pub fn new(source: S, budget: Arc<MemoryBudget>) -> Self {
        let content = Mutex::new(Content::Unread);
        Self { source, budget, layout: OnceLock::new(), locations: OnceLock::new(), content }
    }

    /// The whole case, if it is or can be held in memory. Concurrent callers wait for the first.
    fn whole(&self) -> Result<Option<Arc<Sample>>, SourceError> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        match &*content {
            Content::Held(sample) => return Ok(Some(Arc::clone(sample))),
            Content::TooLarge => return Ok(None),
            Content::Unread => {}
        }
        let layout = self.layout()?;
        let voxel =
            size_of::<f32>() * layout.image_channels + size_of::<i16>() * layout.segmentation_channels;
        let bytes = layout.shape.iter().try_fold(voxel, |bytes, &axis| bytes.checked_mul(axis));
        let Some(bytes) = bytes.filter(|bytes| self.budget.take(*bytes)) else {
            *content = Content::TooLarge;
            return Ok(None);
        };
        match self.source.read_box([0; 3], layout.shape) {
            Ok(sample) => {
                let sample = Arc::new(sample);
                *content = Content::Held(Arc::clone(&sample));
                Ok(Some(sample))
            }
            Err(error) => {
                self.budget.give_back(bytes);
                Err(error)
            }
        }
    }
}

impl<S: CaseSource> CaseSource for CachedCase<S> {
    fn identifier(&self) -> &str {
        self.source.identifier()
    }

    fn layout(&self) -> Result<CaseLayout, SourceError> {
        match self.layout.get() {
            Some(layout) => Ok(*layout),
            None => {
                let layout = self.source.layout()?;
                Ok(*self.layout.get_or_init(|| layout))
            }
        }
    }

    fn foreground_locations(&self) -> Result<Arc<ForegroundLocations>, SourceError> {
        if let Some(locations) = self.locations.get() {
            return Ok(Arc::clone(locations));
        }
        let locations = self.source.foreground_locations()?;
        if self.budget.take(locations.bytes()) && self.locations.set(Arc::clone(&locations)).is_err() {
            // Another thread was faster; its copy is the one that stays.
            self.budget.give_back(locations.bytes());
        }
        Ok(locations)
    }

    fn annotated_classes(&self) -> Option<Vec<bool>> {
        self.source.annotated_classes()
    }

    fn absent_channels(&self) -> Result<Vec<usize>, SourceError> {
        self.source.absent_channels()
    }

    fn read_box(&self, start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        match self.whole()? {
            Some(sample) => Ok(cut(&sample, start.map(|v| v as isize), size)),
            None => self.source.read_box(start, size),
        }
    }

    fn read_patch(&self, start: [isize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        match self.whole()? {
            Some(sample) => Ok(cut(&sample, start, size)),
            None => self.source.read_patch(start, size),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A case in memory that counts how often it is read.
    pub(in super::super) struct MemoryCase {
        pub(in super::super) name: String,
        pub(in super::super) sample: Sample,
        pub(in super::super) locations: ForegroundLocations,
        pub(in super::super) reads: AtomicUsize,
        pub(in super::super) broken: bool,
    }

    impl MemoryCase {
        /// Values encode case and position; label 1 is one voxel.
        pub(in super::super) fn new(index: usize, shape: [usize; 3]) -> Self {
            let voxels: usize = shape.iter().product();
            let image = (0..voxels).map(|i| (index * 1000 + i) as f32 * 1e-3).collect();
            let mut labels = vec![0i16; voxels];
            labels[voxels / 2] = 1;
            let at = voxels / 2;
            let voxel = [at / (shape[1] * shape[2]), at / shape[2] % shape[1], at % shape[2]];
            Self {
                name: format!("case_{index:03}"),
                sample: Sample {
                    image: ChannelVolume::new(1, shape, image).unwrap(),
                    segmentation: ChannelVolume::new(1, shape, labels).unwrap(),
                },
                locations: ForegroundLocations {
                    classes: vec![vec![voxel.map(|v| v as u32)]],
                    annotated: None,
                },
                reads: AtomicUsize::new(0),
                broken: false,
            }
        }
    }

    impl CaseSource for MemoryCase {
        fn identifier(&self) -> &str {
            &self.name
        }

        fn layout(&self) -> Result<CaseLayout, SourceError> {
            let shape = self.sample.image.shape();
            Ok(CaseLayout { shape, image_channels: 1, segmentation_channels: 1 })
        }

        fn foreground_locations(&self) -> Result<Arc<ForegroundLocations>, SourceError> {
            Ok(Arc::new(self.locations.clone()))
        }

        fn read_box(&self, start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            if self.broken {
                return Err(format!("{}.b2nd: truncated", self.name).into());
            }
            Ok(cut(&self.sample, start.map(|v| v as isize), size))
        }
    }

    #[test]
    fn boxes_that_hang_over_are_padded() {
        let case = MemoryCase::new(1, [4, 5, 6]);
        for start in [[-2, 1, 3], [3, 4, 5], [0, 0, 0], [-9, 0, 0], [4, 0, 0]] {
            let direct = case.read_patch(start, [3, 4, 5]).unwrap();
            assert_eq!(direct, cut(&case.sample, start, [3, 4, 5]), "{start:?}");
        }
        let patch = case.read_patch([-1, 0, 0], [2, 5, 6]).unwrap();
        assert_eq!((patch.image.data()[0], patch.segmentation.data()[0]), (0.0, -1));
        assert_eq!(patch.image.data()[30], 1.0);
    }

    #[test]
    fn the_cache_reads_once_within_its_budget_and_answers_alike_beyond() {
        let bytes = 4 * 5 * 6 * 6;
        for (budget, expected_reads) in [(bytes, 1), (bytes - 1, 3)] {
            let cached = CachedCase::new(MemoryCase::new(2, [4, 5, 6]), MemoryBudget::new(budget));
            for start in [[0, 0, 0], [-1, 2, 3], [2, 2, 2]] {
                let expected = cached.source.read_patch(start, [3, 3, 3]).unwrap();
                cached.source.reads.fetch_sub(1, Ordering::Relaxed);
                assert_eq!(cached.read_patch(start, [3, 3, 3]).unwrap(), expected);
            }
            assert_eq!(cached.source.reads.load(Ordering::Relaxed), expected_reads);
            assert_eq!(cached.foreground_locations().unwrap().classes[0].len(), 1);
        }
    }

    #[test]
    fn a_failed_read_costs_no_budget() {
        let budget = MemoryBudget::new(10_000);
        let mut case = MemoryCase::new(2, [4, 5, 6]);
        case.broken = true;
        let cached = CachedCase::new(case, Arc::clone(&budget));
        let error = cached.read_patch([0; 3], [2; 3]).unwrap_err();
        assert!(error.to_string().contains("truncated"));
        assert_eq!(budget.left.load(Ordering::Relaxed), 10_000);
    }
}
