//! Forward pass of the residual encoder U-Net M, 128^3, batch 1.

mod common;

fn main() {
    common::run("forward_resenc_128");
}
