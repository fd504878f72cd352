//! Training step of the default plan of MSD Task04: 1 channel, 3 classes, 4 stages, 40x56x40, batch 2.

mod common;

fn main() {
    common::train("train_step", &[32, 64, 128, 256], 3, [2, 1, 40, 56, 40]);
}
