//! Resampling speed: CPU seconds, voxels per second and bytes per second (f32 in and out) beside a plain copy's.
//!
//! `cargo bench -p nnunet-volume --bench resample`; `benches/resample_reference.py` runs the same shapes through
//! nnU-Net's function. CPU time is that of all threads, so that other programs on the machine hardly matter.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use nnunet_volume::resample::{Interpolation, Method, SlabResampler, resample_data, resample_labels};
use nnunet_volume::{ChannelVolume, SpacingMm, Volume};

/// CPU seconds of this process so far (user and system, hundredths). Zero where there is no /proc.
fn cpu_seconds() -> f64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn measure<T>(
    name: &str,
    bytes: usize,
    voxels: usize,
    mut prepare: impl FnMut() -> T,
    mut run: impl FnMut(T),
) {
    run(prepare());
    let (mut wall, mut cpu, mut rounds) = (0.0, 0.0, 0);
    while rounds < 5 {
        let input = prepare();
        let (start, start_cpu) = (Instant::now(), cpu_seconds());
        run(input);
        wall += start.elapsed().as_secs_f64();
        cpu += cpu_seconds() - start_cpu;
        rounds += 1;
    }
    let (wall, cpu) = (wall / f64::from(rounds), cpu / f64::from(rounds));
    println!(
        "{name:<40} {wall:7.3} s wall {cpu:7.3} s CPU {:8.2} ns CPU/voxel {:7.2} GB/s of CPU time",
        cpu / voxels as f64 * 1e9,
        bytes as f64 / cpu.max(1e-9) / 1e9
    );
}

/// Smooth structure with noise, the same in the Python script.
fn image(shape: [usize; 3]) -> ChannelVolume<f32> {
    let mut state = 1u32;
    let n = shape.iter().product::<usize>();
    let data = (0..n)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (i % 977) as f32 * 0.5 + (state >> 20) as f32 * 0.01
        })
        .collect();
    ChannelVolume::new(1, shape, data).unwrap()
}

/// Balls of labels.
fn labels(shape: [usize; 3]) -> Volume<i8> {
    let mut out = Volume::filled(shape, 0i8);
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            for x in 0..shape[2] {
                let at = [z as f64 / shape[0] as f64, y as f64 / shape[1] as f64, x as f64 / shape[2] as f64];
                let r: f64 = at.iter().map(|v| (v - 0.5) * (v - 0.5)).sum::<f64>().sqrt();
                let i = out.index(z, y, x);
                out.data_mut()[i] = ((r * 8.0) as i8 - 1).min(2);
            }
        }
    }
    out
}

fn main() {
    let n = 120 * 512 * 512;
    let source = vec![1.0f32; n];
    let mut target = vec![0.0f32; n];
    measure(
        "copy of 120x512x512 f32",
        8 * n,
        n,
        || (),
        |()| black_box(&mut target).copy_from_slice(black_box(&source)),
    );
    let cases = [
        ("CT, separate z", [120, 512, 512], [200, 410, 410], [5.0, 0.8, 0.8], [3.0, 1.0, 1.0]),
        ("CT, three-dimensional", [120, 512, 512], [160, 384, 384], [2.0, 0.8, 0.8], [1.5, 1.066, 1.066]),
        ("MRI, three-dimensional", [155, 240, 240], [186, 288, 288], [1.0, 1.0, 1.0], [0.833, 0.833, 0.833]),
    ];
    let cubic = Method::new(Interpolation::Cubic, Interpolation::Nearest);
    let linear = Method::new(Interpolation::Linear, Interpolation::Nearest);
    for (name, from, to, old, new) in cases {
        let voxels: usize = to.iter().product();
        let bytes = 4 * (voxels + from.iter().product::<usize>());
        let data = image(from);
        measure(
            &format!("{name}, cubic"),
            bytes,
            voxels,
            || data.clone(),
            |data| {
                resample_data(data, to, SpacingMm::new(old), SpacingMm::new(new), &cubic).unwrap();
            },
        );
        let map = labels(from);
        measure(
            &format!("{name}, labels"),
            bytes / 4,
            voxels,
            || map.clone(),
            |map| {
                resample_labels(map, to, SpacingMm::new(old), SpacingMm::new(new), &linear).unwrap();
            },
        );
        let slab = SlabResampler::new(from, to, SpacingMm::new(old), SpacingMm::new(new), &linear).unwrap();
        let mut out = ChannelVolume::filled(1, [1, 1, 1], 0.0);
        measure(
            &format!("{name}, logits by slabs of 16"),
            bytes,
            voxels,
            || (),
            |()| {
                for start in (0..to[0]).step_by(16) {
                    slab.resample(&data, start..(start + 16).min(to[0]), &mut out).unwrap();
                }
            },
        );
    }
}
