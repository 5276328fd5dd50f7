"""What headnod costs, measured beside what it replaces: `scripts/bench`.

A place of its own because nothing here runs on a device or trains a network;
the baselines are rebuilt from their published facts and never imported.
"""
