"""Writes dtypes.pth and dtypes_legacy.pth: a tensor 1, 0, 2 of every type of torch that the form has, by its name. In
dtypes.pth and complex_legacy.pth there is one of complex numbers beside the weights. Run: python make_dtypes.py (in this folder)."""
import torch

TYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
UNSIGNED = ["uint16", "uint32", "uint64"]


def checkpoint(types):
    weights = {"module." + name: torch.tensor([1, 0, 2]).to(getattr(torch, name)) for name in types}
    return {"network_weights": weights}


if __name__ == "__main__":
    spectrum = {"spectrum": torch.tensor([1 + 2j])}
    torch.save(checkpoint(TYPES + UNSIGNED) | spectrum, "dtypes.pth")
    torch.save(checkpoint(TYPES), "dtypes_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint(["float32"]) | spectrum, "complex_legacy.pth", _use_new_zipfile_serialization=False)
