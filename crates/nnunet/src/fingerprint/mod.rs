//! What a dataset looks like: shapes, spacings, intensities of the foreground.
