"""Parts built from the configuration: audio sources, outputs, and the connection to the broker.

Only this package and `headnod.runtime` name concrete classes and read the environment.
"""
