"""Makes PNG, BMP and TIFF golden files, and what nnU-Net's NaturalImage2DIO and Tiff3DIO read from them.

    python make.py            # writes the files, expected.json (null where the reader fails), versions.txt
    python make.py --check D  # reads the label images that the tests wrote to D
"""
import importlib.metadata as metadata
import json, struct, sys, zlib
from pathlib import Path
import numpy as np
import tifffile
from PIL import Image
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

HERE = Path(__file__).parent


def png(name, width, height, depth, color, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    (HERE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def cases():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    grey = rgb[..., 0]
    for ending in ("png", "bmp"):
        Image.fromarray(rgb).save(HERE / f"rgb.{ending}")
        Image.fromarray(np.dstack([rgb, grey])).save(HERE / f"rgba.{ending}")
        Image.fromarray(grey).save(HERE / f"grey.{ending}")
        Image.fromarray(grey > 100).save(HERE / f"black_white.{ending}")
        Image.fromarray(rgb).quantize(16).save(HERE / f"palette.{ending}")
    Image.fromarray(grey.astype(np.uint16) * 200).save(HERE / "grey16.png")
    Image.fromarray(np.ascontiguousarray(rgb[..., :2]), mode="LA").save(HERE / "grey_alpha.png")
    Image.fromarray(rgb).save(HERE / "key.png", transparency=tuple(int(v) for v in rgb[0, 0]))
    png("grey2.png", 5, 2, 2, 0, [bytes([0b00011011, 0b10000000]), bytes([0b11100100, 0])])
    png("grey4.png", 4, 2, 4, 0, [bytes([0x01, 0x2f]), bytes([0xf2, 0x10])])
    png("rgb16.png", 2, 2, 16, 2, [struct.pack(">6H", 1, 300, 65535, 1000, 2000, 3000)] * 2)
    volume = rng.integers(0, 200, (6, 5, 7))
    for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"):
        tifffile.imwrite(HERE / f"{kind}_0000.tif", (volume / 2 - (kind[0] != "u") * 30).astype(kind))
    tifffile.imwrite(HERE / "zlib_0000.tif", volume.astype("u2"), compression="zlib")
    tifffile.imwrite(HERE / "predictor_0000.tif", volume.astype("u2"), compression="zlib", predictor=True)
    tifffile.imwrite(HERE / "big_0000.tif", volume.astype(">u2"), byteorder=">")
    tifffile.imwrite(HERE / "bigtiff_0000.tiff", volume.astype("u1"), bigtiff=True)
    tifffile.imwrite(HERE / "imagej_0000.tif", volume.astype("u1"), imagej=True)
    tifffile.imwrite(HERE / "tiled_0000.tif", volume.astype("u1"), tile=(16, 16))
    tifffile.imwrite(HERE / "planes_0000.tif", volume[:4].astype("u1"))
    tifffile.imwrite(HERE / "last_0000.tif", volume[:, :, :4].astype("u1"))
    tifffile.imwrite(HERE / "one_0000.tif", volume[:1].astype("u1"))
    tifffile.imwrite(HERE / "flat_0000.tif", volume[0].astype("u1"))
    (HERE / "u2.json").write_text('{"spacing": [2.5, 0.7, 0.8]}')


def describe(reader, path):
    try:
        values, properties = reader.read_images((str(path),))
    except (AssertionError, RuntimeError):
        return None
    weights = np.arange(values.size) % 1009 + 1
    return {"shape": values.shape, "spacing": list(properties["spacing"]),
            "first": [float(v) for v in values.ravel()[:8]], "checksum": float((values.ravel().astype(float) * weights).sum())}


def make():
    for old in HERE.iterdir():
        if old.suffix != ".py":
            old.unlink()
    cases()
    expected = {}
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".png", ".bmp"):
            expected[path.name] = describe(NaturalImage2DIO(), path)
        elif path.name.removesuffix(path.suffix).endswith("_0000"):
            expected[path.name] = describe(Tiff3DIO(), path)
    flat()
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0))
    packages = ["nnunetv2", "scikit-image", "imageio", "pillow", "tifffile", "numpy"]
    (HERE / "versions.txt").write_text("".join(f"{p} {metadata.version(p)}\n" for p in packages))


def flat():
    """Further TIFF files, and what NaturalImage2DIO reads from all of them: make.py --flat makes these alone."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tifffile.imwrite(HERE / "rgb.tif", rgb, photometric="rgb")
    tifffile.imwrite(HERE / "rgba.tif", np.dstack([rgb, rgb[..., 0]]), photometric="rgb", extrasamples=["unassalpha"])
    tifffile.imwrite(HERE / "rgb_planes.tif", rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(HERE / "rgb_stack.tif", rgb.transpose(2, 0, 1), photometric="minisblack")
    tifffile.imwrite(HERE / "grey16.tif", rgb[..., 0].astype(np.uint16) * 100, compression="zlib")
    expected = {path.name: describe(NaturalImage2DIO(), path) for path in sorted(HERE.glob("*.tif*"))}
    (HERE / "expected_flat.json").write_text(json.dumps(expected, indent=0))


def check(folder):
    for path in sorted(Path(folder).glob("labels*.*")):
        if path.suffix in (".png", ".bmp"):
            values, properties = NaturalImage2DIO().read_seg(str(path))
        elif path.suffix == ".tif":
            values, properties = Tiff3DIO().read_seg(str(path))
        else:
            continue
        print(path.name, values.shape, values.ravel()[:8], properties)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2])
    elif sys.argv[1:2] == ["--flat"]:
        flat()
    else:
        make()
