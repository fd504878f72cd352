"""Makes the NIfTI golden files: small files written field by field, and what SimpleITK reads from them.

    python make.py            # writes *.nii, *.nii.gz, expected.json, versions.txt
    python make.py --check D  # compares SimpleITK's reading of D/<case>.nii.gz (written by the program from the
                              # geometry of <case>) with its reading of <case>: all bits must agree
"""
import gzip, json, struct, sys
from pathlib import Path
import numpy as np
import SimpleITK as sitk

HERE = Path(__file__).parent
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


def rotation(rng):
    q = rng.normal(size=4)
    q /= np.linalg.norm(q)
    return q if q[0] > 0 else -q


def matrix(q):
    a, b, c, d = q
    return np.array([[a*a+b*b-c*c-d*d, 2*(b*c-a*d), 2*(b*d+a*c)],
                     [2*(b*c+a*d), a*a+c*c-b*b-d*d, 2*(c*d-a*b)],
                     [2*(b*d-a*c), 2*(c*d+a*b), a*a+d*d-c*c-b*b]])


def write(name, shape, datatype=4, pixdim=(1., 1., 1.), qfac=1., qcode=0, scode=0, quat=(0, 0, 0), qoff=(0, 0, 0),
          srow=None, units=10, slope=0., inter=0., big=False, offset=352, data=None, gz=False, dims=None):
    e = ">" if big else "<"
    h = bytearray(offset)
    dims = dims or (len(shape), *shape)
    dim = list(dims) + [1] * (8 - len(dims))
    struct.pack_into(e + "i", h, 0, 348)
    struct.pack_into(e + "8h", h, 40, *dim)
    struct.pack_into(e + "hh", h, 70, datatype, np.dtype(TYPES[datatype]).itemsize * 8)
    struct.pack_into(e + "8f", h, 76, qfac, *pixdim, *([0.] * (7 - len(pixdim))))
    struct.pack_into(e + "fff", h, 108, offset, slope, inter)
    h[123] = units
    struct.pack_into(e + "hh", h, 252, qcode, scode)
    struct.pack_into(e + "6f", h, 256, *quat, *qoff)
    struct.pack_into(e + "12f", h, 280, *np.asarray(srow if srow is not None else np.zeros((3, 4))).ravel())
    h[344:348] = b"n+1\0"
    n = int(np.prod(shape))
    if data is None:
        data = (np.arange(n) * 7 % 120).astype(TYPES[datatype])
    raw = bytes(h) + np.asarray(data).astype(e + TYPES[datatype]).tobytes()
    (HERE / name).write_bytes(gzip.compress(raw, mtime=0) if gz else raw)


def cases():
    rng = np.random.default_rng(4)
    shape = (4, 3, 2)
    for code, t in TYPES.items():
        for big in (False, True):
            info = np.iinfo(t) if t[0] in "iu" else None
            extreme = [info.min, info.max, 1, 2] if info else [-1.5, 3e5, 1e-3, 0.1]
            data = np.resize(np.array(extreme, dtype=t), 24)
            write(f"type_{t}_{'big' if big else 'little'}.nii", shape, code, big=big, data=data)
        write(f"scaled_{t}.nii", shape, code, slope=0.37, inter=-5.25)
    write("nonfinite.nii", shape, 16, data=np.resize(np.array([1, np.nan, np.inf, -np.inf], dtype="f4"), 24))
    write("slope_zero.nii", shape, slope=0., inter=3.)
    write("slope_nan.nii", shape, slope=np.nan, inter=np.nan)
    write("slope_one.nii.gz", shape, slope=1., inter=0., gz=True)
    write("neither_form.nii", shape, pixdim=(1.2, .7, 3.3), qoff=(1, 2, 3))
    write("offset_400.nii", shape, offset=400)
    write("trailing_dims.nii", shape, dims=(5, 4, 3, 2, 1, 1))
    write("flat.nii.gz", (4, 3), pixdim=(1.2, .7, 9.), scode=1, srow=[[-1.2, 0, 0, 5], [0, .7, 0, 6], [0, 0, 1, 7]], gz=True)
    write("flat_oblique.nii", (4, 3), pixdim=(1.2, .7), scode=1,
          srow=[[1.2*np.cos(.3), -.7*np.sin(.3), 0, 5], [1.2*np.sin(.3), .7*np.cos(.3), 0, 6], [0, 0, 1, 0]])
    write("one_slice.nii", (4, 3, 1), pixdim=(1.2, .7, 5), qcode=1, qoff=(1, 2, 3))
    for unit, name in ((1, "metre"), (3, "micron"), (0, "unknown")):
        write(f"unit_{name}.nii", shape, units=unit, pixdim=(1.2, .7, 3.3), qcode=1, qoff=(5.1, 6, 7))
    for axis in range(3):
        p = [1.2, .7, 3.3]
        p[axis] *= -1
        write(f"negative_{axis}.nii", shape, pixdim=p, qcode=1, quat=(.1, .2, .3), qoff=(5, 6, 7))
    write("zero_spacing.nii", shape, pixdim=(0., .7, 3.3), qcode=1)
    # Orientation: all pairs of codes, with equal, nearly equal and different forms, straight and skewed.
    for i in range(60):
        q = rotation(rng)
        iso = i % 5 == 0
        p = np.full(3, 1.1) if iso else rng.uniform(.3, 6, 3)
        off = rng.uniform(-300, 300, 3)
        fac = -1. if i % 2 else 1.
        qcode, scode = [(1, 0), (0, 1), (1, 1), (2, 2), (1, 2), (2, 1), (0, 2), (1, 4)][i % 8]
        r = matrix(q) * (p * np.array([1, 1, fac]))
        kind = ["equal", "near", "different", "axis"][i // 15]
        if kind == "near":
            r = matrix((q + rng.normal(size=4) * 3e-6) / np.linalg.norm(q)) * (p * np.array([1, 1, fac]))
        elif kind == "different":
            r = matrix(rotation(rng)) * p
        elif kind == "axis":
            q = np.array([1., 0, 0, 0]) if i % 3 else np.array([0., 1, 0, 0])
            r = matrix(q) * (p * np.array([1, 1, fac]))
        write(f"orientation_{i:02}_{kind}_{qcode}{scode}.nii", (2, 2, 1), 2, pixdim=p, qfac=fac, qcode=qcode, scode=scode, quat=q[1:],
              qoff=off, srow=np.c_[r, off])
    for qcode in (1, 0):
        skew = np.array([[1.2, .02, 0, 4], [0, .7, .03, 5], [0, 0, 3.3, 6]])
        write(f"skewed_{qcode}1.nii", shape, pixdim=(1.2, .7, 3.3), qcode=qcode, scode=1, srow=skew, qoff=(4, 5, 6))


def geometry(image):
    return {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection()}


def make():
    for old in HERE.glob("*.nii*"):
        old.unlink()
    cases()
    expected = {}
    for path in sorted(HERE.glob("*.nii*")):
        try:
            image = sitk.ReadImage(str(path))
        except RuntimeError as error:
            assert "orthonormal" in str(error), error
            expected[path.name] = None
            continue
        values = sitk.GetArrayFromImage(image)
        expected[path.name] = geometry(image) | {
            "shape": values.shape, "first": [float(v) for v in values.astype(np.float32).ravel()[:8]]}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0))
    (HERE / "versions.txt").write_text(f"SimpleITK {sitk.Version().VersionString()}, numpy {np.__version__}\n")


def check(folder):
    bad = 0
    for name, want in json.loads((HERE / "expected.json").read_text()).items():
        if want is None:
            continue
        a = geometry(sitk.ReadImage(str(HERE / name)))
        b = geometry(sitk.ReadImage(str(Path(folder) / f"{name.split('.')[0]}.nii.gz")))
        if a != b:
            bad += 1
            print(name, a, b, sep="\n  ")
    print("differing:", bad)


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else make()
