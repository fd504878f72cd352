//! NumPy's legacy random generator, where results must be bit-equal to the reference's.
