"""Federated nnU-Net on Flower. The program `nnunet` does the work; this app carries its messages."""
