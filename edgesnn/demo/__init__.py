"""The whole story on real data: train, quantize, export, verify, and let an emulated device learn from new people."""

from edgesnn.demo.story import run

__all__ = ["run"]
