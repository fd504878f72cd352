"""Goldens of PyTorch's layers for inputs with infinities, NaN and denormal numbers: one little-endian f32 file per tensor, versions.txt.

Run with a Python that has torch: python make.py
"""
import pathlib, platform
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(20242)
here = pathlib.Path(__file__).parent
data = here / "data"
data.mkdir(exist_ok=True)
INF, NAN = float("inf"), float("nan")


def save(name, tensor):
    (data / f"{name}.f32").write_bytes(tensor.detach().contiguous().numpy().astype("<f4").tobytes())


def put(tensor, *values):
    """Writes the values to elements far from each other."""
    flat = tensor.view(-1)
    for index, value in enumerate(values):
        flat[(index * 2 + 1) * flat.numel() // (2 * len(values))] = value
    return tensor


def conv(name, x, activate, out, kernel, stride):
    """A convolution of activated values and its gradients."""
    weights, bias = torch.randn(out, x.shape[1], *kernel) * 0.2, torch.randn(out)
    a = activate(x).requires_grad_()
    y = F.conv3d(a, weights.requires_grad_(), bias.requires_grad_(), stride, [(k - 1) // 2 for k in kernel])
    grad = put(torch.randn_like(y), INF, NAN, -INF)
    y.backward(grad)
    for part, tensor in dict(x=x, weights=weights, bias=bias, output=y, grad=grad, grad_x=a.grad, grad_weights=weights.grad,
                             grad_bias=bias.grad).items():
        save(f"{name}_{part}", tensor)


leaky = lambda x: F.leaky_relu(x, 0.01)
conv("leaky", put(torch.randn(2, 3, 4, 4, 9), INF, -INF, NAN), leaky, 17, (3, 3, 3), (1, 1, 1))
conv("relu", put(torch.randn(1, 17, 3, 5, 9), INF, -INF, -INF), F.relu, 5, (3, 3, 3), (1, 1, 1))
conv("strided", put(torch.randn(1, 5, 5, 7, 6), INF, -INF, NAN), leaky, 18, (3, 3, 3), (2, 2, 2))
conv("first", put(torch.randn(1, 1, 3, 5, 7), INF, NAN), lambda x: x.clone(), 17, (3, 3, 3), (1, 1, 1))

# Products and sums of denormal numbers.
x, weights = torch.randn(1, 5, 3, 4, 6) * 1e-39, torch.randn(18, 5, 3, 3, 3)
save("denormal_x", x); save("denormal_weights", weights); save("denormal_output", F.conv3d(x, weights, padding=1))
save("denormal_leaky", leaky(x)); save("denormal_relu", F.relu(x))

x = put(torch.randn(2, 17, 2, 3, 2), INF, NAN, -INF)
weights, bias = torch.randn(17, 3, 2, 2, 2) * 0.3, torch.randn(3)
save("transposed_x", x); save("transposed_weights", weights); save("transposed_bias", bias)
save("transposed_output", F.conv_transpose3d(x, weights, bias, stride=2))

x = put(torch.randn(1, 18, 2, 4, 4), INF, NAN, -INF, INF)
save("pool_x", x); save("pool_output", F.avg_pool3d(x, 2))

x = put(torch.randn(1, 5, 3, 4, 6), INF, NAN, -INF)
save("norm_x", x); save("norm_output", leaky(F.instance_norm(x)))

x = torch.tensor([INF, -INF, NAN, 1e-40, -1e-40, 0.0, 3e38, -3e38, 1.5, -1.5, 1e-45, -1e-45, INF, -INF, NAN, 2.0])
other = torch.tensor([1.0, 1.0, 1.0, 1e-41, -1e-41, 0.0, 3e38, -3e38, -INF, INF, 0.0, 0.0, -INF, NAN, NAN, NAN])
for name, activate in dict(leaky=leaky, relu=F.relu).items():
    save(f"values_{name}", activate(x)); save(f"sum_{name}", activate(x + other))
save("values_x", x); save("values_other", other)
(here / "versions.txt").write_text(f"python {platform.python_version()}\ntorch {torch.__version__}\n")
