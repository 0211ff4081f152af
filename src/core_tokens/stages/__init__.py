"""One module per DVC stage, run as ``python -m core_tokens.stages.STAGE MODEL``."""

import os

# OpenBLAS starts a thread for each core when NumPy is imported, which takes as long as some stages
# do. Where a stage has work for many cores it starts threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
