"""Make lsp_mpii.h5, MPII and LSP in one file: the same as `pose data build-lsp-mpii`.

pose-advpose build-lsp-mpii --mpii data/mpii --lsp data/lsp --out data
pose-advpose build-lsp-mpii --mpii ~/sets/mpii --lsp ~/sets/lsp --out data --link
"""

from pose_core.cli.build_lsp_mpii import add_arguments, run

__all__ = ["add_arguments", "run"]
