//! What a prediction needs of main memory, stated before it starts.

use nnunet_graph::backend::MemoryEstimate;

use super::cases::{CaseSize, Cases};
use super::error::PredictError;
use super::predictor::Predictor;
use super::slab_stream::SlabStream;
use super::sliding_window::Networks;
use nnunet_base::Ctx;
use nnunet_base::hint::MemoryWork;
use nnunet_base::memory::{MemoryLimit, MemoryLimitError, gigabytes};

/// Bytes of the program itself.
const PROGRAM: u64 = 16 << 20;

/// Bytes that one case needs at most in each of its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Weights and activations, there all the time.
    pub loaded: u64,
    /// Reading and preprocessing.
    pub preparation: u64,
    /// Preprocessed image, logits in work and labels.
    pub network: u64,
    /// Labels or probabilities until they are written.
    pub export: u64,
}

impl MemoryNeed {
    /// If nothing else is in work.
    pub fn alone(&self) -> u64 {
        self.loaded.saturating_add(self.preparation.max(self.network).max(self.export))
    }

    /// If `preparing` further cases are prepared and one waits, while `exporting` are exported.
    pub fn overlapping(&self, preparing: usize, exporting: usize) -> u64 {
        let of = |bytes: u64, cases: usize| bytes.saturating_mul(cases as u64 + 1);
        self.loaded
            .saturating_add(self.network)
            .saturating_add(of(self.preparation, preparing))
            .saturating_add(of(self.export, exporting))
    }
}

/// What happens where a case does not fit into the memory even alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLarge {
    /// Nothing is begun.
    Refused,
    /// That case fails, the others are made.
    FailsAlone,
}

/// What is made of a case beside its segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// Probabilities.
    pub probabilities: bool,
    /// How far the passes of the networks agree.
    pub quality: bool,
}

/// How cases are worked on, as far as it decides what they need together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    /// What is made beside segmentations.
    pub(super) extras: Extras,
    /// Cases read at once.
    pub(super) reading: usize,
    /// Cases exported at once.
    pub(super) exporting: usize,
    /// What happens where a case does not fit even alone.
    pub(super) too_large: TooLarge,
}

impl Predictor<'_> {
    /// Memory of one pass of the network over a tile (with all that go through it together).
    ///
    /// # Errors
    /// When the network does not take the tiles.
    pub fn memory_of_pass(&self) -> Result<MemoryEstimate, PredictError> {
        let [z, y, x] = self.window.tile;
        let shape = [self.window.batch, self.spec.input_channels(), z, y, x];
        Ok(self.folds.session.get().memory(shape)?)
    }

    /// What a case needs.
    ///
    /// # Errors
    /// When the network does not take the tiles.
    pub fn memory(&self, case: &CaseSize, extras: Extras) -> Result<MemoryNeed, PredictError> {
        let (shape, on_network) = (case.image, case.on_network);
        let (before, after) = (voxels(shape), voxels(on_network));
        let heads = self.spec.heads();
        let channels = self.spec.input_channels();
        let pass = self.memory_of_pass()?;
        let further_folds = self.folds.waiting_bytes();
        let whole = 2 * heads as u64 * after;
        let folds = self.folds.count();
        let logits = if extras.quality {
            self.window.memory(on_network, heads, folds)
                + self.window.memory_of_agreement(on_network, heads, folds)
        } else if self.folds_run_side_by_side(on_network) {
            self.window.memory(on_network, heads, folds)
        } else {
            self.window.memory(on_network, heads, 1) + whole
        };
        let slab = SlabStream::memory(heads, shape[1] * shape[2]);
        let of_next = |next: &[usize; 3]| 2 * voxels(*next) + SlabStream::memory(heads, next[1] * next[2]);
        let next_stages: u64 = case.next_stages.iter().map(of_next).sum();
        let labels = 2 * before + slab + next_stages;
        // Labels cropped, put back and transposed, and as the file has them.
        let mut export = 6 * before + next_stages;
        let mut network = 4 * channels as u64 * after + logits + labels;
        if extras.probabilities {
            network += whole;
            export += whole + slab + 4 * before * (2 * heads as u64 + 1);
        }
        Ok(MemoryNeed {
            loaded: PROGRAM + (pass.total() + further_folds) as u64,
            preparation: case.preparation,
            network,
            export,
        })
    }
}

/// Voxels of a volume of `shape`.
pub(super) fn voxels(shape: [usize; 3]) -> u64 {
    shape.iter().fold(1u64, |all, &edge| all.saturating_mul(edge as u64))
}

/// Checks what one case needs.
///
/// # Errors
/// It cannot be had.
pub(super) fn check(
    predictor: &Predictor<'_>,
    need: &MemoryNeed,
    limit: MemoryLimit,
) -> Result<(), MemoryLimitError> {
    match limit.excludes(need.alone()) {
        true => Err(too_much(predictor, need, &limit, format!("it needs {}", gigabytes(need.alone())))),
        false => Ok(()),
    }
}

/// The error for cases that need too much, one of which is `need`; it says so where the network alone already does.
fn too_much(
    predictor: &Predictor<'_>,
    need: &MemoryNeed,
    limit: &MemoryLimit,
    cases: String,
) -> MemoryLimitError {
    if !limit.excludes(need.loaded) {
        return limit.error(cases, MemoryWork::Prediction);
    }
    let window = &predictor.window;
    let patches = if window.batch == 1 { "a patch".to_owned() } else { format!("{} patches", window.batch) };
    let [z, y, x] = window.tile;
    let network = gigabytes(need.loaded);
    let needs =
        format!("{cases}, of which the network takes {network} on {patches} of {z} x {y} x {x} voxels");
    limit.error(needs, MemoryWork::Network)
}

/// Says what the largest of `cases` needs, and whether cases may overlap: within the limit of `ctx`, or within what is
/// available.
///
/// # Errors
/// Cases that need more than the limit, or without one more than the process can have, even alone; all are named. None
/// if they are to fail alone.
pub(super) fn plan(
    predictor: &Predictor<'_>,
    cases: &dyn Cases,
    workload: &Workload,
    ctx: Ctx<'_>,
) -> Result<bool, PredictError> {
    plan_within(ctx.memory_limit(), predictor, cases, workload, ctx)
}

/// [`plan`] for what is given or what the system says.
fn plan_within(
    limit: MemoryLimit,
    predictor: &Predictor<'_>,
    cases: &dyn Cases,
    workload: &Workload,
    ctx: Ctx<'_>,
) -> Result<bool, PredictError> {
    let mut largest: Option<(MemoryNeed, &str)> = None;
    let mut too_large: Vec<String> = Vec::new();
    for case in 0..cases.count() {
        // Files that are damaged fail when they are read, and by themselves.
        let Some(size) = cases.size(case) else { continue };
        let identifier = cases.identifier(case);
        let need = predictor.memory(&size, workload.extras)?;
        if limit.excludes(need.alone()) {
            if workload.too_large == TooLarge::FailsAlone {
                continue;
            }
            too_large.push(format!("{identifier} needs {}", gigabytes(need.alone())));
        }
        if largest.is_none_or(|(other, _)| need.alone() > other.alone()) {
            largest = Some((need, identifier));
        }
    }
    let Some((need, case)) = largest else { return Ok(ctx.max_memory.is_none()) };
    if !too_large.is_empty() {
        return Err(too_much(predictor, &need, &limit, too_large.join(", ")).into());
    }
    // One case overlaps with nothing.
    let overlapping = match cases.count() {
        1 => need.alone(),
        _ => need.overlapping(workload.reading, workload.exporting),
    };
    let within = limit.comfortable().filter(|within| overlapping > *within);
    let line = match within {
        None => format!("memory: at most about {} (largest case {case})", gigabytes(overlapping)),
        Some(within) => format!(
            "memory: at most about {} (largest case {case}), one case after the other to stay within {}",
            gigabytes(need.alone()),
            gigabytes(within)
        ),
    };
    ctx.message(&line);
    if let Some(warning) = limit.warning(&format!("case {case}"), need.alone()) {
        ctx.warning(&warning);
    }
    Ok(within.is_none())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use nnunet_exec_cpu::{CpuBackend, CpuOptions};
    use nnunet_testkit::model::ball_model;

    use super::*;
    use crate::predict::{Model, PreparedCase, WindowOptions};
    use nnunet_base::memory::{LimitedBy, Memory};
    use nnunet_base::progress::{Cancel, Event, Progress};
    use nnunet_data::Parts;
    use nnunet_recipe::recipes;

    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn event(&self, event: Event<'_>) {
            if let Event::Message(text) | Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
    }

    /// Two cases of which only the sizes are asked.
    struct Balls;

    impl Cases for Balls {
        fn count(&self) -> usize {
            2
        }

        fn identifier(&self, case: usize) -> &str {
            ["ball_000", "ball_001"][case]
        }

        fn size(&self, _: usize) -> Option<CaseSize> {
            let shape = [20, 24, 22];
            Some(CaseSize { image: shape, on_network: shape, next_stages: Vec::new(), preparation: 1 << 18 })
        }

        fn read(&self, _: usize, _: Ctx<'_>) -> Result<PreparedCase, PredictError> {
            Err(PredictError::NoWeights)
        }
    }

    #[test]
    fn without_a_limit_what_the_process_can_have_decides() {
        let cpu = CpuBackend::new(CpuOptions { threads: 1, ..CpuOptions::default() });
        let model =
            Model::load(&ball_model(), &[], "checkpoint_final.pth", &Parts::default(), &recipes()).unwrap();
        let predictor = Predictor::new(model.spec, model.weights, &cpu, WindowOptions::default()).unwrap();
        let mut workload =
            Workload { extras: Extras::default(), reading: 1, exporting: 1, too_large: TooLarge::Refused };
        let plan = |workload: &Workload, total: u64, available: u64| {
            let limit =
                Memory { total: Some(total), available: Some(available), limited_by: LimitedBy::Machine };
            let heard = Heard(Mutex::default());
            let cancel = Cancel::new();
            let ctx = Ctx::new(&heard, &cancel);
            let planned = plan_within(MemoryLimit::Machine(limit), &predictor, &Balls, workload, ctx);
            (planned.map_err(|error| nnunet_base::hint::explain(&error)), heard.0.into_inner().unwrap())
        };
        let (overlap, heard) = plan(&workload, 1 << 40, 1 << 40);
        assert!(overlap == Ok(true) && heard.len() == 1, "{heard:?}");
        let (overlap, heard) = plan(&workload, 1 << 40, 1 << 20);
        assert_eq!((overlap, heard.len()), (Ok(false), 2), "{heard:?}");
        assert!(heard[0].contains("one case after the other to stay within 1 MB"), "{heard:?}");
        assert!(heard[1].contains("are free now"), "{heard:?}");
        let loaded = PROGRAM + predictor.memory_of_pass().unwrap().total() as u64;
        let (refused, heard) = plan(&workload, loaded, loaded);
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("of this machine: ball_000 needs") && refused.contains("ball_001 needs"),
            "{refused}"
        );
        assert!(heard.is_empty());
        let refused = plan(&workload, loaded - 1, 0).0.unwrap_err();
        assert!(refused.contains("the network takes") && refused.contains("patch_size"), "{refused}");
        // Where cases are to fail alone, there is nothing to refuse beforehand.
        workload.too_large = TooLarge::FailsAlone;
        assert_eq!(plan(&workload, loaded, loaded).0, Ok(true));
    }
}
