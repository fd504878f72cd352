"""Writes small b2nd arrays with Python's blosc2 in the ways nnU-Net versions and others write them.

Each array is a formula of the linear index i, so that the test computes the expected values itself:
  steps:  (i // 5) % 23            compresses well
  noise:  ((i * 2654435761) % 2**32) // 2**13 % 256 - 128   does not
Run: python make.py (in this folder), and once more with blosc2 2.7.1, which older nnU-Net versions had: that writes
old_*.b2nd only."""
import sys

import blosc2
import numpy as np

SHAPE = (2, 11, 23, 19)
CHUNKS = (1, 8, 16, 19)
BLOCKS = (1, 4, 8, 16)


def steps(dtype, shape=SHAPE):
    return ((np.arange(np.prod(shape)) // 5) % 23).reshape(shape).astype(dtype)


def noise(dtype, shape=SHAPE):
    i = np.arange(np.prod(shape), dtype=np.uint64)
    return (((i * 2654435761) % 2**32 // 2**13 % 256).astype("i4") - 128).reshape(shape).astype(dtype)


def write(name, array, chunks=CHUNKS, blocks=BLOCKS, **cparams):
    cparams.setdefault("nthreads", 1)
    blosc2.asarray(np.ascontiguousarray(array), urlpath=name + ".b2nd", mode="w", chunks=chunks, blocks=blocks,
                   cparams=cparams)


def versions(name):
    with open(name, "w") as f:
        f.write(f"python {sys.version.split()[0]}, numpy {np.__version__}, blosc2 {blosc2.__version__}, "
                f"c-blosc2 {blosc2.blosclib_version}\n")


F, C = blosc2.Filter, blosc2.Codec
f4 = np.float32
if blosc2.__version__.startswith("2."):
    write("old_zstd_f4", steps(f4), codec=C.ZSTD, clevel=8)
    write("old_defaults_i2", steps(np.int16))
    write("old_many_chunks_i1", steps(np.int8, (40, 40, 8)), chunks=(2, 2, 8), blocks=(1, 2, 8), codec=C.ZSTD, clevel=8)
    versions("versions_old.txt")
    sys.exit()
write("lz4hc_f4", steps(f4), codec=C.LZ4HC, filters=[F.NOFILTER], clevel=5)
write("lz4hc_shuffle_i2", steps(np.int16), codec=C.LZ4HC, filters=[F.SHUFFLE], clevel=5)
write("zstd_shuffle_f4", steps(f4), codec=C.ZSTD, filters=[F.SHUFFLE], clevel=8)
write("zstd_split_f4", steps(f4), codec=C.ZSTD, filters=[F.SHUFFLE], clevel=1, splitmode=blosc2.SplitMode.ALWAYS_SPLIT)
write("zstd_bitshuffle_i2", steps(np.int16), codec=C.ZSTD, filters=[F.BITSHUFFLE], clevel=5)
write("lz4_bitshuffle_f4", steps(f4), codec=C.LZ4, filters=[F.BITSHUFFLE], clevel=5)
write("blosclz_shuffle_f4", steps(f4), codec=C.BLOSCLZ, filters=[F.SHUFFLE], clevel=5)
write("blosclz_i1", steps(np.int8), codec=C.BLOSCLZ, filters=[F.NOFILTER], clevel=9)
write("zlib_shuffle_u2", steps(np.uint16), codec=C.ZLIB, filters=[F.SHUFFLE], clevel=5)
write("lz4_delta_i4", steps(np.int32), codec=C.LZ4, filters=[F.DELTA, F.SHUFFLE], clevel=5)
write("lz4_delta_only_u1", steps(np.uint8), codec=C.LZ4, filters=[F.DELTA], clevel=5)
write("lz4_noise_i1", noise(np.int8), codec=C.LZ4, filters=[F.SHUFFLE], clevel=5)
write("stored_f4", steps(f4), codec=C.LZ4, filters=[F.NOFILTER], clevel=0)
write("defaults_f2", steps(np.float16))
write("f8_rank2", steps(np.float64, (37, 41)), chunks=(16, 41), blocks=(5, 7), codec=C.LZ4HC, filters=[F.SHUFFLE])
write("many_chunks_i1", steps(np.int8, (40, 40, 8)), chunks=(2, 2, 8), blocks=(1, 2, 8), codec=C.LZ4HC, filters=[F.SHUFFLE])
sparse = np.zeros(SHAPE, dtype=np.int16)
sparse[1, :, 16:, :] = 7
write("zeros_and_runs_i2", sparse, codec=C.LZ4HC, filters=[F.NOFILTER], clevel=5)
blosc2.full(SHAPE, 3.5, dtype=f4, urlpath="full_f4.b2nd", mode="w", chunks=CHUNKS, blocks=BLOCKS)
blosc2.zeros(SHAPE, dtype=f4, urlpath="zeros_f4.b2nd", mode="w", chunks=CHUNKS, blocks=BLOCKS)
blosc2.full(SHAPE, np.nan, dtype=f4, urlpath="nan_f4.b2nd", mode="w", chunks=CHUNKS, blocks=BLOCKS)
versions("versions.txt")
