//! Training step of the default plan of MSD Task04, 40x56x40, batch 2.

mod common;

fn main() {
    common::run("train_step");
}
