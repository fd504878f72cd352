"""Goldens of PyTorch's norms and GELU for crates/kernels: one little-endian f32 file per tensor, and versions.txt.

Run with a Python that has torch: python make.py
"""
import pathlib, platform
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(20241)
here = pathlib.Path(__file__).parent
data = here / "data"
data.mkdir(exist_ok=True)


def save(name, tensor):
    (data / f"{name}.f32").write_bytes(tensor.detach().contiguous().numpy().astype("<f4").tobytes())


def norm(name, shape, module):
    """leaky(norm(x)) in training, its gradients, and in evaluation with the running statistics that one step left."""
    x = (torch.randn(shape) * 1.5 + 0.5).requires_grad_()
    with torch.no_grad():
        module.weight.copy_(torch.rand_like(module.weight) + 0.5)
        module.bias.copy_(torch.randn_like(module.bias) * 0.3)
    y = F.leaky_relu(module(x), 0.01)
    grad = torch.randn_like(y)
    y.backward(grad)
    arrays = dict(x=x, gamma=module.weight, beta=module.bias, y=y, grad=grad, grad_x=x.grad,
                  grad_gamma=module.weight.grad, grad_beta=module.bias.grad)
    if isinstance(module, torch.nn.BatchNorm3d):
        module.eval()
        arrays |= dict(running_mean=module.running_mean, running_variance=module.running_var, eval=F.leaky_relu(module(x), 0.01))
    for part, tensor in arrays.items():
        save(f"{name}_{part}", tensor)


norm("batch", (3, 17, 1, 3, 5), torch.nn.BatchNorm3d(17, eps=1e-3, momentum=0.2))
norm("group", (2, 18, 2, 3, 3), torch.nn.GroupNorm(6, 18))

x = torch.cat([torch.linspace(-6, 6, 121), torch.tensor([-30.0, 30.0, 1e-40, -1e-40, float("inf"), float("-inf"), float("nan")])])
# In f64: PyTorch's f32 loses two to three ulps of 1 where the result is small.
wide = x.double().requires_grad_()
y = F.gelu(wide)
y.sum().backward()
save("gelu_x", x); save("gelu_y", y); save("gelu_slope", wide.grad)
(here / "versions.txt").write_text(f"python {platform.python_version()}\ntorch {torch.__version__}\n")
