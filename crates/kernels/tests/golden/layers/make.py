"""Goldens of PyTorch's layers for crates/kernels: writes one little-endian f32 file per tensor and versions.txt.

Run with a Python that has torch: python make.py
"""
import pathlib, platform
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(20240)
here = pathlib.Path(__file__).parent
data = here / "data"
data.mkdir(exist_ok=True)


def save(name, tensor):
    (data / f"{name}.f32").write_bytes(tensor.detach().contiguous().numpy().astype("<f4").tobytes())


def conv(name, batch, sources, out, size, kernel, stride):
    """leaky(instance norm) of each raw source, concatenated, convolved; gradients of everything."""
    raw = [torch.randn(batch, c, *size) for c in sources]
    gamma = [torch.rand(c) + 0.5 for c in sources]
    beta = [torch.randn(c) * 0.3 for c in sources]
    weights = torch.randn(out, sum(sources), *kernel) * 0.2
    bias = torch.randn(out)
    for t in raw + gamma + beta + [weights, bias]:
        t.requires_grad_()
    x = torch.cat([F.leaky_relu(F.instance_norm(r, weight=g, bias=b), 0.01) for r, g, b in zip(raw, gamma, beta)], 1)
    y = F.conv3d(x, weights, bias, stride, [(k - 1) // 2 for k in kernel])
    grad = torch.randn_like(y)
    y.backward(grad)
    for i in range(len(sources)):
        save(f"{name}_raw{i}", raw[i]); save(f"{name}_gamma{i}", gamma[i]); save(f"{name}_beta{i}", beta[i])
        save(f"{name}_grad_raw{i}", raw[i].grad); save(f"{name}_grad_gamma{i}", gamma[i].grad)
        save(f"{name}_grad_beta{i}", beta[i].grad)
    save(f"{name}_weights", weights); save(f"{name}_bias", bias); save(f"{name}_output", y); save(f"{name}_grad", grad)
    save(f"{name}_grad_weights", weights.grad); save(f"{name}_grad_bias", bias.grad)


conv("concat", 2, [5, 18], 19, (4, 5, 6), (3, 3, 3), (1, 1, 1))
conv("strided", 1, [17], 6, (5, 7, 6), (3, 3, 3), (2, 2, 2))
conv("aniso", 1, [3], 33, (3, 6, 5), (1, 3, 3), (1, 2, 1))
conv("even", 1, [4], 4, (4, 4, 7), (2, 4, 5), (1, 3, 2))

x = torch.randn(2, 17, 2, 3, 2, requires_grad=True)
w = (torch.randn(17, 5, 2, 1, 3) * 0.3).requires_grad_()
b = torch.randn(5, requires_grad=True)
y = F.conv_transpose3d(x, w, b, stride=(2, 1, 3))
g = torch.randn_like(y)
y.backward(g)
for name, t in dict(source=x, weights=w, bias=b, output=y, grad=g, grad_source=x.grad, grad_weights=w.grad, grad_bias=b.grad).items():
    save(f"transposed_{name}", t)

x = torch.randn(1, 3, 5, 4, 7, requires_grad=True)
y = F.avg_pool3d(x, (2, 1, 3), (2, 1, 3))
g = torch.randn_like(y)
y.backward(g)
for name, t in dict(source=x, output=y, grad=g, grad_source=x.grad).items():
    save(f"pool_{name}", t)
(here / "versions.txt").write_text(f"python {platform.python_version()}\ntorch {torch.__version__}\n")
