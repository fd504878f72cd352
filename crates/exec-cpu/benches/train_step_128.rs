//! Training step of the default 3D U-Net, 128^3, batch 1.

mod common;

fn main() {
    common::run("train_step_128");
}
