//! Crop, normalise, resample and store the cases as the network will see them.
