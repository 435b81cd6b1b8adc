"""What the trained models are compared with: the usual models without a network, on the same split."""
