"""Limits OpenBLAS to one thread. A module of its own, because it must be imported before numpy.

OpenBLAS starts a thread for each core when it is loaded. For matrices of a few
kilobytes they cost more than they save, and the last bit of a feature would
depend on the number of cores. A value that is already set is kept.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
