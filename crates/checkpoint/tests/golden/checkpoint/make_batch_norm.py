"""Writes batch_norm.pth: the state dict of a small PlainConvUNet with batch norms, as the reference saves it, buffers included.

Usage: python make_batch_norm.py (in an environment with dynamic_network_architectures and torch)
"""
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

torch.manual_seed(1)
net = PlainConvUNet(1, 2, [2, 3], nn.Conv3d, 3, [1, 2], 1, 2, 1, True, nn.BatchNorm3d, {"eps": 1e-5, "affine": True},
                    None, None, nn.LeakyReLU, {"inplace": True}, deep_supervision=True)
for _ in range(3):
    net(torch.randn(2, 1, 4, 4, 4))
torch.save({"network_weights": net.state_dict(), "optimizer_state": None, "trainer_name": "nnUNetTrainer"}, "batch_norm.pth")
