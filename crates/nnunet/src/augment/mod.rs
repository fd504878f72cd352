//! Random transforms of training patches: spatial, intensity, mirroring.
