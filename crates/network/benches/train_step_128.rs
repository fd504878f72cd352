//! Training step of the default 3D U-Net: 1 channel, 4 classes, 6 stages, 128^3, batch 1.

mod common;

fn main() {
    common::train("train_step_128", &[32, 64, 128, 256, 320, 320], 4, [1, 1, 128, 128, 128]);
}
