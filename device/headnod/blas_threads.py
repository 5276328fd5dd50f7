"""Holds numpy's linear algebra to one thread; imported before numpy is.

OpenBLAS starts a thread for each core while it is loaded, and wakes them all for
matrices of a few kilobytes: that costs more than it brings, and lets the last
bit of a feature depend on how many cores a machine has. Whoever sets the
variable before keeps his setting.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
