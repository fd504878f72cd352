"""Makes the MetaImage and NRRD golden files with SimpleITK, some of them edited by hand afterwards.

    python make.py            # writes *.mha, *.nrrd, expected.json, versions.txt
    python make.py --check D  # compares SimpleITK's reading of D/<case> (written again by the program) with that of <case>
"""
import json, sys
from pathlib import Path
import numpy as np
import SimpleITK as sitk

HERE = Path(__file__).parent
TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


def image(dtype, flat=False):
    info = np.iinfo(dtype) if dtype[0] in "iu" else None
    values = [info.min, info.max, 1, 2] if info else [-1.5, 3e5, 1e-3, .1]
    shape = (3, 4) if flat else (2, 3, 4)
    out = sitk.GetImageFromArray(np.resize(np.array(values, dtype=dtype), shape))
    c, s = np.cos(.3), np.sin(.3)
    out.SetSpacing((.7, .8) if flat else (.7, .8, 2.5))
    out.SetOrigin((1.5, -2.1) if flat else (1.5, -2.1, 1 / 3))
    out.SetDirection((c, -s, s, c) if flat else (c, -s, 0, s, c, 0, 0, 0, 1))
    return out


def cases():
    for ending in ("mha", "nrrd"):
        for dtype in TYPES:
            sitk.WriteImage(image(dtype), str(HERE / f"{dtype}.{ending}"), dtype in ("i2", "f4"))
        sitk.WriteImage(image("u1", True), str(HERE / f"flat.{ending}"))
    text = (HERE / "u1.nrrd").read_bytes()
    (HERE / "ras.nrrd").write_bytes(text.replace(b"left-posterior-superior", b"right-anterior-superior"))
    (HERE / "las.nrrd").write_bytes(text.replace(b"left-posterior-superior", b"LAS").replace(b"space: LAS", b"space: left-anterior-superior"))
    head, body = text.split(b"\n\n", 1)
    plain = b"\n".join(l for l in head.split(b"\n") if not l.startswith((b"space", b"kinds")))
    (HERE / "spacings.nrrd").write_bytes(plain + b"\nspacings: 0.7 0.8 2.5\nnote:=from elsewhere\n\n" + body)
    head, body = (HERE / "u2.nrrd").read_bytes().split(b"\n\n", 1)
    (HERE / "big.nrrd").write_bytes(head.replace(b"little", b"big").replace(b"unsigned short", b"uint16") + b"\n\n"
                                    + np.frombuffer(body, "<u2").astype(">u2").tobytes())
    text = (HERE / "u2.mha").read_bytes()
    at = text.index(b"LOCAL\n") + 6
    (HERE / "big.mha").write_bytes(text[:at].replace(b"MSB = False", b"MSB = True")
                                   + np.frombuffer(text[at:], "<u2").astype(">u2").tobytes())
    text = (HERE / "u1.mha").read_bytes()
    (HERE / "old_names.mha").write_bytes(text.replace(b"TransformMatrix", b"Rotation").replace(b"Offset", b"Position")
                                         .replace(b"\n", b"\r\n", 0))


def describe(path):
    image = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(image)
    return {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection(),
            "shape": values.shape, "first": [float(v) for v in values.astype(np.float32).ravel()[:8]]}


def files():
    return sorted(p for p in HERE.iterdir() if p.suffix in (".mha", ".nrrd"))


def make():
    for old in files():
        old.unlink()
    cases()
    (HERE / "expected.json").write_text(json.dumps({p.name: describe(p) for p in files()}, indent=0))
    (HERE / "versions.txt").write_text(f"SimpleITK {sitk.Version().VersionString()}, numpy {np.__version__}\n")


def check(folder):
    worst = 0.
    for path in files():
        a, b = describe(path), describe(Path(folder) / path.name)
        for key in a:
            worst = max(worst, np.abs(np.subtract(a[key], b[key])).max())
            if a[key] != b[key]:
                print(path.name, key, a[key], b[key])
    print("worst difference:", worst)


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else make()
