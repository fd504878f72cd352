//! How a row of positions is cut for the microkernels.

/// Cuts a row into chunks that are as equal as possible and no longer than a microkernel is wide.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    rest: usize,
    chunks: usize,
}

impl Columns {
    pub(crate) fn new(columns: usize, widest: usize) -> Self {
        Self { rest: columns, chunks: columns.div_ceil(widest) }
    }
}

impl Iterator for Columns {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        (self.chunks > 0).then(|| {
            let columns = self.rest.div_ceil(self.chunks);
            self.rest -= columns;
            self.chunks -= 1;
            columns
        })
    }
}
