//! Training: sampling, loss, schedule, state, log, validation.
