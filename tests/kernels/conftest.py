"""Triton runs in its interpreter where there is no GPU."""

import os

import torch

if not torch.cuda.is_available():  # Triton reads it when it is imported, which torch does for a trace
    os.environ.setdefault("TRITON_INTERPRET", "1")
