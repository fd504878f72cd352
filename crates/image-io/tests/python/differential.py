"""Holds the image readers against SimpleITK, nibabel and tifffile over random headers.

    cargo build -p nnunet-image-io --example describe_image
    python crates/image-io/tests/python/differential.py target/debug/examples/describe_image [--count 2000] [--seed 1]
        [--only nifti nibabel nrrd metaimage tiff] [--keep FOLDER]

Needs numpy, SimpleITK, nibabel, tifffile and imagecodecs. For each format COUNT files with random headers are written,
read by both sides and compared: shape, geometry, values, and whether the file is refused. Differences are printed; those
that are meant (EXPECTED below) are counted by reason. The exit status is 1 if any other is left. With --keep the files that
differ stay in FOLDER. The cases of interest are kept as goldens in `tests/golden/headers`.
"""

import argparse
import collections
import gzip
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

SHAPE = (2, 3, 4)  # z, y, x


def reference_lines(values):
    values = np.asarray(values).astype(np.float32).ravel()
    weights = np.arange(values.size) % 1009 + 1
    return {"values": values, "checksum": float(np.sum(values.astype(np.float64) * weights))}


# ---------------------------------------------------------------- NIfTI

NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


def random_rotation(rng):
    kind = rng.integers(5)
    if kind == 0:
        matrix = np.eye(3)
    elif kind == 1:
        matrix = np.eye(3)[rng.permutation(3)]
    else:
        matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        if kind == 2:  # nearly axis-aligned
            matrix, _ = np.linalg.qr(np.eye(3) + rng.normal(size=(3, 3)) * 10.0 ** -rng.integers(1, 7))
    return matrix * rng.choice([-1, 1], size=3)


def quaternion(matrix):
    """(b, c, d) and qfac."""
    qfac = -1.0 if np.linalg.det(matrix) < 0 else 1.0
    m = matrix.copy()
    m[:, 2] *= qfac
    k = np.array([
        [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
        [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
    ]) / 3
    values, vectors = np.linalg.eigh(k)
    x, y, z, w = vectors[:, np.argmax(values)]
    return (np.array([x, y, z]) * (-1 if w < 0 else 1), qfac)


def nifti(rng, path):
    order = rng.choice(["<", ">"])
    code = int(rng.choice(list(NIFTI_TYPES)))
    dim = [3, SHAPE[2], SHAPE[1], SHAPE[0], 1, 1, 1, 1]
    if rng.random() < 0.1:
        dim[0] = int(rng.integers(4, 8))
    if rng.random() < 0.1:
        dim[int(rng.integers(4, 8))] = int(rng.choice([0, 1, -1]))
    spacing = rng.choice([rng.uniform(0.3, 4, 3), np.full(3, rng.uniform(0.3, 4)), np.array([0.7, 0.7, 3.0])])
    rotation = random_rotation(rng)
    offset = rng.uniform(-200, 200, 3) if rng.random() < 0.8 else np.zeros(3)
    q_rotation, q_offset = rotation.copy(), offset.copy()
    kind = rng.integers(7)
    if kind == 1:
        q_rotation = q_rotation * rng.choice([-1, 1], size=3)
    elif kind == 2:
        q_rotation = random_rotation(rng)
    elif kind == 3:
        q_offset = q_offset + rng.normal(size=3) * 10.0 ** -rng.integers(0, 7)
    elif kind == 4:
        q_rotation, _ = np.linalg.qr(q_rotation + rng.normal(size=(3, 3)) * 10.0 ** -rng.integers(1, 7))
        q_rotation = q_rotation * np.sign(np.sum(q_rotation * rotation, axis=0))
    elif kind == 5:
        q_rotation = q_rotation[:, rng.permutation(3)]
    (b, c, d), qfac = quaternion(q_rotation)
    sform = rotation * spacing
    if rng.random() < 0.1:
        sform = sform * (1 + rng.normal(size=3) * 10.0 ** -rng.integers(1, 6))
    if rng.random() < 0.05:
        sform = sform + rng.normal(size=(3, 3)) * 10.0 ** -rng.integers(1, 7)
    pixdim = np.concatenate([[qfac], spacing, [1, 1, 1, 1]])
    if rng.random() < 0.05:
        pixdim[int(rng.integers(1, 4))] *= rng.choice([0, -1])
    slope, inter = (1.0, 0.0) if rng.random() < 0.7 else (rng.choice([0, 1, 2.5, -1, math.nan]), rng.choice([0, -3.5]))
    header = bytearray(352)
    put = lambda at, form, *v: struct.pack_into(order + form, header, at, *v)
    put(0, "i", 348)
    put(40, "8h", *dim)
    put(70, "2h", code, np.dtype(NIFTI_TYPES[code]).itemsize * 8)
    put(76, "8f", *pixdim)
    put(108, "3f", 352, slope, inter)
    header[123] = int(rng.choice([0, 1, 2, 3, 10], p=[0.1, 0.05, 0.7, 0.05, 0.1]))
    put(252, "2h", int(rng.integers(0, 5)), int(rng.integers(0, 5)))
    put(256, "6f", b, c, d, *q_offset)
    for row in range(3):
        put(280 + 16 * row, "4f", *sform[row], offset[row])
    header[344:348] = b"n+1\0"
    kind = np.dtype(order + NIFTI_TYPES[code])
    if kind.kind == "f":
        voxels = rng.normal(size=SHAPE) * 100
        if rng.random() < 0.1:
            voxels.ravel()[int(rng.integers(24))] = rng.choice([math.nan, math.inf, -math.inf])
    else:
        voxels = rng.integers(0, 100, size=SHAPE)
    data = bytes(header) + voxels.astype(kind).tobytes()
    if path.name.endswith(".gz"):
        data = gzip.compress(data, 1)
        if rng.random() < 0.1:
            data += rng.choice([b"rubbish", bytes(700)])
    path.write_bytes(data)


def sitk_read(path):
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError("several components")
    array = sitk.GetArrayFromImage(image)
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    n = 2 if array.ndim == 2 else 3
    if array.ndim not in (2, 3):
        raise ValueError(f"{array.ndim} dimensions")
    full = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    shape = [1] * (4 - n) + list(array.shape)
    return {
        "shape": shape, "spacing": list(image.GetSpacing()[:n]), "origin": list(image.GetOrigin()[:n]),
        "direction": full[:n, :n].ravel().tolist(), **reference_lines(array),
    }


def nibabel_read(path):
    import nibabel

    image = nibabel.load(path)
    array = image.get_fdata()
    if array.ndim != 3:
        raise ValueError(f"{array.ndim} dimensions")
    spacing = [float(v) for v in image.header.get_zooms()[::-1]]
    array = array.transpose(2, 1, 0)
    return {
        "shape": [1, *array.shape], "spacing_zyx": spacing, "affine": image.affine.tolist(), **reference_lines(array),
    }


# ---------------------------------------------------------------- text headers

META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
}


def voxels_of(rng, kind):
    kind = np.dtype(kind)
    values = rng.normal(size=SHAPE) * 100 if kind.kind == "f" else rng.integers(0, 100, size=SHAPE)
    return values.astype(kind)


def words(values):
    return " ".join(repr(float(v)) for v in values)


def metaimage(rng, path):
    name = str(rng.choice(list(META_TYPES)))
    big = bool(rng.random() < 0.3)
    packed = bool(rng.random() < 0.4)
    voxels = voxels_of(rng, (">" if big else "<") + META_TYPES[name]).tobytes()
    yes = lambda v: str(rng.choice(["True", "true", "T", "1"] if v else ["False", "false", "F", "0"]))
    data = zlib.compress(voxels) if packed else voxels
    fields = [("ObjectType", "Image")] if rng.random() < 0.9 else []
    fields.append(("NDims", "3"))
    middle = [("BinaryData", yes(True)), ("CompressedData", yes(packed))]
    middle.append((str(rng.choice(["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])), yes(big)))
    if packed:
        middle.append(("CompressedDataSize", str(len(data))))
    for key, chance in [("Offset", 0.6), ("Position", 0.3), ("Origin", 0.2)]:
        if rng.random() < chance:
            middle.append((key, words(rng.uniform(-100, 100, 3))))
    for key, chance in [("TransformMatrix", 0.6), ("Rotation", 0.2), ("Orientation", 0.2)]:
        if rng.random() < chance:
            matrix = random_rotation(rng)
            if rng.random() < 0.05:
                matrix = np.zeros((3, 3)) if rng.random() < 0.5 else matrix * [1, 1, 0]
            middle.append((key, words(matrix.ravel())))
    for key, chance in [("ElementSpacing", 0.8), ("ElementSize", 0.3)]:
        if rng.random() < chance:
            middle.append((key, words(rng.uniform(0.3, 4, 3))))
    middle.append(("DimSize", "4 3 2"))
    middle.append(("ElementType", name))
    if rng.random() < 0.3:
        middle.append(("CenterOfRotation", "0 0 0"))
    if rng.random() < 0.3:
        middle.append(("AnatomicalOrientation", "RAI"))
    if rng.random() < 0.2:
        middle.append(("Comment", "with = and : in it"))
    if rng.random() < 0.2:
        key, value = middle[int(rng.integers(len(middle)))]
        if key in ("Offset", "ElementSpacing", "TransformMatrix"):
            middle.append((key, words(rng.uniform(0.5, 2, len(value.split())))))
    if rng.random() < 0.1:
        key, value = middle[0]
        middle[0] = (key.lower(), value)
    rng.shuffle(middle)
    fields += [tuple(f) for f in middle]
    fields.append(("ElementDataFile", str(rng.choice(["LOCAL", "Local", "local"]))))
    separator = str(rng.choice([" = ", "=", " : ", ": ", "  =  "]))
    end = str(rng.choice(["\n", "\n", "\r\n"]))
    text = "".join(f"{key}{separator}{value}{end}" + (end if rng.random() < 0.03 else "") for key, value in fields[:-1])
    text += f"{fields[-1][0]}{separator}{fields[-1][1]}\n"
    if not packed and rng.random() < 0.2:  # voxels at the end of the file, or at a position in it
        data = rng.bytes(int(rng.integers(9))) + data
        length = len(text) + len(f"HeaderSize{separator}000000{end}")
        size = -1 if rng.random() < 0.5 else length + len(data) - len(voxels)
        text = f"HeaderSize{separator}{size:06}{end}" + text
    path.write_bytes(text.encode() + data)


NRRD_TYPES = {
    "i1": ["signed char", "int8", "int8_t"], "u1": ["unsigned char", "uchar", "uint8", "uint8_t"],
    "i2": ["short", "short int", "signed short", "int16", "int16_t"], "u2": ["unsigned short", "ushort", "uint16"],
    "i4": ["int", "signed int", "int32"], "u4": ["unsigned int", "uint", "uint32_t"],
    "i8": ["longlong", "long long int", "int64"], "u8": ["ulonglong", "unsigned long long", "uint64_t"],
    "f4": ["float"], "f8": ["double"],
}


def some_case(rng, text):
    return text if rng.random() < 0.8 else text.upper() if rng.random() < 0.5 else text.title()


def nrrd(rng, path):
    kind = str(rng.choice(list(NRRD_TYPES)))
    big = bool(rng.random() < 0.3)
    voxels = voxels_of(rng, (">" if big else "<") + kind).tobytes()
    encoding = str(rng.choice(["raw", "gzip", "gz"]))
    list_axis = rng.random() < 0.15
    at = int(rng.choice([0, 3])) if list_axis else None
    insert = lambda values, value: [*values[:at], value, *values[at:]] if list_axis else list(values)
    fields = [("dimension", "4" if list_axis else "3")]
    space = rng.random() < 0.7
    rest = [("type", some_case(rng, str(rng.choice(NRRD_TYPES[kind])))), ("encoding", some_case(rng, encoding))]
    rest.append(("sizes", " ".join(insert(["4", "3", "2"], "1"))))
    if kind not in ("i1", "u1") or rng.random() < 0.5:
        rest.append(("endian", some_case(rng, "big" if big else "little")))
    if list_axis or rng.random() < 0.7:
        kinds = insert([str(rng.choice(["domain", "space"]))] * 3, str(rng.choice(["list", "vector", "scalar", "stub"])))
        rest.append(("kinds", some_case(rng, " ".join(kinds))))
    spacing = rng.uniform(0.3, 4, 3)
    vector = lambda v: "(" + ",".join(repr(float(x)) for x in v) + ")"
    if space:
        names = ["left-posterior-superior", "LPS", "right-anterior-superior", "RAS", "left-anterior-superior", "LAS",
                 "scanner-xyz", "3D-right-handed"]
        if rng.random() < 0.85:
            fields.append(("space", some_case(rng, str(rng.choice(names)))))
        else:
            fields.append(("space dimension", "3"))
        matrix = random_rotation(rng) * spacing
        if rng.random() < 0.04:
            matrix[:, int(rng.integers(3))] *= 0
        separator = " " if rng.random() < 0.9 else "  "
        rest.append(("space directions", separator.join(insert([vector(matrix[:, i]) for i in range(3)], "none"))))
        if rng.random() < 0.8:
            rest.append(("space origin", vector(rng.uniform(-100, 100, 3))))
        if rng.random() < 0.1:
            rest.append(("space units", '"mm" "mm" "mm"'))
    else:
        if rng.random() < 0.8:
            rest.append(("spacings", " ".join(insert([repr(float(v)) for v in spacing], "nan"))))
        if rng.random() < 0.5:
            rest.append(("axis mins", " ".join(insert([repr(float(v)) for v in rng.uniform(-9, 9, 3)], "nan"))))
            if rng.random() < 0.3:
                rest.append(("axismaxs", " ".join(insert([repr(float(v)) for v in rng.uniform(10, 30, 3)], "nan"))))
        if rng.random() < 0.4:
            center = str(rng.choice(["cell", "node"]))
            rest.append((str(rng.choice(["centers", "centerings"])), " ".join(insert([center] * 3, "none"))))
    if rng.random() < 0.2:
        rest.append(("content", "a := b"))
    if rng.random() < 0.03:
        rest.append(("type", NRRD_TYPES[kind][0]))
    rng.shuffle(rest)
    lines = [f"NRRD000{rng.integers(1, 6)}"]
    for key, value in fields + [tuple(f) for f in rest]:
        lines.append(f"{some_case(rng, key)}: {value}" + (" " if rng.random() < 0.02 else ""))
        if rng.random() < 0.1:
            lines.append(str(rng.choice(["# a note", "key:=value", "Segment0_Name:=liver: left"])))
    if rng.random() < 0.02:
        lines.append("Segment1_Extent:=" + "0 " * 40000)
    end = "\n" if rng.random() < 0.8 else "\r\n"
    before = b"".join(rng.bytes(int(rng.integers(9))).translate(None, b"\r\n") + end.encode() for _ in range(rng.integers(3)))
    skipped, behind = rng.bytes(int(rng.integers(40))), b""
    if rng.random() < 0.6:
        before = skipped = b""
    elif rng.random() < 0.5:
        lines.append(f"{rng.choice(['byte skip', 'byteskip'])}: {len(skipped)}")
    else:
        behind = rng.bytes(int(rng.integers(5))) if encoding != "raw" and rng.random() < 0.5 else b""
        lines.append(f"{rng.choice(['byte skip', 'byteskip'])}: {-1 - len(behind)}")
    if before:
        lines.append(f"line skip: {before.count(10)}")
    voxels = skipped + voxels + behind
    data = before + (gzip.compress(voxels) if encoding != "raw" else voxels)
    path.write_bytes((end.join(lines) + end + end).encode() + data)


# ---------------------------------------------------------------- TIFF

def tiff(rng, path):
    import tifffile

    kind = str(rng.choice(["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8", "bool"]))
    count = int(rng.choice([1, 2, 3, 4, 5, 8]))
    height, width = int(rng.integers(1, 40)), int(rng.integers(1, 40))
    shape = (count, height, width)
    options = {"byteorder": str(rng.choice(["<", ">"])), "bigtiff": bool(rng.random() < 0.2)}
    array = rng.normal(size=shape) * 50 if kind[0] == "f" else rng.integers(0, 100, size=shape)
    array = rng.random(shape) < 0.5 if kind == "bool" else array.astype(kind)
    layout = rng.choice(["pages", "imagej", "truncated", "truncated-imagej", "samples", "planes", "flat", "rgb", "jpeg"])
    codec = str(rng.choice(["none", "none", "zlib", "adobe_deflate", "lzw", "packbits", "zstd"]))
    if codec != "none":
        options["compression"] = codec
        if kind[0] in "uif" and kind != "bool" and codec in ("zlib", "lzw", "zstd") and rng.random() < 0.4:
            options["predictor"] = 3 if kind[0] == "f" else 2
    if rng.random() < 0.3:
        options["tile"] = (16 * int(rng.integers(1, 3)), 16 * int(rng.integers(1, 3)))
    elif rng.random() < 0.5:
        options["rowsperstrip"] = int(rng.integers(1, height + 1))
    options["photometric"] = str(rng.choice(["minisblack", "minisblack", "miniswhite"]))
    if rng.random() < 0.3:
        options["metadata"] = None
    if layout == "flat":
        array = array[0]
    elif layout == "samples":
        array = np.moveaxis(array, 0, -1)
        options.update(planarconfig="contig", extrasamples=["unspecified"] * (count - 1))
    elif layout == "planes":
        options.update(planarconfig="separate", extrasamples=["unspecified"] * (count - 1))
    elif layout == "rgb":
        array = np.moveaxis(np.resize(array, (3, height, width)), 0, -1)
        options["photometric"] = "rgb"
    elif layout.startswith("truncated") or layout == "imagej":
        if "imagej" in layout:
            array = array.astype({"u1": "u1", "u2": "u2", "f4": "f4"}.get(kind, "u2"))
            options = {"imagej": True, "photometric": "minisblack", "metadata": {"axes": "ZYX"}}
            if layout == "imagej" and codec in ("zlib", "lzw"):
                options["compression"] = codec
        else:
            options = {k: v for k, v in options.items() if k in ("byteorder", "bigtiff", "photometric")}
            options["truncate"] = True
            array = array.astype("u1") if kind == "bool" else array
        if layout == "truncated-imagej":
            options.pop("compression", None)
    elif layout == "jpeg":
        array = (np.add.outer(np.arange(height), np.arange(width)) * 3 % 255)[None].repeat(count, 0).astype("u1")
        options = {"compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "minisblack"}
    if layout in ("pages", "jpeg") and rng.random() < 0.1:
        array = array[None]
    if array.dtype == bool and ("tile" in options or layout in ("samples", "planes", "rgb")):
        array = array.astype("u1")
    tifffile.imwrite(path, array, **options)
    if layout == "truncated-imagej" and count > 1:
        with tifffile.TiffFile(path, mode="r+") as file:  # ImageJ's own large files have one directory
            if len(file.pages) > 1 and file.pages[0].is_final:
                order = file.byteorder
                page = file.pages[0]
                at = page.offset + 2 + 12 * struct.unpack(order + "H", path.read_bytes()[page.offset:page.offset + 2])[0]
                file.filehandle.seek(at)
                file.filehandle.write(struct.pack(order + "I", 0))
    if rng.random() < 0.5:
        path.with_name(path.stem[:-5] + ".json").write_text(json.dumps({"spacing": list(rng.uniform(0.5, 4, 3))}))


def tiff_read(path):
    import tifffile

    array = tifffile.imread(path)
    if array.ndim != 3:
        raise ValueError(f"{array.ndim} dimensions")
    spacing = path.with_name(path.stem[:-5] + ".json")
    spacing = json.loads(spacing.read_text())["spacing"][::-1] if spacing.exists() else [1.0] * 3
    return {"shape": [1, *array.shape], "spacing": spacing, **reference_lines(array)}


# ---------------------------------------------------------------- comparison

FORMATS = {
    "nifti": (nifti, "{}.nii{}", ["nifti"], sitk_read),
    "nibabel": (nifti, "{}.nii{}", ["nibabel"], nibabel_read),
    "nrrd": (nrrd, "{}.nrrd", ["nrrd"], sitk_read),
    "metaimage": (metaimage, "{}.mha", ["metaimage"], sitk_read),
    "tiff": (tiff, "{}_0000.tif", ["tiff"], tiff_read),
}

# Differences that are meant: (format, what we say, what the other side says, reason).
EXPECTED = [
    ("nifti", "orthonormal", "axes not at right angles are read with a warning, ITK refuses them"),
    ("nrrd", "already set field", "a repeated field: the last one counts, with a warning; ITK refuses"),
    ("nrrd", " |", "blanks at the end of a line: read, as the specification has it and ITK 5.4 has not"),
    ("nibabel", " dimensions", "further dimensions of length one are dropped"),
    ("nibabel", "negative count", "further dimensions of length -1 are dropped, as in ITK"),
    ("nibabel", "Cannot work out file type", "bytes behind the gzip stream are ignored with a warning"),
    ("tiff", "4 dimensions", "a leading axis of length one is dropped"),
]


def close(a, b, relative=1e-12, absolute=1e-12):
    return len(a) == len(b) and all(math.isclose(x, y, rel_tol=relative, abs_tol=absolute) for x, y in zip(a, b))


def differences(ours, theirs, lossy):
    out = []
    for key in ("shape", "spacing", "spacing_zyx", "origin", "direction", "affine"):
        if key in theirs and key in ours:
            a, b = (np.asarray(side[key], dtype=float).ravel().tolist() for side in (ours, theirs))
            if not close(a, b):
                out.append(f"{key} {a} for {b}")
    # Ours are printed with as many digits as an f32 needs.
    first = [float(np.float32(v)) for v in ours["first"]]
    wanted = [float(v) for v in theirs["values"][:8]]
    same = lambda a, b: (math.isnan(a) and math.isnan(b)) or a == b or (lossy and abs(a - b) <= 3)
    if len(first) != len(wanted) or not all(same(a, b) for a, b in zip(first, wanted)):
        out.append(f"values {first} for {wanted}")
    a, b = float(ours["checksum"]), theirs["checksum"]
    if not lossy and not (math.isnan(a) and math.isnan(b)) and not math.isclose(a, b, rel_tol=1e-12):
        out.append(f"checksum {a} for {b}")
    return out


def run(name, program, count, seed, folder, keep):
    make, pattern, [reader], read = FORMATS[name]
    paths = []
    for i in range(count):
        rng = np.random.default_rng([seed, i, sum(map(ord, name))])
        ending = (".gz" if rng.random() < 0.5 else "") if "{}.nii" in pattern else ""
        path = folder / pattern.format(f"{name}_{i:05}", ending)
        make(rng, path)
        paths.append(path)
    lines = subprocess.run([program, reader], input="\n".join(map(str, paths)), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in lines.stdout.splitlines()]
    assert len(answers) == count, f"{len(answers)} answers for {count} files"
    tally = collections.Counter()
    left = 0
    for path, ours in zip(paths, answers):
        try:
            theirs = read(path)
        except Exception as error:  # noqa: BLE001: whatever the library raises is its refusal
            theirs = {"error": f"{type(error).__name__}: {error}".replace("\n", " ")[-400:]}
        if "error" in ours and "error" in theirs:
            tally["refused by both"] += 1
            continue
        if "error" in theirs:
            reason = reason_for(name, ours, theirs)
            if reason:
                tally[reason] += 1
                continue
            found = [f"read, but refused there: {theirs['error']}"]
        elif "error" in ours:
            found = [f"refused: {ours['error']}"]
        else:
            found = differences(ours, theirs, any("with loss" in w for w in ours["warnings"]))
        if not found:
            tally["equal"] += 1
            continue
        left += 1
        if left <= 20:
            print(f"{name}: {path.name}: " + "; ".join(found))
        if keep:
            (keep / path.name).write_bytes(path.read_bytes())
    print(f"{name}: {count} headers, {dict(tally)}, {left} differences left")
    return left


def reason_for(name, ours, theirs):
    for form, text, reason in EXPECTED:
        if form == name and text in theirs["error"]:
            return reason
    if name == "nifti" and any("right angles" in w for w in ours["warnings"]):
        return EXPECTED[0][2]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    # ITK's warnings on every odd header would bury the differences.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    left = 0
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            left += run(name, arguments.program, arguments.count, arguments.seed, Path(folder), arguments.keep)
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
