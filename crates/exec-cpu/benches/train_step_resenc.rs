//! Training step of a residual encoder U-Net, 40x56x40, batch 2.

mod common;

fn main() {
    common::run("train_step_resenc");
}
