//! Random boxes of a channel replaced by one value. Axis order (z, y, x). Exact but for the mean.

use std::sync::Arc;

use nnunet_base::parts::{OptionError, Options};
use rand::RngExt;
use serde_json::Value;

use super::distribution::{ChannelChoice, CountRange, Distribution};
use super::pipeline::Sample;
use super::random::SampleRng;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Blanks boxes of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct BlankRectangles {
    /// Channels to change; every channel has boxes of its own.
    pub channels: ChannelChoice,
    /// Edge length along (z, y, x) in voxels.
    pub size: [CountRange; 3],
    /// Number of boxes per channel.
    pub count: CountRange,
    /// What the boxes are filled with.
    pub value: BlankValue,
    /// One length for all axes, drawn from the range of the first.
    pub cubic: bool,
}

/// What a box is filled with.
#[derive(Debug, Clone, PartialEq)]
pub enum BlankValue {
    /// The mean of what it covers.
    Mean,
    /// A number drawn for each box.
    Drawn(Distribution),
}

impl BlankRectangles {
    /// Options: `size` (a length or range for every axis, or a list with one per axis; by default a tenth to a third of
    /// the patch), `count`, `value` (the mean unless given), `cubic`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let value = Distribution::optional(options, "value")?;
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            size: read_size(options, context)?,
            count: CountRange::read(options, "count", CountRange::new(1, 4), 0)?,
            value: value.map_or(BlankValue::Mean, BlankValue::Drawn),
            cubic: options.switch("cubic", false)?,
        })))
    }

    /// First voxel and edge lengths (z, y, x) of a box in a patch of `shape`.
    fn draw_box(&self, shape: [usize; 3], first_axis: usize, rng: &mut SampleRng) -> [[usize; 2]; 3] {
        let shared = self.cubic.then(|| self.size[first_axis].sample(rng));
        let sizes: [usize; 3] = std::array::from_fn(|d| match shared {
            _ if d < first_axis => shape[d],
            Some(size) => size.min(shape[d]),
            None => self.size[d].sample(rng).min(shape[d]),
        });
        std::array::from_fn(|d| {
            let room = shape[d] - sizes[d];
            [if room == 0 { 0 } else { rng.random_range(0..=room) }, sizes[d]]
        })
    }
}

fn read_size(options: &mut Options<'_>, context: &BuildContext<'_>) -> Result<[CountRange; 3], OptionError> {
    let (dimensions, patch) = (context.geometry.dimensions, context.geometry.patch);
    let first = context.geometry.first_axis();
    let expected = "lengths in voxels: a number, [shortest, longest], or one of these for each axis";
    let read = |value: &Value| {
        let range = |value: &Value| CountRange::from_value(value).filter(|range| range.low > 0);
        if let Some(range) = range(value) {
            return Some([range; 3]);
        }
        let ranges: Vec<CountRange> = value.as_array()?.iter().map(range).collect::<Option<_>>()?;
        (ranges.len() == dimensions).then(|| std::array::from_fn(|d| ranges[d.saturating_sub(first)]))
    };
    // The reference draws from numbers below a third of the axis.
    let default = patch.map(|length| {
        let low = (length / 10).max(1);
        CountRange::new(low, (length / 3).saturating_sub(1).max(low))
    });
    Ok(options.read("size", expected, read)?.unwrap_or(default))
}

impl Transform for BlankRectangles {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let (shape, first) = (image.shape(), context.geometry.first_axis());
        let boxes = self.channels.draw(image.channels(), context.rng, |rng| {
            (0..self.count.sample(rng)).map(|_| self.draw_box(shape, first, rng)).collect::<Vec<_>>()
        });
        for (c, boxes) in boxes.into_iter().enumerate() {
            for region in boxes.into_iter().flatten() {
                let value = match &self.value {
                    BlankValue::Mean => None,
                    BlankValue::Drawn(value) => Some(value.sample(context.rng) as f32),
                };
                blank(image.channel_mut(c), shape, region, value);
            }
        }
    }
}

/// Fills the box of a channel of `shape` that begins at the first number of each axis and has the second as length with
/// `value`, or with its mean.
pub fn blank(channel: &mut [f32], shape: [usize; 3], region: [[usize; 2]; 3], value: Option<f32>) {
    let [[z, depth], [y, height], [x, width]] = region;
    let starts = (z..z + depth).flat_map(|z| (y..y + height).map(move |y| (z * shape[1] + y) * shape[2] + x));
    let value = value.unwrap_or_else(|| {
        let sum: f64 =
            starts.clone().flat_map(|start| &channel[start..start + width]).map(|v| f64::from(*v)).sum();
        (sum / (depth * height * width).max(1) as f64) as f32
    });
    for start in starts {
        channel[start..start + width].fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_becomes_its_mean_and_the_rest_stays() {
        let mut channel: Vec<f32> = (0..12).map(|v| v as f32).collect();
        blank(&mut channel, [1, 3, 4], [[0, 1], [1, 2], [2, 2]], None);
        assert_eq!(channel, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.5, 8.5, 8.0, 9.0, 8.5, 8.5]);
        blank(&mut channel, [1, 3, 4], [[0, 1], [0, 1], [0, 4]], Some(-1.0));
        assert_eq!(channel[..4], [-1.0; 4]);
    }
}
