//! Training step of the default plan of MSD Task04, 40x56x40, with the plan's batch of 9.

mod common;

fn main() {
    common::run("train_step_9");
}
