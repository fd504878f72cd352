"""Writes tar.pth in the form of torch.save before PyTorch 0.1.10, which torch has not written since but still reads:
the values of make.py. Run: python make_tar.py (in this folder)."""
import io
import pickle
import struct
import tarfile

import torch

from make import checkpoint, tensor


def save(value, path):
    tensors, storages, classes = {}, {}, set()

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, torch.Tensor):
                tensors.setdefault(obj._cdata, obj)
                return str(obj._cdata)
            if isinstance(obj, type) and issubclass(obj, torch.nn.Module) and obj not in classes:
                classes.add(obj)
                return obj, None, None
            return None

    content = io.BytesIO()
    Pickler(content, protocol=2).dump(value)

    members = {"tensors": io.BytesIO(), "storages": io.BytesIO(), "pickle": content}
    out = members["tensors"]
    pickle.dump(len(tensors), out, protocol=2)
    for key, t in tensors.items():
        storage = t.storage()
        storages[storage.data_ptr()] = storage
        pickle.dump((key, storage.data_ptr(), t.type()), out, protocol=2)
        out.write(struct.pack("<ii", t.dim(), 0))
        out.write(struct.pack(f"<{2 * t.dim() + 1}q", *t.shape, *t.stride(), t.storage_offset()))

    out = members["storages"]
    pickle.dump(len(storages), out, protocol=2)
    for key, storage in storages.items():
        pickle.dump((key, "cpu", getattr(torch, storage.pickle_storage_type())), out, protocol=2)
        out.write(struct.pack("<q", storage.size()))
        out.write(bytes(storage.untyped()))
    pickle.dump([], out, protocol=2)

    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, member in members.items():
            info = tarfile.TarInfo(name)
            info.size = member.tell()
            member.seek(0)
            tar.addfile(info, member)


if __name__ == "__main__":
    value = checkpoint()
    value["network_class"] = torch.nn.Conv3d
    save(value, "tar.pth")
    # torch agrees that this is the form.
    read = torch.load("tar.pth", weights_only=False)
    weights = read["network_weights"]
    assert torch.equal(weights["module._orig_mod.transposed"], tensor(8, 3, 2).T)
    assert torch.equal(weights["module._orig_mod.second"], tensor(9, 8)[3:])
    assert read["network_class"] is torch.nn.Conv3d
