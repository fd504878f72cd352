//! Forward pass of the default plan of MSD Task05, 20x320x256, batch 1.

mod common;

fn main() {
    common::run("forward_anisotropic");
}
