//! Forward pass of the default 2D U-Net, 512x512, batch 12.

mod common;

fn main() {
    common::run("forward_2d");
}
